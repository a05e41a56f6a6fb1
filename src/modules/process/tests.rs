//! Searches over processes that the tests start.

use super::Process;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A program with a name that no other has, running; it ends with the test.
struct Running {
    directory: tempfile::TempDir,
    path: PathBuf,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(name: &str, prepare: impl FnOnce(&mut Command)) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join(name);
        crate::modules::copy_program("/bin/sleep", &path);
        let mut command = Command::new(&path);
        prepare(command.arg("1000").stdin(Stdio::null()));
        let child = crate::modules::start(&mut command);
        Running { directory, path, child }
    }

    fn pid(&self) -> i64 {
        i64::from(self.child.id())
    }

    /// A filter that only it passes.
    fn path(&self) -> String {
        format!("^{}/", self.directory.path().canonicalize().unwrap().display())
    }
}

fn run(search: Value) -> ModuleResult {
    Process.run(&json!({"searches": {"s": search}}), Context::by_hand())
}

fn all(mut search: Value) -> ModuleResult {
    search["options"] = json!({"matchall": true});
    run(search)
}

/// Some machines have processes that not even root may look into: a label without elements is missing then.
fn errors(result: &ModuleResult) -> Vec<&String> {
    result.errors.iter().flatten().filter(|error| !error.contains("Permission denied")).collect()
}

fn pids(result: &ModuleResult) -> Vec<i64> {
    assert_eq!(errors(result), [""; 0]);
    let elements = result.elements["s"].as_array().map_or(&[][..], Vec::as_slice);
    elements.iter().map(|element| element["pid"].as_i64().unwrap()).collect()
}

#[test]
fn a_process_is_found_by_each_filter_and_not_by_its_opposite() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = format!("^{}$", file.path().canonicalize().unwrap().display());
    let running = Running::start("a) b ", |command| {
        command.arg("8").env("MIG_TEST_NAME", "MIG_TEST_VALUE").stdin(File::open(file.path()).unwrap());
    });
    let digest = crate::hex::encode(&Sha256::digest(std::fs::read("/bin/sleep").unwrap()));
    let parent = format!("^{}$", std::process::id());
    for (field, value, other) in [
        ("names", "^a\\) b $", "^a$"),
        ("paths", "/a\\) b $", "/a$"),
        ("sha256", digest.as_str(), &"0".repeat(64)),
        ("cmdlines", " 1000 8$", "1000$"),
        ("environment", "^MIG_TEST_NAME$", "MIG_TEST_VALUE"),
        ("users", "^(root|[0-9]+)$", "^nobody-at-all$"),
        ("parents", parent.as_str(), "^1$"),
        ("openfiles", open.as_str(), "^/etc/shadow$"),
        ("ages", "<10m", ">10m"),
        ("executables", "!deleted", "memfd"),
    ] {
        let found = all(json!({"paths": [running.path()], (field): [value]}));
        assert_eq!(pids(&found), [running.pid()], "{field}");
        let element = &found.elements["s"][0];
        assert!(element["search"][field].as_array().unwrap().contains(&json!(value)), "{element}");
        assert!(!serde_json::to_string(&found).unwrap().contains("MIG_TEST_VALUE"));
        let not_found = all(json!({"paths": [running.path()], (field): [other]}));
        assert_eq!(pids(&not_found), [0; 0], "{field}");
    }
    for (field, value) in [("environment", "!^MIG_TEST"), ("openfiles", "!."), ("names", "!b $")] {
        assert_eq!(pids(&all(json!({"paths": [running.path()], (field): [value]}))), [0; 0], "{field} {value}");
    }
    let result = all(json!({"paths": [running.path()], "openfiles": ["!^/etc/shadow$"]}));
    assert_eq!(pids(&result), [running.pid()]);
}

#[test]
fn an_element_says_what_the_process_is() {
    let running = Running::start("what", |command| {
        command.arg("7").arg("8");
    });
    let result = all(json!({"paths": [running.path()]}));
    let element = &result.elements["s"][0];
    let expected = json!({
        "pid": running.pid(), "ppid": std::process::id(), "name": "what", "exe": running.path.to_str().unwrap(),
        "cmdline": format!("{} 1000 7 8", running.path.display()), "uid": rustix::process::geteuid().as_raw(),
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&element[field], value, "{field}");
    }
    for missing in ["deleted", "memfd", "kernel", "realuser", "namespaces", "sha256", "openfiles"] {
        assert_eq!(element.get(missing), None, "{missing}");
    }
    let started = element["started"].as_str().unwrap();
    let started: jiff::Timestamp = started.replace(" +0000 UTC", "Z").parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(started).as_secs_f64();
    assert!((-0.1..60.0).contains(&age), "{started} {age}");
    let line = Process.print(&result).remove(0);
    assert!(line.starts_with("what [pid:") && line.ends_with("1000 7 8] in search 's'"), "{line}");
}

