//! Notifications: a hint to look again, never the truth.
//!
//! The kernel's queue may overflow, a network file system sends none, a program may start late: each of these ends in
//! the same listing. So a notification carries no name here, and pending ones are merged.

use crate::wake::Waker;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Watches a directory for as long as it lives.
pub struct Watch {
    _watcher: RecommendedWatcher,
    is_lost: Arc<AtomicBool>,
}

/// Why a directory cannot be watched, and what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// inotify_init(2): EMFILE.
    #[error(
        "too many inotify instances or open files; raise fs.inotify.max_user_instances, or the limit of open files"
    )]
    Instances,
    /// inotify_add_watch(2): ENOSPC.
    #[error("too many inotify watches; raise fs.inotify.max_user_watches")]
    Watches,
    /// Anything else.
    #[error("{0}")]
    Other(notify::Error),
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        match &error.kind {
            notify::ErrorKind::MaxFilesWatch => WatchError::Watches,
            notify::ErrorKind::Io(cause) if cause.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
                WatchError::Instances
            }
            _ => WatchError::Other(error),
        }
    }
}

impl Watch {
    /// Wakes `waker` when a file in `directory` was closed after writing or moved there, when events were lost, or when the
    /// directory itself is gone.
    pub fn new(directory: &Path, waker: Waker) -> Result<Watch, WatchError> {
        let (is_lost, watched) = (Arc::new(AtomicBool::new(false)), directory.to_owned());
        let lost = Arc::clone(&is_lost);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_gone =
                event.as_ref().is_ok_and(|event| is_departure(&event.kind) && event.paths == [watched.as_path()]);
            lost.fetch_or(is_gone, Ordering::Relaxed);
            // An error is a hint as well: something was missed.
            if is_gone || event.map_or(true, |event| event.need_rescan() || is_arrival(&event.kind)) {
                waker.wake();
            }
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(Watch { _watcher: watcher, is_lost })
    }

    /// Whether the directory was removed or moved away: nothing more comes.
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

fn is_departure(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)))
}

/// Whether an event may have made a file whole, or readable. A created name counts only when it is a link or a directory: a file
/// that was just created is empty, and closing it after writing is an event of its own.
fn is_arrival(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Metadata(_))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both | RenameMode::Any))
            | EventKind::Create(CreateKind::Folder | CreateKind::Other)
            | EventKind::Other
    )
}
