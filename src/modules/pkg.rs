//! The module `pkg`: looks for installed packages by name and version.
//!
//! # Parameters
//!
//! `{"pkgmatch": {"matches": [regex]}, "vermatch": regex}` as the original, and `"version": "<1.2.3-4"`, `"sources": [regex]`,
//! `"types": ["dpkg", …]`, `"paths": ["/opt"]`.
//!
//! # What it looks at
//!
//! - The databases of dpkg, rpm (SQLite, NDB, Berkeley DB), apk and pacman, from their files; no program of the machine is run. A
//!   database that is broken is an error that names it, and a list without a package then says nothing.
//! - Below paths, the metadata that installers of Python and npm leave, what programs of Go say of their build, and jars with
//!   the archives inside of them.
//! - Versions are compared by the rules of who installed them (`versions`).

mod archives;
pub(super) mod databases;
mod form;
mod parameters;
mod run;
pub(super) mod versions;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;
use std::path::Path;

/// The module `pkg`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pkg;

impl Module for Pkg {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn needs_for(&self, parameters: &Value) -> Needs {
        let paths = parameters::parse(parameters).map(|query| query.paths).unwrap_or_default();
        Needs { reads_processes: super::file::leads_to_proc(&paths), ..self.needs() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |query| run::run(&query, Path::new("/"), context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let line = |element: &Value| {
            let text = |name: &str| element[name].as_str().unwrap_or("");
            let (name, version, kind, arch) = (text("name"), text("version"), text("type"), text("arch"));
            let more = ["source", "status", "path"].iter().filter(|field| element.get(**field).is_some());
            let more: String = more.map(|field| format!(" {field}={}", text(field))).collect();
            format!("pkgmatch name={name} version={version} type={kind} arch={arch}{more}")
        };
        let packages = result.elements["packages"].as_array().into_iter().flatten();
        let ending = notation::ending(result, |statistics| format!("{} packages looked at", statistics["examined"]));
        packages.map(|element| notation::printable(&line(element))).chain(ending).collect()
    }
}
