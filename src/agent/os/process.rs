//! A process that is held by a descriptor (`pidfd_open(2)`): its id cannot become another one's. It need be no child.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::time::{Duration, Instant};

/// See the module docs.
#[derive(Debug)]
pub struct Held {
    descriptor: OwnedFd,
}

impl Held {
    /// The process with this id now. A thread's id is refused.
    pub fn open(pid: i32) -> Result<Held> {
        let id = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        Ok(Held { descriptor: pidfd_open(id, PidfdFlags::empty())? })
    }

    /// Sends a signal. One that has ended is no failure.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Err(Errno::SRCH) => Ok(()),
            outcome => outcome,
        }
    }

    /// Waits for its end; None for as long as it takes.
    pub fn has_ended_within(&self, time_max: Option<Duration>) -> Result<bool> {
        let deadline = time_max.map(|time_max| Instant::now() + time_max);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], timeout.as_ref()) {
                Err(Errno::INTR) => {}
                outcome => return outcome.map(|ready| ready > 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_held_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let held = Held::open(child.id().cast_signed()).unwrap();
        assert!(!held.has_ended_within(Some(Duration::ZERO)).unwrap());
        held.signal(Signal::TERM).unwrap();
        assert!(held.has_ended_within(Some(Duration::from_secs(60))).unwrap());
        child.wait().unwrap();
        assert!(held.has_ended_within(None).unwrap());
        held.signal(Signal::KILL).unwrap();
        assert_eq!(Held::open(child.id().cast_signed()).unwrap_err(), Errno::SRCH);
        assert_eq!(Held::open(0).unwrap_err(), Errno::SRCH);
    }
}
