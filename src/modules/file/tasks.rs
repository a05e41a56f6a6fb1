//! The stack of tasks shared by the threads of a walk, with detection of the end of their work.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Pending tasks.
pub(super) struct Tasks<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Number of idle threads.
    idle: AtomicUsize,
}

struct State<T> {
    tasks: Vec<T>,
    busy: usize,
}

impl<T> Tasks<T> {
    /// Creates an empty queue.
    pub(super) fn new() -> Self {
        let state = Mutex::new(State { tasks: Vec::new(), busy: 0 });
        Tasks { state, changed: Condvar::new(), idle: AtomicUsize::new(0) }
    }

    /// Whether a thread is idle, and so work is worth sharing.
    pub(super) fn has_idle_threads(&self) -> bool {
        self.idle.load(Relaxed) > 0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds tasks; the last is run first.
    pub(super) fn push(&self, tasks: impl IntoIterator<Item = T>) {
        self.lock().tasks.extend(tasks);
        if self.has_idle_threads() {
            self.changed.notify_all();
        }
    }

    /// Runs tasks until none is pending and no thread can add one.
    pub(super) fn work(&self, mut run: impl FnMut(T)) {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop() {
                state.busy += 1;
                drop(state);
                let busy = Busy(self);
                run(task);
                drop(busy);
                state = self.lock();
            } else if state.busy == 0 {
                return;
            } else {
                // Counted while the lock is held, so a thread that adds a task after this sees a thread to wake.
                self.idle.fetch_add(1, Relaxed);
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                self.idle.fetch_sub(1, Relaxed);
            }
        }
    }
}

/// Marks a thread as busy. Dropped even if the task panics; otherwise the other threads would wait forever.
struct Busy<'a, T>(&'a Tasks<T>);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 && state.tasks.is_empty() {
            self.0.changed.notify_all();
        }
    }
}
