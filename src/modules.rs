//! Modules: what an operation of an action runs on an endpoint.
//!
//! A module takes parameters (JSON), inspects the machine, and returns one [`ModuleResult`]. It knows nothing of
//! actions, signatures or relays: the agent runs it in a separate process with limits on time, memory and output
//! (`mig-agent -m NAME PARAMETERS`), so that a crash of a module does not affect the agent. The investigators' programs
//! link modules too: parameters are checked before they are signed.
//!
//! # What a module may do
//!
//! Each declares it beside its name ([`Module::needs`]); the process that runs it for the agent can do nothing else, because
//! the kernel refuses it (`agent/os/confine.rs`). A module that is run by hand, without `--limited`, is not confined.
//!
//! | module | reads files | looks into processes | network | beside its program | ends processes | runs programs |
//! |---|---|---|---|---|---|---|
//! | `agentdestroy` | | yes | | removes | yes | |
//! | `connected` | | | asks the kernel for its sockets | | | |
//! | `file` | yes | if a path leads to a proc file system | | | | |
//! | `fswatch` | yes, and their changes | | | | | |
//! | `kernelmodule` | yes | | | | | |
//! | `memory` | yes | yes | | | | |
//! | `netstat` | if it looks into processes | for sockets and namespaces | asks the kernel for its sockets | | | |
//! | `ping` | | | yes; echo requests | | | |
//! | `pkg` | yes | as `file` | | | | |
//! | `process` | yes | yes | | | | |
//! | `scribe` | yes | as `file` | | | | |
//! | `service` | yes | | | | | |
//! | `sshkey` | yes | | | | | |
//! | `timedrift` | | | yes | | | |
//! | `upgrade` | | | yes | writes | | yes |
//! | `user` | yes | | | | | |
//! | `yara` | yes | if it scans processes, or files below a proc file system | | | | |
//!
//! # To add one
//!
//! A file of its own below `modules/`, and a folder beside it: `form.rs` (the table of its options), `parameters.rs` (JSON to a
//! type), `run.rs` and a file for each thing that it reads, `print.rs`. Its name goes into [`all`], what it may do into the
//! table above, and a page into `modules/README.md`. What modules have in common:
//!
//! | file | what it has |
//! |---|---|
//! | [`form`] | options, questions and help, made of one table |
//! | `fields` | reading parameters: errors that name the field, unknown keys, searches by label, what their checks say |
//! | `expressions` | regular expressions on short texts |
//! | `comparisons` | sizes and ages, as parameters write them |
//! | `report` | a result within limits: elements by label, what was not seen, partial results |
//! | `processes` | reading processes and their memory through `/proc` |
//! | `files`, `accounts` | reading files of the machine without being led elsewhere; accounts and groups |
//! | `sqlite` | reading one table of a database of SQLite |
//! | `notation` | times, durations, modes, lines for people |
//! | `limits` | limits of all of them |
//! | [`network`] | files by HTTPS |
//!
//! A persistent module (`persistent`) is another kind: the agent's configuration names it, and it notices events.

#[cfg(feature = "modules")]
mod accounts;
#[cfg(feature = "modules")]
pub mod agentdestroy;
#[cfg(feature = "modules")]
mod comparisons;
#[cfg(feature = "modules")]
pub mod connected;
#[cfg(feature = "modules")]
mod expressions;
#[cfg(feature = "modules")]
mod fields;
#[cfg(feature = "modules")]
pub mod file;
#[cfg(feature = "modules")]
mod files;
#[cfg(feature = "modules")]
pub mod form;
#[cfg(feature = "agent")]
pub mod fswatch;
#[cfg(feature = "modules")]
pub mod kernelmodule;
#[cfg(feature = "modules")]
mod limits;
#[cfg(feature = "modules")]
pub mod memory;
#[cfg(feature = "modules")]
pub mod netstat;
pub mod network;
#[cfg(feature = "modules")]
pub(crate) mod notation;
#[cfg(feature = "agent")]
pub mod persistent;
#[cfg(feature = "modules")]
pub mod ping;
#[cfg(feature = "modules")]
pub mod pkg;
#[cfg(feature = "modules")]
pub mod process;
#[cfg(feature = "modules")]
mod processes;
#[cfg(feature = "modules")]
mod report;
#[cfg(feature = "modules")]
pub mod scribe;
#[cfg(feature = "modules")]
pub mod service;
#[cfg(feature = "modules")]
mod sqlite;
#[cfg(feature = "modules")]
pub mod sshkey;
#[cfg(feature = "modules")]
pub mod timedrift;
#[cfg(feature = "modules")]
pub mod upgrade;
#[cfg(feature = "modules")]
pub mod user;
#[cfg(feature = "modules")]
pub mod yara;

use network::Fetch;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;

/// The result of one operation: an element of a command's `results` (`spool-layout/FORMAT.md`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModuleResult {
    /// Something matched what was looked for.
    pub foundanything: bool,
    /// The module ran; false if the parameters were refused or it could not run.
    pub success: bool,
    /// Matches, in the module's own schema.
    pub elements: Value,
    /// Counters of the run, in the module's own schema.
    pub statistics: Value,
    /// Error messages; `None` is `null` on the wire.
    pub errors: Option<Vec<String>>,
}

impl ModuleResult {
    /// What `run` makes of parameters, or why they were refused.
    #[cfg(feature = "modules")]
    fn of<P>(parameters: Result<P, ParameterError>, run: impl FnOnce(P) -> ModuleResult) -> Self {
        parameters.map_or_else(|error| ModuleResult::failed(error.to_string()), run)
    }

    /// A result that holds one error and nothing else.
    pub fn failed(error: impl Into<String>) -> Self {
        ModuleResult { errors: Some(vec![error.into()]), ..Default::default() }
    }
}

