//! Which files a search covers.

use super::{Tree, context, run, run_once, strings};
use crate::modules::file::mounts::{Mounts, Place};
use crate::modules::file::{parameters, search};
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

#[test]
fn maxdepth_1_is_the_files_directly_in_a_path() {
    let tree = Tree::new(&[("f", b""), ("d/f", b""), ("d/e/f", b""), ("d/e/g/f", b"")]);
    for (path, maxdepth, files) in [
        ("", 1, &["f"][..]),
        ("", 2, &["d/f", "f"]),
        ("", 3, &["d/e/f", "d/f", "f"]),
        ("", 0, &["d/e/f", "d/e/g/f", "d/f", "f"]),
        ("f", 1, &["f"]),
        ("d/e/", 1, &["d/e/f"]),
    ] {
        let search = json!({"paths": [tree.at(path)], "names": ["f"], "options": {"maxdepth": maxdepth}});
        assert_eq!(tree.find(true, search), files, "{path:?} {maxdepth}");
    }
}

#[test]
fn paths_inside_each_other_are_walked_once() {
    let tree = Tree::new(&[("f", b"x"), ("d/f", b"x"), ("d/e/f", b"x"), ("d/e/g/f", b"x")]);
    let paths = [tree.at("d/e"), tree.at(""), tree.at("d"), tree.at("d/e/f"), tree.at("d//e/")];
    let result = run(&json!({"searches": {"s1": {"paths": paths, "contents": ["x"], "options": {"matchall": true}}}}));
    assert_eq!(tree.files(&result, "s1"), ["d/e/f", "d/e/g/f", "d/f", "f"]);
    assert_eq!(result.statistics["filescount"], 4);
    // The search above is not deep enough to reach the path below; each file is still examined once.
    let result = run(&json!({"searches": {
        "top": {"paths": [tree.at("")], "names": ["f"], "options": {"maxdepth": 1}},
        "both": {"paths": [tree.at(""), tree.at("d/e"), tree.at("d/e/f")], "names": ["f"], "options": {"maxdepth": 1}},
        "two": {"paths": [tree.at("d"), tree.at("d/e")], "names": ["f"], "options": {"maxdepth": 2}},
        "file": {"paths": [tree.at("d/e/f")], "names": ["f"], "options": {"maxdepth": 1}},
    }}));
    assert_eq!(tree.files(&result, "top"), ["f"]);
    assert_eq!(tree.files(&result, "both"), ["d/e/f", "f"]);
    assert_eq!(tree.files(&result, "two"), ["d/e/f", "d/e/g/f", "d/f"]);
    assert_eq!(tree.files(&result, "file"), ["d/e/f"]);
    assert_eq!(result.statistics["filescount"], 4);
}

#[test]
fn links_to_files_are_followed_and_links_to_directories_only_as_paths() {
    let tree = Tree::new(&[("in/real", b"needle\n"), ("out/target", b"needle\n"), ("out/d/deep", b"needle\n")]);
    tree.link("real", "in/near");
    tree.link("../out/target", "in/far");
    tree.link("../out/d", "in/directory");
    tree.link("nowhere", "in/dangling");
    tree.link("loop", "in/loop");
    let search = |paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| tree.at(path)).collect();
        json!({"paths": paths, "contents": ["^needle$"], "sizes": ["7"], "modes": ["^-"]})
    };
    let result = run(&json!({"searches": {"s1": search(&["in"])}}));
    let found = tree.files(&result, "s1");
    assert_eq!(&found[..3], ["in/far", "in/near", "in/real"]);
    assert_eq!(found.len(), 9, "three checks");
    assert_eq!(result.errors, None, "dangling links are not errors");
    assert_eq!(tree.find(true, search(&["in/directory"])), ["in/directory/deep"]);
    assert_eq!(tree.find(true, search(&["in/directory", "in/near", "in"])).len(), 4);
    let named = json!({"paths": [tree.at("in")], "names": ["near", "!far"]});
    assert_eq!(tree.find(true, named), ["in/near"]);
    assert_eq!(tree.find(true, json!({"paths": [tree.at("in")], "names": ["^(directory|dangling|loop)$"]})).len(), 0);
}

