//! Regular expressions on short texts, such as names: one by one, and in the lists of an operation, whose number is limited.

use super::{ParameterError, limits};
use crate::json::Fields;
use crate::re2::{self, Expression};
use regex::Regex;

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
        Pattern::parse_with(text, "")
    }

    /// Reads one that matches letters of either case.
    pub(super) fn parse_in_any_case(text: &str) -> Result<Pattern, String> {
        Pattern::parse_with(text, "(?i)")
    }

    fn parse_with(text: &str, flags: &str) -> Result<Pattern, String> {
        let (is_negated, pattern) = split_negation(text);
        let regex = compile(&format!("{flags}{}", expression(pattern)?.to_pattern()))?;
        Ok(Pattern { text: text.to_owned(), regex, is_negated })
    }

    /// Whether a text is what it describes.
    pub(super) fn is_met_by(&self, text: &[u8]) -> bool {
        self.regex.is_match(&re2::text(text)) != self.is_negated
    }

    /// Whether one of the texts matches, or, if it is negated, none. None: those that are known do not decide that.
    pub(super) fn is_met_by_one_of(&self, texts: &Texts) -> Option<bool> {
        if texts.known.iter().any(|text| self.regex.is_match(&re2::text(text))) {
            return Some(!self.is_negated);
        }
        texts.are_all.then_some(self.is_negated)
    }

    /// The texts that it matches; none if it is negated.
    pub(super) fn matched<'t>(&self, texts: &'t Texts) -> impl Iterator<Item = &'t [u8]> {
        let known = if self.is_negated { &[] } else { &texts.known[..] };
        known.iter().filter(|text| self.regex.is_match(&re2::text(text))).map(Vec::as_slice)
    }
}

/// What a candidate has of something, such as its open files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    /// What could be read.
    pub(super) known: Vec<Vec<u8>>,
    /// There are no others.
    pub(super) are_all: bool,
}

/// Reads the lists of expressions of one operation, whose number is limited.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    count: usize,
}

impl Patterns {
    /// Counts those of a list that is read elsewhere.
    pub(super) fn count(&mut self, given: &Fields, name: &str, more: usize) -> Result<(), ParameterError> {
        self.count += more;
        if self.count > limits::PATTERNS_MAX {
            let reason = format!("more than {} regular expressions in one operation", limits::PATTERNS_MAX);
            return Err(given.error(name, reason).into());
        }
        Ok(())
    }

    /// Reads one list; empty when missing.
    pub(super) fn list(&mut self, given: &Fields, name: &str) -> Result<Vec<Pattern>, ParameterError> {
        let texts = given.strings(name, limits::LIST_VALUES_MAX)?;
        self.count(given, name, texts.len())?;
        let parse = |(index, text): (usize, String)| {
            Pattern::parse(&text).map_err(|reason| given.error(&format!("{name}[{index}]"), reason).into())
        };
        texts.into_iter().enumerate().map(parse).collect()
    }
}
