//! Translates regular expressions of RE2's grammar, which actions use, for the crates `regex` and `grep-regex`.
//!
//! Both crates have another grammar: set operators in classes, other escapes, no literal `{`.
//! [`Expression::parse`] therefore parses RE2's grammar itself. It accepts what Go 1.19's `regexp` accepts, and
//! `(?<name>...)`. The generated patterns contain nothing on which the grammars differ: classes are listed range by
//! range, flags are resolved, groups do not capture, unless that is asked for.
//!
//! Guarantees:
//! * No text makes the parser panic, or use stack in proportion to the text. Its time is near linear in the text.
//! * A pattern matches what Go matches. Unicode data (categories, scripts, case) is that of crate `regex-syntax`,
//!   so some characters may differ from Go 1.19, which has Unicode 13.
//! * Expressions that would take much memory are refused: nested too deeply, or too large once repetitions are
//!   expanded, both by Go's measure; and, unlike in Go, with more than 200,000 ranges in classes.

mod class;
mod compile;
mod cursor;
mod limits;
mod lines;
mod parse;
#[cfg(test)]
mod tests;
mod unicode;

pub use compile::{compile, compile_sets, sets_count};

use std::borrow::Cow;
use std::fmt::Write;

use regex_syntax::hir::ClassUnicode;

/// The `nest_limit` to compile a pattern with. It allows any number of non-capturing groups, which use no stack. The
/// parser bounds the rest: with optimisation, the deepest expression compiles on 1 MiB of stack.
pub const NEST_LIMIT: u32 = 1 << 20;

/// Fragments in error messages are truncated to this many characters.
const CITED_CHARS: usize = 60;

/// An expression of RE2's grammar.
#[derive(Debug, Clone)]
pub struct Expression {
    /// In the order of the text. A flat list, so that no operation recurses.
    pieces: Vec<Piece>,
    /// The places in it of the groups that capture, in order.
    capturing: Vec<usize>,
    /// Whether an assertion must hold more than once in a row, like `(?:^a?){2}`.
    repeats_assertion: bool,
}

/// Why a text is not a valid expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

/// A pattern for many lines at once. See [`Expression::to_lines_pattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesPattern {
    /// For grep-regex, with `multi_line(true)` and `line_terminator(Some(b'\n'))`.
    pub pattern: String,
    /// Every match is one of the expression's own. Otherwise a line where it matches must be checked with
    /// [`Expression::to_pattern`].
    pub is_exact: bool,
}

/// A token of an expression.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(char),
    /// Never a single character.
    Class(ClassUnicode),
    Assertion(Assertion),
    Open,
    Or,
    Close,
    /// Repeats the piece or group before it.
    Repeat {
        min: u32,
        max: Option<u32>,
        lazy: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assertion {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

impl Expression {
    /// Parses `text` as Go's `regexp.Compile` does.
    ///
    /// # Errors
    ///
    /// If `text` does not match the grammar, or exceeds its limits.
    pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
        parse::parse(text)
    }

    /// Returns the pattern for crate `regex`, over strings: matches the same texts as Go. See [`text`] for texts that
    /// are not UTF-8.
    #[must_use]
    pub fn to_pattern(&self) -> String {
        let mut pattern = String::new();
        self.pieces.iter().for_each(|piece| write_plain(&mut pattern, piece));
        pattern
    }

    /// Returns the same pattern with its groups.
    #[must_use]
    pub fn to_capturing_pattern(&self) -> String {
        let mut pattern = String::new();
        for (place, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Open if self.capturing.binary_search(&place).is_ok() => pattern.push('('),
                piece => write_plain(&mut pattern, piece),
            }
        }
        pattern
    }

    /// Returns the same pattern anchored at both ends: `^(?:...)$`.
    #[must_use]
    pub fn to_whole_pattern(&self) -> String {
        format!("^(?:{})$", self.to_pattern())
    }

    /// Returns the pattern for searching many lines of raw bytes at once with grep-regex. It finds every line that the
    /// expression matches, every line with a NUL-separated part that it matches, and possibly others:
    ///
    /// * What matches U+FFFD also matches one byte beyond ASCII, as [`text`] replaces invalid bytes by U+FFFD.
    /// * Anchors also match one NUL, or, next to another assertion, anywhere.
    /// * `\B` is not exact, as it may match inside a character.
    ///
    /// Nothing matches a newline, as lines contain none.
    #[must_use]
    pub fn to_lines_pattern(&self) -> LinesPattern {
        lines::render(self)
    }

    /// Returns the pattern for bytes that need not be text: what matches U+FFFD also matches one byte beyond ASCII, as [`text`]
    /// replaces invalid bytes by U+FFFD. So `.` also matches a part of a character.
    #[must_use]
    pub fn to_bytes_pattern(&self) -> String {
        let mut pattern = String::new();
        self.pieces.iter().for_each(|piece| lines::write_bytes(&mut pattern, piece));
        pattern
    }

    /// Whether `letter` occurs in the expression, in any alternative: as a literal, or in a class of at most
    /// `class_chars_max` characters. In a larger class, such as `[^x]`, it is not meant specifically.
    #[must_use]
    pub fn mentions(&self, letter: char, class_chars_max: usize) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Literal(literal) => *literal == letter,
            Piece::Class(class) => {
                let holds = class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&letter));
                holds && class.ranges().iter().map(|range| range.len()).sum::<usize>() <= class_chars_max
            }
            _ => false,
        })
    }

    /// Whether the expression has zero-width assertions: beginning or end of a text, line or word.
    #[must_use]
    pub fn has_assertions(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Assertion(_)))
    }
}

