//! Files that are read when all others have been.
//!
//! A file of terabytes, or one on which its owner has a lease, would otherwise keep a search from what it could find.

use super::entry::{Active, Entry, Kind};
use super::limits;
use super::walk::OpenDirectory;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A file that was put off.
pub(super) struct LateFile {
    /// The directory that it is in; none for a path of a search.
    pub(super) directory: Option<Arc<OpenDirectory>>,
    /// Its name there, or the path.
    pub(super) name: OsString,
    /// What it is.
    pub(super) kind: Kind,
    /// The searches that cover it.
    pub(super) active: Vec<Active>,
}

impl LateFile {
    /// The entry to be evaluated.
    pub(super) fn entry(&self) -> Entry<'_> {
        match &self.directory {
            Some(directory) => directory.entry(&self.name, self.kind),
            None => Entry::of_path(&self.name),
        }
    }
}

/// Shared by the threads of a walk.
#[derive(Default)]
pub(super) struct Late {
    /// With their sizes.
    files: Mutex<Vec<(u64, LateFile)>>,
    lease_end: OnceLock<Instant>,
}

impl Late {
    /// Adds a file; false if there are too many.
    pub(super) fn add(&self, size_bytes: u64, file: impl FnOnce() -> LateFile) -> bool {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = files.len() < limits::FILES_PUT_OFF_MAX;
        if fits {
            files.push((size_bytes, file()));
        }
        fits
    }

    /// All of them, the smallest last.
    pub(super) fn take(&self) -> Vec<LateFile> {
        let mut files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        files.sort_by_key(|(size_bytes, _)| std::cmp::Reverse(*size_bytes));
        files.into_iter().map(|(_, file)| file).collect()
    }

    /// When the kernel has taken back all leases that were met on the way.
    pub(super) fn lease_end(&self) -> Instant {
        *self.lease_end.get_or_init(|| Instant::now() + limits::LEASE_TIME_MAX)
    }
}
