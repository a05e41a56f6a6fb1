//! Running operations: each in a process of its own, `mig-agent --limited -m MODULE -`, with limits on time, address
//! space and output. What goes wrong there is an operation that failed, never an agent that did.
//!
//! The process gets limits of its own that lie below the agent's, so that it ends by itself with what it has found. It
//! also prints now and then what it has found so far: when it hangs, crashes or is killed, that is its result.

use super::spare::Spare;
use crate::action::{Action, Operation};
use crate::command::CommandStatus;
use crate::limits;
use crate::modules::{self, ModuleResult};
use crate::time::{self, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How operations are run.
pub struct Executor {
    /// The program that runs a module: this one.
    pub program: PathBuf,
    /// The longest that an operation may take.
    pub module_timeout: Duration,
}

/// How one operation ended. One that took too long has the result that it had until then.
enum Outcome {
    Finished(ModuleResult),
    TimedOut(ModuleResult),
}

/// The limits of a module's process, as the first line of its input: `2.7 4190208`, seconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModuleLimits {
    /// When it stops.
    pub time: Duration,
    /// Bytes that its result may have.
    pub result_bytes: usize,
}

impl ModuleLimits {
    /// Below those of the agent.
    fn below(timeout: Duration, output_bytes_max: usize) -> ModuleLimits {
        ModuleLimits {
            time: timeout - (timeout / 10).min(limits::MODULE_TIME_RESERVE_MAX),
            result_bytes: output_bytes_max.saturating_sub(limits::MODULE_OUTPUT_RESERVE_BYTES),
        }
    }

    fn line(self) -> String {
        format!("{} {}\n", self.time.as_secs_f64(), self.result_bytes)
    }

    /// Reads the line; `None` if it is none.
    pub fn parse(line: &str) -> Option<ModuleLimits> {
        let (seconds, bytes) = line.split_once(' ')?;
        let time = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
        Some(ModuleLimits { time, result_bytes: bytes.parse().ok()? })
    }
}

impl Executor {
    /// One that runs this very program, whatever became of its file since it started.
    pub fn new(module_timeout: Duration) -> Executor {
        Executor { program: PathBuf::from("/proc/self/exe"), module_timeout }
    }

    /// Runs every operation of an action, in order. The time limit of each is the module timeout or what is left of the
    /// action's validity, whichever is less. When `more` actions wait, the next one is taken to begin like this one.
    pub fn run(
        &self,
        action: &Action,
        more: bool,
        spare: &mut Spare,
        now: Timestamp,
    ) -> (CommandStatus, Vec<ModuleResult>) {
        let started = Instant::now();
        let validity = time::until(now, action.expire_after);
        let mut status = CommandStatus::Success;
        let mut output_bytes_left = limits::RESULTS_OUTPUT_BYTES_MAX;
        let mut results = Vec::with_capacity(action.operations.len());
        for (index, operation) in action.operations.iter().enumerate() {
            let timeout = self.module_timeout.min(validity.saturating_sub(started.elapsed()));
            let next = action.operations.get(index + 1).or(action.operations.first().filter(|_| more));
            let to_come = action.operations.len() - index - 1;
            let room = output_bytes_left.saturating_sub(to_come * limits::MODULE_OUTPUT_BYTES_MIN);
            let output_max = limits::MODULE_OUTPUT_BYTES_MAX.min(room);
            let (outcome, printed_bytes) = self.operation(operation, timeout, (spare, next), output_max);
            output_bytes_left = output_bytes_left.saturating_sub(printed_bytes);
            let result = match outcome {
                Outcome::Finished(result) => {
                    if !result.success && status == CommandStatus::Success {
                        status = CommandStatus::Failed;
                    }
                    result
                }
                Outcome::TimedOut(result) => {
                    status = CommandStatus::Timeout;
                    result
                }
            };
            results.push(result);
        }
        (status, results)
    }

    fn operation(
        &self,
        operation: &Operation,
        timeout: Duration,
        (spare, next): (&mut Spare, Option<&Operation>),
        output_max: usize,
    ) -> (Outcome, usize) {
        let failed = |reason: String| {
            (Outcome::Finished(ModuleResult::failed(format!("module '{}': {reason}", operation.module))), 0)
        };
        if modules::by_name(&operation.module).is_none() {
            return failed("is not available on this agent".into());
        }
        let started = spare.take(&operation.module).map_or_else(|| Self::spawn(&self.program, &operation.module), Ok);
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return failed(format!("start its process: {error}")),
        };
        if let Some(next) = next {
            spare.start(self, &next.module);
        }
        let own_limits = ModuleLimits::below(timeout, output_max);
        let input = own_limits.line() + &operation.parameters.to_string();
        let begun = Instant::now();
        let mut output = Output::new(output_max);
        let talked = talk(&mut child, input.as_bytes(), &mut output, begun + timeout);
        let is_out_of_time = begun.elapsed() >= own_limits.time;
        let ended = end(child, talked.is_ok());
        let reason = match (talked, ended) {
            (Ok(()), Some(status)) if status.success() => None,
            (Ok(()), Some(status)) => Some(format!("its process ended with {status}")),
            (Ok(()), None) => Some("its process does not end".into()),
            (Err(TalkError::TimedOut), _) => Some(format!("took longer than {timeout:.1?} and was ended")),
            (Err(TalkError::TooMuch), _) => {
                Some(format!("its result has more than {output_max} bytes; narrow the search or lower its match limit"))
            }
            (Err(TalkError::Io(error)), _) => Some(format!("talk to its process: {error}")),
        };
        let result = match (serde_json::from_slice::<ModuleResult>(&output.last), reason) {
            (Ok(result), None) => result,
            (Ok(mut result), Some(reason)) => {
                // What it had found stands; but it did not do all that it was asked to.
                result.success = false;
                let text = format!("partial: module '{}': {reason}", operation.module);
                result.errors.get_or_insert_default().insert(0, text);
                result
            }
            (Err(_), reason) => {
                let reason = reason.unwrap_or_else(|| "printed no result".into());
                ModuleResult::failed(format!("module '{}': {reason}", operation.module))
            }
        };
        let outcome = if is_out_of_time { Outcome::TimedOut(result) } else { Outcome::Finished(result) };
        (outcome, output.last.len())
    }

    /// Starts a module's process.
    pub(super) fn spawn(program: &Path, module: &str) -> std::io::Result<Child> {
        let mut command = Command::new(program);
        command.args(["--limited", "-m", module, "-"]).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    }
}

enum TalkError {
    TimedOut,
    TooMuch,
    Io(std::io::Error),
}

impl From<Errno> for TalkError {
    fn from(errno: Errno) -> Self {
        TalkError::Io(errno.into())
    }
}

/// What a child prints: results, a line each.
struct Output {
    /// The last whole one.
    last: Vec<u8>,
    /// What came behind it.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// Of all lines.
    bytes_left: usize,
}

impl Output {
    fn new(line_bytes_max: usize) -> Output {
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

/// Sends the child its input and takes its output, never waiting past `deadline` for either.
fn talk(child: &mut Child, input: &[u8], output: &mut Output, deadline: Instant) -> Result<(), TalkError> {
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
fn end(mut child: Child, may_end: bool) -> Option<ExitStatus> {
    if !may_end {
        let _ = child.kill();
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

/// Writes what fits, and closes the pipe after the last byte. A child that does not read has its own reasons; what it
/// prints tells.
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
