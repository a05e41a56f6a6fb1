//! Tasks that are deferred to the end of the walk.
//!
//! A file of terabytes, a file under a lease, or a mount that may hang would otherwise keep a search from files that it
//! could examine.

use super::directory::Location;
use super::entry::{Active, Kind};
use super::limits;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A deferred file.
pub(super) struct LateFile {
    /// Its directory; `None` for a path of a search.
    pub(super) directory: Option<Arc<Location>>,
    /// Its name there, or the path.
    pub(super) name: OsString,
    /// Its type.
    pub(super) kind: Kind,
    /// The searches that cover it.
    pub(super) active: Arc<[Active]>,
}

/// Deferred tasks, shared by the threads of a walk.
pub(super) struct Late<T> {
    /// Each with the size of the file.
    tasks: Mutex<Vec<(u64, T)>>,
    lease_end: OnceLock<Instant>,
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Late { tasks: Mutex::default(), lease_end: OnceLock::new() }
    }
}

impl<T> Late<T> {
    /// Adds a task; returns it as the error if there are too many.
    pub(super) fn add(&self, size_bytes: u64, task: T) -> Result<(), T> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= limits::TASKS_DEFERRED_MAX {
            return Err(task);
        }
        tasks.push((size_bytes, task));
        Ok(())
    }

    /// Takes all tasks, the smallest last.
    pub(super) fn take(&self) -> Vec<T> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.sort_by_key(|(size_bytes, _)| std::cmp::Reverse(*size_bytes));
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    /// Returns when the kernel will have broken all leases that were found during the walk.
    pub(super) fn lease_end(&self) -> Instant {
        *self.lease_end.get_or_init(|| Instant::now() + limits::LEASE_TIME_MAX)
    }
}
