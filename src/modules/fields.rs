//! Reading parameters: errors that name the field, keys that are unknown, searches by label, regular expressions.

use super::{ParameterError, limits};
use crate::json::{Fields, JsonError};
use crate::re2::{self, Expression};
use regex::Regex;
use serde_json::{Map, Value, json};

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

/// Refuses a field that is not among `known`: what was meant by it is not looked for, so nothing is.
pub(super) fn only(given: &Fields, known: &[&str]) -> Result<(), ParameterError> {
    unknown_names(given, known).into_iter().next().map_or(Ok(()), Err)
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
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == key).map_or(key, |(_, right)| right);
    let distance = |word: &&str| strsim::osa_distance(meant, word);
    known.iter().copied().min_by_key(distance).filter(|word| distance(word) <= meant.len() / 2)
}

/// Reads `{"searches": {"<label>": {…}}}`, the only field of `parameters`, in order of the labels.
pub(super) fn searches<T>(
    parameters: &Value,
    read: impl FnMut(&str, &Fields) -> Result<T, ParameterError>,
) -> Result<Vec<T>, ParameterError> {
    let text = parameters.to_string();
    let top = Fields::at("parameters", &text)?;
    only(&top, &["searches"])?;
    labelled(&top, read)
}

/// Reads the searches of an object that may have other fields.
pub(super) fn labelled<T>(
    top: &Fields,
    mut read: impl FnMut(&str, &Fields) -> Result<T, ParameterError>,
) -> Result<Vec<T>, ParameterError> {
    let searches = match top.value("searches", usize::MAX)? {
        None => return Err(ParameterError::new("searches", "is missing")),
        Some(Value::Object(searches)) => searches,
        Some(_) => return Err(ParameterError::new("searches", "is not an object of searches by label")),
    };
    if searches.is_empty() {
        return Err(ParameterError::new("searches", "holds no search"));
    }
    if searches.len() > limits::SEARCHES_MAX {
        return Err(ParameterError::new("searches", format!("holds more than {} searches", limits::SEARCHES_MAX)));
    }
    let one = |(label, search): (&String, &Value)| {
        if label.is_empty() || label.chars().count() > limits::LABEL_CHARS_MAX || label.chars().any(char::is_control) {
            let reason =
                format!("a label is 1 to {} characters, none of them a control character", limits::LABEL_CHARS_MAX);
            return Err(ParameterError::new(format!("searches.{}", label.escape_debug()), reason));
        }
        let text = search.to_string();
        read(label, &Fields::at(&format!("searches.{label}"), &text)?)
    };
    searches.iter().map(one).collect()
}

/// Splits the negation off a pattern: `!x` is `x`, negated.
pub(super) fn split_negation(text: &str) -> (bool, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

/// Parses an expression; refuses an empty or too long one.
pub(super) fn expression(pattern: &str) -> Result<Expression, String> {
    if pattern.is_empty() {
        return Err("the regular expression is empty".to_owned());
    }
    if pattern.len() > limits::PATTERN_BYTES_MAX {
        return Err(format!("the regular expression is longer than {} bytes", limits::PATTERN_BYTES_MAX));
    }
    Expression::parse(pattern).map_err(|error| format!("bad regular expression: {error}"))
}

/// Returns the last line of the engine's error, which may draw the pattern over several lines.
pub(super) fn reason(message: &str) -> String {
    let last = message.lines().next_back().unwrap_or(message).trim();
    format!("bad regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// Compiles an expression on short texts, with its groups.
pub(super) fn capturing(pattern: &str) -> Result<Regex, String> {
    compile(&expression(pattern)?.to_capturing_pattern())
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let regex = re2::compile(pattern, limits::PATTERN_COMPILED_BYTES, limits::PATTERN_CACHE_BYTES);
    regex.map_err(|error| reason(&error.to_string()))
}

/// A regular expression on a short text, such as a name; `!` in front negates it. Text is UTF-8, each invalid byte is one
/// U+FFFD.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As it was written.
    pub(super) text: String,
    regex: Regex,
    is_negated: bool,
}

impl Pattern {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let (is_negated, pattern) = split_negation(text);
        Ok(Pattern { text: text.to_owned(), regex: compile(&expression(pattern)?.to_pattern())?, is_negated })
    }

    /// Whether a text is what it describes.
    pub(super) fn is_met_by(&self, text: &[u8]) -> bool {
        self.regex.is_match(&re2::text(text)) != self.is_negated
    }
}

/// Reads the lists of expressions of one operation, whose number is limited.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    count: usize,
}

impl Patterns {
    /// Reads one list; empty when missing.
    pub(super) fn list(&mut self, given: &Fields, name: &str) -> Result<Vec<Pattern>, ParameterError> {
        let texts = given.strings(name, limits::LIST_VALUES_MAX)?;
        self.count += texts.len();
        if self.count > limits::PATTERNS_MAX {
            let reason = format!("more than {} regular expressions in one operation", limits::PATTERNS_MAX);
            return Err(given.error(name, reason).into());
        }
        let parse = |(index, text): (usize, String)| {
            Pattern::parse(&text).map_err(|reason| given.error(&format!("{name}[{index}]"), reason).into())
        };
        texts.into_iter().enumerate().map(parse).collect()
    }
}

