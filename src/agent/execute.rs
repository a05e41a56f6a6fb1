//! Running operations: each in a process of its own, `mig-agent --limited -m MODULE -`, with limits on time, address
//! space and output. What goes wrong there is an operation that failed, never an agent that did.

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
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How operations are run.
pub struct Executor {
    /// The program that runs a module: this one.
    pub program: PathBuf,
    /// The longest that an operation may take.
    pub module_timeout: Duration,
}

/// How one operation ended.
enum Outcome {
    Finished(ModuleResult),
    TimedOut(ModuleResult),
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
            let result = match self.operation(operation, timeout, (spare, next), &mut output_bytes_left) {
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
        output_bytes_left: &mut usize,
    ) -> Outcome {
        let failed = |reason: String| {
            Outcome::Finished(ModuleResult::failed(format!("module '{}': {reason}", operation.module)))
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
        let output_max = limits::MODULE_OUTPUT_BYTES_MAX.min(*output_bytes_left);
        let deadline = Instant::now() + timeout;
        let talked = talk(&mut child, operation.parameters.to_string().as_bytes(), output_max, deadline);
        if talked.is_err() {
            let _ = child.kill();
        }
        let ended = child.wait();
        match talked {
            Ok(output) => {
                *output_bytes_left -= output.len();
                match (serde_json::from_slice(&output), ended) {
                    (Ok(result), _) => Outcome::Finished(result),
                    (Err(_), Ok(status)) => failed(format!("printed no result, its process ended with {status}")),
                    (Err(_), Err(error)) => failed(format!("wait for its process: {error}")),
                }
            }
            Err(TalkError::TimedOut) => {
                let text = format!("module '{}': took longer than {timeout:.1?} and was ended", operation.module);
                Outcome::TimedOut(ModuleResult::failed(text))
            }
            Err(TalkError::TooMuch) => failed(format!(
                "its result has more than {output_max} bytes; narrow the search or lower its match limit"
            )),
            Err(TalkError::Io(error)) => failed(format!("talk to its process: {error}")),
        }
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

/// Gives the child its input and takes its output, never waiting past `deadline` for either.
fn talk(child: &mut Child, input: &[u8], output_max: usize, deadline: Instant) -> Result<Vec<u8>, TalkError> {
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(TalkError::Io(std::io::Error::other("its pipes are gone")));
    };
    rustix::fs::fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
    let mut stdin = Some(stdin);
    let mut input = input;
    let mut output = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(TalkError::TimedOut);
        }
        let (readable, writable) = wait(&stdout, stdin.as_ref(), left)?;
        if writable {
            input = write_some(&mut stdin, input);
        }
        if readable && read_some(&mut stdout, &mut output, output_max)? == 0 {
            return Ok(output);
        }
    }
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

fn read_some(stdout: &mut ChildStdout, output: &mut Vec<u8>, output_max: usize) -> Result<usize, TalkError> {
    let mut buffer = [0; 64 << 10];
    let read = loop {
        match stdout.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other.map_err(TalkError::Io)?,
        }
    };
    output.extend_from_slice(&buffer[..read]);
    if output.len() > output_max { Err(TalkError::TooMuch) } else { Ok(read) }
}
