//! The module `upgrade`: installs another version of the agent's program, which then takes over.
//!
//! # Parameters
//!
//! `{"<os>/<arch>": {"to_version", "location", "checksum"}}`: one release for each platform; the one of this agent counts.
//!
//! # Guarantees
//!
//! - Only what was signed is installed: the file has the checksum, is an agent of this kind, says inside and when it is
//!   asked that it is `to_version`, and comes by HTTPS.
//! - A whole program is at the agent's path at any moment (`agent/installed.rs`). A run that is killed leaves an unnamed
//!   draft beside it, which the next run removes.
//! - It starts nothing but `-V` of the new program. The agent hands over once its answer is durable (`agent/handover.rs`). By
//!   hand nothing hands over: the next start of the agent is the new one.
//! - The version that runs already is refused: an agent that did not change must not be taken for one that did.

mod arguments;
mod parameters;
#[cfg(feature = "agent")]
mod run;

use super::form::Form;
use super::notation::printable;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use serde_json::Value;

/// The word in an operation's `module` field.
pub const NAME: &str = "upgrade";

/// The module `upgrade`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upgrade;

impl Module for Upgrade {
    fn form(&self) -> &'static Form {
        &arguments::FORM
    }

    fn needs(&self) -> Needs {
        Needs { opens_network: true, writes_program_directory: true, runs_programs: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        Ok(parameters::parse(parameters)?.doubts)
    }

    #[cfg(feature = "agent")]
    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        run::run(parameters, context)
    }

    #[cfg(not(feature = "agent"))]
    fn run(&self, _parameters: &Value, _context: Context) -> ModuleResult {
        ModuleResult::failed("upgrade runs in agents only")
    }

    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError> {
        arguments::parse(arguments)
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let mut lines = Vec::new();
        if result.success {
            let version = result.elements["newversion"].as_str().unwrap_or("?");
            let next = match &result.elements["oldpid"] {
                Value::Null => "restart the agent to use it".to_owned(),
                pid => format!("process {pid} hands over to it"),
            };
            lines.push(printable(&format!("version {version} is installed; {next}")));
        }
        lines.extend(result.errors.iter().flatten().map(|error| printable(&format!("error: {error}"))));
        lines
    }
}
