//! Talking with a module's process: its input, its output, its end, none of them waited for without a limit.

use crate::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

/// Why talking ended early.
pub(super) enum TalkError {
    /// The time is over.
    TimedOut,
    /// The child prints more than it may.
    TooMuch,
    /// A pipe fails.
    Io(std::io::Error),
}

impl From<Errno> for TalkError {
    fn from(errno: Errno) -> Self {
        TalkError::Io(errno.into())
    }
}

/// What a child prints: results, a line each.
pub(super) struct Output {
    /// The last whole one.
    pub(super) last: Vec<u8>,
    /// What came behind it.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// Of all lines.
    bytes_left: usize,
}

impl Output {
    /// For lines of so many bytes.
    pub(super) fn new(line_bytes_max: usize) -> Output {
        let bytes_left = line_bytes_max.saturating_mul(limits::MODULE_RESULTS_MAX);
        Output { last: Vec::new(), line: Vec::new(), line_bytes_max, bytes_left }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or(TalkError::TooMuch)?;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > self.line_bytes_max {
                return Err(TalkError::TooMuch);
            }
            if part.ends_with(b"\n") {
                self.last = std::mem::take(&mut self.line);
            }
        }
        Ok(())
    }

    /// The only line may lack its newline.
    fn end(&mut self) {
        if self.last.is_empty() {
            self.last = std::mem::take(&mut self.line);
        }
    }
}

/// Writes the child's input and reads its output, never waiting past `deadline` for either.
pub(super) fn talk(child: &mut Child, input: &[u8], output: &mut Output, deadline: Instant) -> Result<(), TalkError> {
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(TalkError::Io(std::io::Error::other("its pipes are gone")));
    };
    rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
    let mut stdin = Some(stdin);
    let mut input = input;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(TalkError::TimedOut);
        }
        let (readable, writable) = wait(&stdout, stdin.as_ref(), left)?;
        if writable {
            input = write_some(&mut stdin, input);
        }
        if readable && read_some(&mut stdout, output)? == 0 {
            output.end();
            return Ok(());
        }
    }
}

/// Ends a child, which may end by itself first. `None`: it does not end, because it waits for a disk that does not answer;
/// a thread waits for it then.
pub(super) fn end(mut child: Child, may_end: bool) -> Option<ExitStatus> {
    if !may_end {
        // With what it has started: it is not waited for yet, so its number is still that of its group.
        let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let started = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() < limits::MODULE_END_TIME_MAX => std::thread::sleep(pause),
            _ => break,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    std::thread::spawn(move || {
        let _ = child.kill();
        let _ = child.wait();
    });
    None
}

/// Waits until there is something to read, or room to write.
fn wait(stdout: &ChildStdout, stdin: Option<&ChildStdin>, left: Duration) -> Result<(bool, bool), TalkError> {
    let mut fds = vec![PollFd::new(stdout, PollFlags::IN)];
    fds.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

/// Writes what fits, and closes the pipe after the last byte. A child that closes its input is judged by its output.
fn write_some<'a>(stdin: &mut Option<ChildStdin>, input: &'a [u8]) -> &'a [u8] {
    let Some(pipe) = stdin else { return input };
    let rest = match pipe.write(input) {
        Ok(written) => &input[written..],
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => input,
        Err(_) => &[],
    };
    if rest.is_empty() {
        *stdin = None;
    }
    rest
}

fn read_some(stdout: &mut ChildStdout, output: &mut Output) -> Result<usize, TalkError> {
    let mut buffer = [0; 64 << 10];
    let read = loop {
        match stdout.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other.map_err(TalkError::Io)?,
        }
    };
    output.add(&buffer[..read]).map(|()| read)
}
