//! What is looked at when everything else has been.
//!
//! A file of terabytes, one on which its owner has a lease, or a mount that may hang would otherwise keep a search from what
//! it could find.

use super::directory::Location;
use super::entry::{Active, Kind};
use super::limits;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A file that was put off.
pub(super) struct LateFile {
    /// The directory that it is in; none for a path of a search.
    pub(super) directory: Option<Arc<Location>>,
    /// Its name there, or the path.
    pub(super) name: OsString,
    /// What it is.
    pub(super) kind: Kind,
    /// The searches that cover it.
    pub(super) active: Arc<[Active]>,
}

/// Shared by the threads of a walk, whose tasks it keeps.
pub(super) struct Late<T> {
    /// With the size of what they read.
    tasks: Mutex<Vec<(u64, T)>>,
    lease_end: OnceLock<Instant>,
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Late { tasks: Mutex::default(), lease_end: OnceLock::new() }
    }
}

impl<T> Late<T> {
    /// Adds a task, or returns it if there are too many.
    pub(super) fn add(&self, size_bytes: u64, task: T) -> Result<(), T> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= limits::TASKS_PUT_OFF_MAX {
            return Err(task);
        }
        tasks.push((size_bytes, task));
        Ok(())
    }

    /// All of them, that of the smallest last.
    pub(super) fn take(&self) -> Vec<T> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.sort_by_key(|(size_bytes, _)| std::cmp::Reverse(*size_bytes));
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    /// When the kernel has taken back all leases that were met on the way.
    pub(super) fn lease_end(&self) -> Instant {
        *self.lease_end.get_or_init(|| Instant::now() + limits::LEASE_TIME_MAX)
    }
}
