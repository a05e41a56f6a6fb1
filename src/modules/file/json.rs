//! What is wrong with parameters that were read as JSON: fields that cannot be read, and names that are not known.

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

/// Doubts about the names of fields that are not among `known`, each with the right name that is nearest.
pub(super) fn unknown_names(given: &Fields, known: &[&str]) -> Vec<ParameterError> {
    let unknown = given.names().filter(|name| !known.contains(name));
    let doubt = |name: &str| {
        let reason = match nearest(name, known) {
            Some(right) => format!("is not known here; did you mean \"{right}\"?"),
            None => format!("is not known here; known are {}", known.join(", ")),
        };
        ParameterError::new(given.path(name), reason)
    };
    unknown.map(doubt).collect()
}

/// What earlier versions of the original, and people, call some keys.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("regex", "contents"),
    ("regexes", "contents"),
    ("filename", "names"),
    ("filenames", "names"),
    ("directory", "paths"),
    ("directories", "paths"),
];

/// The word of `known` that was probably meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == key).map_or(key, |(_, right)| right);
    let distance = |word: &&str| strsim::osa_distance(meant, word);
    known.iter().copied().min_by_key(distance).filter(|word| distance(word) <= meant.len() / 2)
}
