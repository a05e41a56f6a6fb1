mod answers;

use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use regex::{Regex, RegexBuilder};

use super::*;
use answers::ANSWERS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Match,
    NoMatch,
    Refused,
}

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    Expression::parse(text).expect_err(text).to_string()
}

fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).nest_limit(NEST_LIMIT).build().unwrap_or_else(|error| panic!("{error}"))
}

fn compile_lines(lines: &LinesPattern) -> RegexMatcher {
    let mut builder = RegexMatcherBuilder::new();
    builder.multi_line(true).line_terminator(Some(b'\n')).unicode(true).nest_limit(NEST_LIMIT);
    builder.build(&lines.pattern).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the pattern for lines matches in `line`, placed between two others.
fn finds_line(lines: &LinesPattern, line: &[u8]) -> bool {
    let around = [b"aK0 \xFF", line, b"bs1\xC3"].join(&b'\n');
    let (start, end) = (6, 6 + line.len());
    let mut found = false;
    let is_inside = |found_at: grep_matcher::Match| {
        found |= start <= found_at.start() && found_at.end() <= end;
        !found
    };
    compile_lines(lines).find_iter(&around, is_inside).unwrap();
    found
}

fn assert_lines(expression: &str, line: &[u8], matches: bool) {
    let lines = parse(expression).to_lines_pattern();
    let finds = finds_line(&lines, line);
    let case = format!("{expression} on {} as {lines:?}", line.escape_ascii());
    assert!(finds || !matches, "misses {case}");
    assert!(!finds || matches || !lines.is_exact, "matches {case}");
}

#[test]
fn matches_like_go() {
    assert!(ANSWERS.len() > 200);
    for (expression, bytes, answer) in ANSWERS {
        let case = format!("{expression:?} on {}", bytes.escape_ascii());
        if *answer == Answer::Refused {
            refusal(expression);
            continue;
        }
        let matches = *answer == Answer::Match;
        let parsed = parse(expression);
        assert_eq!(compile(&parsed.to_pattern()).is_match(&text(bytes)), matches, "{case}");
        if !bytes.contains(&b'\n') {
            assert_lines(expression, bytes, matches);
        }
    }
}

#[test]
fn published_actions_parse() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/actions");
    let mut expressions = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let action = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        collect_expressions(&serde_json::from_str(&action).unwrap(), &mut expressions);
    }
    assert!(expressions.len() > 100);
    for expression in expressions {
        let parsed = parse(&expression);
        compile(&parsed.to_pattern());
        compile(&parsed.to_whole_pattern());
        compile_lines(&parsed.to_lines_pattern());
    }
}

fn collect_expressions(value: &serde_json::Value, expressions: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        value.as_array().into_iter().flatten().for_each(|item| collect_expressions(item, expressions));
        return;
    };
    for (key, value) in fields {
        if ["names", "contents", "regexes", "filenames"].contains(&key.as_str()) {
            let texts = value.as_array().into_iter().flatten().filter_map(|item| item.as_str());
            expressions.extend(texts.map(str::to_owned));
        } else {
            collect_expressions(value, expressions);
        }
    }
}

#[test]
fn named_groups_come_in_two_spellings() {
    assert!(compile(&parse("^(?<name>a)(?P<name>b)$").to_pattern()).is_match("ab"));
    for malformed in ["(?<>a)", "(?<a b>c)", "(?<n", "(?<n>"] {
        refusal(malformed);
    }
}

#[test]
fn whole_patterns_are_anchored() {
    let whole = compile(&parse("a|bc*").to_whole_pattern());
    assert!(["a", "b", "bcc"].iter().all(|text| whole.is_match(text)));
    assert!(!["", "ab", "xa", "a\n", "bcd"].iter().any(|text| whole.is_match(text)));
}

#[test]
fn nul_separated_parts_are_found() {
    let matching = [
        ("^a$", b"x\0a\0x".as_slice()),
        ("^a$", b"a\0x"),
        ("^a$", b"x\0a"),
        ("^$", b"a\0\0b"),
        ("^$", b"a\0"),
        ("$^", b"a\0"),
        ("^^a", b"x\0a"),
        (r"\b^a", b"-\0a"),
        (r"a$\b", b"a\0b"),
        ("a$$", b"a\0b"),
        ("(?:^a?){2}", b"x\0ab"),
        ("(?:a?$){2}", b"xa\0b"),
        ("(?:^|,)a(?:,|$)", b"x\0a\0x"),
        ("(?:^a|^b)c", b"x\0bc"),
        (r"(?:\b|^)^a", b"-\0a"),
        (r"\Aa\z", b"x\0a\0x"),
        ("(?m)^a$", b"x\0a\0x"),
    ];
    for (expression, line) in matching {
        assert_lines(expression, line, true);
    }
    // A single anchor finds no other lines.
    for (expression, line) in [("^a", b"xa".as_slice()), ("a$", b"ab"), ("(^|,)a", b"xa"), ("^a|^b", b"xa")] {
        assert!(!finds_line(&parse(expression).to_lines_pattern(), line), "{expression}");
    }
}

