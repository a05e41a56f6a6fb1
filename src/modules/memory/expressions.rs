//! What is looked for in memory: expressions and bytes, as one kind of pattern on bytes.

use crate::modules::expressions::{expression, reason};
use crate::modules::processes::Piece;
use crate::modules::{ParameterError, limits};
use crate::re2;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Compiled size of all expressions together, and at least that of one: a quarter of the memory of an operation.
const COMPILED_BYTES_SUM_MAX: usize = 256 << 20;
/// Compiled size of one expression: `\p{L}{50}` fits.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// Caches of the lazily built automata of all expressions, for each thread.
const CACHES_BYTES_MAX: usize = 32 << 20;
/// Cache of one expression: with less, the engine falls back to a slower algorithm.
const CACHE_BYTES_MIN: usize = 256 << 10;
/// Cache of one expression, if there are few.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// All expressions of an operation. A copy has caches of its own: each thread has one.
#[derive(Debug, Clone)]
pub(super) struct Expressions {
    list: Vec<Regex>,
    /// Which of them match, in one pass. None: there is one only, or together they are too large.
    all: Option<Regex>,
}

/// Collects expressions.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Patterns with the field that errors name; each once.
    patterns: Vec<(String, String)>,
}

impl Builder {
    /// Adds a regular expression, and returns its number.
    pub(super) fn contents(&mut self, text: &str, path: String) -> Result<usize, ParameterError> {
        match expression(text) {
            Ok(expression) => self.add(expression.to_bytes_pattern(), path),
            Err(reason) => Err(ParameterError::new(path, reason)),
        }
    }

    /// Adds bytes as hexadecimal digits, and returns their number.
    pub(super) fn bytes(&mut self, text: &str, path: String) -> Result<usize, ParameterError> {
        let bytes = crate::hex::decode(text).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.filter(|_| text.len() <= limits::PATTERN_BYTES_MAX).ok_or_else(|| {
            let bytes_max = limits::PATTERN_BYTES_MAX / 2;
            ParameterError::new(
                &path,
                format!("is not 1 to {bytes_max} bytes as hexadecimal digits, such as \"ff00d1ab\""),
            )
        })?;
        let mut pattern = "(?-u:".to_owned();
        for byte in bytes {
            // Writing to a String never fails.
            let _ = write!(pattern, r"\x{byte:02X}");
        }
        pattern.push(')');
        self.add(pattern, path)
    }

    fn add(&mut self, pattern: String, path: String) -> Result<usize, ParameterError> {
        if let Some(known) = self.patterns.iter().position(|(known, _)| *known == pattern) {
            return Ok(known);
        }
        if self.patterns.len() == limits::PATTERNS_MAX {
            let reason = format!("more than {} expressions on memory in one operation", limits::PATTERNS_MAX);
            return Err(ParameterError::new(path, reason));
        }
        self.patterns.push((pattern, path));
        Ok(self.patterns.len() - 1)
    }

    /// Compiles them.
    pub(super) fn build(self) -> Result<Expressions, ParameterError> {
        let count = self.patterns.len().max(1);
        let cache_bytes = (CACHES_BYTES_MAX / count).clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX);
        let compiled_bytes_max = (COMPILED_BYTES_SUM_MAX / count).min(COMPILED_BYTES_MAX);
        let one = |(pattern, path): &(String, String)| {
            compile(&[pattern], MatchKind::LeftmostFirst, compiled_bytes_max, cache_bytes)
                .map_err(|error| ParameterError::new(path, reason(&detail(&error, compiled_bytes_max))))
        };
        let list = self.patterns.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&str> = self.patterns.iter().map(|(pattern, _)| pattern.as_str()).collect();
        let compiled = || compile(&all, MatchKind::All, COMPILED_BYTES_SUM_MAX / 4, CACHE_BYTES_MAX).ok();
        let all = (count > 1).then(compiled).flatten();
        Ok(Expressions { list, all })
    }
}

fn detail(error: &BuildError, compiled_bytes_max: usize) -> String {
    match error.syntax_error() {
        Some(error) => error.to_string(),
        None if error.size_limit().is_some() => format!("compiled, it has more than {compiled_bytes_max} bytes"),
        None => error.to_string(),
    }
}

fn compile(
    patterns: &[impl AsRef<str>],
    kind: MatchKind,
    bytes_max: usize,
    cache_bytes: usize,
) -> Result<Regex, Box<BuildError>> {
    let config = Config::new()
        .match_kind(kind)
        .utf8_empty(false)
        .nfa_size_limit(Some(bytes_max))
        .hybrid_cache_capacity(cache_bytes);
    let syntax = syntax::Config::new().utf8(false).nest_limit(re2::NEST_LIMIT);
    Regex::builder().configure(config).syntax(syntax).build_many(patterns).map_err(Box::new)
}

