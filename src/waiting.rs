//! What the threads of a process wait for outside of it: a server, a module, the log. Named in the log when a worker hangs or
//! does not end.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

/// What one thread waits for now.
#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<Option<String>>>);

thread_local!(static HERE: Waits = Waits::default());

impl Waits {
    /// Those of the calling thread.
    pub fn of_this_thread() -> Waits {
        // Also in a thread that is ending.
        HERE.try_with(Waits::clone).unwrap_or_default()
    }

    /// What it waits for, if it does.
    pub fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, what: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), what)
    }
}

/// Runs `wait`, which waits for `what`.
pub fn waiting_for<T>(what: impl Display, wait: impl FnOnce() -> T) -> T {
    let here = Waits::of_this_thread();
    let outer = here.replace(Some(what.to_string()));
    let done = wait();
    here.replace(outer);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_wait_is_named_and_only_while_it_lasts() {
        let waits = Waits::of_this_thread();
        assert_eq!(waits.now(), None);
        waiting_for("the module", || {
            waiting_for("its disk", || assert_eq!(waits.now().as_deref(), Some("its disk")));
            assert_eq!(waits.now().as_deref(), Some("the module"));
            assert_eq!(std::thread::spawn(|| Waits::of_this_thread().now()).join().unwrap(), None);
        });
        assert_eq!(waits.now(), None);
    }
}
