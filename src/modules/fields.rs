//! Reading parameters: errors that name the field, keys that are unknown, searches by label, and what their checks say.

use super::comparisons::Size;
use super::expressions::{Pattern, Texts};
use super::{ParameterError, limits};
use crate::json::{Fields, JsonError};
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
        check_label(label)
            .map_err(|reason| ParameterError::new(format!("searches.{}", label.escape_debug()), reason))?;
        let text = search.to_string();
        read(label, &Fields::at(&format!("searches.{label}"), &text)?)
    };
    searches.iter().map(one).collect()
}

/// Refuses what is no label.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    if label.is_empty() || label.chars().count() > limits::LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(format!(
            "a label is 1 to {} characters, none of them a control character",
            limits::LABEL_CHARS_MAX
        ));
    }
    Ok(())
}

/// A comparison with a whole number: `<2048`, `>0`, `1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    /// As it was written.
    pub(super) text: String,
    bound: Size,
}

impl Number {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Number, String> {
        let digits = text.trim_start_matches(['<', '>']);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is not a number like \"<10\", \">10\" or \"10\"".to_owned());
        }
        Ok(Number { text: text.to_owned(), bound: Size::parse(text)? })
    }

    /// Whether a number is what it describes.
    pub(super) fn is_met_by(&self, number: u64) -> bool {
        self.bound.holds(number)
    }
}

/// Reads a list, each value by `read`, whose errors get the field's name in front.
pub(super) fn each<T>(
    given: &Fields,
    name: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ParameterError> {
    let texts = given.strings(name, limits::LIST_VALUES_MAX)?;
    let one = |(index, text): (usize, String)| {
        read(&text).map_err(|reason| given.error(&format!("{name}[{index}]"), reason).into())
    };
    texts.into_iter().enumerate().map(one).collect()
}

/// Reads a list of words, each one of `known`.
pub(super) fn words(given: &Fields, name: &str, known: &[&str]) -> Result<Vec<String>, ParameterError> {
    each(given, name, |text| {
        let word = text.to_ascii_lowercase();
        if known.contains(&word.as_str()) { Ok(word) } else { Err(format!("is not one of {}", known.join(", "))) }
    })
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

/// The checks of a list of expressions on texts of a candidate.
pub(super) fn checks<'s>(field: &'static str, patterns: &'s [Pattern], texts: &[impl AsRef<str>]) -> Vec<Check<'s>> {
    let known = texts.iter().map(|text| text.as_ref().as_bytes().to_vec()).collect();
    let texts = Texts { known, are_all: true };
    let is_met = |pattern: &Pattern| pattern.is_met_by_one_of(&texts) == Some(true);
    patterns.iter().map(|pattern| (field, pattern.text.as_str(), is_met(pattern))).collect()
}

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

/// What the checks of a search say of a candidate.
#[derive(Debug, PartialEq)]
pub(super) enum Judged {
    /// It is what is looked for: the checks that it passes.
    Is(Map<String, Value>),
    /// It is not.
    IsNot,
    /// That depends on what could not be read.
    Unknown,
}

/// As [`passed`], with checks whose outcome may be unknown.
pub(super) fn judged<'s>(
    checks: impl IntoIterator<Item = (&'static str, &'s str, Option<bool>)>,
    options: Options,
) -> Judged {
    let mut is_doubtful = false;
    let checks = checks.into_iter().map(|(field, value, is_passed)| {
        is_doubtful |= is_passed.is_none();
        (field, value, is_passed.unwrap_or(options.matchall))
    });
    match passed(checks, options) {
        Some(_) if is_doubtful && options.matchall => Judged::Unknown,
        Some(passed) => Judged::Is(passed),
        None if is_doubtful && !options.matchall => Judged::Unknown,
        None => Judged::IsNot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::expressions::Patterns;

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
        let any_case = Pattern::parse_in_any_case("!^8C|x").unwrap();
        assert!(!any_case.is_met_by(b"8c") && !any_case.is_met_by(b"aX") && any_case.is_met_by(b"a8c"));
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

    #[test]
    fn what_could_not_be_read_is_decided_by_what_could() {
        let options = |matchall| Options { matchall, matchlimit: 1 };
        let check = |is_passed| ("names", "a", is_passed);
        let is = |count| Judged::Is(passed(vec![("names", "a", true); count], options(false)).unwrap());
        for (matchall, first, second, expected) in [
            (true, Some(true), None, Judged::Unknown),
            (true, None, Some(false), Judged::IsNot),
            (true, Some(true), Some(true), is(2)),
            (false, None, Some(true), is(1)),
            (false, None, Some(false), Judged::Unknown),
            (false, Some(false), Some(false), Judged::IsNot),
        ] {
            let found = judged([check(first), check(second)], options(matchall));
            assert_eq!(found, expected, "{matchall} {first:?} {second:?}");
        }
        let texts = |are_all| Texts { known: vec![b"a".to_vec(), b"b".to_vec()], are_all };
        for (pattern, of_all, of_some) in [
            ("b", Some(true), Some(true)),
            ("!b", Some(false), Some(false)),
            ("c", Some(false), None),
            ("!c", Some(true), None),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let found = (pattern.is_met_by_one_of(&texts(true)), pattern.is_met_by_one_of(&texts(false)));
            assert_eq!(found, (of_all, of_some), "{}", pattern.text);
        }
        let matched = |pattern: &str| Pattern::parse(pattern).unwrap().matched(&texts(true)).count();
        assert_eq!((matched("."), matched("a"), matched("!c")), (2, 1, 0));
    }
}