/// The options that every search by label has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// All checks must be passed, rather than one.
    pub(super) matchall: bool,
    /// Elements of the search.
    pub(super) matchlimit: usize,
}

impl Options {
    /// Reads `options`, which may have `more` than these.
    pub(super) fn parse(search: &Fields, more: &[&str]) -> Result<Options, ParameterError> {
        let Some(given) = search.inner("options")? else {
            return Ok(Options { matchall: false, matchlimit: limits::MATCHLIMIT_DEFAULT });
        };
        only(&given, &[&["matchall", "matchlimit"], more].concat())?;
        let matchlimit = given.integer("matchlimit")?.filter(|limit| *limit > 0).unwrap_or(limits::MATCHLIMIT_DEFAULT);
        Ok(Options { matchall: given.boolean("matchall")?, matchlimit })
    }
}

/// A check of a search on one candidate: its field, its value as it was written, and whether the candidate passes.
pub(super) type Check<'s> = (&'static str, &'s str, bool);

/// The checks that a candidate passes, as an element repeats them: `{"names": ["^ssh"]}`. None: it is not what is looked for. With
/// `matchall`, checks behind the first that fails are not made.
pub(super) fn passed<'s>(checks: impl IntoIterator<Item = Check<'s>>, options: Options) -> Option<Map<String, Value>> {
    let mut passed = Map::new();
    for (field, value, is_passed) in checks {
        match (is_passed, options.matchall) {
            (false, true) => return None,
            (false, false) => {}
            (true, _) => {
                if let Value::Array(values) = passed.entry(field).or_insert_with(|| json!([])) {
                    values.push(json!(value));
                }
            }
        }
    }
    (!passed.is_empty()).then_some(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &Value) -> Result<Vec<(String, Vec<Pattern>)>, String> {
        let mut patterns = Patterns::default();
        let search = |label: &str, fields: &Fields| {
            only(fields, &["names", "options"])?;
            Ok((label.to_owned(), patterns.list(fields, "names")?))
        };
        searches(parameters, search).map_err(|error| error.to_string())
    }

    #[test]
    fn searches_are_read_by_label_and_errors_name_the_field() {
        let found = read(&json!({"searches": {"b": {"Names": ["!^x", "y"]}, "a.b/c": {"names": null}}})).unwrap();
        assert_eq!(found.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>(), ["a.b/c", "b"]);
        let [not_x, y] = &found[1].1[..] else { panic!("{found:?}") };
        assert!(not_x.is_met_by(b"ax\xff") && !not_x.is_met_by(b"xa") && y.is_met_by(b"xy") && !y.is_met_by(b"x"));
        for (parameters, error) in [
            (json!([]), "parameters: is an array, not an object"),
            (json!({}), "searches: is missing"),
            (json!({"searches": {}}), "searches: holds no search"),
            (json!({"searches": []}), "searches: is not an object of searches by label"),
            (json!({"searches": {"a": 1}}), "searches.a: is a number, not an object"),
            (json!({"searches": {"": {}}}), "searches.: a label is 1 to 64 characters"),
            (json!({"searches": {"a\n": {}}}), "searches.a\\n: a label is 1 to 64 characters"),
            (
                json!({"searches": {"a": {}}, "serches": {}}),
                "parameters.serches: unknown key; did you mean \"searches\"?",
            ),
            (json!({"searches": {"a": {"nmes": []}}}), "searches.a.nmes: unknown key; did you mean \"names\"?"),
            (json!({"searches": {"a": {"names": ["x", "("]}}}), "searches.a.names[1]: bad regular expression: "),
            (json!({"searches": {"a": {"names": ["!"]}}}), "searches.a.names[0]: the regular expression is empty"),
            (json!({"searches": {"a": {"names": "x"}}}), "searches.a.names: is not an array"),
            (json!({"searches": {"a": {"names": vec!["x"; 257]}}}), "searches.a.names: has 257 elements"),
            (
                json!({"searches": {"a": {"names": vec!["x"; 250]}, "b": {"names": vec!["x"; 251]}}}),
                "searches.b.names: more than 500 regular expressions in one operation",
            ),
        ] {
            let found = read(&parameters).unwrap_err();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }

    #[test]
    fn all_checks_must_be_passed_or_one() {
        let checks = |second| [("names", "a", true), ("names", "b", true), ("users", "c", second)];
        let matchall = |matchall| Options { matchall, matchlimit: 1 };
        let (two, three) = (json!({"names": ["a", "b"]}), json!({"names": ["a", "b"], "users": ["c"]}));
        for (second, all, expected) in
            [(true, true, Some(&three)), (false, true, None), (true, false, Some(&three)), (false, false, Some(&two))]
        {
            let found = passed(checks(second), matchall(all)).map(Value::Object);
            assert_eq!(found.as_ref(), expected, "{second} {all}");
        }
        assert_eq!(passed([("names", "a", false)], matchall(false)), None);
        assert_eq!(passed([], matchall(true)), None, "no filter is no search for everything");
    }
}
