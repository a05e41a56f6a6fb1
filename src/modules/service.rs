//! The module `service`: looks for what a machine runs by itself: units of systemd, scripts of init, lines of cron, jobs of at.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"names", "files", "commands", "users", "schedules", "kinds", "states", "running", "missing",
//! "options": {"matchall", "matchlimit"}}}}`; `form.rs` says what each means.
//!
//! # What it looks at
//!
//! - Files of units in systemd's search path, with their drop-ins, and the links by which they are enabled. No program is asked:
//!   a change of a file counts at once, systemd may not have read it yet.
//! - Control groups for which units have processes.
//! - `/etc/init.d` and runlevels, tables and directories of cron and anacron, names of jobs of at.
//!
//! Values of variables of the environment are not read from units and tables, and are hidden in commands.

mod command;
mod cron;
mod entry;
mod form;
mod parameters;
mod run;
mod running;
mod sysv;
#[cfg(test)]
mod tests;
mod unit_file;
mod units;

use super::files::Machine;
use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `service`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Service;

impl Module for Service {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |searches| run::run(&searches, &Machine::this(), context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let line = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
            let list = |name: &str| {
                let texts = entry[name].as_array().into_iter().flatten().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join("; ")
            };
            let line = entry["line"].as_u64().map_or_else(String::new, |line| format!(":{line}"));
            let running = if entry["running"] == true { " running" } else { "" };
            let mut said = format!("{} [{} {}{running}", text("name"), text("kind"), text("state"));
            for (name, value) in [
                ("file", text("file") + &line),
                ("user", text("user")),
                ("unit", text("unit")),
                ("schedules", list("schedules")),
                ("commands", list("commands")),
                ("dropins", list("dropins")),
                ("missing", list("missing")),
            ] {
                if !value.is_empty() {
                    said += &format!(", {name}:{value}");
                }
            }
            said + "]"
        };
        notation::lines(result, line, |statistics| format!("{} entries looked at", statistics["examined"]))
    }
}
