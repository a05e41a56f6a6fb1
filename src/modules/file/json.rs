//! Reads JSON as the original does: field names in any case, `null` as missing.

use crate::modules::ParameterError;
use serde_json::Value;
use std::collections::BTreeMap;

/// Returns a whole number, also in the forms that Go writes for 64-bit floats: `2`, `2.0`, `1e3`.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    let exact = number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_992.0;
    // In range by the line above: the largest whole number that a float holds without gaps.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    exact.then_some(number as u64)
}

/// See [`fields`].
pub(super) type Fields<'a> = BTreeMap<String, &'a Value>;

/// Returns the fields of an object by their lower-case names, without those that are null.
pub(super) fn fields<'a>(value: &'a Value, at: &str, prefix: &str) -> Result<Fields<'a>, ParameterError> {
    let Value::Object(object) = value else {
        return Err(ParameterError::new(at, "must be an object"));
    };
    let mut fields = Fields::new();
    for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let name = name.to_lowercase();
        if fields.contains_key(&name) {
            return Err(ParameterError::new(format!("{prefix}{name}"), "appears twice, in different cases"));
        }
        fields.insert(name, value);
    }
    Ok(fields)
}

/// Returns a list of strings; empty if the field is missing.
pub(super) fn strings(object: &Fields, at: &str, name: &str, count_max: usize) -> Result<Vec<String>, ParameterError> {
    let Some(value) = object.get(name) else {
        return Ok(Vec::new());
    };
    let Value::Array(values) = value else {
        return Err(ParameterError::new(format!("{at}.{name}"), "must be a list of strings"));
    };
    if values.len() > count_max {
        return Err(ParameterError::new(format!("{at}.{name}"), format!("holds more than {count_max} values")));
    }
    let string = |(index, value): (usize, &Value)| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(ParameterError::new(format!("{at}.{name}[{index}]"), "must be a string")),
    };
    values.iter().enumerate().map(string).collect()
}

/// Returns an error for each key of an object that is not among `known`, with the nearest known key.
pub(super) fn unknown_keys(object: &Fields, at: &str, known: &[&str]) -> Vec<ParameterError> {
    let unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
    let doubt = |key: &String| {
        let reason = match nearest(key, known) {
            Some(right) => format!("unknown key; did you mean \"{right}\"?"),
            None => format!("unknown key; known keys are {}", known.join(", ")),
        };
        ParameterError::new(format!("{at}.{key}"), reason)
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
