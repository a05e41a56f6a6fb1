//! The module `scribe`: runs a document of tests over files, contents and versions of packages.
//!
//! # Parameters
//!
//! `{"scribedoc": {"variables", "objects", "tests"}, "onlytrue", "humanoutput", "jsonoutput"}`, as the original. `document.rs` has
//! what is in a document, `evaluate.rs` what it means.
//!
//! # Differences from the original
//!
//! - A test whose object was not looked at completely is an error unless something in it is true: it is never false because a
//!   file could not be read.
//! - Versions of packages are compared by the rules of who installed them; other versions by those of rpm.
//! - What the original finds out when it runs is refused before: an operation, a test or an object that does not exist, tests
//!   that wait for each other.

mod document;
mod evaluate;
mod form;
mod objects;
mod print;
mod variables;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use serde_json::{Value, json};
use std::path::Path;

/// Bytes of the file of a document.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// The module `scribe`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scribe;

impl Module for Scribe {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn needs_for(&self, parameters: &Value) -> Needs {
        let paths = document::parse(parameters).map(|order| order.document.paths()).unwrap_or_default();
        Needs { reads_processes: super::file::leads_to_proc(&paths), ..self.needs() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        document::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(document::parse(parameters), |order| evaluate::run(&order, Path::new("/"), context))
    }

    /// Reads the document from its file: the action has all of it.
    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError> {
        let mut parameters = self.form().parameters(arguments)?;
        let refuse = |reason: String| ParameterError::new("-path", reason);
        let path = parameters["path"].take();
        let path = path.as_str().ok_or_else(|| refuse("is missing: the file of the document".into()))?;
        let text = super::pkg::databases::read_text(Path::new(path), DOCUMENT_BYTES_MAX);
        let text = text.map_err(|error| refuse(format!("read {path}: {error}")))?;
        let document = crate::json::value(&text).map_err(|error| refuse(format!("{path}: {error}")))?;
        if let Some(parameters) = parameters.as_object_mut() {
            parameters.remove("path");
            parameters.insert("scribedoc".into(), json!(document));
        }
        self.validate(&parameters).map(|_| parameters)
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        print::lines(result)
    }
}

#[cfg(test)]
mod tests;
