//! Modules: what an operation of an action runs on an endpoint.
//!
//! A module takes parameters (JSON), looks at the machine, and returns one [`ModuleResult`]. It knows nothing of
//! actions, signatures or relays: the agent starts it in a process of its own with limits on time, memory and output
//! (`mig-agent -m NAME PARAMETERS`), so a module that fails takes nothing with it. The investigators' programs link
//! modules too: parameters are checked before they are signed.
//!
//! To add one: implement [`Module`] in a file of its own below `modules/` and name it in [`all`].

#[cfg(feature = "modules")]
pub mod file;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;

/// What one operation found: the object that travels in a command's `results` (`spool-layout/FORMAT.md`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModuleResult {
    /// Something matched what was looked for.
    pub foundanything: bool,
    /// The module did what it was asked to; false when the parameters were refused or it could not run.
    pub success: bool,
    /// What was found, in the module's own shape.
    pub elements: Value,
    /// Counters of the run, in the module's own shape.
    pub statistics: Value,
    /// What went wrong, in words; none is `null` on the wire.
    pub errors: Option<Vec<String>>,
}

impl ModuleResult {
    /// A result that says only why nothing was done.
    pub fn failed(error: impl Into<String>) -> Self {
        ModuleResult { errors: Some(vec![error.into()]), ..Default::default() }
    }
}

/// Parameters that a module refuses: which field, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ParameterError {
    /// The field, as a path: `searches.s1.names[0]`, or the flag of the command line: `-name`.
    pub field: String,
    /// Why it is refused.
    pub reason: String,
}

impl ParameterError {
    /// An error on `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        ParameterError { field: field.into(), reason: reason.into() }
    }
}

/// What a module may use, and where it reports to while it runs.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Threads a module may start.
    pub threads: usize,
    /// When it stops, and returns what it has found until then.
    pub deadline: Option<Instant>,
    /// Bytes that its result may have as JSON.
    pub result_bytes_max: usize,
    /// Takes what was found so far, now and then: it stands when the module is ended from outside.
    pub progress: Option<&'a (dyn Fn(&ModuleResult) + Sync)>,
}

/// A kind of operation. See the module docs for how one is called.
pub trait Module: Sync {
    /// The word in an operation's `module` field.
    fn name(&self) -> &'static str;
    /// Refuses parameters that [`Module::run`] could not work with, naming the field. Returns the doubts about the
    /// others: what can be run but cannot mean what was meant, such as a misspelt field.
    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError>;
    /// Does the work. Bad parameters are a result with `success` false; nothing panics.
    fn run(&self, parameters: &Value, context: Context) -> ModuleResult;
    /// Turns the command-line form (`-path /etc -name passwd`) into parameters.
    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError>;
    /// The help text of the command-line form.
    fn help(&self) -> &'static str;
    /// A result as lines for people.
    fn print(&self, result: &ModuleResult) -> Vec<String>;
}

/// Every module of this build.
#[cfg(feature = "modules")]
pub fn all() -> &'static [&'static dyn Module] {
    &[&file::File]
}

/// The module called `name`.
#[cfg(feature = "modules")]
pub fn by_name(name: &str) -> Option<&'static dyn Module> {
    all().iter().copied().find(|module| module.name() == name)
}
