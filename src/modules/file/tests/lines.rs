//! Line ends, encodings and NULs.

use super::contents::{gzip, truth};
use super::{Tree, run, strings};
use crate::modules::file::content::{Lines, Truth};
use serde_json::json;

fn utf_16(text: &str, big_endian: bool) -> Vec<u8> {
    let mark = "\u{feff}".encode_utf16();
    let units = mark.chain(text.encode_utf16());
    units.flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

fn assert_verdict(pattern: &str, lines: Lines, text: &[u8], matches: bool) {
    let expected = if matches { Truth::Yes } else { Truth::No };
    assert_eq!(truth(pattern, lines, text), expected, "{pattern:?} on {:?}", String::from_utf8_lossy(text));
}

#[test]
fn a_carriage_return_before_a_newline_or_the_end_is_not_part_of_the_line() {
    for (pattern, text, matches) in [
        ("^gpgcheck=1$", "a=0\r\ngpgcheck=1\r\n", true),
        ("^gpgcheck=1$", "a=0\r\ngpgcheck=1\r", true),
        ("^gpgcheck=1$", "a=0\r\ngpgcheck=1", true),
        ("^$", "a\r\n\r\nb\r\n", true),
        ("^$", "a\r\nb\r\n", false),
        ("\r", "a\r\nb\r\n", false),
        ("a\rb", "a\rb\r\n", true),
        ("^b", "a\rb\n", false),
        ("a\r$", "a\r\r\n", true),
        ("a.$", "a\r\n", false),
        ("^a$", "\r\n\r\na\r\n", true),
    ] {
        assert_verdict(pattern, Lines::Some, text.as_bytes(), matches);
    }
    assert_verdict("^a=[01]$", Lines::Every, b"a=0\r\na=1\r\n", true);
    assert_verdict("^a=[01]$", Lines::Every, b"a=0\r\na=1\r", true);
    assert_verdict("^a=[01]$", Lines::Every, b"a=0\r\na=2\r\n", false);
    let long = "x\r\n".repeat(200_000) + "needle\r\n";
    assert_verdict("^needle$", Lines::Some, long.as_bytes(), true);
    assert_verdict("^x$|^needle$", Lines::Every, long.as_bytes(), true);
}

#[test]
fn negated_patterns_see_the_same_lines() {
    let text = b"a=0\r\ngpgcheck=1\r\n";
    let environ = b"A=1\0LD_PRELOAD=/tmp/x\0B=2\0";
    let wide = utf_16("a=0\r\ngpgcheck=1\r\n", false);
    let tree = Tree::new(&[("crlf", text), ("crlf.gz", &gzip(text)), ("environ", environ), ("utf16", &wide)]);
    let find = |pattern: &str| tree.find(true, json!({"contents": [pattern], "options": {"decompress": true}}));
    assert_eq!(find("^gpgcheck=1$"), ["crlf", "crlf.gz", "utf16"]);
    assert_eq!(find("!^gpgcheck=1$"), ["environ"]);
    assert_eq!(find("^LD_PRELOAD="), ["environ"]);
    assert_eq!(find("!^LD_PRELOAD="), ["crlf", "crlf.gz", "utf16"]);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_line() {
    let texts = [
        b"\xef\xbb\xbfhello\nw\xc3\xb6rld\n".to_vec(),
        utf_16("hello\nwörld\n", false),
        utf_16("hello\nwörld\n", true),
    ];
    for (pattern, every, matches) in [
        ("^hello$", false, true),
        ("^w.rld$", false, true),
        ("^.....$", true, true),
        ("^(hello|wörld)$", true, true),
        ("\u{feff}", false, false),
        ("!\u{feff}", false, true),
        ("!wörld", false, false),
    ] {
        let tree = Tree::new(&[("8", &texts[0]), ("le", &texts[1]), ("be", &texts[2])]);
        let search = json!({"contents": [pattern], "options": {"macroal": every}});
        assert_eq!(tree.find(true, search), strings(if matches { &["8", "be", "le"] } else { &[] }), "{pattern}");
    }
    assert_verdict("^a", Lines::Some, b"\xef\xbb\xbf", false);
    assert_verdict("^$", Lines::Some, b"\xef\xbb\xbf\n", true);
    // More than a buffer, with characters of four bytes over its ends.
    let long = format!("{}\nneedle{}", "é\u{1f4a9}x".repeat(100_000), '\u{1f4a9}');
    let tree = Tree::new(&[("le", &utf_16(&long, false)), ("be", &utf_16(&long, true))]);
    assert_eq!(tree.find(true, json!({"contents": ["^needle\u{1f4a9}$"]})), ["be", "le"]);
}

#[test]
fn a_mark_does_not_hide_text_in_another_encoding() {
    let tree = Tree::new(&[("script", b"\xff\xfe<?php eval(1);\n"), ("utf32", b"\xff\xfe\0\0h\0\0\0")]);
    assert_eq!(tree.find(true, json!({"contents": ["<\\?php eval"]})), ["script"]);
    assert_eq!(tree.find(true, json!({"contents": ["!<\\?php"]})), strings(&[]));
    let result = run(&json!({"searches": {"s1": {"paths": [tree.at("utf32")], "contents": ["!absent"]}}}));
    assert_eq!(tree.files(&result, "s1"), strings(&[]), "the contents are unknown");
    assert!(
        result.errors.unwrap()[0]
            .ends_with("utf32: it begins with a UTF-32 byte order mark; it was searched as bytes only")
    );
}

#[test]
fn the_nuls_of_utf_16_separate_nothing() {
    let tree = Tree::new(&[("u16", &utf_16("key=[value] # x\r\n", false))]);
    for absent in ["^#", "^\\[", "^v$", "\\r$"] {
        assert_eq!(tree.find(true, json!({"contents": [absent]})), strings(&[]), "{absent}");
        assert_eq!(tree.find(true, json!({"contents": [format!("!{absent}")]})), ["u16"], "{absent}");
    }
}

#[test]
fn nul_separated_parts_are_matched_one_by_one_and_as_one_line() {
    let environ = b"PATH=/bin\0HOME=/root\0EMPTY=\0";
    for (pattern, matches) in [
        ("^PATH=/bin$", true),
        ("^HOME=", true),
        ("=/root$", true),
        ("^EMPTY=$", true),
        ("^$", false),
        ("^/bin", false),
        ("bin\\x00HOME", true),
        ("^PATH.*EMPTY=\\x00$", true),
        ("bin$", true),
        ("\\AHOME=/root\\z", true),
    ] {
        assert_verdict(pattern, Lines::Some, environ, matches);
        let among_others = [b"first\n", &environ[..], b"\nlast\n"].concat();
        assert_verdict(pattern, Lines::Some, &among_others, matches);
    }
    assert_verdict("^[A-Z]+=", Lines::Every, environ, true);
    assert_verdict("^[A-Z]+=/", Lines::Every, b"A=/\0B=/\0", true);
    assert_verdict("^[A-Z]=/$", Lines::Every, b"A=/\0B=-\0", false);
}

#[test]
fn bytes_that_are_not_utf_8_are_one_character_each() {
    for (pattern, text, matches) in [
        ("^caf.$", &b"caf\xe9\n"[..], true),
        ("^caf.$", b"caf\xc3\xa9\n", true),
        ("^caf..$", b"caf\xc3\xa9\n", false),
        ("^caf..$", b"caf\xc3\xc3\n", true),
        ("^caf\\W$", b"caf\xe9\n", true),
        ("^caf\\xe9$", b"caf\xe9\n", false),
        ("^caf\\xe9$", b"caf\xc3\xa9\n", true),
        ("(?i)^CAF\u{c9}$", b"caf\xc3\xa9\n", true),
        ("a[^b]c", b"\xff\nxa\xfec\n", true),
        ("needle", b"\xff\xfd\xfe needle \x80\n", true),
        ("^[^x]{3}$", b"\xe2\x82\xac\xe2\x82\n", true),
    ] {
        assert_verdict(pattern, Lines::Some, text, matches);
    }
}
