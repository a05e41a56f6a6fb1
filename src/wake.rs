//! Waking and stopping the threads of a process.

use std::sync::atomic::{AtomicU8, Ordering};
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

/// Asks every worker of a process to end, and wakes them for it: for good, or for a pause after which the process goes on.
#[derive(Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicU8>,
    wakers: Arc<Mutex<Vec<Waker>>>,
}

/// What a [`Stop`] was asked.
const NOTHING: u8 = 0;
const PAUSE: u8 = 1;
const END: u8 = 2;

impl Stop {
    /// Wakes `waker` when the stop comes.
    pub fn also_wake(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Asks for the end of the process.
    pub fn ask(&self) {
        self.asked.store(END, Ordering::SeqCst);
        self.wake_all();
    }

    /// Asks the workers to end, unless that was asked; the process goes on with others.
    pub fn pause(&self) {
        let _ = self.asked.compare_exchange(NOTHING, PAUSE, Ordering::SeqCst, Ordering::SeqCst);
        self.wake_all();
    }

    /// Ends a pause, and forgets the workers that ended for it. Returns whether the process goes on.
    pub fn go_on(&self) -> bool {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let _ = self.asked.compare_exchange(PAUSE, NOTHING, Ordering::SeqCst, Ordering::SeqCst);
        !self.is_end()
    }

    /// Whether the workers shall end.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst) != NOTHING
    }

    /// Whether the process shall end.
    pub fn is_end(&self) -> bool {
        self.asked.load(Ordering::SeqCst) == END
    }

    fn wake_all(&self) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_can_be_ended_and_an_end_cannot() {
        let (stop, sleeper) = (Stop::default(), Sleeper::new());
        stop.also_wake(sleeper.waker());
        stop.pause();
        sleeper.sleep(None);
        assert!(stop.is_asked() && !stop.is_end());
        assert!(stop.go_on() && !stop.is_asked());
        stop.pause();
        stop.ask();
        stop.pause();
        assert!(stop.is_end() && !stop.go_on() && stop.is_asked());
    }
}
