//! The module `kernelmodule`: looks for modules that are loaded into the kernel, also for hidden ones.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"names": [regex], "taints": [regex], "files": [regex], "options": {"matchall", "matchlimit"}}}}`.
//!
//! # What it looks at
//!
//! - `/proc/modules` and `/sys/module`: a module that is listed in one and has no entry with a state in the other is `hidden`. One that
//!   was loaded or unloaded between the two looks is not: both are read again.
//! - The file that its name has below `/lib/modules/<release>`, from `modules.dep`, which depmod(8) writes. A module without one
//!   was loaded from elsewhere.

mod form;
mod parameters;
mod run;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `kernelmodule`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelModule;

impl Module for KernelModule {
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
        ModuleResult::of(parameters::parse(parameters), |searches| {
            run::run(&searches, &run::Machine::default(), context)
        })
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let line = |element: &Value| {
            let text = |name: &str| element[name].as_str().unwrap_or("");
            let hidden = if element["hidden"] == Value::Bool(true) { ", hidden" } else { "" };
            let (name, state, taints, file) = (text("name"), text("state"), text("taints"), text("file"));
            format!("{name} [state:{state}, taints:{taints}, file:{file}{hidden}]")
        };
        notation::lines(result, line, |statistics| format!("{} modules looked at", statistics["examined"]))
    }
}
