//! Running operations: each in a process of its own, `mig-agent --limited -m MODULE -`, with limits on time, address
//! space and output. What goes wrong there is an operation that failed, never an agent that did.
//!
//! The process gets limits of its own that lie below the agent's, so that it ends by itself with what it has found. It
//! also prints now and then what it has found so far: when it hangs, crashes or is killed, that is its result.

use super::fetch::{Network, NetworkText};
use super::os::confine;
use super::os::groups::{self, KilledFor};
use super::os::memory::KillsForMemory;
use super::talk::{Output, TalkError, end, talk};
use crate::action::{Action, Operation};
use crate::command::CommandStatus;
use crate::limits;
use crate::modules::{self, ModuleResult};
use crate::time::{self, Timestamp};
use crate::waiting::waiting_for;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How operations are run.
#[derive(Debug, Clone)]
pub struct Executor {
    /// The program that runs a module: this one.
    pub program: PathBuf,
    /// The longest that an operation may take.
    pub module_timeout: Duration,
    /// What modules that open connections reach the network by.
    pub network: Network,
    /// When every operation ends, however much time it would have, if there is such a time.
    pub end: Option<Instant>,
}

/// How one operation ended. One that took too long has the result that it had until then.
enum Outcome {
    Finished(ModuleResult),
    TimedOut(ModuleResult),
}

/// What a module's process reads before its parameters: a JSON object, as the first line of its input. It has passwords:
/// nothing shows it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleLimits {
    /// When it stops.
    pub time: Duration,
    /// Bytes that its result may have.
    pub result_bytes: usize,
    /// How it reaches the network, if it needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkText>,
}

impl ModuleLimits {
    /// Below those of the agent.
    fn below(timeout: Duration, output_bytes_max: usize, network: Option<NetworkText>) -> ModuleLimits {
        ModuleLimits {
            time: timeout - (timeout / 10).min(limits::MODULE_TIME_RESERVE_MAX),
            result_bytes: output_bytes_max.saturating_sub(limits::MODULE_OUTPUT_RESERVE_BYTES),
            network,
        }
    }

    /// Reads the line; `None` if it is none.
    pub fn parse(line: &str) -> Option<ModuleLimits> {
        serde_json::from_str(line).ok()
    }
}

impl Executor {
    /// One that runs this very program, whatever became of its file since it started.
    pub fn new(module_timeout: Duration) -> Executor {
        Executor { program: PathBuf::from("/proc/self/exe"), module_timeout, network: Network::default(), end: None }
    }

    /// The same, with the proxies and the authorities of a configuration.
    pub fn with_network(self, network: Network) -> Executor {
        Executor { network, ..self }
    }

    /// The same; every operation ends by then.
    pub fn ending_at(self, end: Instant) -> Executor {
        Executor { end: Some(end), ..self }
    }