#[test]
fn exact_patterns_are_marked() {
    let exact = ["abc", "(?i)é", r"\bfoo\b", "[a-z]+", r"\d{2}|x", "a\nb", ""];
    let inexact = ["^a", "a$", r"\A", r"\z", "(?m)^", "a.b", "[^a]", r"\W", r"\B", "\u{FFFD}", r"[\x{FFFD}a]"];
    assert!(exact.iter().all(|expression| parse(expression).to_lines_pattern().is_exact));
    assert!(!inexact.iter().any(|expression| parse(expression).to_lines_pattern().is_exact));
}

#[test]
fn no_line_matches_a_newline() {
    for expression in ["\n", r"a\nb", r"[\n]", r"\x0A", "(?s).", r"[^a]", r"\s"] {
        let lines = parse(expression).to_lines_pattern();
        assert!(!finds_line(&lines, b""), "{expression}");
    }
}

#[test]
fn mentions_covers_literals_and_small_classes() {
    for expression in ["/", "^/etc", "a|/", r"\/", r"\x2F", r"\Q/\E", "[/]", "(?i)/"] {
        assert!(parse(expression).mentions('/', 1), "{expression}");
    }
    for expression in ["", "a", ".", "[/a]", "[^a]", r"\W"] {
        assert!(!parse(expression).mentions('/', 1), "{expression}");
    }
    assert!(parse(r"[/\\]x").mentions('/', 2) && !parse("[^a]").mentions('/', 100));
    assert!(!parse("(?i)a").mentions('a', 1));
}

#[test]
fn has_assertions_covers_anchors_and_word_boundaries() {
    for expression in ["^", "a$", r"\A", r"(a|\z)", "(?m)^", "(?m)$", r"\bx", r"x\B"] {
        assert!(parse(expression).has_assertions(), "{expression}");
    }
    for expression in ["", "a", r"\^", "[$^]", r"\Q^$\E"] {
        assert!(!parse(expression).has_assertions(), "{expression}");
    }
}

#[test]
fn text_has_one_replacement_for_each_invalid_byte() {
    assert!(matches!(text("aé".as_bytes()), Cow::Borrowed("aé")));
    assert_eq!(text(b"a\xE2\x82\xC3\xA9\xFF"), "a\u{FFFD}\u{FFFD}é\u{FFFD}");
    assert_eq!(text(b"\xED\xA0\x80"), "\u{FFFD}\u{FFFD}\u{FFFD}");
}

#[test]
fn errors_cite_the_fragment() {
    let errors = [
        ("x(a", "missing closing ): `(a`"),
        ("a)b", "unexpected ): `a)`"),
        ("x[a", "missing closing ]: `[a`"),
        (r"a\qb", r"invalid escape sequence: `\q`"),
        (r"a\x{110000}", r"invalid escape sequence: `\x{110000`"),
        ("a\\", "trailing backslash at end of expression: `a\\`"),
        ("a**b", "invalid nested repetition operator: `**`"),
        ("a|*?b", "missing argument to repetition operator: `*?`"),
        ("a{2,1}b", "invalid repeat count: `{2,1}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Foo}a", r"invalid character class range: `\p{Foo}`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?P<a-b>c)", "invalid named capture: `(?P<a-b>`"),
    ];
    for (expression, error) in errors {
        assert_eq!(refusal(expression), error);
    }
    assert_eq!(refusal(&format!("{})", "é".repeat(99))), format!("unexpected ): `{}...`", "é".repeat(60)));
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize, open: &str, close: &str| format!("{}a{}", open.repeat(depth), close.repeat(depth));
    parse(&nested(999, "(", ")"));
    assert!(refusal(&nested(1000, "(", ")")).starts_with("expression nests too deeply"));
    parse(&nested(499, "(?:b", ")*"));
    assert!(refusal(&nested(500, "(?:b", ")*")).starts_with("expression nests too deeply"));
    assert!(refusal(&format!("a{}", "*(?i)".repeat(1000))).starts_with("expression nests too deeply"));
    // Non-capturing groups add no depth.
    assert!(compile(&parse(&nested(4000, "(?:", ")")).to_pattern()).is_match("a"));
    compile_lines(&parse(&nested(500, "(?:.", ")")).to_lines_pattern());
}

#[test]
fn size_is_limited() {
    parse(&"a{1000}".repeat(3000));
    assert!(refusal(&"a{1000}".repeat(4000)).starts_with("expression too large"));
    parse(&r"\pL".repeat(100));
    assert!(refusal(&r"\pL".repeat(5000)).starts_with("expression too large"));
}

#[test]
fn hostile_texts_take_little_time() {
    let start = std::time::Instant::now();
    let fragments = [
        "(", "(?:", "[", "[[:", r"[\pL", r"\Q", r"\Q\E", "{", "{1", "{1,", "|", "(|", "a*(?i)", r"\p{", "(?P<", "(?",
        "\\", r"\x{", "[^", "a{1000}", "^", "$", r"\b", r"[^\pLa]", r"(?i)\w",
    ];
    for fragment in fragments {
        let repeated = fragment.repeat(16_384 / fragment.len());
        for text in [format!("a{repeated}:]}}>)"), repeated] {
            if let Ok(expression) = Expression::parse(&text) {
                std::hint::black_box((expression.to_pattern(), expression.to_lines_pattern()));
            }
        }
    }
    parse(&"(?i)[A-\u{10000}]".repeat(50));
    // Around a second without optimisation, unless something is quadratic.
    assert!(start.elapsed().as_secs() < 20);
}