/// Decodes bytes as Go's `regexp` does: each byte of invalid UTF-8 becomes one U+FFFD. Borrowed if valid.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(valid) = str::from_utf8(bytes) {
        return Cow::Borrowed(valid);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

impl SyntaxError {
    fn new(problem: &str, fragment: &str) -> SyntaxError {
        let mut chars = fragment.chars();
        let cited: String = chars.by_ref().take(CITED_CHARS).collect();
        let dots = if chars.next().is_some() { "..." } else { "" };
        SyntaxError(format!("{problem}: `{cited}{dots}`"))
    }
}

impl Assertion {
    fn is_anchor(self) -> bool {
        !matches!(self, Assertion::WordBoundary | Assertion::NoWordBoundary)
    }

    fn is_start(self) -> bool {
        matches!(self, Assertion::TextStart | Assertion::LineStart)
    }

    fn syntax(self) -> &'static str {
        match self {
            Assertion::TextStart => r"\A",
            Assertion::TextEnd => r"\z",
            Assertion::LineStart => "(?m:^)",
            Assertion::LineEnd => "(?m:$)",
            Assertion::WordBoundary => r"(?-u:\b)",
            Assertion::NoWordBoundary => r"(?-u:\B)",
        }
    }
}

/// Writes a piece for matching strings.
fn write_plain(pattern: &mut String, piece: &Piece) {
    match piece {
        Piece::Literal(letter) => regex_syntax::escape_into(letter.encode_utf8(&mut [0; 4]), pattern),
        Piece::Class(class) => write_class(pattern, class),
        Piece::Assertion(assertion) => pattern.push_str(assertion.syntax()),
        Piece::Open => pattern.push_str("(?:"),
        Piece::Or => pattern.push('|'),
        Piece::Close => pattern.push(')'),
        Piece::Repeat { min, max, lazy } => write_repeat(pattern, *min, *max, *lazy),
    }
}

fn write_class(pattern: &mut String, class: &ClassUnicode) {
    if class.ranges().is_empty() {
        // Matches nothing.
        pattern.push_str("[a&&b]");
        return;
    }
    pattern.push('[');
    for range in class.ranges() {
        write_bound(pattern, range.start());
        if range.start() != range.end() {
            pattern.push('-');
            write_bound(pattern, range.end());
        }
    }
    pattern.push(']');
}

fn write_bound(pattern: &mut String, bound: char) {
    if bound.is_ascii_alphanumeric() {
        pattern.push(bound);
    } else {
        // Writing to a String never fails.
        let _ = write!(pattern, r"\x{{{:X}}}", u32::from(bound));
    }
}

/// Writes a repetition, always in braces: one may follow another, and `*?` would be parsed as one.
fn write_repeat(pattern: &mut String, min: u32, max: Option<u32>, lazy: bool) {
    let _ = match max {
        Some(max) => write!(pattern, "{{{min},{max}}}"),
        None => write!(pattern, "{{{min},}}"),
    };
    if lazy {
        pattern.push('?');
    }
}
