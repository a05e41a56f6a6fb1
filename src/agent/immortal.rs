//! The parent of an agent that is immortal (`agent.isimmortal`) and that no service manager looks after: it starts the agent
//! in the foreground, and starts it again when it ends without having been asked to.
//!
//! | the agent ends | the parent |
//! |---|---|
//! | after SIGTERM or SIGINT, which the parent passes on | ends as the agent did |
//! | with 0: it was told to, by its stat socket for example | ends with 0 |
//! | with 64 or 78, at the first start 69: the next start would end alike | ends as the agent did |
//! | and another version has taken over from it | follows that one |
//! | otherwise: a signal, an error, a full disk, the lock held by a check-in | starts it again, after a pause that grows |
//!
//! The version that takes over after an upgrade becomes a child of the parent, which adopts what its agents leave behind
//! (`PR_SET_CHILD_SUBREAPER`). Of its children, the one that had the lock of the run directory last is the agent. The next start
//! is that of the program that is installed then ([`installed::next_start`]).
//!
//! It stays in the foreground, and has the agent's terminal. When it is killed, the agent goes on.

use super::installed;
use crate::error::{ExitClass, ProgramError};
use crate::limits::{IMMORTAL_GOOD_RUN, IMMORTAL_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::spool::{Mover, stages};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, set_child_subreaper, wait, waitid,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Keeps an agent running that is started with the arguments of this process and works in `run_directory`, until it ends as it
/// should. Its exit code is that of this process.
pub fn keep_running(run_directory: &Path) -> Result<(), ProgramError> {
    let error = |e: io::Error| ProgramError::new(ExitClass::Io, format!("handle signals: {e}"));
    let signals = signals().map_err(error)?;
    if let Err(errno) = set_child_subreaper(Some(getpid())) {
        log::warn!("follow the agent when another version takes over: {errno}");
    }
    let (mut pause, mut is_first) = (RETRY_PAUSE_MIN, true);
    loop {
        let started = Instant::now();
        let ended = start().and_then(|agent| Followed { agent, run_directory, successor: None }.wait_for_end(&signals));
        let how = match ended {
            Ok(Ended { status, is_asked }) if is_asked || is_final(status, is_first) => {
                std::process::exit(code(status))
            }
            Ok(Ended { status, .. }) => status.to_string(),
            Err(error) => error.to_string(),
        };
        is_first = false;
        if started.elapsed() >= IMMORTAL_GOOD_RUN {
            pause = RETRY_PAUSE_MIN;
        }
        log::error!("the agent ended: {how}; starting it again in {pause:?}");
        if is_asked_within(&signals, pause) {
            return Ok(());
        }
        pause = (pause * 2).min(IMMORTAL_PAUSE_MAX);
    }
}

/// How an agent ended, and whether it was asked to.
struct Ended {
    status: ExitStatus,
    is_asked: bool,
}

fn start() -> io::Result<Pid> {
    let arguments = std::iter::once(OsString::from("-f")).chain(std::env::args_os().skip(1));
    let program = installed::next_start()?;
    let child = Command::new(&program).args(arguments).spawn();
    let named = |e: io::Error| io::Error::new(e.kind(), format!("start {}: {e}", program.display()));
    // It is waited for with all others.
    child.map(|child| Pid::from_child(&child)).map_err(named)
}

/// The signals that come from now on.
fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(signal)));
    Ok(receiver)
}

/// An agent, and what takes over from it.
struct Followed<'a> {
    /// A child that is not reaped yet, so the process id is its own.
    agent: Pid,
    run_directory: &'a Path,
    /// The last one that had taken over and ended before this one.
    successor: Option<(Pid, ExitStatus)>,
}

impl Followed<'_> {
    /// Waits until it ends and nothing has taken over from it, and passes signals on.
    fn wait_for_end(mut self, signals: &Receiver<i32>) -> io::Result<Ended> {
        let mut is_asked = false;
        loop {
            while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
                let status = ExitStatus::from_raw(status.as_raw());
                let next = self.owner().filter(|owner| *owner != self.agent);
                if pid != self.agent {
                    self.successor = Some((pid, status)).filter(|_| next == Some(pid)).or(self.successor);
                    continue;
                }
                let Some(next) = next.filter(|next| is_child(*next)) else {
                    let last = self.successor.filter(|(successor, _)| next == Some(*successor));
                    return Ok(Ended { status: last.map_or(status, |(_, status)| status), is_asked });
                };
                log::info!("process {next} has taken over from process {pid}, which has ended");
                self.agent = next;
                if is_asked {
                    kill_process(next, Signal::TERM)?;
                }
            }
            let passed_on = match signals.recv().map_err(io::Error::other)? {
                SIGTERM => Signal::TERM,
                SIGINT => Signal::INT,
                SIGHUP => Signal::HUP,
                _ => continue,
            };
            is_asked |= passed_on != Signal::HUP;
            kill_process(self.agent, passed_on)?;
        }
    }

    /// The process that had the lock of the run directory last.
    fn owner(&self) -> Option<Pid> {
        let agent = Mover::open(self.run_directory, &stages::AGENT, "agent").ok()?;
        agent.lock_owner().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }
}

/// Whether this process has such a child, ended or not.
fn is_child(pid: Pid) -> bool {
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).is_ok()
}

/// Whether a signal to end comes within this time.
fn is_asked_within(signals: &Receiver<i32>, limit: Duration) -> bool {
    let started = Instant::now();
    loop {
        match signals.recv_timeout(limit.saturating_sub(started.elapsed())) {
            Ok(SIGTERM | SIGINT) | Err(RecvTimeoutError::Disconnected) => return true,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// Whether the next start would end alike, or none is wanted. An agent that has the lock at the first start has it for long; one
/// that has it later is a check-in.
fn is_final(status: ExitStatus, is_first: bool) -> bool {
    const FINAL: [i32; 3] = [0, ExitClass::Usage as i32, ExitClass::Config as i32];
    let is_locked = status.code() == Some(ExitClass::Unavailable as i32);
    status.code().is_some_and(|code| FINAL.contains(&code)) || (is_first && is_locked)
}

/// The exit code, as a shell says it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(ExitClass::Io as i32)
}
