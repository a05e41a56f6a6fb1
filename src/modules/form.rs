//! What the forms of modules have in common: errors of parameters, flags of command lines, lines for people.

use crate::json::{Fields, JsonError};
use crate::modules::ParameterError;

impl From<JsonError> for ParameterError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Field { field, reason } => ParameterError { field, reason },
            other => ParameterError::new("parameters", other.to_string()),
        }
    }
}

/// Returns an error for each field that is not among `known`, with the nearest known name.
pub(super) fn unknown_names(given: &Fields, known: &[&str]) -> Vec<ParameterError> {
    let unknown = given.names().filter(|name| !known.contains(name));
    let doubt = |name: &str| {
        let reason = match nearest(name, known) {
            Some(right) => format!("unknown key; did you mean \"{right}\"?"),
            None => format!("unknown key; known keys are {}", known.join(", ")),
        };
        ParameterError::new(given.path(name), reason)
    };
    unknown.map(doubt).collect()
}

/// Names of some keys in earlier versions of the original, and common mistakes.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("regex", "contents"),
    ("regexes", "contents"),
    ("filename", "names"),
    ("filenames", "names"),
    ("directory", "paths"),
    ("directories", "paths"),
];

/// Returns the word of `known` that was probably intended.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == key).map_or(key, |(_, right)| right);
    let distance = |word: &&str| strsim::osa_distance(meant, word);
    known.iter().copied().min_by_key(distance).filter(|word| distance(word) <= meant.len() / 2)
}

/// Splits `-x`, `--x` or `-x=value` into the flag and the value.
pub(super) fn split(argument: &str) -> Result<(&str, Option<&str>), ParameterError> {
    let stripped = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
    let Some(stripped) = stripped.filter(|stripped| !stripped.is_empty()) else {
        return Err(ParameterError::new(argument, "is not an option; options begin with -"));
    };
    Ok(match stripped.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (stripped, None),
    })
}

/// The error of a flag.
pub(super) fn refuse(flag: &str, reason: &str) -> ParameterError {
    ParameterError::new(format!("-{flag}"), reason)
}

/// Escapes control characters: results come from other machines.
pub(crate) fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
    text
}
