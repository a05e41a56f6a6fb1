//! Regular expressions of RE2's grammar.

use mig::re2::{Expression, NEST_LIMIT, text};
use regex::{Regex, RegexBuilder, bytes};

/// Texts of several kinds, none with a newline.
const TEXTS: [&[u8]; 8] = [
    b"",
    b"a",
    b"root:x:0:0:",
    b"() { :;};",
    "caf\u{e9} \u{3b1}\u{212a}".as_bytes(),
    b"\xff\xe2\x82",
    b"A=1\0B=2\0",
    b"aa bb--&&[]",
];

/// An expression: what is accepted has a pattern that the engine reads, unless it is too large, and where it matches a line
/// the pattern for many lines matches it as well, and nothing else if it says so.
pub fn expression(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let Ok(expression) = Expression::parse(source) else { return };
    let build = |pattern: &str| RegexBuilder::new(pattern).nest_limit(NEST_LIMIT).size_limit(1 << 20).build();
    let is_readable = |built: &Result<Regex, regex::Error>| !matches!(built, Err(regex::Error::Syntax(_)));
    let (line, whole) = (build(&expression.to_pattern()), build(&expression.to_whole_pattern()));
    assert!(is_readable(&line) && is_readable(&whole), "{source:?}");
    let form = expression.to_lines_pattern();
    let many = bytes::RegexBuilder::new(&form.pattern).nest_limit(NEST_LIMIT).size_limit(1 << 20).build();
    assert!(!matches!(many, Err(regex::Error::Syntax(_))), "{source:?}");
    let (Ok(line), Ok(whole), Ok(many)) = (line, whole, many) else { return };
    for bytes in TEXTS {
        let matches = line.is_match(&text(bytes));
        assert!(matches || !whole.is_match(&text(bytes)), "{source:?} on {bytes:?}");
        let found = many.is_match(bytes);
        assert!(found || !matches, "{source:?} misses {bytes:?}");
        assert!(!found || matches || !form.is_exact, "{source:?} finds too much in {bytes:?}");
    }
}