impl Expressions {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Those of `pending` that may be in a piece. What was found before is in many pieces, and costs one pass.
    pub(super) fn in_piece(&self, piece: &Piece, pending: &BTreeSet<usize>) -> Vec<usize> {
        let Some(all) = &self.all else { return pending.iter().copied().collect() };
        // The first match is enough for that, and mostly there is none.
        if !all.is_match(input(piece)) {
            return Vec::new();
        }
        let mut found = PatternSet::new(self.list.len());
        all.which_overlapping_matches(&input(piece), &mut found);
        found.iter().map(|pattern| pattern.as_usize()).filter(|number| pending.contains(number)).collect()
    }

    /// Where an expression is in a piece.
    pub(super) fn find(&self, number: usize, piece: &Piece) -> Option<u64> {
        let found = self.list.get(number)?.find(input(piece))?;
        Some(piece.address + found.start() as u64)
    }
}

/// What is looked at in a piece: the bytes around it decide only what stands at its ends.
fn input<'b>(piece: &Piece<'b>) -> Input<'b> {
    let from = usize::from(!piece.is_start);
    let to = piece.bytes.len().saturating_sub(usize::from(!piece.is_end));
    Input::new(piece.bytes).range(from.min(to)..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(contents: &[&str], bytes: &[&str]) -> Result<Expressions, String> {
        let mut builder = Builder::default();
        let contents = contents.iter().try_for_each(|text| builder.contents(text, "c".into()).map(drop));
        let bytes = bytes.iter().try_for_each(|text| builder.bytes(text, "b".into()).map(drop));
        contents.and(bytes).and_then(|()| builder.build()).map_err(|error| error.to_string())
    }

    fn piece(bytes: &[u8], is_start: bool, is_end: bool) -> Piece<'_> {
        Piece { address: 100, bytes, is_start, is_end }
    }

    #[test]
    fn bytes_and_expressions_are_found_in_what_is_no_text() {
        let sought = ["s.cret", "caf\u{e9}", "a\nb", "[^x]{3}y", "(?i)ABC"];
        let all = expressions(&sought, &["00ff00", "FF00D1aB"]).unwrap();
        for (bytes, number, address) in [
            (&b"..s\xffcret"[..], 0, Some(102)),
            ("..s\u{e9}cret".as_bytes(), 0, Some(102)),
            ("caf\u{e9}".as_bytes(), 1, Some(100)),
            (b"a\nb", 2, Some(100)),
            (b"\0\xff\ny", 3, Some(100)),
            (b"..aBc", 4, Some(102)),
            (b"x\0\xff\0", 5, Some(101)),
            (b"\xff\0\xd1\xab", 6, Some(100)),
            (b"\xff\0\xd1", 6, None),
        ] {
            let piece = piece(bytes, true, true);
            assert_eq!(all.find(number, &piece), address, "{number} {bytes:?}");
            assert_eq!(all.in_piece(&piece, &[number].into()).len(), usize::from(address.is_some()));
        }
        assert!(all.in_piece(&piece(b"nothing", true, true), &(0..7).collect()).is_empty());
        let error = expressions(&["("], &[]).unwrap_err();
        assert!(error.starts_with("c: bad regular expression"), "{error}");
        let error = expressions(&["(.{1000}){1000}"], &[]).unwrap_err();
        assert!(error.starts_with("c: bad regular expression"), "{error}");
        for hex in ["", "f", "0xff", "zz", &"00".repeat(9000)] {
            assert!(expressions(&[], &[hex]).unwrap_err().starts_with("b: is not 1 to 8192 bytes"), "{hex}");
        }
    }

    #[test]
    fn what_was_found_makes_no_other_expression_be_looked_for() {
        let all = expressions(&["found", "fo+u", "other", "und"], &[]).unwrap();
        let piece = piece(b"..found.. found", true, true);
        assert_eq!(all.in_piece(&piece, &[0, 1, 2, 3].into()), [0, 1, 3], "also those that overlap");
        assert_eq!(all.in_piece(&piece, &[2].into()), [0; 0]);
        assert_eq!(all.in_piece(&piece, &[2, 3].into()), [3]);
    }

    #[test]
    fn a_cut_is_no_end() {
        let all = expressions(&["^abc", "abc$", r"\babc\b", "(?m)^abc"], &[]).unwrap();
        let found = |bytes, is_start, is_end| {
            let piece = piece(bytes, is_start, is_end);
            [0, 1, 2, 3].map(|number| all.find(number, &piece).is_some())
        };
        assert_eq!(found(b"abc", true, true), [true; 4]);
        assert_eq!(found(b"xabcx", false, false), [false; 4]);
        assert_eq!(found(b" abc ", false, false), [false, false, true, false]);
        assert_eq!(found(b"\nabc ", false, false), [false, false, true, true]);
        assert_eq!(found(b" abc", false, true), [false, true, true, false]);
        assert_eq!(found(b"abc", false, true), [false; 4], "it was looked at in the piece before");
        assert_eq!(found(b"", false, false), [false; 4]);
        assert_eq!(found(b"a", false, false), [false; 4]);
    }
}
