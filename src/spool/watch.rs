//! Notifications: a hint to look again, never the truth.
//!
//! The kernel's queue may overflow, a network file system tells nothing, a program may start late: each of these ends in
//! the same listing. So a notification carries no name here, and any number of them waiting are one.

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Wakes one worker; any number of wake-ups before it looks are one.
#[derive(Clone)]
pub struct Waker {
    sender: SyncSender<()>,
}

impl Waker {
    /// Wakes the worker.
    pub fn wake(&self) {
        // Full: it is awake already. Disconnected: it has ended.
        let _ = self.sender.try_send(());
    }
}

/// The worker's end of a [`Waker`].
pub struct Sleeper {
    receiver: Receiver<()>,
    waker: Waker,
}

impl Sleeper {
    /// A new pair; the waker can be cloned.
    pub fn new() -> Sleeper {
        let (sender, receiver) = sync_channel(1);
        Sleeper { receiver, waker: Waker { sender } }
    }

    /// Something to wake this sleeper with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until woken, or for `duration` at most.
    pub fn sleep(&self, duration: Option<Duration>) {
        match duration {
            None => drop(self.receiver.recv()),
            Some(duration) => match self.receiver.recv_timeout(duration) {
                Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            },
        }
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Sleeper::new()
    }
}

/// Asks every worker of a process to end, and wakes them for it.
#[derive(Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    wakers: Arc<std::sync::Mutex<Vec<Waker>>>,
}

impl Stop {
    /// Wakes `waker` too when the stop comes.
    pub fn also_wake(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(|e| e.into_inner()).push(waker);
    }

    /// Asks.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.wakers.lock().unwrap_or_else(|e| e.into_inner()).iter().for_each(Waker::wake);
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Watches a directory for as long as it lives.
pub struct Watch {
    _watcher: RecommendedWatcher,
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
    /// Wakes `waker` when a file in `directory` was closed after writing or moved there, or when events were lost.
    pub fn new(directory: &Path, waker: Waker) -> Result<Watch, WatchError> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error is a hint as well: something was missed.
            if event.map_or(true, |event| event.need_rescan() || is_arrival(&event.kind)) {
                waker.wake();
            }
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(Watch { _watcher: watcher })
    }
}

/// Whether an event may have made a file whole. A created name counts only when it is a link or a directory: a file
/// that was just created is empty, and closing it after writing is an event of its own.
fn is_arrival(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both | RenameMode::Any))
            | EventKind::Create(CreateKind::Folder | CreateKind::Other)
            | EventKind::Other
    )
}
