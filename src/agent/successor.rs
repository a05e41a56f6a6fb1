//! The process that takes over after an upgrade. It is no child of this one: it is adopted by the service manager, or by process
//! 1, which learns of its end and of nothing else's. So it outlives this process, and systemd supervises it.
//!
//! | step | this process | the starter, a child of it that runs the same program | the new one |
//! |---|---|---|---|
//! | 1 | starts the starter, on a pair of sockets | | |
//! | 2 | | starts the new one, and says its process id | runs |
//! | 3 | holds the new one by a descriptor, and closes its socket | keeps it unreaped until then: its id is its own | runs |
//! | 4 | | ends | is adopted |

use super::installed::OWN_PROGRAM;
use super::os::process::Held;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The option of a program that takes over.
const TAKEOVER: &str = "--takeover";
/// The first argument of the starter; a program follows, then the agent's own arguments.
const STARTER: &str = "--start-successor";
/// Bytes of what the starter says: a process id, or why there is none.
const SAID_BYTES_MAX: u64 = 1000;

/// See the module docs.
#[derive(Debug)]
pub struct Successor {
    /// Its process id.
    pub pid: u32,
    held: Held,
}

impl Successor {
    /// Starts the program at `path` with the arguments of this one, in a process group of its own.
    pub fn start(path: &Path) -> Result<Successor, String> {
        let arguments = std::env::args_os().skip(1).filter(|argument| argument != TAKEOVER);
        let error = |e: io::Error| e.to_string();
        let (ours, theirs) = UnixStream::pair().map_err(error)?;
        ours.set_read_timeout(Some(limits::SUCCESSOR_START_TIME_MAX)).map_err(error)?;
        let mut starter = Command::new(OWN_PROGRAM);
        starter.arg(STARTER).arg(path).args(arguments).stdin(OwnedFd::from(theirs));
        let mut starter = starter.spawn().map_err(error)?;
        let successor = Successor::hold(&ours);
        drop(ours);
        if successor.is_err() {
            // It may hang.
            let _ = starter.kill();
        }
        let _ = starter.wait();
        successor
    }

    /// Holds the process that the starter names.
    fn hold(starter: &UnixStream) -> Result<Successor, String> {
        let mut said = String::new();
        let read = BufReader::new(starter.take(SAID_BYTES_MAX)).read_line(&mut said);
        read.map_err(|e| format!("wait for its process id: {e}"))?;
        let said = said.trim_end();
        let pid =
            said.parse::<i32>().map_err(|_| if said.is_empty() { "its starter has ended" } else { said }.to_owned())?;
        let held = Held::open(pid).map_err(|errno| format!("hold process {pid}: {errno}"))?;
        Ok(Successor { pid: pid.unsigned_abs(), held })
    }

    /// Whether it has ended, or ends within this time; None for as long as it takes. One that cannot be waited for is taken
    /// as one that runs.
    pub fn has_ended_within(&self, time_max: Option<Duration>) -> bool {
        self.held.has_ended_within(time_max).unwrap_or_else(|errno| {
            log::error!("wait for process {}: {errno}", self.pid);
            std::thread::sleep(limits::RETRY_PAUSE_MIN);
            false
        })
    }

    /// Asks it to end.
    pub fn end(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills it, and waits until it has ended.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        if !self.has_ended_within(Some(limits::MODULE_END_TIME_MAX)) {
            log::error!("process {} does not end, not even by SIGKILL: it waits for a disk", self.pid);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(errno) = self.held.signal(signal) {
            log::error!("send {signal:?} to process {}: {errno}", self.pid);
        }
    }
}

/// The starter's program and arguments, if this process is one.
pub fn asked() -> Option<(OsString, Vec<OsString>)> {
    let mut arguments = std::env::args_os().skip(1);
    let is_starter = arguments.next()? == STARTER;
    let program = arguments.next().filter(|_| is_starter)?;
    Some((program, arguments.collect()))
}

/// The starter, see the module docs. Its input is the socket.
pub fn start_for_parent(program: &OsStr, arguments: &[OsString]) -> Result<(), ProgramError> {
    let error = |e: io::Error| ProgramError::new(ExitClass::Io, format!("{STARTER}: {e}"));
    let mut parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(error)?);
    let mut command = Command::new(program);
    // The service manager's watchdog is for the process that has this id, until it hears of another.
    command.args(arguments).arg(TAKEOVER).env_remove("WATCHDOG_PID").stdin(Stdio::null()).process_group(0);
    let said = command.spawn().map_or_else(|e| e.to_string(), |child| child.id().to_string());
    writeln!(parent, "{said}").map_err(error)?;
    parent.read(&mut [0]).map(drop).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(said: &str) -> Result<Successor, String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(said.as_bytes()).unwrap();
        drop(theirs);
        Successor::hold(&ours)
    }

    impl Successor {
        /// A process of a test.
        pub(in crate::agent) fn of(pid: u32) -> Successor {
            hold(&format!("{pid}\n")).unwrap()
        }
    }

    #[test]
    fn what_a_starter_says_is_a_process_or_a_reason() {
        let own = std::process::id();
        assert_eq!(hold(&format!("{own}\n")).unwrap().pid, own);
        for (said, error) in [
            ("", "its starter has ended"),
            ("No such file or directory (os error 2)\n", "No such file or directory (os error 2)"),
            ("0\n", "hold process 0: No such process (os error 3)"),
        ] {
            assert_eq!(hold(said).unwrap_err(), error, "{said:?}");
        }
        assert_eq!(hold(&"x".repeat(10_000)).unwrap_err().len(), SAID_BYTES_MAX as usize);
    }
}
