//! The module `timedrift`: the time of this machine, and whether it is that of time servers.
//!
//! # Parameters
//!
//! `{"drift": "5s", "servers": ["host", "host:port"]}`. Without `drift`, no server is asked.
//!
//! # What it does
//!
//! Servers are asked with SNTP (RFC 5905), in order, until three have answered: those that are given, or those of this machine's
//! own configuration and then the original's. More than half of those that answered must say that the time is right, so that a
//! lie of one does not count. An answer that took too long to tell a drift of this size counts as none.

mod form;
mod parameters;
mod print;
mod run;
mod servers;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use serde_json::Value;

/// The module `timedrift`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeDrift;

impl Module for TimeDrift {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { opens_network: true, ..Needs::default() }
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
