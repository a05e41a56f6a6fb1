//! From the JSON of an operation to searches.

use super::logins::Asks;
use super::shadow::State;
use crate::modules::ParameterError;
use crate::modules::comparisons::Age;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields::{self, Number, Options};
use serde_json::Value;

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    /// Its key in `searches`.
    pub(super) label: String,
    /// On the name.
    pub(super) names: Vec<Pattern>,
    /// On the id.
    pub(super) uids: Vec<Number>,
    /// On the names of all groups.
    pub(super) groups: Vec<Pattern>,
    /// On the home directory.
    pub(super) homes: Vec<Pattern>,
    /// On the shell.
    pub(super) shells: Vec<Pattern>,
    /// One of these words.
    pub(super) passwords: Vec<String>,
    /// On the age of the last login, as it was written.
    pub(super) lastlogins: Vec<(String, Age)>,
    /// Only who is logged in.
    pub(super) loggedin: bool,
    /// Only who may use sudo.
    pub(super) sudo: bool,
    /// Only who may use doas.
    pub(super) doas: bool,
    /// Only who is root, or may use one of both to become root.
    pub(super) root: bool,
    /// Only who may use one of both without a password.
    pub(super) nopasswd: bool,
    /// How.
    pub(super) options: Options,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Vec<Search>, ParameterError> {
    const KNOWN: [&str; 14] = [
        "description",
        "names",
        "uids",
        "groups",
        "homes",
        "shells",
        "passwords",
        "lastlogins",
        "loggedin",
        "sudo",
        "doas",
        "root",
        "nopasswd",
        "options",
    ];
    let mut patterns = Patterns::default();
    fields::searches(parameters, |label, given| {
        fields::only(given, &KNOWN)?;
        let [names, groups, homes, shells] =
            ["names", "groups", "homes", "shells"].map(|name| patterns.list(given, name));
        let search = Search {
            label: label.to_owned(),
            names: names?,
            uids: fields::each(given, "uids", Number::parse)?,
            groups: groups?,
            homes: homes?,
            shells: shells?,
            passwords: fields::words(given, "passwords", &State::ALL.map(State::word))?,
            lastlogins: fields::each(given, "lastlogins", |text| Ok((text.to_owned(), Age::parse(text)?)))?,
            loggedin: given.boolean("loggedin")?,
            sudo: given.boolean("sudo")?,
            doas: given.boolean("doas")?,
            root: given.boolean("root")?,
            nopasswd: given.boolean("nopasswd")?,
            options: Options::parse(given, &[])?,
        };
        let lists = [&search.names, &search.groups, &search.homes, &search.shells];
        let has_list = lists.iter().any(|list| !list.is_empty())
            || !(search.uids.is_empty() && search.passwords.is_empty() && search.lastlogins.is_empty());
        let switches = [search.loggedin, search.sudo, search.doas, search.root, search.nopasswd];
        if !(has_list || switches.contains(&true)) {
            let reason = "has no filter; \"names\": [\".\"] is every account";
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        Ok(search)
    })
}

/// What searches ask of logins.
pub(super) fn asks(searches: &[Search]) -> Asks {
    let labels =
        |is_asked: fn(&&Search) -> bool| searches.iter().filter(is_asked).map(|search| search.label.clone()).collect();
    Asks { last: labels(|search| !search.lastlogins.is_empty()), now: labels(|search| search.loggedin) }
}
