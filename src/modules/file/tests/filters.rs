//! Filters and options, and the shape of results.

use super::{Tree, run, run_once};
use serde_json::{Value, json};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

#[test]
fn names_match_the_base_name_only() {
    let tree = Tree::new(&[("etc/passwd", b""), ("etc/passwd-", b""), ("passwd/other", b""), (".hidden", b"")]);
    for (names, files) in [
        (&["^passwd$"][..], &["etc/passwd"][..]),
        (&["passwd"], &["etc/passwd", "etc/passwd-"]),
        (&["pass", "-$"], &["etc/passwd-"]),
        (&["pass", "!-$"], &["etc/passwd"]),
        (&["!passwd"], &[".hidden", "passwd/other"]),
        (&["(?i)PASSWD$"], &["etc/passwd"]),
        (&["^\\.hidden$"], &[".hidden"]),
    ] {
        assert_eq!(tree.find(true, json!({"names": names})), files, "{names:?}");
    }
}

#[test]
fn sizes_are_strict_and_in_powers_of_1024() {
    let tree = Tree::new(&[("0", b""), ("1023", &[1; 1023]), ("1024", &[1; 1024]), ("1025", &[1; 1025])]);
    for (sizes, files) in [
        (&["<1k"][..], &["0", "1023"][..]),
        (&[">1k"], &["1025"]),
        (&["1k"], &["1024"]),
        (&["1K"], &["1024"]),
        (&["1023"], &["1023"]),
        (&[">0", "<1025"], &["1023", "1024"]),
        (&["<1m", "<1g", "<1t"], &["0", "1023", "1024", "1025"]),
    ] {
        assert_eq!(tree.find(true, json!({"sizes": sizes})), files, "{sizes:?}");
    }
}

#[test]
fn mtimes_below_are_newer_and_above_are_older() {
    let tree = Tree::new(&[("new", b""), ("hours", b""), ("days", b""), ("future", b"")]);
    let now = SystemTime::now();
    let set =
        |name: &str, time: SystemTime| File::options().write(true).open(tree.at(name)).unwrap().set_modified(time);
    set("hours", now - Duration::from_secs(2 * 3600)).unwrap();
    set("days", now - Duration::from_secs(100 * 86_400)).unwrap();
    set("future", now + Duration::from_secs(100 * 86_400)).unwrap();
    for (mtimes, files) in [
        (&["<60m"][..], &["future", "new"][..]),
        (&[">1h"], &["days", "hours"]),
        (&["<90d"], &["future", "hours", "new"]),
        (&[">90d"], &["days"]),
        (&[">1h", "<90d"], &["hours"]),
    ] {
        assert_eq!(tree.find(true, json!({"mtimes": mtimes})), files, "{mtimes:?}");
    }
}

#[test]
fn modes_match_gos_form() {
    let tree = Tree::new(&[("plain", b""), ("setuid", b""), ("sticky", b"")]);
    let set = |name: &str, mode| fs::set_permissions(tree.at(name), Permissions::from_mode(mode)).unwrap();
    set("plain", 0o640);
    set("setuid", 0o6755);
    set("sticky", 0o1700);
    for (mode, files) in [
        ("^-rw-r-----$", &["plain"][..]),
        ("^ugrwxr-xr-x$", &["setuid"]),
        ("^t", &["sticky"]),
        ("^[^-]", &["setuid", "sticky"]),
    ] {
        assert_eq!(tree.find(true, json!({"modes": [mode]})), files, "{mode}");
    }
}

#[test]
fn mismatch_inverts_a_filter() {
    let tree = Tree::new(&[("a", b"x\n"), ("bb", b"yy\n")]);
    let md5_of_a = "401b30e3b8b5d629635a5c613cdb7919";
    for (word, search) in [
        ("name", json!({"names": ["a"]})),
        ("names", json!({"names": ["a"]})),
        ("content", json!({"contents": ["x"]})),
        ("size", json!({"sizes": ["2"]})),
        ("mtime", json!({"names": ["a"], "mtimes": [">1d"], "options": {"mismatch": ["name"]}})),
        ("md5", json!({"md5": [md5_of_a]})),
        ("MD5", json!({"md5": [md5_of_a]})),
    ] {
        for all in [true, false] {
            let mut search = search.clone();
            let mut words = search["options"]["mismatch"].as_array().cloned().unwrap_or_default();
            words.push(json!(word));
            search["options"] = json!({"mismatch": words});
            let files = tree.find(all, search);
            assert!(files.contains(&"bb".to_owned()), "{word} {files:?}");
            assert!(word == "mtime" || files == ["bb"], "{word} {files:?}");
        }
    }
    let negated = json!({"names": ["!a"], "options": {"mismatch": ["name"]}});
    assert_eq!(tree.find(true, negated), ["a"], "inverted twice");
    let modes = json!({"modes": ["^d"], "options": {"mismatch": ["mode"]}});
    assert_eq!(tree.find(true, modes), ["a", "bb"]);
}