#[test]
fn programs_that_were_deleted_or_made_in_memory_are_found_and_hashed() {
    let deleted = Running::start("deleted-one", |_| {});
    std::fs::remove_file(&deleted.path).unwrap();
    let mut memfd = File::from(rustix::fs::memfd_create("mig-test", rustix::fs::MemfdFlags::empty()).unwrap());
    io::copy(&mut File::open("/bin/sleep").unwrap(), &mut memfd).unwrap();
    let fd = format!("/proc/{}/fd/{}", std::process::id(), memfd.as_raw_fd());
    let mut in_memory = crate::modules::start(Command::new(fd).arg0("[kworker/0:1]").arg("1000"));
    let digest = crate::hex::encode(&Sha256::digest(std::fs::read("/bin/sleep").unwrap()));
    let result = all(json!({"executables": ["deleted"], "sha256": [digest.to_uppercase()]}));
    let found = pids(&result);
    let in_memory_pid = i64::from(in_memory.id());
    let memfd_only = all(json!({"executables": ["memfd"], "paths": ["^/memfd:mig-test$"]}));
    in_memory.kill().and_then(|()| in_memory.wait()).unwrap();
    assert!(found.contains(&deleted.pid()) && found.contains(&in_memory_pid), "{found:?}");
    assert_eq!(pids(&memfd_only), [in_memory_pid]);
    let elements = result.elements["s"].as_array().unwrap();
    let element = |pid| elements.iter().find(|element| element["pid"] == pid).unwrap();
    assert_eq!((&element(deleted.pid())["deleted"], element(deleted.pid()).get("memfd")), (&json!(true), None));
    assert_eq!(element(deleted.pid())["exe"], json!(deleted.path));
    assert_eq!((&element(in_memory_pid)["deleted"], &element(in_memory_pid)["memfd"]), (&json!(true), &json!(true)));
    assert_eq!(element(in_memory_pid)["cmdline"], "[kworker/0:1] 1000");
    assert_eq!(element(in_memory_pid)["sha256"], json!(digest));
    let line = Process.print(&result).join("\n");
    assert!(line.contains(", deleted, memfd, sha256:"), "{line}");
}

#[test]
fn every_process_is_seen_but_our_own_and_those_of_the_kernel_have_no_program() {
    let result = run(json!({"names": ["."], "options": {"matchlimit": 100_000}}));
    let found = pids(&result);
    assert!(!found.contains(&i64::from(std::process::id())));
    assert!(found.contains(&1) || !Path::new("/proc/1").exists());
    assert!(result.success);
    for element in result.elements["s"].as_array().unwrap() {
        assert!(element.get("kernel").is_none() || element.get("exe").is_none(), "{element}");
    }
    let without = run(json!({"paths": ["^$"], "options": {"matchlimit": 100_000}}));
    assert!(pids(&without).contains(&2) || !Path::new("/proc/2/stat").exists());
}

#[test]
fn limits_end_a_search_with_what_was_found() {
    let running = Running::start("limits", |command| {
        command.arg("1".repeat(100_000));
    });
    let element = all(json!({"paths": [running.path()], "cmdlines": ["1{100}$"]})).elements["s"][0].clone();
    let shown = element["cmdline"].as_str().unwrap();
    assert!(shown.len() < 5_000 && shown.ends_with("1…"), "{}", shown.len());
    let result = run(json!({"names": ["."], "options": {"matchlimit": 2}}));
    assert_eq!(result.elements["s"].as_array().unwrap().len(), 2);
    assert_eq!(result.errors.unwrap(), ["partial: search s: stopped at its matchlimit of 2"]);
    let late = Context { deadline: Some(Instant::now()), ..Context::by_hand() };
    let result = Process.run(&json!({"searches": {"s": {"names": ["."]}}}), late);
    assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)));
}
