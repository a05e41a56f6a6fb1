//! The process of a persistent module: starting it, reading what it prints, ending it.

use crate::agent::os::groups::{self, Group};
use crate::limits;
use crate::modules::notation::printable;
use crate::modules::persistent::{Event, Wanted};
use crate::time::Timestamp;
use crate::wake::Waker;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// What a module's process printed.
pub(super) enum Said {
    /// An event, and the size of its text.
    Event(Event, usize),
    /// A line that is longer than an event may be.
    TooLong,
}

/// A module's process.
pub(super) struct Running {
    pub(super) child: Child,
    _group: Option<Group>,
    /// When it was started.
    pub(super) started: Timestamp,
    /// What it printed, in order; ended when the process has.
    pub(super) events: Receiver<Said>,
    /// What it said last on standard error.
    said: Arc<Mutex<String>>,
}

impl Running {
    /// Starts it; `waker` is woken when there are events.
    pub(super) fn start(
        wanted: &Wanted,
        program: &Path,
        waker: Arc<Mutex<Option<Waker>>>,
        now: Timestamp,
    ) -> std::io::Result<Running> {
        let mut command = Command::new(program);
        command.args(["--limited", "-P", wanted.module, "-"]).current_dir("/").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let group = groups::enter(child.id(), wanted.module);
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(std::io::Error::other("its pipes are gone"));
        };
        let (sender, events) = sync_channel(limits::EVENTS_PER_BATCH_MAX);
        std::thread::Builder::new().name(wanted.module.into()).spawn(move || forward(stdout, &sender, &waker))?;
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::Builder::new().name(wanted.module.into()).spawn(move || listen(stderr, &heard))?;
        let running = Running { child, _group: group, started: now, events, said };
        match stdin.write_all(wanted.parameters.to_string().as_bytes()) {
            Ok(()) => Ok(running),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }

    /// Why it ended.
    pub(super) fn why(&mut self) -> String {
        let status = self.child.try_wait().ok().flatten();
        let status = status.map_or("it closed its output".to_owned(), |status| format!("it ended with {status}"));
        match self.said.lock().unwrap_or_else(PoisonError::into_inner).as_str() {
            "" => status,
            said => format!("{status}: {}", printable(said)),
        }
    }

    /// Ends it, with what it has started.
    pub(super) fn end(mut self) {
        // Before it is waited for: until then its number is that of its group, and of no other.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Reads events until the process has ended, or they are not wanted any longer.
fn forward(output: impl Read, events: &SyncSender<Said>, waker: &Mutex<Option<Waker>>) {
    let wake = || {
        let waker = waker.lock().unwrap_or_else(PoisonError::into_inner);
        waker.iter().for_each(Waker::wake);
    };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = output.by_ref().take(limits::EVENT_BYTES_MAX).read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            break;
        }
        let said = if line.ends_with(b"\n") {
            match serde_json::from_slice(&line) {
                Ok(event) => Said::Event(event, line.len()),
                // The module is not in order.
                Err(_) => break,
            }
        } else if output.skip_until(b'\n').is_ok() {
            Said::TooLong
        } else {
            break;
        };
        if events.send(said).is_err() {
            break;
        }
        wake();
    }
    wake();
}

/// Keeps the last line of what the process says.
fn listen(messages: impl Read, said: &Mutex<String>) {
    let mut messages = BufReader::new(messages);
    let mut line = Vec::new();
    while messages
        .by_ref()
        .take(limits::MODULE_MESSAGES_BYTES_MAX as u64)
        .read_until(b'\n', &mut line)
        .is_ok_and(|n| n > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        *said.lock().unwrap_or_else(PoisonError::into_inner) = text;
        line.clear();
    }
}
