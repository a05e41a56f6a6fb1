//! Deleted and foreign programs, and files that must not be read.

use super::{Tree, context, run_once, strings};
use crate::modules::file::mounts::{Mounts, Place};
use crate::modules::file::{parameters, search};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that is killed at the end of the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Process(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The mounts of this machine, and one of an automounter.
fn mounts_with_autofs() -> Mounts {
    let mut own = std::fs::read("/proc/self/mountinfo").unwrap();
    own.extend_from_slice(b"999 1 0:99 / /net/auto rw - autofs systemd-1 rw\n");
    Mounts::parse(&own)
}

fn find(path: &str, mut search_fields: Value) -> Vec<String> {
    search_fields["paths"] = json!([path]);
    search_fields["options"] = json!({"matchall": true, "maxdepth": 1});
    let plan = parameters::parse(&json!({"searches": {"s1": search_fields}})).unwrap();
    let result = search(&plan, Ok(mounts_with_autofs()), context(2), super::super::To::Findings);
    let entries = result.elements["s1"].as_array().into_iter().flatten();
    entries.map(|entry| entry["file"].as_str().unwrap().to_owned()).filter(|path| !path.is_empty()).collect()
}

fn sha256(path: &str) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn deleted_programs_and_files_are_found_through_the_kernels_links() {
    let tree = Tree::new(&[("secret", b"stolen\n")]);
    let sum = sha256("/bin/sleep");
    crate::modules::copy_program("/bin/sleep", tree.at("implant"));
    let secret = std::fs::File::open(tree.at("secret")).unwrap();
    let process = Process::start(Command::new(tree.at("implant")).arg("100").stdin(secret));
    for name in ["implant", "secret"] {
        std::fs::remove_file(tree.at(name)).unwrap();
    }
    let pid = process.0.id();
    let (directory, exe) = (format!("/proc/{pid}"), format!("/proc/{pid}/exe"));
    assert_eq!(find(&directory, json!({"names": ["^exe$"], "sha256": [sum]})), [exe.as_str()]);
    assert_eq!(find(&exe, json!({"sha256": [sum]})), [exe.as_str()]);
    let fd = format!("/proc/{pid}/fd");
    assert_eq!(find(&fd, json!({"contents": ["^stolen$"]})), [format!("{fd}/0")]);
}

#[test]
fn a_network_mount_behind_a_link_of_proc_is_not_touched() {
    let tree = Tree::new(&[("local/f", b"x")]);
    let real = std::fs::canonicalize(tree.path()).unwrap();
    let process = Process::start(Command::new("sleep").arg("100").current_dir(real.join("local")));
    let mut own = std::fs::read("/proc/self/mountinfo").unwrap();
    own.extend_from_slice(format!("999 1 0:99 / {} rw - nfs server:/ rw\n", real.display()).as_bytes());
    let mounts = Mounts::parse(&own);
    let cwd = format!("/proc/{}/cwd", process.0.id());
    assert_eq!(mounts.locate(Path::new(&cwd)).unwrap(), Place::Network(real.clone()));
    let exe = format!("/proc/{}/exe", process.0.id());
    assert_eq!(mounts.locate(Path::new(&exe)).unwrap(), Place::Local(exe.into()));
    // A mount below where the link leads is known by the path through the link.
    let mut own = std::fs::read("/proc/self/mountinfo").unwrap();
    own.extend_from_slice(format!("999 1 0:99 / {}/local/net rw - nfs server:/ rw\n", real.display()).as_bytes());
    let mounts = Mounts::parse(&own);
    assert_eq!(mounts.locate(Path::new(&cwd)).unwrap(), Place::Local(cwd.clone().into()));
    assert!(mounts.contains(Path::new(&format!("{cwd}/net"))));
    assert_eq!(mounts.locate(Path::new(&format!("{cwd}/net/x"))).unwrap(), Place::Network(format!("{cwd}/net").into()));
}

#[test]
fn parents_of_a_link_of_proc_are_resolved_by_the_kernel() {
    let tree = Tree::new(&[("y", b"needle\n"), ("sub/z", b"")]);
    tree.link("../y", "sub/link");
    let process = Process::start(Command::new("sleep").arg("100").current_dir(tree.at("sub")));
    let cwd = format!("/proc/{}/cwd", process.0.id());
    assert_eq!(find(&cwd, json!({"contents": ["needle"]})), [format!("{cwd}/link")]);
    assert_eq!(find(&format!("{cwd}/../y"), json!({"contents": ["needle"]})), [format!("{cwd}/../y")]);
}

#[test]
fn a_link_into_a_network_mount_is_not_touched() {
    let tree = Tree::new(&[("a/f", b"needle\n"), ("net/", b"")]);
    let real = std::fs::canonicalize(tree.path()).unwrap();
    // Following the link would fail with a loop.
    tree.link("loop", "net/loop");
    tree.link("../net/loop", "a/link");
    let mountinfo = format!("36 35 98:0 / {}/net rw - nfs server:/ rw\n", real.display());
    let plan =
        parameters::parse(&json!({"searches": {"s1": {"paths": [tree.at("a")], "contents": ["needle"]}}})).unwrap();
    let result = search(&plan, Ok(Mounts::parse(mountinfo.as_bytes())), context(2), super::super::To::Findings);
    assert_eq!(tree.files(&result, "s1"), ["a/f"]);
    let errors = result.errors.unwrap();
    assert!(
        errors.len() == 1 && errors[0].ends_with("a/link: a link into a network mount, see option remotefs"),
        "{errors:?}"
    );
}

#[test]
fn files_that_reading_would_consume_are_never_read() {
    let result = run_once(&json!({"searches": {"s1": {"paths": ["/proc"], "names": ["^kmsg$"], "contents": ["."],
        "options": {"matchall": true, "maxdepth": 1}}}}));
    let errors = result.errors.unwrap_or_default();
    // Without permission the error is that of opening it.
    assert!(errors.len() == 1 && errors[0].contains("/proc/kmsg"), "{errors:?}");
    assert!(errors[0].contains("would consume data") || errors[0].starts_with("open /"), "{errors:?}");
    let result =
        run_once(&json!({"searches": {"s1": {"paths": ["/proc/self"], "names": ["^pagemap$"], "contents": ["!x"],
        "options": {"matchall": true, "maxdepth": 1}}}}));
    assert_eq!(result.statistics["totalhits"], 0);
    assert!(result.errors.unwrap()[0].ends_with("/proc/self/pagemap: a table of memory pages, not text"));
}

#[test]
fn access_times_stay_unchanged() {
    let tree = Tree::new(&[("f", b"needle\n")]);
    let before = std::fs::metadata(tree.at("f")).unwrap().accessed().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    // Modified after the last access, so that a mount with relatime would update the access time.
    tree.write("f", b"needle\n");
    assert_eq!(tree.find(true, json!({"contents": ["needle"]})), strings(&["f"]));
    assert_eq!(std::fs::metadata(tree.at("f")).unwrap().accessed().unwrap(), before);
}

#[test]
fn what_an_operation_needs_is_found_without_an_access_to_a_mount_that_may_hang() {
    let tree = Tree::new(&[("fuse/here", b"")]);
    // Each would be followed if it was accessed.
    tree.link("/proc", "fuse/proc");
    tree.link("fuse/proc", "link");
    tree.link("/proc/self", "local");
    let fuse = std::fs::canonicalize(tree.at("fuse")).unwrap();
    let mut own = std::fs::read("/proc/self/mountinfo").unwrap();
    own.extend_from_slice(format!("999 1 0:99 / {} rw - fuse.x x rw\n", fuse.display()).as_bytes());
    let mounts = Mounts::parse(&own);
    for (path, leads) in [("fuse/proc", false), ("fuse/proc/1", false), ("link", false), ("local", true)] {
        assert_eq!(mounts.leads_to_proc(Path::new(&tree.at(path))), leads, "{path}");
    }
    for (path, is_missing) in [("fuse/here", true), ("none*", true), ("local", true), ("", false)] {
        assert_eq!(mounts.is_missing(Path::new(&tree.at(path))), is_missing, "{path}");
    }
}
