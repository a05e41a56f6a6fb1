//! Searches a file line by line: all patterns in one pass.
//!
//! The file is read through one buffer in pieces of whole lines (see `lines.rs`), and every pattern that is still
//! undecided searches the whole piece at once. A pattern never matches across lines. NUL-separated text, as in
//! `/proc/PID/environ`, is matched both as one line and part by part. Reading stops as soon as everything is decided.

use super::limits;
use super::lines::{Buffer, Mark, Piece};
use super::patterns::{self, Room};
use crate::modules::expressions::reason;
use crate::re2::{self, Expression};
use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use regex::Regex;
use std::io::{self, Read};

/// Which lines a pattern must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// At least one.
    Some,
    /// Every one (the option `macroal`); a file without lines passes.
    Every,
}

/// Whether one pattern matches one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// Not searched, or the file could not be read to its end.
    Unknown,
    /// Matches.
    Yes,
    /// Does not match.
    No,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// For one line.
    line: Regex,
    /// For many lines at once. Matches wherever `line` does.
    many: RegexMatcher,
    /// `many` matches nowhere else.
    is_exact: bool,
    /// It contains zero-width assertions.
    has_assertions: bool,
    lines: Lines,
}

/// All content patterns of all searches.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    patterns: Vec<Pattern>,
    /// All `Lines::Some` patterns as alternatives of one: if it finds nothing in a piece, none of them would. `None` if
    /// there are fewer than two, or if they cannot be combined.
    any: Option<RegexMatcher>,
}

impl Contents {
    /// Number of patterns.
    pub(super) fn count(&self) -> usize {
        self.patterns.len()
    }

    /// Reads `reader` and sets the truths of the patterns `wanted`, numbered as [`ContentsBuilder::add`] did. Returns
    /// the byte order mark of the text.
    ///
    /// After an error, earlier truths stay valid and the rest is [`Truth::Unknown`].
    pub(super) fn scan(
        &self,
        reader: &mut dyn Read,
        wanted: &[usize],
        buffer: &mut Buffer,
        truths: &mut [Truth],
    ) -> io::Result<Mark> {
        let mut pending = wanted.to_vec();
        for &number in wanted {
            truths[number] = Truth::Unknown;
        }
        let use_any = wanted.len() > 1 && wanted.iter().all(|&number| self.patterns[number].lines == Lines::Some);
        let mut any = self.any.as_ref().filter(|_| use_any);
        let mark = buffer.lines(reader, |piece| {
            if any.is_some_and(|any| matches!(any.find_candidate_line(piece.bytes), Ok(None))) {
                return true;
            }
            pending.retain(|&number| {
                let truth = self.patterns[number].decide(&piece);
                truths[number] = truth;
                truth == Truth::Unknown
            });
            if pending.len() < wanted.len() {
                // A decided pattern would match again and again, so `any` no longer saves anything.
                any = None;
            }
            !pending.is_empty()
        })?;
        for number in pending {
            truths[number] = match self.patterns[number].lines {
                Lines::Some => Truth::No,
                Lines::Every => Truth::Yes,
            };
        }
        Ok(mark)
    }
}

impl Pattern {
    /// Returns the truth after a piece; unknown while later lines can change it.
    fn decide(&self, piece: &Piece) -> Truth {
        match self.lines {
            // The bounds and the rest of a cut line are unknown.
            _ if piece.is_cut && (self.has_assertions || self.lines == Lines::Every) => Truth::Unknown,
            Lines::Some if self.matches_any(piece) => Truth::Yes,
            Lines::Every if !self.matches_every(piece) => Truth::No,
            _ => Truth::Unknown,
        }
    }

