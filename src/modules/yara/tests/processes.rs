//! The memory of processes.

use super::{matches, rule_for};
use crate::modules::yara::Yara;
use crate::modules::{Context, Module, ModuleResult};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

/// A process that is called `name` and has a text in its memory.
fn start(directory: &std::path::Path, name: &str, text: &str) -> Child {
    let path = directory.join(name);
    crate::modules::copy_program("/bin/sleep", &path);
    crate::modules::start(Command::new(&path).arg("60").env("MIG_TEST", text))
}

fn scan(rules: &str, processes: &[&str]) -> ModuleResult {
    Yara.run(&json!({"yara": rules, "processes": processes}), Context::by_hand())
}

#[test]
fn processes_are_found_by_what_is_in_their_memory() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("planted-{}", std::process::id());
    let mut children = [start(directory.path(), "yara-hit", &text), start(directory.path(), "yara-miss", "nothing")];
    let rules = format!("{} rule elf {{ condition: uint32(0) == 0x464c457f }}", rule_for(&text));
    let by_path = format!("^{}/yara-", directory.path().display());
    let result = scan(&rules, &[&by_path]);
    let found = matches(&result);
    let [hit] = &found[..] else { panic!("{result:?}") };
    let program = directory.path().canonicalize().unwrap().join("yara-hit");
    assert_eq!(hit["Object"], json!(format!("process {} {}", children[0].id(), program.display())));
    assert_eq!((&hit["pid"], &hit["MatchedRules"]), (&json!(children[0].id()), &json!(["found"])));
    let place = &hit["Rules"][0]["strings"][0]["places"][0];
    assert_eq!(place["length"], text.len());
    // It is where the kernel says that the environment is: in the stack.
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", children[0].id())).unwrap();
    let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap().split(' ').next().unwrap();
    let (start, end) = stack.split_once('-').unwrap();
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
    assert!((start..end).contains(&place["offset"].as_u64().unwrap()), "{place} {stack}");
    assert_eq!(result.statistics["processes"], 2);
    // There may be processes that even root cannot look into.
    let of_ours = |error: &&String| children.iter().any(|child| error.contains(&child.id().to_string()));
    assert_eq!(result.errors.iter().flatten().find(of_ours), None);

    let names = |patterns: &[&str]| -> Vec<Value> {
        matches(&scan(&rule_for(&text), patterns)).iter().map(|found| found["pid"].clone()).collect()
    };
    assert_eq!(names(&["^yara-hit$"]), [json!(children[0].id())], "by its name");
    assert_eq!(names(&["^yara-miss$"]), Vec::<Value>::new());
    for child in &mut children {
        child.kill().and_then(|()| child.wait()).unwrap();
    }
    assert_eq!(names(&["^yara-hit$"]), Vec::<Value>::new());
}

#[test]
fn the_process_that_holds_the_rules_is_not_scanned() {
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let result = scan(&rule_for("not elsewhere: 8c1f"), &[own.to_str().unwrap()]);
    let found: Vec<Value> = matches(&result).iter().map(|found| found["pid"].clone()).collect();
    assert!(!found.contains(&json!(std::process::id())), "{result:?}");
}

/// A program of perl that runs as `name`, when it has said that it is ready.
fn perl(directory: &std::path::Path, name: &str, program: &str) -> Child {
    let path = directory.join(name);
    crate::modules::copy_program("/usr/bin/perl", &path);
    let mut child = Command::new(&path).args(["-e", program]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child
}

#[test]
fn memory_that_was_never_touched_is_not_made_and_what_is_behind_it_is_found() {
    let program = "import mmap\nopen('/proc/self/comm', 'w').write('yara-large')\nm = mmap.mmap(-1, 1 << 36, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n\
                   m[(1 << 36) - 100:(1 << 36) - 94] = bytes(reversed(b'7-xuuq'))\nprint('ready', flush=True)\nimport time\ntime.sleep(1000)";
    let mut command = Command::new("python3");
    let mut child = command.args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let held = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = held();
    let result = scan(&rule_for("quux-7"), &["^yara-large$"]);
    let after = held();
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(matches(&result).iter().any(|found| found["pid"] == child.id()), "{result:?}");
    assert!(after < before + 10_000, "{before} {after} KiB");
}

#[test]
fn a_process_that_replaces_its_program_all_the_time_is_no_absence() {
    let directory = tempfile::tempdir().unwrap();
    // Large enough that the scan takes longer.
    let program = "$| = 1; print \"ready\\n\"; $t = \"x\" x 200_000_000; select(undef, undef, undef, 0.05); \
                   exec $^X, \"-e\", $ENV{PROGRAM}";
    let path = directory.path().join("yara-exec");
    crate::modules::copy_program("/usr/bin/perl", &path);
    let mut command = Command::new(&path);
    let mut child = command.args(["-e", program]).env("PROGRAM", program).stdout(Stdio::null()).spawn().unwrap();
    let results: Vec<ModuleResult> = (0..4).map(|_| scan(&rule_for("not anywhere: 4e11"), &["^yara-exec$"])).collect();
    child.kill().and_then(|()| child.wait()).unwrap();
    // It was scanned as a whole, or it is said that it was not.
    let is_honest = |result: &ModuleResult| result.statistics["processes"] == 1;
    assert!(results.iter().all(is_honest), "{results:?}");
}

#[test]
fn a_process_whose_first_thread_has_ended_is_scanned() {
    let directory = tempfile::tempdir().unwrap();
    let exit = if cfg!(target_arch = "x86_64") { 60 } else { 93 };
    let program = format!(
        "use threads; $| = 1; $t = 'qu' . 'ux-8'; $x = async {{ sleep 1 while 1 }}; print \"ready\\n\"; syscall({exit}, 0)"
    );
    let mut child = perl(directory.path(), "yara-thread", &program);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    while !stat().contains(") Z ") {
        std::thread::yield_now();
    }
    let result = scan(&rule_for("quux-8"), &["/yara-thread$"]);
    child.kill().and_then(|()| child.wait()).unwrap();
    assert_eq!(matches(&result).len(), 1, "{result:?}");
}

#[test]
fn a_program_whose_path_is_too_long_is_scanned_by_its_name_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut deepest = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
    for _ in 0..20 {
        let name = "d".repeat(250);
        rustix::fs::mkdirat(&deepest, name.as_str(), Mode::RWXU).unwrap();
        deepest = rustix::fs::openat(&deepest, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let place = format!("/proc/{}/fd/{}", std::process::id(), deepest.as_raw_fd());
    let mut child = start(place.as_ref(), "yara-deep", "quux-9");
    let by_name = scan(&rule_for("quux-9"), &["^yara-deep$"]);
    let by_path = scan(&rule_for("quux-9"), &["^/no/such/program$"]);
    child.kill().and_then(|()| child.wait()).unwrap();
    assert_eq!(matches(&by_name)[0]["pid"], child.id(), "{by_name:?}");
    let is_named = |error: &String| error.starts_with(&format!("scan process {}: yara-deep: ", child.id()));
    assert!(by_path.errors.iter().flatten().any(is_named), "{by_path:?}");
}
