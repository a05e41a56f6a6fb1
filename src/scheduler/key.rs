//! The key with which the schedulers sign actions of their own: investigator `migscheduler` in the store, shared by all
//! schedulers of it, made by the first start of one that goes on running, or by `--print-key` before.
//!
//! What it may do on an endpoint is decided there, like for everybody: an agent runs its actions when the access list names
//! its fingerprint.

use crate::config::Secret;
use crate::failure::Failure;
use crate::investigator::Fingerprint;
use crate::signature::{Keyring, generate_rsa_key};
use crate::store::{SchedulerKey, Store};
use crate::time::Timestamp;

/// The key's user id.
const USER_ID: &str = "MIG Scheduler";

/// The stored key, or a new one that is stored.
pub fn find_or_make(store: &mut dyn Store, now: Timestamp) -> Result<SchedulerKey, Failure> {
    if let Some(key) = store.scheduler_key(None, now)? {
        return Ok(key);
    }
    let candidate = make()?;
    let key = store.scheduler_key(Some(&candidate), now)?.unwrap_or(candidate);
    log::info!(
        "the schedulers of this store sign with key {}; agents run its actions when their keyring and access list name it: \
        mig-scheduler --print-key prints it",
        key.fingerprint
    );
    Ok(key)
}

fn make() -> Result<SchedulerKey, Failure> {
    let retry = |error: &dyn std::fmt::Display| Failure::retry(error);
    let (public_key, private_key) = generate_rsa_key(USER_ID).map_err(|e| retry(&e))?;
    let keyring = Keyring::parse(public_key.as_bytes()).map_err(|e| retry(&e))?;
    let fingerprint: Fingerprint = match keyring.investigators().next() {
        Some(investigator) => investigator.fingerprint.clone(),
        None => return Err(retry(&"the key that was made is empty")),
    };
    Ok(SchedulerKey { fingerprint, public_key, private_key: Secret::new(private_key) })
}
