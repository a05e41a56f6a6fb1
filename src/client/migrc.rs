//! `~/.migrc`: the API, the key and the target macros of an investigator, as the original's clients read it.

use super::signing::SigningKey;
use crate::config::{ConfigError, Ini};
use crate::error::{ExitClass, ProgramError};
use std::path::{Path, PathBuf};

/// A parsed migrc. Its sections may also hold keys of the original's programs, which are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrc {
    /// The file.
    pub file: PathBuf,
    /// `[gpg] home`.
    gpg_home: Option<PathBuf>,
    /// `[gpg] keyid`; empty if it is missing.
    key_id: String,
}

impl Migrc {
    /// Reads the file of `-c`, or `~/.migrc`. The file must be there.
    pub fn read(option: Option<&str>) -> Result<Migrc, ProgramError> {
        let file = path(option)?;
        if !file.exists() {
            return Err(ProgramError::new(ExitClass::Usage, format!("no -k, and no {}", file.display())));
        }
        Ok(Migrc::parse(Ini::read(&file)?, &file)?)
    }

    fn parse(mut ini: Ini, file: &Path) -> Result<Migrc, ConfigError> {
        Ok(Migrc { gpg_home: ini.path("gpg", "home")?, key_id: ini.text("gpg", "keyid", "")?, file: file.to_owned() })
    }

    /// The key that it names.
    pub fn signing_key(self) -> Result<SigningKey, ProgramError> {
        if self.key_id.is_empty() {
            return Err(self.error("gpg.keyid: is missing").into());
        }
        Ok(SigningKey::Gpg { id: self.key_id, home: self.gpg_home })
    }

    /// An error in the file.
    pub fn error(&self, text: &str) -> ConfigError {
        ConfigError { file: self.file.display().to_string(), line: None, text: text.to_owned() }
    }
}

/// The file of `-c`, or `~/.migrc`.
fn path(option: Option<&str>) -> Result<PathBuf, ProgramError> {
    let default = || std::env::home_dir().map(|home| home.join(".migrc"));
    option
        .map(PathBuf::from)
        .or_else(default)
        .ok_or_else(|| ProgramError::new(ExitClass::Usage, "no home directory; set a key with -k, or the file with -c"))
}
