//! The parent of an agent that is immortal (`agent.isimmortal`) and that no service manager looks after: it starts the agent
//! in the foreground, and starts it again when it ends without having been asked to.
//!
//! | the agent ends | the parent |
//! |---|---|
//! | after SIGTERM or SIGINT, which the parent passes on | ends as the agent did |
//! | with 0: it was told to, by its stat socket for example | ends with 0 |
//! | with 64, 69 or 78: the next start would end alike | ends as the agent did |
//! | otherwise: a signal, an error, a full disk | starts it again, after a pause that grows |
//!
//! It stays in the foreground, and has the agent's terminal. When it is killed, the agent goes on.

use crate::error::{ExitClass, ProgramError};
use crate::limits::{IMMORTAL_GOOD_RUN, IMMORTAL_PAUSE_MAX, RETRY_PAUSE_MIN};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Keeps an agent running that is started with the arguments of this process, until it ends as it should. Its exit code is
/// that of this process.
pub fn keep_running() -> Result<(), ProgramError> {
    let error = |e: io::Error| ProgramError::new(ExitClass::Io, format!("handle signals: {e}"));
    let signals = signals().map_err(error)?;
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let started = Instant::now();
        let ended = start().and_then(|mut child| wait(&mut child, &signals));
        let how = match ended {
            Ok(Ended { status, is_asked }) if is_asked || is_final(status) => std::process::exit(code(status)),
            Ok(Ended { status, .. }) => status.to_string(),
            Err(error) => error.to_string(),
        };
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

fn start() -> io::Result<Child> {
    let arguments = std::iter::once(OsString::from("-f")).chain(std::env::args_os().skip(1));
    Command::new("/proc/self/exe").args(arguments).spawn()
}

/// The signals that come from now on.
fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(signal)));
    Ok(receiver)
}

/// Waits until the agent ends, and passes signals on.
fn wait(child: &mut Child, signals: &Receiver<i32>) -> io::Result<Ended> {
    let (pid, mut is_asked) = (Pid::from_child(child), false);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended { status, is_asked });
        }
        let passed_on = match signals.recv().map_err(io::Error::other)? {
            SIGTERM => Signal::TERM,
            SIGINT => Signal::INT,
            SIGHUP => Signal::HUP,
            _ => continue,
        };
        is_asked |= passed_on != Signal::HUP;
        // It is not reaped yet, so the process id is its own.
        kill_process(pid, passed_on)?;
    }
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

/// Whether the next start would end alike, or none is wanted.
fn is_final(status: ExitStatus) -> bool {
    const FINAL: [i32; 4] = [0, ExitClass::Usage as i32, ExitClass::Unavailable as i32, ExitClass::Config as i32];
    status.code().is_some_and(|code| FINAL.contains(&code))
}

/// The exit code, as a shell says it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(ExitClass::Io as i32)
}
