//! Talking with a module's process: its input, its output, its end, none of them waited for without a limit.

use crate::limits;
use crate::modules::notation::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
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

/// What a child prints: results, a line each, and messages.
pub(super) struct Output {
    /// The last whole one.
    pub(super) last: Vec<u8>,
    /// What came behind it.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// Of all lines.
    bytes_left: usize,
    /// The beginning of what it wrote to its standard error.
    messages: Vec<u8>,
}

impl Output {
    /// For lines of so many bytes.
    pub(super) fn new(line_bytes_max: usize) -> Output {
        let bytes_left = line_bytes_max.saturating_mul(limits::MODULE_RESULTS_MAX);
        Output { last: Vec::new(), line: Vec::new(), line_bytes_max, bytes_left, messages: Vec::new() }
    }

    /// The beginning of what it wrote to its standard error, as one line; none if it wrote nothing.
    pub(super) fn messages(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.messages);
        let mark = if self.messages.len() < limits::MODULE_MESSAGES_BYTES_MAX { "" } else { " (cut off)" };
        Some(printable(text.trim_end()) + mark).filter(|text| !text.is_empty())
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

/// Writes the child's input and reads its output, never waiting past `deadline` for either. It reads messages until the
/// output ends.
pub(super) fn talk(child: &mut Child, input: &[u8], output: &mut Output, deadline: Instant) -> Result<(), TalkError> {
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(TalkError::Io(std::io::Error::other("its pipes are gone")));
    };
    rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&stderr, OFlags::NONBLOCK)?;
    let mut pipes = Pipes { stdin: Some(stdin), stdout, stderr: Some(stderr) };
    let talked = pipes.talk(input, output, deadline);
    // What it wrote before its end is there.
    while output.messages.len() < limits::MODULE_MESSAGES_BYTES_MAX && pipes.read_messages(output) {}
    talked
}

/// Ends a child, which may end by itself first, and all that it has started. `None`: it does not end, because it waits for a
/// disk that does not answer; a thread waits for it then.
pub(super) fn end(mut child: Child, may_end: bool) -> Option<ExitStatus> {
    let pid = Pid::from_child(&child);
    // Before it is waited for: until then its number is that of its group, and of no other.
    let end_group = || kill_process_group(pid, Signal::KILL);
    if !may_end {
        let _ = end_group();
    }
    let started = Instant::now();
    let mut pause = Duration::from_micros(50);
    let has_ended = || !matches!(waitid(WaitId::Pid(pid), ENDED), Ok(None));
    while !has_ended() && started.elapsed() < limits::MODULE_END_TIME_MAX {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    let _ = end_group();
    if has_ended() {
        return child.wait().ok();
    }
    std::thread::spawn(move || child.wait());
    None
}

/// Looks whether a child has ended, and leaves it to be waited for.
const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG).union(WaitIdOptions::NOWAIT);

/// The pipes to a child.
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
}

impl Pipes {
    fn talk(&mut self, mut input: &[u8], output: &mut Output, deadline: Instant) -> Result<(), TalkError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TalkError::TimedOut);
            }
            let [input_is_ready, messages_are_ready, output_is_ready] = self.wait(left)?;
            if input_is_ready {
                input = write_some(&mut self.stdin, input);
            }
            if messages_are_ready {
                self.read_messages(output);
            }
            if output_is_ready && read_some(&mut self.stdout, output)? == 0 {
                output.end();
                return Ok(());
            }
        }
    }

    /// Waits until there is room in the input, a message, or output.
    fn wait(&self, left: Duration) -> Result<[bool; 3], TalkError> {
        let mut fds = vec![PollFd::new(&self.stdout, PollFlags::IN)];
        fds.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let output = ready.next().unwrap_or(false);
        let messages = self.stderr.is_some() && ready.next().unwrap_or(false);
        Ok([self.stdin.is_some() && ready.next().unwrap_or(false), messages, output])
    }

    /// Reads messages that are there, keeps the first of them, and returns whether there were any. What writes more is not
    /// held up.
    fn read_messages(&mut self, output: &mut Output) -> bool {
        let mut buffer = [0; limits::MODULE_MESSAGES_BYTES_MAX];
        match self.stderr.as_mut().map(|pipe| pipe.read(&mut buffer)) {
            Some(Ok(read @ 1..)) => {
                let room = limits::MODULE_MESSAGES_BYTES_MAX - output.messages.len();
                output.messages.extend_from_slice(&buffer[..read.min(room)]);
                true
            }
            Some(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
            _ => {
                self.stderr = None;
                false
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn messages_are_bounded_and_cannot_forge_a_line() {
        let said = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut output = Output::new(1 << 10);
            let talked = talk(&mut child, b"input", &mut output, Instant::now() + Duration::from_secs(60));
            let ended = end(child, talked.is_ok()).unwrap();
            assert!(talked.is_ok() && ended.success(), "{script}: {ended}");
            assert_eq!(output.last, b"result\n");
            output.messages()
        };
        assert_eq!(said("cat >/dev/null; echo result"), None);
        let forged = said(r"printf 'a\n2026 [error] b\033[31m\r' >&2; echo result").unwrap();
        assert_eq!(forged, r"a\n2026 [error] b\u{1b}[31m");
        // More than a pipe holds: what writes it is not held up.
        let long = said("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo result").unwrap();
        assert_eq!(long, "x".repeat(limits::MODULE_MESSAGES_BYTES_MAX) + " (cut off)");
    }
}
