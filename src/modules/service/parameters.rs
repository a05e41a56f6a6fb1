//! From the JSON of an operation to searches.

use super::entry::{KINDS, State};
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
    /// On the path of the file.
    pub(super) files: Vec<Pattern>,
    /// On the commands.
    pub(super) commands: Vec<Pattern>,
    /// On the user.
    pub(super) users: Vec<Pattern>,
    /// On the schedules.
    pub(super) schedules: Vec<Pattern>,
    /// One of these words.
    pub(super) kinds: Vec<String>,
    /// One of these words.
    pub(super) states: Vec<String>,
    /// Only what runs.
    pub(super) running: bool,
    /// Only what has programs that are not there.
    pub(super) missing: bool,
    /// How.
    pub(super) options: Options,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Vec<Search>, ParameterError> {
    const KNOWN: [&str; 11] = [
        "description",
        "names",
        "files",
        "commands",
        "users",
        "schedules",
        "kinds",
        "states",
        "running",
        "missing",
        "options",
    ];
    let mut patterns = Patterns::default();
    fields::searches(parameters, |label, given| {
        fields::only(given, &KNOWN)?;
        let [names, files, commands, users, schedules] =
            ["names", "files", "commands", "users", "schedules"].map(|name| patterns.list(given, name));
        let search = Search {
            label: label.to_owned(),
            names: names?,
            files: files?,
            commands: commands?,
            users: users?,
            schedules: schedules?,
            kinds: fields::words(given, "kinds", &KINDS)?,
            states: fields::words(given, "states", &State::WORDS)?,
            running: given.boolean("running")?,
            missing: given.boolean("missing")?,
            options: Options::parse(given, &[])?,
        };
        let lists = [&search.names, &search.files, &search.commands, &search.users, &search.schedules];
        let has_list =
            lists.iter().any(|list| !list.is_empty()) || !(search.kinds.is_empty() && search.states.is_empty());
        if !(has_list || search.running || search.missing) {
            let reason = "has no filter; \"names\": [\".\"] is everything";
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        Ok(search)
    })
}
