//! Contents: lines of any kind and length, hash sums, gzip.

use super::{Tree, run, run_once, strings};
use crate::modules::file::content::{ContentsBuilder, Lines, Truth};
use crate::modules::file::lines::Buffer;
use crate::modules::file::open::Bounded;
use crate::modules::file::patterns::Room;
use crate::re2::Expression;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::json;
use std::io::Write;

pub(super) fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

/// Returns the truth of one pattern on one text.
pub(super) fn truth(pattern: &str, lines: Lines, text: &[u8]) -> Truth {
    let mut builder = ContentsBuilder::new(Room::share(1));
    let number = builder.add(pattern, &Expression::parse(pattern).unwrap(), lines).unwrap();
    let contents = builder.build();
    let mut truths = [Truth::Unknown];
    contents.scan(&mut &*text, &[number], &mut Buffer::default(), &mut truths).unwrap();
    truths[0]
}

#[test]
fn a_pattern_matches_single_lines() {
    for (pattern, text, matches) in [
        ("^root:", "bin:x\nroot:x\n", true),
        ("^root:", "x root:\n", false),
        ("x$", "ax\nb\n", true),
        ("b$", "a\nb", true),
        ("a$", "a\r\n", true),
        ("a\r$", "a\r\n", false),
        ("a\r$", "a\r\r\n", true),
        ("a.b", "a\nb", false),
        ("a\\sb", "a\nb", false),
        ("a[^x]b", "a\nb", false),
        ("^$", "", false),
        ("^$", "a\n", false),
        ("^$", "a", false),
        ("^$", "\n", true),
        ("^$", "a\n\n", true),
        ("^$", "\na\n", true),
        ("\\Ab\\z", "a\nb\nc", true),
        ("\\Ab", "a\nab", false),
        ("(?i)ROOT", "root", true),
        ("a\\x00b", "a\0b", true),
        ("é+$", "caféé\n", true),
        ("\\p{Greek}", "λ", true),
        ("^\\w+$", "é", false),
        ("^[é-ë]$", "ê", true),
    ] {
        let got = truth(pattern, Lines::Some, text.as_bytes());
        assert_eq!(got, if matches { Truth::Yes } else { Truth::No }, "{pattern:?} on {text:?}");
    }
    assert_eq!(truth("a.b.+c", Lines::Some, b"a\xffb\xfe\x00c"), Truth::Yes, "bytes that are not UTF-8");
}

#[test]
fn macroal_requires_every_line_to_match() {
    for (pattern, text, matches) in
        [("a", "a\nba\n", true), ("a", "a\nb\n", false), ("a", "a\n\n", false), ("a", "", true), ("^$", "\n\n", true)]
    {
        let got = truth(pattern, Lines::Every, text.as_bytes());
        assert_eq!(got, if matches { Truth::Yes } else { Truth::No }, "{pattern:?} on {text:?}");
    }
}

proptest! {
    #[test]
    fn verdicts_do_not_depend_on_buffer_boundaries(
        lines in proptest::collection::vec("[ab]{0,3}|[ab]{0,9}", 0..40),
        scale in prop_oneof![Just(1_usize), Just(9_000), Just(50_000)],
        newline in any::<bool>(),
    ) {
        let mut text = lines.iter().map(|line| line.repeat(scale)).collect::<Vec<_>>().join("\n");
        if newline {
            text.push('\n');
        }
        for pattern in ["^a+$", "^$", "ab", "b$", "^ba?b"] {
            let plain = regex::Regex::new(pattern).unwrap();
            let some = text.lines().any(|line| plain.is_match(line));
            let every = text.lines().all(|line| plain.is_match(line));
            prop_assert_eq!(truth(pattern, Lines::Some, text.as_bytes()) == Truth::Yes, some, "{}", pattern);
            prop_assert_eq!(truth(pattern, Lines::Every, text.as_bytes()) == Truth::Yes, every, "{}", pattern);
        }
    }
}

#[test]
fn a_line_of_10_megabytes_is_matched_to_its_end() {
    let mut line = vec![b'x'; 10 << 20];
    line.extend_from_slice(b"needle");
    let tree = Tree::new(&[("long", &line)]);
    assert_eq!(tree.find(true, json!({"contents": ["^x+needle$"]})), ["long"]);
    assert_eq!(tree.find(true, json!({"contents": ["!needle"]})), strings(&[]));
}

#[test]
fn a_line_beyond_the_limit_is_searched_in_parts() {
    let mut line = vec![b'x'; 16 << 20];
    line.extend_from_slice(b"needle");
    line.resize(20 << 20, b'y');
    let tree = Tree::new(&[("small", b"needle\n"), ("huge", &line)]);
    let search = |contents: &str| {
        run_once(&json!({"searches": {"s1": {"paths": [tree.at("")], "contents": [contents],
            "options": {"matchall": true}}}}))
    };
    assert_eq!(tree.files(&search("needle"), "s1"), ["huge", "small"]);
    assert_eq!(tree.files(&search("xneedley"), "s1"), ["huge"], "across the cut");
    assert_eq!(tree.files(&search("!needle"), "s1"), strings(&[]));
    for unknown in ["!absent", "^y", "x$", "absent", "\\bxneedle", "needley\\B"] {
        let result = search(unknown);
        assert!(!tree.files(&result, "s1").contains(&"huge".to_owned()), "{unknown}: not decided, so it fails");
        let errors = result.errors.unwrap();
        assert!(errors.len() == 1 && errors[0].contains("huge: a line is longer than 16777216 bytes"), "{errors:?}");
        assert_eq!(result.statistics["openfailed"], 1);
    }
}

