//! Owners, times beside the one of contents, extended attributes, capabilities, and what is reported on request.

use super::{File, Module, Tree, run, run_once, strings};
use rustix::fs::XattrFlags;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::{Duration, Instant, SystemTime};

#[test]
fn ctimes_and_birthtimes_are_not_fooled_by_a_time_that_was_set() {
    let tree = Tree::new(&[("set", b"")]);
    let file = fs::File::options().write(true).open(tree.at("set")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(100 * 86_400)).unwrap();
    for (search, is_found) in [
        (json!({"mtimes": [">90d"]}), true),
        (json!({"ctimes": ["<60m"]}), true),
        (json!({"ctimes": [">60m"]}), false),
        (json!({"ctimes": [">60m"], "options": {"mismatch": ["ctime"]}}), true),
        (json!({"birthtimes": ["<60m"], "mtimes": [">90d"]}), true),
        (json!({"birthtimes": [">60m"]}), false),
        (json!({"birthtimes": ["<60m"], "options": {"mismatch": ["birthtimes"]}}), false),
    ] {
        assert_eq!(!tree.find(true, search.clone()).is_empty(), is_found, "{search}");
    }
}

#[test]
fn a_file_system_without_times_of_birth_is_said_once_and_passes_neither_way() {
    for times in [["<60m"], [">60m"]] {
        let result = run(&json!({"searches": {"s": {"paths": ["/proc/uptime", "/proc/version"], "birthtimes": times,
            "options": {"matchall": true}}}}));
        assert!(!result.foundanything, "{result:?}");
        let errors = result.errors.unwrap();
        assert_eq!(errors, ["not read: /proc/uptime and 1 others: its file system has no time of birth"]);
    }
}

#[test]
fn owners_are_names_or_numbers_and_several_are_alternatives() {
    let tree = Tree::new(&[("root", b""), ("daemon", b""), ("other", b"")]);
    chown(tree.at("root"), Some(0), Some(0)).unwrap();
    chown(tree.at("daemon"), Some(1), Some(1)).unwrap();
    chown(tree.at("other"), Some(54_321), Some(54_322)).unwrap();
    for (search, files) in [
        (json!({"owners": ["daemon"]}), &["daemon"][..]),
        (json!({"owners": ["1"], "groups": ["daemon"]}), &["daemon"]),
        (json!({"owners": ["54321"]}), &["other"]),
        (json!({"groups": ["54322"]}), &["other"]),
        (json!({"groups": ["54321"]}), &[]),
        (json!({"owners": ["root", "daemon"]}), &["daemon", "root"]),
        (json!({"owners": ["root", "daemon"], "names": ["d"]}), &["daemon"]),
        (json!({"owners": ["root", "1"], "options": {"mismatch": ["owner"]}}), &["other"]),
    ] {
        assert_eq!(tree.find(true, search.clone()), strings(files), "{search}");
    }
    assert_eq!(tree.find(false, json!({"owners": ["root"], "groups": ["daemon"]})), ["root", "daemon"]);
}

#[test]
fn an_unknown_account_is_an_error_and_not_nothing_found() {
    let tree = Tree::new(&[("a", b"")]);
    for (search, reason) in [
        (json!({"owners": ["no-such-user"]}), "owners: /etc/passwd has no user \"no-such-user\""),
        (json!({"groups": ["root", "no-such-group"]}), "groups: /etc/group has no group \"no-such-group\""),
    ] {
        let mut search = search;
        search["paths"] = json!([tree.at("")]);
        let parameters = json!({"searches": {"s": search}});
        assert!(File.validate(&parameters).unwrap().is_empty(), "other machines may have it");
        let result = run(&parameters);
        assert!(!result.success && !result.foundanything);
        assert_eq!(result.elements.get("s"), None);
        let expected = format!("not searched: searches.s.{reason}; a number can be given instead");
        assert_eq!(result.errors.unwrap(), [expected]);
    }
    for value in ["", "a:b", "99999999999"] {
        let parameters = json!({"searches": {"s": {"paths": ["/x"], "owners": [value]}}});
        let error = File.validate(&parameters).unwrap_err().to_string();
        assert!(error.starts_with("searches.s.owners[0]: "), "{error}");
    }
}