/// An invalid parameter: the field and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ParameterError {
    /// The field, as a path: `searches.s1.names[0]`, or the flag of the command line: `-name`.
    pub field: String,
    /// Why it is invalid.
    pub reason: String,
}

impl ParameterError {
    /// An error on `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        ParameterError { field: field.into(), reason: reason.into() }
    }
}

/// What a module may do on its machine, beside computing and printing its result. Nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Reads any file. Without it: what the machine says of itself below `/proc`, what names and certificates of the network
    /// need if it opens the network, and its own program's directory.
    pub reads_files: bool,
    /// Notices changes of files (inotify).
    pub watches_files: bool,
    /// Looks into other processes through `/proc`: their programs, descriptors, memory. Landlock forbids that, whatever its
    /// rules, and so is not in force then; the filter of system calls is.
    pub reads_processes: bool,
    /// Connects to other machines. It accepts no connections.
    pub opens_network: bool,
    /// Sends echo requests (ICMP), beside opening the network.
    pub sends_echoes: bool,
    /// Asks the kernel for the sockets, addresses and neighbours of this machine (netlink). It changes none of them: that needs
    /// capabilities that no module has.
    pub reads_sockets: bool,
    /// Writes, replaces and removes files in the directory of its own program.
    pub writes_program_directory: bool,
    /// Removes files in the directory of its own program, and writes none. With [`Needs::reads_processes`] no layer knows the
    /// directory: the module may remove files elsewhere.
    pub removes_programs: bool,
    /// Sends signals to other processes.
    pub ends_processes: bool,
    /// Runs programs in the directory of its own; they may do what the module may. It sends them no signal: they end with the
    /// operation.
    pub runs_programs: bool,
}

/// The limits of a run, and what it may use.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Threads the module may start.
    pub threads: usize,
    /// When the module stops and returns a partial result.
    pub deadline: Option<Instant>,
    /// Maximum size of the result as JSON.
    pub result_bytes_max: usize,
    /// Receives partial results periodically: the last one is used if the module is killed.
    pub progress: Option<&'a (dyn Fn(&ModuleResult) + Sync)>,
    /// The network, for a module that [`Needs`] it and that an agent's program runs.
    pub network: Option<&'a dyn Fetch>,
    /// The process of the agent that has received the operation; None by hand.
    pub agent: Option<u32>,
}

impl Context<'_> {
    /// For a module that is run by hand. Half of the cores at most, so that an investigation is not an outage.
    pub fn by_hand() -> Self {
        // Without the limits of control groups: looking for those takes a dozen system calls, for each operation.
        let cores = rustix::thread::sched_getaffinity(None).map_or(1, |cores| cores.count() as usize);
        let result_bytes_max = crate::limits::MODULE_OUTPUT_BYTES_BY_HAND_MAX;
        let threads = (cores / 2).max(1);
        Context { threads, deadline: None, result_bytes_max, progress: None, network: None, agent: None }
    }
}

/// A kind of operation. See the module docs for how one is called.
#[cfg(feature = "modules")]
pub trait Module: Sync {
    /// Its name and its options.
    fn form(&self) -> &'static form::Form;
    /// The word in an operation's `module` field.
    fn name(&self) -> &'static str {
        self.form().name
    }
    /// All that it may ever do.
    fn needs(&self) -> Needs;
    /// What it does of that with these parameters, which may be invalid.
    fn needs_for(&self, _parameters: &Value) -> Needs {
        self.needs()
    }
    /// Refuses parameters that [`Module::run`] cannot use, naming the field. Returns warnings about the others: valid
    /// input that cannot mean what was intended, such as a misspelt field.
    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError>;
    /// Runs the operation. Invalid parameters return a result with `success` false; nothing panics.
    fn run(&self, parameters: &Value, context: Context) -> ModuleResult;
    /// Turns the command-line form (`-path /etc -name passwd`) into parameters that [`Module::validate`] accepts.
    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError> {
        let parameters = self.form().parameters(arguments)?;
        let checked = self.validate(&parameters).map_err(|error| self.form().of_argument(error, &parameters));
        checked.map(|_| parameters)
    }
    /// Formats a result as lines of text.
    fn print(&self, result: &ModuleResult) -> Vec<String>;
}

/// Returns every module of this build.
#[cfg(feature = "modules")]
pub fn all() -> &'static [&'static dyn Module] {
    &[
        &agentdestroy::AgentDestroy,
        &connected::Connected,
        &file::File,
        &kernelmodule::KernelModule,
        &memory::Memory,
        &netstat::Netstat,
        &ping::Ping,
        &pkg::Pkg,
        &process::Process,
        &scribe::Scribe,
        &service::Service,
        &sshkey::SshKey,
        &timedrift::TimeDrift,
        &upgrade::Upgrade,
        &user::User,
        &yara::Yara,
    ]
}

/// Returns the module called `name`.
#[cfg(feature = "modules")]
pub fn by_name(name: &str) -> Option<&'static dyn Module> {
    all().iter().copied().find(|module| module.name() == name)
}

/// Copies a program for a test to start. Another process writes it: a process that a test beside it starts at that moment holds no
/// file open for writing then, with which it could not be started.
#[cfg(test)]
fn copy_program(from: &str, to: impl AsRef<std::path::Path>) {
    assert!(std::process::Command::new("cp").arg(from).arg(to.as_ref()).status().unwrap().success());
}

/// Starts a program for a test to look at. A process begins before it has its arguments and its environment.
#[cfg(test)]
fn start(command: &mut std::process::Command) -> std::process::Child {
    let child = command.spawn().unwrap();
    while std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty() {
        std::thread::yield_now();
    }
    child
}
