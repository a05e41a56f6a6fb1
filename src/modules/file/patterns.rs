//! Regular expressions: how they are compiled, and the set that all name patterns form.
//!
//! The original's expressions are RE2's, where `\w`, `\d`, `\s` and `\b` know ASCII only and text need not be UTF-8. So
//! a pattern is compiled to work on bytes (`.` is any byte but a line's end); one that can't be, because it names
//! characters outside ASCII or `\p{..}` classes, is compiled to work on Unicode characters. `(?u)` in front asks for
//! the latter. All programs are limited in size, and matching takes time linear in the text.

use super::limits;
use crate::limits::REGEX_SET_EXPRESSIONS_MAX;
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
    /// Sets of one alphabet, and for each of its patterns the number in the order of [`NamesBuilder::add`].
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
        let count = self.patterns.len();
        let share_bytes = limits::PATTERNS_COMPILED_BYTES_MAX / count.div_ceil(REGEX_SET_EXPRESSIONS_MAX).max(1);
        let mut groups = Vec::new();
        for alphabet in [Alphabet::Bytes, Alphabet::Unicode] {
            let patterns = self.patterns.iter().enumerate().filter(|(_, (_, of))| *of == alphabet);
            let numbers: Vec<usize> = patterns.map(|(number, _)| number).collect();
            for numbers in numbers.chunks(REGEX_SET_EXPRESSIONS_MAX) {
                let set = RegexSetBuilder::new(numbers.iter().map(|number| &self.patterns[*number].0))
                    .unicode(alphabet.is_unicode())
                    .size_limit(share_bytes.max(limits::PATTERN_COMPILED_BYTES_MAX))
                    .dfa_size_limit(limits::PATTERN_CACHE_BYTES_MAX)
                    .build()
                    .map_err(|error| reason(&error.to_string()))?;
                groups.push((set, numbers.to_vec()));
            }
        }
        Ok(Names { groups, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_numbers_however_many_there_are() {
        let count = 2 * REGEX_SET_EXPRESSIONS_MAX + 50;
        let mut builder = NamesBuilder::default();
        for number in 0..count {
            // Every seventh works on characters and is put into another set.
            let class = if number % 7 == 0 { "\\p{Nd}" } else { "[0-9]" };
            assert_eq!(builder.add(&format!("^x{number}_{class}$")), Ok(number));
        }
        let names = builder.build().unwrap();
        let mut hits = vec![true; count];
        assert!(!names.mark(b"y", &mut hits));
        for number in 0..count {
            assert!(names.mark(format!("x{number}_5").as_bytes(), &mut hits), "{number}");
            let hit: Vec<usize> = (0..count).filter(|index| hits[*index]).collect();
            assert_eq!(hit, [number]);
        }
    }
}
