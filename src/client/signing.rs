//! The key that an investigator signs with, and signing with it.

use super::migrc::Migrc;
use super::read_file;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::signature::{SignatureError, sign_with_gpg, sign_with_key};
use crate::time::Timestamp;
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
            Some(key) => Ok(SigningKey::Gpg { id: key.to_owned(), home: None }),
            None => migrc()?.signing_key(),
        }
    }

    /// Signs a text; returns the stripped signature.
    pub fn sign(&self, text: &str, now: Timestamp) -> Result<String, ProgramError> {
        let failed = |e: SignatureError| ProgramError::new(ExitClass::Data, format!("sign: {e}"));
        match self {
            SigningKey::File(file) => sign_with_key(text, &read_file(file, limits::KEYRING_SIZE_BYTES_MAX)?, now)
                .map_err(|e| failed(SignatureError::Keyring(format!("{file}: {e}")))),
            SigningKey::Gpg { id, home } => sign_with_gpg(text, id, home.as_deref()).map_err(failed),
        }
    }
}