#[test]
fn attributes_are_compared_and_their_values_are_never_returned() {
    let tree = Tree::new(&[("d/noted", b"x\n"), ("d/plain", b"x\n")]);
    tree.link("d/noted", "link");
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(tree.at("d/noted"), name, value, XattrFlags::empty()).unwrap();
    };
    set("user.origin", b"https://example.net/hushhush");
    set("user.raw", b"\xff\x00\n");
    for (search, files) in [
        (json!({"xattrs": ["^user\\.origin=https:"]}), &["d/noted", "link"][..]),
        (json!({"xattrs": ["^user\\.origin=", "^user\\.raw=.\\x00\\n$"]}), &["d/noted", "link"]),
        (json!({"xattrs": ["!^user\\."]}), &["d/plain"]),
        (json!({"xattrs": ["^user\\."], "contents": ["^x$"], "names": ["noted"]}), &["d/noted"]),
        (json!({"xattrs": ["^user\\."], "options": {"mismatch": ["xattr"]}}), &["d/plain"]),
    ] {
        assert_eq!(tree.find(true, search.clone()), strings(files), "{search}");
    }
    let result = run(&json!({"searches": {"s": {"paths": [tree.at("d/noted")], "xattrs": ["^user"]}}}));
    assert!(result.foundanything);
    assert!(!serde_json::to_string(&result.elements).unwrap().contains("hushhush"));
}

#[test]
fn capabilities_are_compared_as_text() {
    let tree = Tree::new(&[("ping", b""), ("plain", b""), ("broken", b"")]);
    // cap_net_admin (12) and cap_net_raw (13), permitted and effective.
    let words: [u32; 5] = [0x0200_0001, 0x3000, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::fs::setxattr(tree.at("ping"), "security.capability", &value, XattrFlags::empty()).unwrap();
    for (pattern, files) in [
        ("cap_net_raw", &["ping"][..]),
        ("^cap_net_admin,cap_net_raw\\+ep$", &["ping"]),
        (".*", &["ping"]),
        ("cap_sys_admin", &[]),
        ("!cap_net_raw", &["broken", "plain"]),
    ] {
        assert_eq!(tree.find(true, json!({"capabilities": [pattern]})), strings(files), "{pattern}");
    }
}

#[test]
fn inode_device_and_owner_are_reported_on_request() {
    let tree = Tree::new(&[("a", b"x")]);
    chown(tree.at("a"), Some(1), Some(54_321)).unwrap();
    let of = |options| {
        let result = run(&json!({"searches": {"s": {"paths": [tree.at("a")], "names": ["."], "options": options}}}));
        (result.elements["s"][0]["fileinfo"].clone(), File.print(&result)[0].clone())
    };
    let (plain, _) = of(json!({}));
    assert_eq!(plain.as_object().unwrap().keys().collect::<Vec<_>>(), ["lastmodified", "mode", "size"]);
    let (info, line) = of(json!({"returninode": true, "returnowner": true}));
    let metadata = fs::metadata(tree.at("a")).unwrap();
    let device = format!("{}:{}", rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    assert_eq!((info["inode"].as_u64(), info["device"].as_str()), (Some(metadata.ino()), Some(device.as_str())));
    assert_eq!((&info["uid"], &info["gid"]), (&json!(1), &json!(54_321)));
    assert_eq!((&info["owner"], info.get("group")), (&json!("daemon"), None));
    let expected = format!(", inode:{}, device:{device}, owner:daemon(1), group:54321]", metadata.ino());
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn a_search_ends_at_its_maxtime_with_what_it_found() {
    let tree = Tree::new(&[("small", b"x\n")]);
    // A hole that takes an hour to hash.
    fs::File::create(tree.at("large")).unwrap().set_len(4 << 40).unwrap();
    let sum = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac";
    let started = Instant::now();
    let result = run_once(&json!({"searches": {
        "slow": {"paths": [tree.at("")], "sha256": [sum], "options": {"matchall": true, "maxtime": "300ms"}},
        "quick": {"paths": [tree.at("")], "names": ["large"], "options": {"matchall": true, "maxtime": "1h"}}}}));
    assert_eq!(tree.files(&result, "slow"), ["small"]);
    assert_eq!(tree.files(&result, "quick"), ["large"]);
    assert!(started.elapsed() < Duration::from_secs(60), "the file was read to its end");
    let errors = result.errors.unwrap();
    assert_eq!(errors, ["partial: search slow: stopped at its maxtime of 300ms"]);
    assert_eq!(result.statistics["partial"], json!(true));
    assert_eq!(result.elements["slow"][0]["search"]["options"]["maxtime"], json!("300ms"));
    for text in ["0s", "soon", "25h"] {
        let options = json!({"maxtime": text});
        let parameters = json!({"searches": {"s": {"paths": ["/x"], "names": ["."], "options": options}}});
        let error = File.validate(&parameters).unwrap_err().to_string();
        assert!(error.starts_with("searches.s.options.maxtime: "), "{error}");
    }
}
