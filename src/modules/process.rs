//! The module `process`: looks for processes by what `/proc` says of them.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"names": [regex], "paths": [regex], "sha256": [digest], "cmdlines": [regex], "environment": [regex],
//! "users": [regex], "parents": [regex], "openfiles": [regex], "ages": ["<5m"], "executables": ["deleted", "memfd"],
//! "options": {"matchall", "matchlimit"}}}}`.
//!
//! # What it looks at
//!
//! - A list of things, such as open files, passes a filter when one of them does; a negated filter when none matches.
//! - Values of environment variables are neither compared nor returned.
//! - Users have the names of `/etc/passwd`; no other source is asked, as that may be a server.
//! - Its own process is left out: it holds the text of the search.

mod clock;
mod facts;
mod form;
mod parameters;
mod run;
#[cfg(test)]
mod tests;
mod users;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `process`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Module for Process {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |searches| run::run(&searches, context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        notation::lines(result, line, |statistics| format!("{} processes looked at", statistics["examined"]))
    }
}

fn line(element: &Value) -> String {
    let text = |name: &str| element[name].as_str().unwrap_or("");
    let number = |name: &str| element[name].as_f64().unwrap_or(0.0);
    let mut line = format!(
        "{} [pid:{}, ppid:{}, user:{}, started:{}, exe:{}",
        text("name"),
        number("pid"),
        number("ppid"),
        text("user"),
        text("started"),
        text("exe")
    );
    for mark in ["deleted", "memfd", "kernel"] {
        if element[mark] == Value::Bool(true) {
            line.push_str(", ");
            line.push_str(mark);
        }
    }
    for field in ["sha256", "cmdline"] {
        if let Some(value) = element[field].as_str() {
            line.push_str(&format!(", {field}:{value}"));
        }
    }
    line.push(']');
    line
}
