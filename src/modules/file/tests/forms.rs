//! The notations of the original, the command line and the printed form.

use super::{File, Module};
use crate::modules::file::filter::FIELDS;
use crate::modules::file::options;
use crate::modules::{ModuleResult, notation};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn modes_are_written_like_go() {
    for (mode, text) in [
        (0o100_644, "-rw-r--r--"),
        (0o100_000, "----------"),
        (0o104_755, "urwxr-xr-x"),
        (0o102_755, "grwxr-xr-x"),
        (0o043_711, "dgtrwx--x--x"),
        (0o041_777, "dtrwxrwxrwx"),
        (0o120_777, "Lrwxrwxrwx"),
        (0o060_660, "Drw-rw----"),
        (0o020_666, "Dcrw-rw-rw-"),
        (0o010_600, "prw-------"),
        (0o140_755, "Srwxr-xr-x"),
    ] {
        assert_eq!(notation::mode(mode), text);
    }
}

#[test]
fn times_are_written_like_go() {
    for (seconds, nanoseconds, text) in [
        (1_795_334_862, 973_345_879, "2026-11-22 08:07:42.973345879 +0000 UTC"),
        (1_795_334_862, 500_000_000, "2026-11-22 08:07:42.5 +0000 UTC"),
        (1_795_334_862, 0, "2026-11-22 08:07:42 +0000 UTC"),
        (0, 1, "1970-01-01 00:00:00.000000001 +0000 UTC"),
        (-1, 500_000_000, "1969-12-31 23:59:59.5 +0000 UTC"),
        (i64::MAX, 0, "@9223372036854775807"),
    ] {
        assert_eq!(notation::time(seconds, nanoseconds), text);
    }
}

#[test]
fn durations_are_written_like_go() {
    for (nanoseconds, text) in [
        (0, "0s"),
        (1, "1ns"),
        (850_000, "850µs"),
        (1_500, "1.5µs"),
        (69_957_480, "69.95748ms"),
        (1_500_000_000, "1.5s"),
        (123_500_000_000, "2m3.5s"),
        (3_600_000_000_000, "1h0m0s"),
        (90_061_000_000_001, "25h1m1.000000001s"),
    ] {
        assert_eq!(notation::duration(Duration::from_nanos(nanoseconds)), text);
    }
}

fn parse(line: &[&str]) -> Result<Value, String> {
    let arguments: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    File.parse_arguments(&arguments).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_makes_one_search() {
    let parsed = parse(&["-path", "/etc", "--path", "/usr", "-name", "^passwd$", "-content=^root:", "-maxdepth", "2"]);
    assert_eq!(
        parsed.unwrap(),
        json!({"searches": {"s1": {"paths": ["/etc", "/usr"], "names": ["^passwd$"], "contents": ["^root:"],
            "options": {"matchall": true, "maxdepth": 2}}}})
    );
    let md5 = "00".repeat(16);
    let line = ["-path", "/", "-md5", &md5, "-size", "<1k", "-mode", "-rw", "-mtime", ">1d", "-matchany", "-macroal"];
    let more =
        ["-mismatch", "name", "-returnsha256", "-decompress", "-maxerrors", "0", "-remotefs", "-matchlimit", "5"];
    assert_eq!(
        parse(&[&line[..], &more[..]].concat()).unwrap()["searches"]["s1"],
        json!({"paths": ["/"], "md5": [md5], "sizes": ["<1k"], "modes": ["-rw"], "mtimes": [">1d"],
            "options": {"matchall": false, "macroal": true, "mismatch": ["name"], "returnsha256": true,
                "decompress": true, "maxerrors": 0, "remotefs": true, "matchlimit": 5}})
    );
    for (flag, digits) in [("sha1", 40), ("sha2", 96), ("sha256", 64), ("sha384", 96), ("sha512", 128), ("sha3", 56)] {
        let parsed = parse(&["-path", "/", &format!("-{flag}"), &"0".repeat(digits)]).unwrap();
        assert_eq!(parsed["searches"]["s1"][flag], json!(["0".repeat(digits)]));
    }
    for (flag, digits) in [("sha3_224", 56), ("sha3_256", 64), ("sha3_384", 96), ("sha3_512", 128)] {
        assert!(parse(&["-path", "/", &format!("--{flag}"), &"0".repeat(digits)]).is_ok());
    }
    assert_eq!(
        parse(&["-path", "/", "-matchall=false"]).unwrap()["searches"]["s1"]["options"]["matchall"],
        json!(false)
    );
}

#[test]
fn a_wrong_command_line_names_the_option() {
    for (line, message) in [
        (&[][..], "-path: at least one path is needed"),
        (&["-name", "x"], "-path: at least one path is needed"),
        (&["-path"], "-path: needs a value"),
        (&["-path", "/", "-colour", "x"], "-colour: is not an option of the module file"),
        (&["-path", "/", "word"], "word: is not an option"),
        (&["-path", "/", "-maxdepth", "deep"], "-maxdepth: must be a whole number"),
        (&["-path", "/", "-macroal=perhaps"], "-macroal: must be true or false"),
        (&["-path", "/", "-name", "("], "-name: bad regular expression"),
        (&["-path", "/", "-mismatch", "x"], "-mismatch: "),
    ] {
        let refused = parse(line).unwrap_err();
        assert!(refused.starts_with(message), "{refused}");
    }
}

#[test]
fn every_filter_and_option_of_a_search_is_on_the_command_line() {
    for (_, field, word) in FIELDS {
        assert!(File.form().flags().any(|flag| flag.name == word && flag.field == field), "{word}");
    }
    for name in options::NAMES {
        let field = format!("options.{name}");
        assert!(File.form().flags().any(|flag| flag.name == name && flag.field == field), "{name}");
    }
}

#[test]
fn a_result_is_printed_like_the_original_does() {
    let info = json!({"lastmodified": "2026-11-22 08:07:42.973345879 +0000 UTC", "mode": "-rw-r--r--", "size": 1349});
    let empty = json!({"lastmodified": "", "mode": "", "size": 0});
    let result = ModuleResult {
        foundanything: true,
        success: true,
        elements: json!({
            "s1": [{"file": "/etc/passwd", "fileinfo": info, "search": {"names": ["^passwd$"], "paths": ["/etc"],
                "options": {"matchall": true, "matchlimit": 0, "maxdepth": 0}}}],
            "s2": [{"file": "/etc/\u{1b}[2J\n", "fileinfo": info, "search": {"names": ["a"], "contents": ["b"],
                "options": {"matchall": false}}}],
            "s3": [{"file": "", "fileinfo": empty, "search": {"sizes": ["<1k"], "options": {"matchall": false}}}],
        }),
        statistics: json!({"filescount": 1065, "openfailed": 1, "totalhits": 1, "exectime": "69.95748ms"}),
        errors: Some(vec!["open /etc/x: Permission denied".to_owned()]),
    };
    let file = "[lastmodified:2026-11-22 08:07:42.973345879 +0000 UTC, mode:-rw-r--r--, size:1349]";
    assert_eq!(
        File.print(&result),
        [
            format!("/etc/passwd {file} in search 's1'"),
            format!("/etc/\\u{{1b}}[2J\\n {file} in search 's2' on checks name='a' content='b'"),
            "0 match found in search 's3' on checks size='<1k'".to_owned(),
            "error: open /etc/x: Permission denied".to_owned(),
            "Statistics: 1065 files checked, 1 failed to open, 1 matched, ran in 69.95748ms.".to_owned(),
        ]
    );
    let failed = File.print(&ModuleResult::failed("searches: is missing"));
    assert_eq!(failed, ["error: searches: is missing"]);
}
