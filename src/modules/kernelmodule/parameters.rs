//! From the JSON of an operation to searches.

use crate::modules::ParameterError;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields::{self, Options};
use serde_json::Value;

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    /// Its key in `searches`.
    pub(super) label: String,
    /// On the name.
    pub(super) names: Vec<Pattern>,
    /// On the letters of its taints.
    pub(super) taints: Vec<Pattern>,
    /// On the path of its file.
    pub(super) files: Vec<Pattern>,
    /// How.
    pub(super) options: Options,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Vec<Search>, ParameterError> {
    let mut patterns = Patterns::default();
    fields::searches(parameters, |label, given| {
        fields::only(given, &["description", "names", "taints", "files", "options"])?;
        let [names, taints, files] = ["names", "taints", "files"].map(|name| patterns.list(given, name));
        let search = Search {
            label: label.to_owned(),
            names: names?,
            taints: taints?,
            files: files?,
            options: Options::parse(given, &[])?,
        };
        if search.names.is_empty() && search.taints.is_empty() && search.files.is_empty() {
            let reason = "has no filter; \"names\": [\".\"] is every module";
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        Ok(search)
    })
}
