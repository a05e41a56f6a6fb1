//! Names of files in directories.

use super::failures::escaped;
use crate::event::BatchId;
use crate::id::{ActionId, CommandRef};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The name of a file in a directory: any bytes but `/`, shown escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(OsString);

impl FileName {
    /// A name of one component.
    pub fn new(name: impl Into<OsString>) -> Option<FileName> {
        let name = name.into();
        let bytes = name.as_bytes();
        let plain =
            !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0);
        plain.then_some(FileName(name))
    }

    /// The name as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// The name for the system.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// Whether it begins with a dot.
    pub fn is_hidden(&self) -> bool {
        self.0.as_bytes().starts_with(b".")
    }

    /// Whether a file of this name is meant for us: ends in `.json` and is not hidden.
    pub fn is_drop(&self) -> bool {
        !self.is_hidden() && self.0.as_bytes().ends_with(b".json")
    }

    /// The action to which a detached signature of this name belongs: `NAME.json` of `NAME.json.asc-X`. Not of what would be
    /// taken for a reason where it is refused.
    pub fn signed_by_detached(&self) -> Option<FileName> {
        const MARK: &[u8] = b".json.asc-";
        let bytes = self.0.as_bytes();
        let at = bytes.windows(MARK.len()).rposition(|piece| piece == MARK)?;
        let has_suffix = at + MARK.len() < bytes.len() && !bytes.ends_with(b".reason");
        let is_one = !self.is_hidden() && !self.is_drop() && at > 0 && has_suffix;
        is_one.then(|| FileName(OsStr::from_bytes(&bytes[..at + ".json".len()]).to_owned()))
    }

    /// The file of lines of a batch of events.
    pub fn of_lines(id: &BatchId) -> FileName {
        FileName(format!("{id}.jsonl").into())
    }

    /// A variation for the `attempt`-th try to find a free name, short enough for `.reason` to be added.
    pub(super) fn variation(&self, attempt: u64) -> FileName {
        const SUFFIX: &[u8] = b".json";
        let bytes = self.0.as_bytes();
        let stem = bytes.strip_suffix(SUFFIX).unwrap_or(bytes);
        let mut name = stem[..stem.len().min(220)].to_vec();
        if attempt > 0 {
            name.extend_from_slice(format!("~{attempt}").as_bytes());
        }
        name.extend_from_slice(SUFFIX);
        FileName(OsString::from_vec(name))
    }

    /// The `.reason` of a refused file, or the refused file of a `.reason`.
    pub fn partner(&self) -> Option<FileName> {
        const REASON: &[u8] = b".reason";
        match self.0.as_bytes().strip_suffix(REASON) {
            Some(file) => FileName::new(OsStr::from_bytes(file)),
            None => Some(self.with_suffix(".reason")),
        }
    }

    pub(super) fn with_suffix(&self, suffix: &str) -> FileName {
        let mut name = self.0.clone();
        name.push(suffix);
        FileName(name)
    }
}

impl From<ActionId> for FileName {
    fn from(id: ActionId) -> Self {
        FileName(id.file_name().into())
    }
}

impl From<CommandRef> for FileName {
    fn from(reference: CommandRef) -> Self {
        FileName(reference.file_name().into())
    }
}

impl From<&BatchId> for FileName {
    fn from(id: &BatchId) -> Self {
        FileName(format!("{id}.json").into())
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}