#[test]
fn a_large_file_with_two_names_is_reported_under_both() {
    let mut contents = vec![b'x'; 100_000];
    contents.extend_from_slice(b"\nneedle\n");
    let tree = Tree::new(&[("a", &contents)]);
    tree.link("a", "b");
    fs::hard_link(tree.at("a"), tree.at("c")).unwrap();
    assert_eq!(tree.find(true, json!({"contents": ["^needle$", "!absent"]})), ["a", "b", "c"]);
    let result = run(&json!({"searches": {"s1": {"paths": [tree.at("")], "names": ["."],
        "options": {"matchall": true, "returnsha256": true}}}}));
    let sums: Vec<_> = (0..3).map(|index| &result.elements["s1"][index]["fileinfo"]["sha256"]).collect();
    assert!(sums[0].as_str().unwrap().len() == 64 && sums[0] == sums[1] && sums[1] == sums[2]);
}

#[test]
fn special_files_are_compared_but_never_opened() {
    let tree = Tree::new(&[("file", b"x")]);
    // Opening a fifo without a writer would block forever.
    rustix::fs::mknodat(CWD, tree.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = UnixListener::bind(tree.at("socket")).unwrap();
    tree.link("fifo", "link");
    assert_eq!(tree.find(true, json!({"names": ["o"]})), ["fifo", "socket"]);
    assert_eq!(tree.find(true, json!({"modes": ["^p"]})), ["fifo", "link"]);
    assert_eq!(tree.find(true, json!({"modes": ["^S"]})), ["socket"]);
    assert_eq!(tree.find(true, json!({"contents": ["x"]})), ["file"]);
    assert_eq!(tree.find(true, json!({"contents": ["!y"]})), ["file"], "a check of unknown contents fails");
    let md5 = json!({"md5": ["00".repeat(16)], "options": {"mismatch": ["md5"]}});
    assert_eq!(tree.find(true, md5), ["file"]);
    assert_eq!(tree.find(false, json!({"names": ["fifo"], "contents": ["x"]})), ["fifo", "file"]);
    assert_eq!(tree.find(true, json!({"paths": [tree.at("fifo")], "contents": ["x"]})), strings(&[]));
}

#[test]
fn files_of_proc_with_size_0_are_read() {
    let tree = Tree::new(&[]);
    // Run once, as the kernel makes up their times.
    let find = |search| tree.files(&run_once(&json!({"searches": {"s1": search}})), "s1");
    let search = json!({"paths": ["/proc/self/status"], "contents": ["^Pid:\\t[0-9]+$"], "sizes": ["0"],
        "options": {"matchall": true}});
    assert_eq!(find(search), ["/proc/self/status"]);
    let search = json!({"paths": ["/proc/self/net"], "names": ["^dev$"], "contents": ["lo:"],
        "options": {"matchall": true}});
    assert_eq!(find(search), ["/proc/self/net/dev"], "/proc/self is a link in the middle of a path");
}

#[test]
fn names_that_are_not_utf_8_are_found_and_written_with_replacement_characters() {
    let tree = Tree::new(&[]);
    fs::write(tree.path().join(OsStr::from_bytes(b"bad\xff.txt")), b"needle\n").unwrap();
    assert_eq!(tree.find(true, json!({"names": ["^bad.\\.txt$"], "contents": ["needle"]})), ["bad\u{fffd}.txt"]);
}

#[test]
fn unreadable_files_are_counted_and_reported() {
    let tree = Tree::new(&[("file", b"x"), ("d/f", b"x"), ("ok", b"x")]);
    let forbid = |name: &str, mode| fs::set_permissions(tree.at(name), Permissions::from_mode(mode)).unwrap();
    forbid("file", 0);
    forbid("d", 0);
    if fs::read(tree.at("file")).is_ok() {
        // Not with eprintln!, whose output the test harness captures.
        let skipped = b"SKIPPED unreadable_files_are_counted_and_reported: this user may open everything (root)\n";
        return std::io::stderr().write_all(skipped).unwrap();
    }
    let search = json!({"paths": [tree.at("")], "contents": ["x"], "names": ["^(file|ok|f)$"]});
    let result = run(&json!({"searches": {"s1": search}}));
    forbid("d", 0o700);
    assert_eq!(tree.files(&result, "s1"), ["file", "ok", "ok"], "the name still matches");
    assert_eq!(result.statistics["openfailed"], 2);
    let errors = result.errors.unwrap();
    assert!(errors[0].starts_with("open /") && errors[0].contains("/file: Permission denied"), "{errors:?}");
    assert!(errors[1].starts_with("open directory /") && errors[1].contains("Permission denied"), "{errors:?}");
}

#[test]
fn maxerrors_limits_the_errors_returned() {
    let paths: Vec<String> = (0..50).map(|number| format!("/nowhere/{number:02}")).collect();
    for (maxerrors, count, more) in [(json!(null), 30, 20), (json!(3), 3, 47), (json!(0), 50, 0)] {
        let search = json!({"paths": paths, "names": ["."], "options": {"maxerrors": maxerrors}});
        let result = run(&json!({"searches": {"s1": search}}));
        let mut errors = result.errors.unwrap();
        let last = (more > 0).then(|| errors.pop()).flatten();
        assert_eq!(last, (more > 0).then(|| format!("{more} more errors, see option maxerrors")));
        assert_eq!(errors.len(), count);
        let first = paths[..count].iter().map(|path| format!("search {path}: No such file or directory (os error 2)"));
        assert_eq!(errors, first.collect::<Vec<_>>(), "the first in order are kept");
        assert!(result.success);
    }
}

fn mountinfo(point: &Path, kind: &str) -> Vec<u8> {
    let point = point.to_str().unwrap().replace(' ', "\\040");
    format!("36 35 98:0 / {point} rw,noatime master:1 - {kind} server:/export rw\n").into_bytes()
}

#[test]
fn network_mounts_are_entered_only_when_asked_for() {
    let tree = Tree::new(&[("local/f", b"x"), ("net work/f", b"x"), ("net work/d/f", b"x")]);
    tree.link("../net work/f", "local/link");
    tree.link("net work/d", "outside");
    let real = fs::canonicalize(tree.path()).unwrap();
    let mounts = || Mounts::parse(&mountinfo(&real.join("net work"), "nfs4"));
    let find = |paths: &[&str], remotefs: bool| {
        let paths: Vec<String> = paths.iter().map(|path| tree.at(path)).collect();
        let plan = parameters::parse(&json!({"searches": {"s1": {"paths": paths, "contents": ["x"],
            "options": {"matchall": true, "remotefs": remotefs}}}}));
        let result = search(&plan.unwrap(), Ok(mounts()), context(2), super::super::To::Findings);
        if paths.len() == 1 && !remotefs && paths[0] != tree.at("") {
            assert_eq!(result.elements.get("s1"), None, "incomplete");
        }
        (tree.files(&result, "s1"), result.errors.unwrap_or_default())
    };
    let (files, errors) = find(&[""], false);
    assert_eq!(files, ["local/f"]);
    assert_eq!(errors.len(), 2, "skipped mounts are reported: {errors:?}");
    assert!(errors[0].ends_with("others: a link into a network mount, see option remotefs"), "{errors:?}");
    assert!(errors[1].ends_with("/net work: a network mount, see option remotefs"), "{errors:?}");
    assert_eq!(find(&[""], true).0, ["local/f", "local/link", "net work/d/f", "net work/f"]);
    for path in ["net work", "net work/d", "outside", "net work/f", "local/link"] {
        let (files, errors) = find(&[path], false);
        assert!(files.is_empty() && errors.len() == 1, "{path} {files:?}");
        assert!(errors[0].contains("it is on the network mount"), "{errors:?}");
    }
    assert_eq!(find(&["outside"], true).0, ["outside/f"]);
    assert_eq!(find(&["local", "net work/d"], false).0, ["local/f"]);
    assert_eq!(find(&["", "net work/d"], true).0.len(), 4);
}

#[test]
fn network_file_systems_are_recognized_by_type() {
    let point = Path::new("/mnt/x");
    for (kind, network) in [
        ("nfs", true),
        ("cifs", true),
        ("smb3", true),
        ("fuse.sshfs", true),
        ("fuse.rclone", true),
        ("fuse.glusterfs", true),
        ("9p", true),
        ("ceph", true),
        ("autofs", true),
        ("ext4", false),
        ("proc", false),
        ("fuse.ntfs-3g", false),
        ("fuseblk", false),
    ] {
        assert_eq!(Mounts::parse(&mountinfo(point, kind)).contains(point), network, "{kind}");
    }
    let covered = [mountinfo(point, "autofs"), mountinfo(point, "ext4")].concat();
    let must_locate = |text: &[u8]| Mounts::parse(text).must_locate(point);
    assert!(!must_locate(&covered), "the mount on top counts");
    assert!(!must_locate(&mountinfo(Path::new("/"), "nfs")), "a diskless machine can be searched");
    assert!(!must_locate(b"garbage\n1 2 3 4 5 6\n- - -\n"));
    assert_eq!(Mounts::default().locate(Path::new("/proc/../etc/.")).unwrap(), Place::Local("/etc".into()));
    assert!(Mounts::default().locate(Path::new("/etc/passwd/x")).is_err());
}
