//! Regular expressions: how they are compiled, and the set that all name patterns form.
//!
//! The original's expressions are RE2's, where `\w`, `\d`, `\s` and `\b` know ASCII only and text need not be UTF-8. So
//! a pattern is compiled to work on bytes (`.` is any byte but a line's end); one that can't be, because it names
//! characters outside ASCII or `\p{..}` classes, is compiled to work on Unicode characters. `(?u)` in front asks for
//! the latter. All programs are limited in size, and matching takes time linear in the text.

use super::limits;
use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

/// What the `.` of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Any byte.
    Bytes,
    /// Any character of valid UTF-8.
    Unicode,
}

impl Alphabet {
    /// The setting of the `unicode` flag.
    pub(super) fn is_unicode(self) -> bool {
        self == Alphabet::Unicode
    }
}

/// Splits the negation off a pattern: `!x` is `x`, negated. Refuses what is empty or too long.
pub(super) fn split_negation(text: &str) -> Result<(bool, &str), String> {
    let (negated, pattern) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if pattern.is_empty() {
        return Err("the regular expression is empty".to_owned());
    }
    if pattern.len() > limits::PATTERN_BYTES_MAX {
        return Err(format!("the regular expression is longer than {} bytes", limits::PATTERN_BYTES_MAX));
    }
    Ok((negated, pattern))
}

/// Builds with the first alphabet that the pattern allows.
pub(super) fn first_alphabet<T, E: ToString>(
    build: impl Fn(Alphabet) -> Result<T, E>,
) -> Result<(T, Alphabet), String> {
    if let Ok(built) = build(Alphabet::Bytes) {
        return Ok((built, Alphabet::Bytes));
    }
    match build(Alphabet::Unicode) {
        Ok(built) => Ok((built, Alphabet::Unicode)),
        Err(error) => Err(reason(&error.to_string())),
    }
}

/// One expression for short texts.
pub(super) fn compile(pattern: &str) -> Result<(regex::bytes::Regex, Alphabet), String> {
    first_alphabet(|alphabet| {
        RegexBuilder::new(pattern)
            .unicode(alphabet.is_unicode())
            .size_limit(limits::PATTERN_COMPILED_BYTES_MAX)
            .dfa_size_limit(limits::PATTERN_CACHE_BYTES_MAX)
            .build()
    })
}

/// The essence of a syntax error, which comes as a drawing of several lines.
fn reason(message: &str) -> String {
    let last = message.lines().next_back().unwrap_or(message).trim();
    format!("bad regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
}

/// All name patterns of all searches, matched together.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Per alphabet: the set, and for each of its patterns the number in the order of [`NamesBuilder::add`].
    groups: Vec<(RegexSet, Vec<usize>)>,
    count: usize,
}

impl Names {
    /// How many patterns there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Matches `name`. False: no pattern does, and `hits` is not touched. True: `hits` says which do.
    pub(super) fn mark(&self, name: &[u8], hits: &mut [bool]) -> bool {
        let mut any = false;
        for (set, numbers) in &self.groups {
            // Nearly all names match nothing, and this call allocates nothing.
            if !set.is_match(name) {
                continue;
            }
            if !any {
                hits.fill(false);
                any = true;
            }
            for index in &set.matches(name) {
                hits[numbers[index]] = true;
            }
        }
        any
    }
}

/// Collects name patterns into [`Names`].
#[derive(Debug, Default)]
pub(super) struct NamesBuilder {
    patterns: Vec<(String, Alphabet)>,
}

impl NamesBuilder {
    /// Adds a pattern and gives its number.
    pub(super) fn add(&mut self, pattern: &str) -> Result<usize, String> {
        let (_, alphabet) = compile(pattern)?;
        self.patterns.push((pattern.to_owned(), alphabet));
        Ok(self.patterns.len() - 1)
    }

    /// Puts the patterns together.
    pub(super) fn build(self) -> Result<Names, String> {
        let mut groups = Vec::new();
        for alphabet in [Alphabet::Bytes, Alphabet::Unicode] {
            let numbered = || self.patterns.iter().enumerate().filter(|(_, (_, of))| *of == alphabet);
            let numbers: Vec<usize> = numbered().map(|(number, _)| number).collect();
            if !numbers.is_empty() {
                let set = RegexSetBuilder::new(numbered().map(|(_, (pattern, _))| pattern))
                    .unicode(alphabet.is_unicode())
                    .size_limit(limits::PATTERNS_COMPILED_BYTES_MAX)
                    .dfa_size_limit(limits::PATTERN_CACHE_BYTES_MAX)
                    .build()
                    .map_err(|error| reason(&error.to_string()))?;
                groups.push((set, numbers));
            }
        }
        Ok(Names { groups, count: self.patterns.len() })
    }
}
