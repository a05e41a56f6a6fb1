//! The worker action-new with its keys: whose signatures count, and how many an action needs.

use super::key;
use crate::acl::Acl;
use crate::config::Unreadable;
use crate::config::scheduler::{SchedulerConfig, StoreConfig};
use crate::error::{ExitClass, ProgramError};
use crate::flow::FindOwner;
use crate::flow::action_new::ActionNew;
use crate::flow::action_new::approval::Approval;
use crate::flow::action_new::investigators::Investigators;
use crate::flow::action_new::joining::ActionNewWorker;
use crate::reload::Reloaded;
use crate::signature::Keyring;
use crate::spool::Mover;
use crate::store::Store;
use std::path::Path;

/// The worker, on the spool of `mover`.
pub fn build(
    config: &SchedulerConfig,
    mover: Mover,
    mut store: Box<dyn Store>,
    find_owner: FindOwner,
) -> Result<ActionNewWorker, ProgramError> {
    let own = own_key(store.as_mut(), config)?;
    let keyring = open(config.keyring.as_deref(), "keyring", Keyring::parse_file)?;
    let acl = open(config.acl.as_deref(), "acl", |bytes, _| Acl::parse(bytes).map_err(|error| error.to_string()))?;
    let mut investigators = Investigators::new(keyring, own);
    match investigators.get(store.as_mut()) {
        Ok(_) if investigators.is_empty() => log::warn!(
            "action-new: there is no investigator: every action is refused until one is added, with mig-api \
            --add-investigator NAME FILE or in a file that [investigators] keyring names"
        ),
        // A store that is away is waited for.
        _ => {}
    }
    let approval = Approval::new(config.minimum_signers, acl);
    let handler = ActionNew::new(store, investigators, approval, mover.drafts(), find_owner);
    Ok(ActionNewWorker::new(mover, handler))
}

/// A file that a key of `[investigators]` names.
fn open<T>(
    path: Option<&Path>,
    key: &str,
    parse: impl Fn(&[u8], &Path) -> Result<T, String> + Send + 'static,
) -> Result<Option<Reloaded<T>>, ProgramError> {
    let Some(path) = path else { return Ok(None) };
    Reloaded::open(path, parse).map(Some).map_err(|unreadable| {
        let path = path.display();
        let text =
            format!("investigators.{key}: {path} cannot be used: {unreadable}; without it every action is refused");
        Unreadable { reason: text, ..unreadable }.into()
    })
}

/// The public key with which the schedulers sign actions of their own, made by their first start. With SQLite it is looked for
/// when it is needed: a run with --once makes none.
fn own_key(store: &mut dyn Store, config: &SchedulerConfig) -> Result<Option<Keyring>, ProgramError> {
    if !config.kill_dup_agents && matches!(config.store, StoreConfig::Sqlite(_)) {
        return Ok(None);
    }
    let key = key::find_or_make(store, crate::time::now()).map_err(ProgramError::from)?;
    Keyring::parse(key.public_key.as_bytes())
        .map(Some)
        .map_err(|error| ProgramError::new(ExitClass::Config, format!("the schedulers' own key: {error}")))
}
