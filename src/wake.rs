//! Waking and stopping the threads of a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
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
    wakers: Arc<Mutex<Vec<Waker>>>,
}

impl Stop {
    /// Wakes `waker` when the stop comes.
    pub fn also_wake(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Asks.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}
