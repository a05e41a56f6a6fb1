//! Whose signatures count: the keys of `[investigators] keyring`, those of the investigators in the store, and the
//! schedulers' own. One that the store has disabled does not count, wherever its key is from.

use crate::failure::Failure;
use crate::investigator::{Fingerprint, Investigator};
use crate::limits;
use crate::reload::Reloaded;
use crate::signature::Keyring;
use crate::store::{Store, StoredKey};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The keys of one moment.
#[derive(Default)]
pub struct Trusted {
    keyring: Keyring,
    disabled: BTreeSet<Fingerprint>,
    own: BTreeSet<Fingerprint>,
}

impl Trusted {
    /// Who made a stripped signature over `text`; or why it does not count, without its subject.
    pub fn verify(&self, text: &str, stripped: &str, now: Timestamp) -> Result<Investigator, String> {
        let signer = verify(&self.keyring, text, stripped, now)?;
        if self.disabled.contains(&signer.fingerprint) {
            let (name, fingerprint) = (signer.name, signer.fingerprint);
            return Err(format!(
                "was made by {name} ({fingerprint}), who is disabled in the store; mig-api enables it again"
            ));
        }
        Ok(signer)
    }

    /// Whether all of these are the schedulers' own key, with which they end duplicate agents.
    pub fn are_own(&self, signers: &BTreeSet<Fingerprint>) -> bool {
        !signers.is_empty() && signers.is_subset(&self.own)
    }
}

/// Who made a stripped signature over `text`, by a keyring; or why it does not count, without its subject.
pub(super) fn verify(keyring: &Keyring, text: &str, stripped: &str, now: Timestamp) -> Result<Investigator, String> {
    let signer = keyring.verify(text, stripped, now).map_err(|error| error.to_string())?;
    let investigator = keyring.investigator(&signer.fingerprint).cloned();
    investigator.ok_or_else(|| format!("was made by {}, whose certificate is gone from the keyring", signer.name))
}

/// What the store has.
#[derive(Default)]
struct Stored {
    version: Option<String>,
    keyring: Keyring,
    /// Of those that cannot be used, each was logged.
    active: BTreeSet<Fingerprint>,
    disabled: BTreeSet<Fingerprint>,
}

/// See the module docs.
pub struct Investigators {
    file: Option<Reloaded<Keyring>>,
    /// None while the schedulers have no key.
    own: Option<Keyring>,
    stored: Stored,
    /// Rows that cannot be used and were logged, with the reason.
    logged: BTreeMap<String, String>,
    /// What `trusted` was made of.
    made_of: Option<Arc<Keyring>>,
    trusted: Arc<Trusted>,
}

impl Investigators {
    /// Those of a keyring, of the store, and the schedulers' `own` key; without one it is looked for in the store, because the
    /// first action that needs it makes it.
    pub fn new(file: Option<Reloaded<Keyring>>, own: Option<Keyring>) -> Investigators {
        Investigators {
            file,
            own,
            stored: Stored::default(),
            logged: BTreeMap::new(),
            made_of: None,
            trusted: Arc::default(),
        }
    }

    /// Whether no signature counts.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.stored.active.is_empty()
    }

    /// The keys in force: one stat(2) and one small query when nothing changed, another while the schedulers have no key.
    pub fn get(&mut self, store: &mut dyn Store) -> Result<Arc<Trusted>, Failure> {
        let file = self.file.as_mut().map(|file| Arc::clone(file.get()));
        let is_same_file = match (&file, &self.made_of) {
            (Some(file), Some(before)) => Arc::ptr_eq(file, before),
            (None, None) => true,
            _ => false,
        };
        let known = self.stored.version.as_deref();
        let changed = store.investigator_keys(known)?;
        let is_own_new = self.own.is_none() && self.find_own(store)?;
        if changed.is_none() && is_same_file && !is_own_new {
            return Ok(Arc::clone(&self.trusted));
        }
        if let Some(keys) = changed {
            self.stored = self.read(keys.keys);
            self.stored.version = Some(keys.version);
        }
        let mut keyring = file.as_deref().cloned().unwrap_or_default();
        self.log_removed(&keyring);
        let own = self.own.clone().unwrap_or_default();
        keyring.merge(own.clone());
        keyring.merge(self.stored.keyring.clone());
        let own = own.investigators().map(|own| own.fingerprint.clone()).collect();
        self.made_of = file;
        self.trusted = Arc::new(Trusted { keyring, disabled: self.stored.disabled.clone(), own });
        Ok(Arc::clone(&self.trusted))
    }

    /// Looks for the schedulers' key in the store.
    fn find_own(&mut self, store: &mut dyn Store) -> Result<bool, Failure> {
        let Some(key) = store.scheduler_key(None, crate::time::now())? else { return Ok(false) };
        let own = Keyring::parse(key.public_key.as_bytes());
        self.own = Some(own.map_err(|error| Failure::retry(format!("the schedulers' own key: {error}")))?);
        Ok(true)
    }

    /// Parses the rows of the store. Those that cannot be used are left out, and logged once each.
    fn read(&mut self, keys: Vec<StoredKey>) -> Stored {
        let mut stored = Stored::default();
        if keys.len() == limits::STORED_INVESTIGATORS_MAX {
            log::error!("action-new: the store has {} investigators or more; further ones do not count", keys.len());
        }
        let mut logged = BTreeMap::new();
        for key in keys {
            // Whatever its key is: one that is disabled does not count, also in the keyring.
            let fingerprint = Fingerprint::parse(&key.fingerprint);
            if let Ok(fingerprint) = &fingerprint {
                let list = if key.is_active { &mut stored.active } else { &mut stored.disabled };
                list.insert(fingerprint.clone());
            }
            match fingerprint.and_then(|fingerprint| parse(&key.public_key, &fingerprint)) {
                Ok(keyring) => stored.keyring.merge(keyring),
                Err(reason) => {
                    if self.logged.get(&key.fingerprint) != Some(&reason) {
                        let (name, fingerprint) = (&key.name, &key.fingerprint);
                        log::error!(
                            "investigator '{name}' ({fingerprint}) in the store: {reason}; that key does not count"
                        );
                    }
                    logged.insert(key.fingerprint, reason);
                }
            }
        }
        self.logged = logged;
        stored
    }

    /// Says so when a key left the keyring that counts all the same.
    fn log_removed(&self, keyring: &Keyring) {
        let Some(before) = &self.made_of else { return };
        for removed in before.investigators() {
            let fingerprint = &removed.fingerprint;
            if self.stored.active.contains(fingerprint) && keyring.investigator(fingerprint).is_none() {
                let name = &removed.name;
                log::warn!(
                    "action-new: {name} ({fingerprint}) is no more in [investigators] keyring, and is active in the store: its \
                    signatures count until mig-api disables it"
                );
            }
        }
    }
}

/// The one certificate of a row.
fn parse(public_key: &str, fingerprint: &Fingerprint) -> Result<Keyring, String> {
    if public_key.is_empty() {
        return Err(format!("its key is empty, or has more than {} bytes", limits::STORED_KEY_BYTES_MAX));
    }
    let keyring = Keyring::parse(public_key.as_bytes()).map_err(|error| format!("its key {error}"))?;
    let found: Vec<&Fingerprint> = keyring.investigators().map(|one| &one.fingerprint).collect();
    match found.as_slice() {
        [one] if *one == fingerprint && keyring.left_out().is_empty() => Ok(keyring),
        _ => Err("its key is not one certificate with that fingerprint".into()),
    }
}