#[test]
fn binary_files_are_searched_like_others() {
    let mut binary = vec![0_u8; 300_000];
    binary[200_000..200_006].copy_from_slice(b"needle");
    let tree = Tree::new(&[("binary", &binary), ("other", &[0xff; 1000])]);
    assert_eq!(tree.find(true, json!({"contents": ["\\x00needle\\x00"]})), ["binary"]);
}

#[test]
fn many_patterns_are_matched_in_one_pass() {
    let tree = Tree::new(&[("ab", b"alpha\nbeta\n"), ("b", b"beta\n"), ("none", b"x\n")]);
    let result = run(&json!({"searches": {
        "any": {"paths": [tree.at("")], "contents": ["alpha", "beta", "\\Ax\\z", "gamma", "bet.", "!a"]},
        "all": {"paths": [tree.at("")], "contents": ["alpha", "^beta$", "!gamma"], "options": {"matchall": true}},
    }}));
    assert_eq!(tree.files(&result, "any"), ["ab", "ab", "b", "none", "ab", "b", "none"]);
    assert_eq!(tree.files(&result, "all"), ["ab"]);
}

#[test]
fn macroal_requires_every_line_to_match_every_pattern() {
    let tree = Tree::new(&[("all", b"ab\nba\n"), ("some", b"ab\na\n"), ("empty", b"")]);
    let search = |contents: &[&str]| json!({"contents": contents, "options": {"macroal": true}});
    for all in [true, false] {
        let files = tree.find(all, search(&["a"]));
        assert_eq!(files, ["all", "empty", "some"]);
        assert_eq!(tree.find(all, search(&["!c"])), ["all", "empty", "some"]);
        assert_eq!(tree.find(all, search(&["!b"])), ["empty"]);
    }
    assert_eq!(tree.find(true, search(&["a", "b"])), ["all", "empty"]);
    assert_eq!(tree.find(false, search(&["a", "b"])), ["all", "empty", "all", "empty"], "all or none");
}

#[test]
fn decompress_searches_inside_gzip_files_only_if_set() {
    let packed = gzip(b"hello\nneedle\n");
    let tree = Tree::new(&[("packed.gz", &packed), ("plain", b"needle\n"), ("broken", b"\x1f\x8bneedle\n")]);
    let result = run(&json!({"searches": {
        "packed": {"paths": [tree.at("")], "contents": ["^needle$"], "options": {"matchall": true}},
        "unpacked": {"paths": [tree.at("")], "contents": ["^needle$"],
            "options": {"matchall": true, "decompress": true, "returnsha256": true}},
    }}));
    assert_eq!(tree.files(&result, "packed"), ["plain"]);
    assert_eq!(tree.files(&result, "unpacked"), ["packed.gz", "plain"]);
    assert!(result.errors.unwrap().iter().all(|error| error.contains("/broken: ")));
    let sum = result.elements["unpacked"][0]["fileinfo"]["sha256"].clone();
    let search = json!({"sha256": [sum], "options": {"decompress": true}});
    assert_eq!(tree.find(true, search), ["packed.gz"], "sums are of the unpacked data");
    assert_eq!(tree.find(true, json!({"sha256": [sum]})), strings(&[]));
}

#[test]
fn every_hash_function_matches_its_standard() {
    // Of "abc", from FIPS 180-4 and 202 and RFC 1321.
    let tree = Tree::new(&[("abc", b"abc"), ("other", b"abd")]);
    for (fields, digest) in [
        (&["md5"][..], "900150983cd24fb0d6963f7d28e17f72"),
        (&["sha1"], "A9993E364706816ABA3E25717850C26C9CD0D89D"),
        (&["sha256", "sha2"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            &["sha384", "sha2"],
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            &["sha512", "sha2"],
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
             454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (&["sha3_224", "sha3"], "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"),
        (&["sha3_256", "sha3"], "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        (
            &["sha3_384", "sha3"],
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
        ),
        (
            &["sha3_512", "sha3"],
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e39340\
             57340b4cf408d5a56592f8274eec53f0",
        ),
    ] {
        for field in fields {
            let wrong = "00".repeat(digest.len() / 2);
            assert_eq!(tree.find(true, json!({*field: [digest]})), ["abc"], "{field}");
            assert_eq!(tree.find(true, json!({*field: [wrong, digest]})), ["abc"], "any of a list of {field}");
            assert_eq!(tree.find(false, json!({*field: [wrong, digest]})), ["abc"], "{field}");
            let inverted = json!({*field: [digest, wrong], "options": {"mismatch": [field]}});
            assert_eq!(tree.find(true, inverted), ["other"], "{field}");
        }
    }
}

#[test]
fn reading_beyond_the_limit_is_an_error() {
    for (limit, good) in [(9, false), (10, true), (11, true)] {
        let mut reader = Bounded { inner: &b"0123456789"[..], left: limit, limit, is_unwanted: &|| false };
        let read = std::io::copy(&mut reader, &mut std::io::sink());
        assert_eq!(read.is_ok(), good, "{limit}");
    }
}