    /// Whether a line of a piece matches.
    fn matches_any(&self, piece: &Piece) -> bool {
        let (bytes, mut start) = (piece.bytes, 0);
        // `start == len` is the empty line after the last newline of the piece, which has lost its own.
        while start <= bytes.len() {
            let position = match self.many.find_candidate_line(&bytes[start..]) {
                Ok(Some(LineMatchKind::Confirmed(_))) if self.is_exact => return true,
                Ok(Some(LineMatchKind::Confirmed(offset) | LineMatchKind::Candidate(offset))) => start + offset,
                Ok(None) | Err(_) => return false,
            };
            let (from, to) = line_around(bytes, position);
            if self.matches(&bytes[from..to], piece.nuls_separate) {
                return true;
            }
            start = to + 1;
        }
        false
    }

    /// Whether a line matches, or a part of it between NULs. The two differ only if the pattern has assertions.
    fn matches(&self, line: &[u8], nuls_separate: bool) -> bool {
        let line = re2::text(line);
        self.line.is_match(&line)
            || (nuls_separate && self.has_assertions && parts(&line).any(|part| self.line.is_match(part)))
    }

    /// Whether every line of a piece matches, as a whole or in each of its NUL-separated parts.
    fn matches_every(&self, piece: &Piece) -> bool {
        piece.bytes.split(|&byte| byte == b'\n').all(|line| {
            let line = re2::text(line);
            self.line.is_match(&line) || (piece.nuls_separate && parts(&line).all(|part| self.line.is_match(part)))
        })
    }
}

/// Returns the NUL-separated parts of a line; a NUL at the end terminates the last part.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.strip_suffix('\0').unwrap_or(line).split('\0')
}

/// Returns the bounds of the line that contains the byte at `position`.
fn line_around(piece: &[u8], position: usize) -> (usize, usize) {
    let from = memchr::memrchr(b'\n', &piece[..position]).map_or(0, |newline| newline + 1);
    let to = memchr::memchr(b'\n', &piece[position..]).map_or(piece.len(), |length| position + length);
    (from, to)
}

/// Collects content patterns into [`Contents`].
#[derive(Debug)]
pub(super) struct ContentsBuilder {
    patterns: Vec<(Pattern, String)>,
    /// Each pattern in the form for many lines.
    forms: Vec<String>,
    room: Room,
}

impl ContentsBuilder {
    /// Creates a builder; each pattern may use as much memory as `room` allows.
    pub(super) fn new(room: Room) -> Self {
        ContentsBuilder { patterns: Vec::new(), forms: Vec::new(), room }
    }

    /// Adds a pattern and returns its number; equal patterns share a number.
    pub(super) fn add(&mut self, text: &str, expression: &Expression, lines: Lines) -> Result<usize, String> {
        let known = self.patterns.iter().position(|(pattern, of)| pattern.lines == lines && of == text);
        if let Some(number) = known {
            return Ok(number);
        }
        let line = patterns::compile(expression, self.room)?;
        let form = expression.to_lines_pattern();
        let many = self.builder(self.room.compiled_bytes).build(&form.pattern);
        let many = many.map_err(|error| reason(&error.to_string()))?;
        let has_assertions = expression.has_assertions();
        self.patterns.push((Pattern { line, many, is_exact: form.is_exact, has_assertions, lines }, text.to_owned()));
        self.forms.push(form.pattern);
        Ok(self.patterns.len() - 1)
    }

    /// Combines the patterns.
    pub(super) fn build(self) -> Contents {
        let numbered = self.patterns.iter().zip(&self.forms);
        let some: Vec<&String> =
            numbered.filter(|((pattern, _), _)| pattern.lines == Lines::Some).map(|(_, form)| form).collect();
        let any = (some.len() > 1)
            .then(|| self.builder(limits::PATTERNS_COMPILED_BYTES_MAX).build_many(&some).ok())
            .flatten();
        Contents { patterns: self.patterns.into_iter().map(|(pattern, _)| pattern).collect(), any }
    }

    fn builder(&self, size_bytes_max: usize) -> RegexMatcherBuilder {
        let mut builder = RegexMatcherBuilder::new();
        builder
            .multi_line(true)
            .line_terminator(Some(b'\n'))
            .nest_limit(re2::NEST_LIMIT)
            .size_limit(size_bytes_max)
            .dfa_size_limit(self.room.cache_bytes);
        builder
    }
}