    /// Whether there is time to run anything.
    pub fn has_time(&self) -> bool {
        !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// Runs every operation of an action, in order. The time limit of each is the module timeout, what is left of the action's
    /// validity, or what is left until the end, whichever is least. One that has no time is not begun.
    pub fn run(&self, action: &Action, now: Timestamp) -> (CommandStatus, Vec<ModuleResult>) {
        let started = Instant::now();
        let validity = time::until(now, action.expire_after);
        let mut status = CommandStatus::Success;
        let mut output_bytes_left = limits::RESULTS_OUTPUT_BYTES_MAX;
        let mut results = Vec::with_capacity(action.operations.len());
        for (index, operation) in action.operations.iter().enumerate() {
            let timeout = self.module_timeout.min(validity.saturating_sub(started.elapsed())).min(self.left());
            let to_come = action.operations.len() - index - 1;
            let room = output_bytes_left.saturating_sub(to_come * limits::MODULE_OUTPUT_BYTES_MIN);
            let output_max = limits::MODULE_OUTPUT_BYTES_MAX.min(room);
            let (outcome, printed_bytes) = self.operation(operation, timeout, output_max);
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

    fn operation(&self, operation: &Operation, timeout: Duration, output_max: usize) -> (Outcome, usize) {
        let failed = |reason: String| {
            (Outcome::Finished(ModuleResult::failed(format!("module '{}': {reason}", operation.module))), 0)
        };
        let Some(module) = modules::by_name(&operation.module) else {
            return failed("is not available on this agent".into());
        };
        if timeout.is_zero() {
            let reason = format!("module '{}': not begun, as no time was left for it", operation.module);
            return (Outcome::TimedOut(ModuleResult::failed(reason)), 0);
        }
        let network = match module.needs().opens_network.then(|| self.network.text()).transpose() {
            Ok(network) => network,
            Err(reason) => return failed(reason),
        };
        let mut child = match self.spawn(&operation.module) {
            Ok(child) => child,
            Err(error) => return failed(format!("start its process: {error}")),
        };
        let group = groups::enter(child.id(), &operation.module);
        if let Err(error) = confine::limit_processor_time(Pid::from_child(&child), timeout) {
            log::warn!("module {} runs without a limit on its processor time: {error}", operation.module);
        }
        let own_limits = ModuleLimits::below(timeout, output_max, network);
        let input = format!("{}\n{}", serde_json::to_string(&own_limits).unwrap_or_default(), operation.parameters);
        let (begun, kills) = (Instant::now(), KillsForMemory::now());
        let mut output = Output::new(output_max);
        let talked = waiting_for(format_args!("module {}", operation.module), || {
            talk(&mut child, input.as_bytes(), &mut output, begun + timeout)
        });
        if let Some(messages) = output.messages() {
            log::warn!("module {}: {messages}", operation.module);
        }
        let is_out_of_time = begun.elapsed() >= own_limits.time;
        let ended = end(child, talked.is_ok());
        let killed = || {
            let elsewhere = || KillsForMemory::now().has_risen_since(kills).then_some(KilledFor::Machine);
            group.as_ref().and_then(|group| group.killed_for_memory()).or_else(elsewhere)
        };
        let reason = match (talked, ended) {
            (Ok(()), Some(status)) if status.success() => None,
            (Ok(()), Some(status)) => Some(ending(status, killed())),
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
    fn spawn(&self, module: &str) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["--limited", "-m", module, "-"]).current_dir("/");
        // A process group, so that what it may have started ends with it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

/// How a process ended by itself that was not to end so. A SIGKILL is not this agent's, which kills only what it does not
/// listen to any more; `killed` is what the kernel says that it killed for.
fn ending(status: ExitStatus, killed: Option<KilledFor>) -> String {
    let why = match (status.signal().and_then(Signal::from_named_raw), killed) {
        (Some(Signal::ABORT), _) => format!(
            "it needed more than the {} MiB of address space of an operation, or found an error in itself, which is in \
             the agent's log; narrow the search",
            limits::MODULE_ADDRESS_SPACE_BYTES >> 20
        ),
        (Some(Signal::KILL), Some(KilledFor::Limit)) => format!(
            "it needed more than the {} MiB of memory of an operation; narrow the search",
            limits::MODULE_MEMORY_BYTES >> 20
        ),
        (Some(Signal::KILL), Some(KilledFor::Machine)) => {
            "it was killed for memory, of which this machine or its service has too little; narrow the search".into()
        }
        (Some(Signal::XCPU), _) => {
            "it used more processor time than its threads have in the time of an operation; narrow the search".into()
        }
        (Some(Signal::KILL), None) => {
            "it was killed for memory, if the kernel's log says so, or by somebody on this machine".into()
        }
        _ => return format!("its process ended with {status}"),
    };
    format!("its process ended with {status}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_the_kernel_ended_names_the_limit() {
        let [abort, kill, fault, time] = [Signal::ABORT, Signal::KILL, Signal::SEGV, Signal::XCPU]
            .map(|signal| ExitStatus::from_raw(signal.as_raw()));
        for (status, killed, words) in [
            (abort, None, "the 2048 MiB of address space"),
            (kill, Some(KilledFor::Limit), "the 1024 MiB of memory of an operation"),
            (kill, Some(KilledFor::Machine), "this machine or its service has too little"),
            (time, None, "more processor time"),
            (kill, None, "by somebody on this machine"),
            (fault, Some(KilledFor::Limit), "its process ended with signal: 11 (SIGSEGV)"),
        ] {
            assert!(ending(status, killed).contains(words), "{status}: {}", ending(status, killed));
        }
        assert_eq!(ending(ExitStatus::from_raw(3 << 8), None), "its process ended with exit status: 3");
    }
}
