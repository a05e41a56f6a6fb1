//! The module `memory`: looks for processes by what they have in memory.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"names": [regex], "libraries": [regex], "bytes": [hex], "contents": [regex], "options": {"offset",
//! "maxlength", "matchall", "matchlimit", "logfailures"}}}}`, as in the original.
//!
//! # How memory is read
//!
//! - Through `/proc/PID/mem`, while the process runs: it is never stopped, and nothing is attached to it. So memory may change
//!   while it is looked at.
//! - Only pages of readable regions that the process has in memory or in swap: not what was never touched, not a part of a
//!   mapped file that was not read, no devices. Shared memory as a whole, where root asks.
//! - In pieces, once for all searches with the same `offset` and `maxlength`. A match of at most 64 KiB is surely found.
//! - Contents are never returned, only where something was found.
//! - Its own process and that of the agent that has received the operation are left out: they hold the text of the search.

mod examine;
mod expressions;
mod form;
mod parameters;
mod run;
#[cfg(test)]
mod tests;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `memory`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory;

impl Module for Memory {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        // Files: `/proc/PID/mem` is readable to its owner only.
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |plan| run::run(&plan, context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let number = |statistics: &Value, name: &str| statistics[name].as_f64().unwrap_or(0.0);
        notation::lines(result, line, |statistics| {
            let (processes, bytes) = (number(statistics, "processcount"), number(statistics, "memoryread"));
            format!("{processes} processes looked at, {bytes} bytes read")
        })
    }
}

fn line(element: &Value) -> String {
    let process = &element["process"];
    let name = process["name"].as_str().unwrap_or("");
    if name.is_empty() {
        // The original's element of a search that has found nothing.
        return "0 match found".to_owned();
    }
    let mut line = format!("{name} [pid:{}]", process["pid"].as_f64().unwrap_or(0.0));
    let places = element["matches"].as_array().map_or(&[][..], Vec::as_slice);
    for place in places {
        let text = |name: &str| place[name].as_str().unwrap_or("");
        line.push_str(&format!(" {}='{}' at {} in {}", text("field"), text("value"), text("address"), text("region")));
    }
    line
}