#[test]
fn matchall_reports_a_file_once_with_the_whole_search() {
    let tree = Tree::new(&[("passwd", b"root:x\n")]);
    let search = json!({"paths": [tree.at("")], "names": ["^passwd$"], "contents": ["^root:"],
        "options": {"matchall": true, "matchlimit": 0, "maxdepth": 0}});
    let result = run(&json!({"searches": {"s1": search}}));
    assert!(result.foundanything && result.success && result.errors.is_none());
    let entry = &result.elements["s1"][0];
    assert_eq!(entry["search"], search);
    assert_eq!(entry["file"], tree.at("passwd"));
    assert_eq!(entry["fileinfo"]["size"], 7);
    assert!(entry["fileinfo"]["lastmodified"].as_str().unwrap().ends_with(" +0000 UTC"));
    assert_eq!(entry.as_object().unwrap().keys().collect::<Vec<_>>(), ["file", "fileinfo", "search"]);
    assert_eq!(result.elements["s1"].as_array().unwrap().len(), 1);
    assert_eq!(result.statistics["totalhits"], 1);
    assert_eq!(result.statistics["filescount"], 1);
    assert_eq!(result.statistics["openfailed"], 0);
    assert!(result.statistics["exectime"].as_str().unwrap().ends_with('s'));
}

#[test]
fn without_matchall_each_check_reports_its_own_files() {
    let tree = Tree::new(&[("passwd", b"root:x\n"), ("group", b"root:y\n")]);
    let result = run(&json!({"searches": {"s1": {"paths": [tree.at("")], "contents": ["^root:", "absent"],
        "names": ["^passwd$"]}}}));
    let options = json!({"matchall": false, "matchlimit": 0, "maxdepth": 0});
    let paths = [tree.at("")];
    let expected = [
        ("passwd", json!({"names": ["^passwd$"], "paths": paths, "options": options})),
        ("group", json!({"contents": ["^root:"], "paths": paths, "options": options})),
        ("passwd", json!({"contents": ["^root:"], "paths": paths, "options": options})),
        ("", json!({"contents": ["absent"], "paths": paths, "options": options})),
    ];
    let entries = result.elements["s1"].as_array().unwrap();
    assert_eq!(entries.len(), expected.len(), "{entries:?}");
    for (entry, (file, search)) in entries.iter().zip(expected) {
        assert_eq!(entry["search"], search);
        assert_eq!(entry["file"], if file.is_empty() { String::new() } else { tree.at(file) });
    }
    assert_eq!(entries[3]["fileinfo"], json!({"size": 0, "mode": "", "lastmodified": ""}));
    assert_eq!(result.statistics["totalhits"], 3);
}

#[test]
fn a_search_without_a_match_reports_one_empty_entry() {
    let tree = Tree::new(&[("a", b"")]);
    let search = json!({"paths": [tree.at("")], "names": ["b"],
        "options": {"matchall": true, "matchlimit": 0, "maxdepth": 0}});
    let result = run(&json!({"searches": {"s1": search}}));
    let empty = json!({"size": 0, "mode": "", "lastmodified": ""});
    assert_eq!(result.elements, json!({"s1": [{"file": "", "fileinfo": empty, "search": search}]}));
    assert!(result.success && !result.foundanything);
    assert_eq!(result.statistics["totalhits"], 0);
}

#[test]
fn all_options_are_echoed_unchanged() {
    let options = json!({"matchall": true, "matchlimit": 7, "maxdepth": 2, "remotefs": true, "macroal": true,
        "returnsha256": true, "decompress": true, "mismatch": ["name"], "maxerrors": 0});
    let search = json!({"paths": ["/nowhere/"], "names": ["a"], "description": "why", "options": options});
    let result = run(&json!({"searches": {"s1": search}}));
    assert_eq!(result.elements["s1"][0]["search"], search);
}

#[test]
fn matchlimit_ends_a_search_and_is_reported() {
    let tree = Tree::new(&[]);
    for number in 0..1_010 {
        tree.write(&format!("f{number}"), b"");
    }
    for (limit, count) in [(json!(5), 5), (json!(0), 1_000), (Value::Null, 1_000), (json!(2_000), 1_010)] {
        let search = json!({"paths": [tree.at("")], "names": ["^f"],
            "options": {"matchall": true, "matchlimit": limit}});
        let result = run_once(&json!({"searches": {"s1": search}}));
        assert_eq!(tree.files(&result, "s1").len(), count);
        let note = format!("partial: search s1: stopped at the matchlimit of {count} files");
        assert_eq!(result.errors, (count != 1_010).then(|| vec![note]));
    }
}

#[test]
fn returnsha256_reports_the_sum_of_each_file() {
    let tree = Tree::new(&[("abc", b"abc")]);
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let md5 = "900150983cd24fb0d6963f7d28e17f72";
    for search in [json!({"names": ["abc"]}), json!({"md5": [md5]}), json!({"sha256": [sum]}), json!({"sizes": ["3"]})]
    {
        for all in [true, false] {
            let mut search = search.clone();
            search["paths"] = json!([tree.at("")]);
            search["options"] = json!({"matchall": all, "returnsha256": true});
            let result = run(&json!({"searches": {"s1": search}}));
            assert_eq!(result.elements["s1"][0]["fileinfo"]["sha256"], sum);
        }
    }
}
