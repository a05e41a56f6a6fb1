//! Errors of parameters: fields that cannot be read, and unknown names.

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
