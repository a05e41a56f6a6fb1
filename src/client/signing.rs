//! The key that an investigator signs with, and signing with it.

use super::migrc::Migrc;
use super::read_file;
use crate::acl::{Acl, Denied};
use crate::action::Action;
use crate::error::{ExitClass, ProgramError};
use crate::investigator::Fingerprint;
use crate::limits;
use crate::signature::{Keyring, SignatureError, gpg_signing_key, sign_with_gpg, sign_with_key};
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the secret key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// A file with a secret key without passphrase.
    File(String),
    /// gpg has it, or a smartcard.
    Gpg {
        /// Key id or user id.
        id: String,
        /// gpg's home, if not its default.
        home: Option<PathBuf>,
    },
}

impl SigningKey {
    /// The key of `-k`: a file if there is one of this name, else an id for gpg. Without `-k` that of the migrc.
    pub fn choose(
        option: Option<&str>,
        migrc: impl FnOnce() -> Result<Migrc, ProgramError>,
    ) -> Result<Self, ProgramError> {
        match option {
            Some(key) if Path::new(key).is_file() => Ok(SigningKey::File(key.to_owned())),
            Some(key) if key.contains('/') => {
                Err(ProgramError::new(ExitClass::NoInput, format!("-k: there is no key file {key}")))
            }
            Some(key) => Ok(SigningKey::Gpg { id: key.to_owned(), home: None }),
            None => migrc()?.signing_key(),
        }
    }

    /// Signs a text; returns the stripped signature.
    pub fn sign(&self, text: &str, now: Timestamp) -> Result<String, ProgramError> {
        match self {
            SigningKey::File(file) => sign_with_key(text, &read_file(file, limits::KEYRING_SIZE_BYTES_MAX)?, now)
                .map_err(|e| failed(SignatureError::Keyring(format!("{file}: {e}")))),
            SigningKey::Gpg { id, home } => sign_with_gpg(text, id, home.as_deref()).map_err(failed),
        }
    }

    /// Checks that the secret key is here and may sign, without a prompt; returns its certificate's fingerprint.
    pub fn check(&self, now: Timestamp) -> Result<Fingerprint, ProgramError> {
        match self {
            SigningKey::File(file) => {
                self.sign("", now)?;
                let keyring = Keyring::parse(&read_file(file, limits::KEYRING_SIZE_BYTES_MAX)?).map_err(failed)?;
                let fingerprint = keyring.investigators().next().map(|investigator| investigator.fingerprint.clone());
                fingerprint.ok_or_else(|| failed(SignatureError::Keyring(format!("{file}: holds no certificate"))))
            }
            SigningKey::Gpg { id, home } => gpg_signing_key(id, home.as_deref()).map_err(failed),
        }
    }
}

fn failed(error: SignatureError) -> ProgramError {
    ProgramError::new(ExitClass::Data, format!("sign: {error}"))
}

/// Refuses an action whose operations the access list in `file` does not allow this key at all; returns what is missing
/// where others must sign too.
pub fn check_weight(file: &str, action: &Action, key: &Fingerprint) -> Result<Option<String>, ProgramError> {
    let acl = Acl::parse(&read_file(file, limits::CONFIGURATION_SIZE_BYTES_MAX)?)
        .map_err(|e| ProgramError::new(ExitClass::Data, format!("--acl {file}: {e}")))?;
    match acl.check(action, &BTreeSet::from([key.clone()])) {
        Ok(()) => Ok(None),
        Err(denied @ Denied::TooLight { reached: 1.., .. }) => {
            Ok(Some(format!("--acl {file}: {denied}; others must sign too")))
        }
        Err(denied) => Err(ProgramError::new(
            ExitClass::Data,
            format!("--acl {file}: no agent would run it: key {key}: {denied} (--force signs it anyway)"),
        )),
    }
}
