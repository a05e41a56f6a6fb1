//! From the JSON of an operation to searches.

use super::facts::About;
use crate::json::Fields;
use crate::modules::comparisons::Age;
use crate::modules::expressions::{Pattern, Patterns, split_negation};
use crate::modules::fields::{self, Options};
use crate::modules::{ParameterError, limits};
use serde_json::Value;

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    /// Its key in `searches`.
    pub(super) label: String,
    /// What a process must pass; what is quick to find out comes first.
    pub(super) filters: Vec<Filter>,
    /// How.
    pub(super) options: Options,
}

/// One filter.
#[derive(Debug)]
pub(super) struct Filter {
    /// Its field.
    pub(super) field: &'static str,
    /// As it was written.
    pub(super) value: String,
    /// What it compares.
    pub(super) test: Test,
}

/// A comparison.
#[derive(Debug)]
pub(super) enum Test {
    /// With texts.
    Text(About, Pattern),
    /// With the digits of the hash of its program.
    Sha256(String),
    /// Whether its program is such; `true` negates.
    Executable(Executable, bool),
    /// With its age.
    Age(Age),
}

/// What a program may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Executable {
    /// Without a name.
    Deleted,
    /// Made in memory.
    Memfd,
}

/// How the values of a field are read.
enum Kind {
    Text(About),
    Other(fn(&str) -> Result<Test, String>),
}

/// All fields with filters; what is quick to find out comes first.
const FIELDS: [(&str, Kind); 10] = [
    ("ages", Kind::Other(age)),
    ("parents", Kind::Text(About::Parent)),
    ("names", Kind::Text(About::Name)),
    ("executables", Kind::Other(executable)),
    ("paths", Kind::Text(About::Path)),
    ("users", Kind::Text(About::User)),
    ("cmdlines", Kind::Text(About::CommandLine)),
    ("environment", Kind::Text(About::Variables)),
    ("openfiles", Kind::Text(About::OpenFiles)),
    ("sha256", Kind::Other(sha256)),
];

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Vec<Search>, ParameterError> {
    let mut patterns = Patterns::default();
    let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).chain(["description", "options"]).collect();
    fields::searches(parameters, |label, given| {
        fields::only(given, &known)?;
        let mut filters = Vec::new();
        for (field, kind) in &FIELDS {
            match kind {
                Kind::Text(about) => filters.extend(patterns.list(given, field)?.into_iter().map(|pattern| Filter {
                    field,
                    value: pattern.text.clone(),
                    test: Test::Text(*about, pattern),
                })),
                Kind::Other(read) => others(given, field, *read, &mut filters)?,
            }
        }
        if filters.is_empty() {
            let reason = "has no filter; \"names\": [\".\"] is every process";
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        Ok(Search { label: label.to_owned(), filters, options: Options::parse(given, &[])? })
    })
}

fn others(
    given: &Fields,
    field: &'static str,
    read: fn(&str) -> Result<Test, String>,
    filters: &mut Vec<Filter>,
) -> Result<(), ParameterError> {
    for (index, value) in given.strings(field, limits::LIST_VALUES_MAX)?.into_iter().enumerate() {
        let test = read(&value).map_err(|reason| given.error(&format!("{field}[{index}]"), reason))?;
        filters.push(Filter { field, value, test });
    }
    Ok(())
}

fn age(text: &str) -> Result<Test, String> {
    Age::parse(text).map(Test::Age)
}

fn executable(text: &str) -> Result<Test, String> {
    let (is_negated, word) = split_negation(text);
    let executable = match word {
        "deleted" => Executable::Deleted,
        "memfd" => Executable::Memfd,
        _ => return Err(format!("\"{text}\" is neither \"deleted\" nor \"memfd\"")),
    };
    Ok(Test::Executable(executable, is_negated))
}

fn sha256(text: &str) -> Result<Test, String> {
    match crate::hex::decode(text) {
        Some(digest) if digest.len() == 32 => Ok(Test::Sha256(crate::hex::encode(&digest))),
        _ => Err(format!("\"{text}\" is no SHA-256: 64 hexadecimal digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_looked_for_is_refused_by_its_field() {
        for (search, error) in [
            (json!({}), "searches.s: has no filter"),
            (json!({"name": ["x"]}), "searches.s.name: unknown key; did you mean \"names\"?"),
            (json!({"cmdlines": ["("]}), "searches.s.cmdlines[0]: bad regular expression"),
            (json!({"sha256": ["00"]}), "searches.s.sha256[0]: \"00\" is no SHA-256"),
            (json!({"ages": ["1h"]}), "searches.s.ages[0]: \"1h\" is not an age"),
            (json!({"executables": ["memfd", "!gone"]}), "searches.s.executables[1]: \"!gone\" is neither"),
            (json!({"names": ["x"], "options": {"maxdepth": 1}}), "searches.s.options.maxdepth: unknown key"),
        ] {
            let refused = parse(&json!({"searches": {"s": search}})).unwrap_err().to_string();
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}
