//! The memory of processes.

use super::{matches, rule_for};
use crate::modules::yara::Yara;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::process::{Child, Command};

/// A process that is called `name` and has a text in its memory.
fn start(directory: &std::path::Path, name: &str, text: &str) -> Child {
    let path = directory.join(name);
    std::fs::copy("/bin/sleep", &path).unwrap();
    Command::new(&path).arg("60").env("MIG_TEST", text).spawn().unwrap()
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
