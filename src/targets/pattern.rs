//! Patterns of LIKE and of `~`, which must mean the same in both databases.
//!
//! PostgreSQL matches with its own regular expressions (ARE, pattern matching chapter of its manual), the SQLite store
//! with the `regex` crate. Only their common syntax is accepted: no back-references, look-around or embedded options,
//! and of the escapes with a letter only `\d \D \w \W \s \S \n \t \r` (`\b` is a word boundary in one and a backspace
//! in the other).

use regex::{Regex, RegexBuilder};

use super::error::TargetError;
use super::limits::{PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, PATTERN_REPEAT_MAX};

const WANTED: &str = "a regular expression for targets";
const ESCAPES: &str = "dDwWsSntr";

/// Checks the syntax of a regular expression, and that it compiles.
pub(super) fn check_regex(pattern: &str) -> Result<(), TargetError> {
    let refused = |help: String| TargetError::literal(pattern, WANTED, help);
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(refused(format!("at most {PATTERN_BYTES_MAX} bytes are allowed")));
    }
    check_common_syntax(pattern).map_err(refused)?;
    compile(pattern, true).map(drop).map_err(|error| refused(last_line(&error)))
}

/// Compiles a regular expression with PostgreSQL's semantics: `.` matches a line end, `^` and `$` only match at the
/// ends of the text.
pub(super) fn compile(pattern: &str, insensitive: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(insensitive)
        .dot_matches_new_line(true)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
}

/// Refuses a LIKE pattern that ends in its escape character: PostgreSQL would fail on it.
pub(super) fn check_like(pattern: &str) -> Result<(), TargetError> {
    let backslashes = pattern.len() - pattern.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        let help = "it ends with the escape character \\; double it to match a backslash";
        return Err(TargetError::literal(pattern, "a LIKE pattern", help));
    }
    Ok(())
}

/// Returns the last line of a message of `regex`, which draws the pattern over several lines.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Refuses syntax that only one of the two engines supports, or that they interpret differently.
fn check_common_syntax(pattern: &str) -> Result<(), String> {
    if pattern.starts_with("***") {
        return Err("directors such as ***= are not allowed".to_owned());
    }
    let mut bracket = false;
    let mut rest = pattern.char_indices().peekable();
    while let Some((place, character)) = rest.next() {
        let following = &pattern[place + character.len_utf8()..];
        match character {
            '\\' => match rest.next() {
                Some((_, escaped)) if escaped.is_ascii_alphanumeric() && !ESCAPES.contains(escaped) => {
                    return Err(format!(
                        "the escape \\{escaped} is not allowed; of the escapes with a letter only \\d \\w \\s are"
                    ));
                }
                _ => {}
            },
            '[' if !bracket => {
                bracket = true;
                // A closing bracket directly after the opening one stands for itself.
                if following.starts_with("^]") {
                    rest.next();
                    rest.next();
                } else if following.starts_with(['^', ']']) {
                    rest.next();
                }
            }
            '[' if following.starts_with(':') => {
                let end = following.find(":]").ok_or("a class such as [:alpha:] is not closed")?;
                let class_end = place + 1 + end + 2;
                while rest.next_if(|(next, _)| *next < class_end).is_some() {}
            }
            '[' => return Err("a [ inside brackets is not allowed, write \\[".to_owned()),
            ']' => bracket = false,
            '&' | '-' | '~' if bracket && following.starts_with(character) => {
                return Err(format!("{character}{character} inside brackets is not allowed"));
            }
            '(' if !bracket && following.starts_with('?') && !following.starts_with("?:") => {
                return Err("of the groups that begin with (? only (?: is allowed".to_owned());
            }
            '{' if !bracket => check_repetition(following)?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks what follows an opening brace: `m}`, `m,}` or `m,n}`.
fn check_repetition(following: &str) -> Result<(), String> {
    let (counts, _) = following.split_once('}').ok_or("a { is not closed, write \\{ for the character")?;
    let (low, high) = counts.split_once(',').unwrap_or((counts, ""));
    let is_count = |text: &str| text.parse::<u32>().is_ok_and(|count| count <= PATTERN_REPEAT_MAX);
    if !is_count(low) || !(high.is_empty() || is_count(high)) {
        return Err(format!("{{{counts}}} is not a repetition between {{0}} and {{{PATTERN_REPEAT_MAX}}}"));
    }
    Ok(())
}
