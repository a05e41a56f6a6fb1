//! The module `ping`: whether a machine can be reached from this one, by ICMP, TCP or UDP.
//!
//! # Parameters
//!
//! `{"destination": "address or name", "destinationport": port, "protocol": "icmp|tcp|udp", "count": 3, "timeout": 5}`, with
//! seconds for `timeout`.
//!
//! # What it does
//!
//! A name is looked up once, and the first address is pinged. Echo requests of ICMP go through the kernel's own sockets for
//! them, where `net.ipv4.ping_group_range` permits those, else through raw ones.

mod echo;
mod form;
mod parameters;
mod print;
mod run;
#[cfg(test)]
mod tests;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use serde_json::Value;

/// The module `ping`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ping;

impl Module for Ping {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { opens_network: true, sends_echoes: true, ..Needs::default() }
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
