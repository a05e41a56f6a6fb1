//! The module `agentdestroy`: ends another process of an agent on this machine, and removes its program.
//!
//! # Parameters
//!
//! `{"pid": n, "version": "…"}`.
//!
//! # Guarantees
//!
//! - Only an agent of this kind and version is ended, found by what is in the program's file, which is not started. So it is
//!   no agent of the original's: those are ended by hand.
//! - Never the agent that runs it, nor a process above that one that runs the same program: its supervisor.
//! - Not another user's, unless root orders it. No thread, no process of the kernel.
//! - The signal reaches the process that was checked, also when its id is used again (`pidfd_open(2)`).
//! - The program's file is removed if it is in the directory of the agent's own program, which is the only one that is
//!   written to, and unless an agent needs it: this one, or the machine's service. Another file is never removed in its place,
//!   whatever is renamed meanwhile.

#[cfg(feature = "agent")]
mod directory;
mod parameters;
#[cfg(feature = "agent")]
mod process;
#[cfg(feature = "agent")]
mod run;

use super::form::Form;
use super::notation::printable;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use serde_json::Value;

/// The module `agentdestroy`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct AgentDestroy;

impl Module for AgentDestroy {
    fn form(&self) -> &'static Form {
        &parameters::FORM
    }

    fn needs(&self) -> Needs {
        Needs { ends_processes: true, reads_processes: true, removes_programs: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        Ok(parameters::parse(parameters)?.doubts)
    }

    #[cfg(feature = "agent")]
    fn run(&self, parameters: &Value, _context: Context) -> ModuleResult {
        run::run(parameters)
    }

    #[cfg(not(feature = "agent"))]
    fn run(&self, _parameters: &Value, _context: Context) -> ModuleResult {
        ModuleResult::failed("agentdestroy runs in agents only")
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let mut lines = Vec::new();
        if result.success {
            let version = result.elements["version"].as_str().unwrap_or("?");
            lines.push(printable(&format!("process {} version {version} was ended", result.elements["pid"])));
            let removed = result.elements["removed"].as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.extend(removed.map(|path| printable(&format!("removed {path}"))));
        }
        lines.extend(result.errors.iter().flatten().map(|error| printable(&format!("error: {error}"))));
        lines
    }
}
