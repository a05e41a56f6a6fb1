//! The module `netstat`: sockets, addresses and neighbours of this machine.
//!
//! # Parameters
//!
//! `{"localmac": [regex], "localip": [address], "neighbormac": [regex], "neighborip": [address], "connectedip": [address],
//! "listeningport": [port], "namespaces": bool}`; an address is one, or a network such as `10.0.0.0/8`.
//!
//! # What it looks at
//!
//! - The kernel is asked (`kernel`), for the network namespace of the agent; where it does not answer, its texts below
//!   `/proc/net` are read (`files`). Both must say the same.
//! - With `namespaces`, those texts of one thread in each other namespace, which have no MACs and no IPv6 neighbours.
//! - The processes that hold the sockets which were found, by their descriptors (`holders`). They are no filter: what is found
//!   stands without them.
//!
//! Matches are collected first and reported at the end of a look, so that a time limit leaves what was found until then.

mod facts;
mod files;
mod form;
mod holders;
mod kernel;
mod namespaces;
mod parameters;
mod print;
mod run;
#[cfg(test)]
mod tests;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use parameters::Wanted;
pub(super) use parameters::{Search, VALUES_MAX, dedup};
use serde_json::{Map, Value};

/// What an operation needs that does not look into processes.
pub(super) fn needs_without_holders() -> Needs {
    Needs { reads_sockets: true, ..Needs::default() }
}

/// The module `netstat`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Netstat;

impl Module for Netstat {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        // The descriptors of another user's process are read like its files.
        Needs { reads_sockets: true, reads_processes: true, reads_files: true, ..Needs::default() }
    }

    fn needs_for(&self, parameters: &Value) -> Needs {
        match parameters::parse(parameters) {
            Ok(wanted) if wanted.looks_into_processes() => self.needs(),
            _ => needs_without_holders(),
        }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |wanted| run::run(&wanted, context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        print::lines(result)
    }
}

/// Runs searches for `connected`, without the processes that hold sockets. `shape` makes its elements of lists by label.
pub(super) fn run_without_holders(
    searches: Vec<Search>,
    shape: fn(Map<String, Value>) -> Value,
    context: Context,
) -> ModuleResult {
    run::run_shaped(&Wanted { searches, namespaces: false, holders: false }, shape, context)
}
