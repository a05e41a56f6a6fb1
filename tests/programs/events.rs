//! Persistent modules with the real programs: what changes below a path becomes JSON lines on the scheduler.

use crate::common::{Background, Sandbox, names, write_private};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A scheduler that collects events, and a directory that its agent watches.
fn watching() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let watched = sandbox.path("watched");
    std::fs::create_dir(&watched).unwrap();
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), format!("{cfg}\n[events]\ncollect = on\n")).unwrap();
    (sandbox, watched)
}

fn start_agent(sandbox: &Sandbox) -> Background {
    let cfg = std::fs::read_to_string(sandbox.agent_cfg(1)).unwrap();
    let path = sandbox.path("watching.cfg");
    let watched = sandbox.path("watched");
    write_private(&path, &format!("{cfg}\n[persistent]\nfswatch = \"-path '{}'\"\n", watched.display()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    command.arg("-f").arg("-c").arg(path);
    Background::start(command, sandbox.path("agent-1.log"))
}

/// The events that the scheduler has, in order.
fn events(sandbox: &Sandbox) -> Vec<Value> {
    let directory = sandbox.spool().join("event/new");
    let files = if directory.exists() { names(&directory) } else { Vec::new() };
    let text: String = files.iter().map(|name| std::fs::read_to_string(directory.join(name)).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn has(sandbox: &Sandbox, event: &str, name: &str) -> bool {
    let is_it = |line: &Value| {
        line["event"]["event"] == event && line["event"]["path"].as_str().is_some_and(|path| path.ends_with(name))
    };
    events(sandbox).iter().any(is_it)
}

fn batches(sandbox: &Sandbox) -> usize {
    names(&sandbox.path("agent-1/events")).len()
}

fn start(sandbox: &Sandbox) -> Background {
    let agent = start_agent(sandbox);
    sandbox.wait("the first event", |sandbox| has(sandbox, "watching", "watched"));
    agent
}

#[test]
fn what_changes_becomes_lines_on_the_scheduler() {
    let (sandbox, watched) = watching();
    let scheduler = sandbox.start_scheduler();
    let agent = start(&sandbox);
    std::fs::write(watched.join("a file"), "text").unwrap();
    sandbox.wait("the event", |sandbox| has(sandbox, "modified", "/a file"));
    let line = events(&sandbox).into_iter().find(|line| line["event"]["event"] == "modified").unwrap();
    assert_eq!((&line["module"], &line["event"]["size"]), (&json!("fswatch"), &json!(4)));
    assert!(line["queueloc"].as_str().unwrap().starts_with("linux."), "{line}");
    sandbox.wait("nothing left on the agent", |sandbox| batches(sandbox) == 0);
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}

#[test]
fn without_a_scheduler_events_wait_and_an_agent_that_is_killed_sends_them_later() {
    let (sandbox, watched) = watching();
    sandbox.once("heartbeats");
    let agent = start_agent(&sandbox);
    // Nothing takes them yet: the relay has no such queue.
    sandbox.wait("the first batch", |sandbox| {
        let directory = sandbox.path("agent-1/events");
        directory.exists() && !names(&directory).is_empty()
    });
    std::fs::write(watched.join("waits"), "").unwrap();
    sandbox.wait("the second batch", |sandbox| batches(sandbox) >= 2);
    agent.kill();
    assert!(batches(&sandbox) >= 2);
    sandbox.once("events");
    sandbox.agent_once(1);
    sandbox.once("events");
    assert!(has(&sandbox, "watching", "watched") && has(&sandbox, "created", "/waits"), "{:?}", events(&sandbox));
    assert_eq!(batches(&sandbox), 0);
    // A batch that comes again changes nothing.
    let (files, lines) = (names(&sandbox.spool().join("event/new")), events(&sandbox));
    sandbox.once("events");
    assert_eq!((names(&sandbox.spool().join("event/new")), events(&sandbox)), (files, lines));
}

#[test]
fn the_process_of_a_module_ends_with_a_killed_agent_and_a_killed_one_is_started_again() {
    let (sandbox, watched) = watching();
    let scheduler = sandbox.start_scheduler();
    let agent = start(&sandbox);
    let pid = agent.0.id();
    // A child belongs to the thread that started it.
    let module = || {
        let threads = names(&PathBuf::from(format!("/proc/{pid}/task")));
        let children = |thread: &String| {
            std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default()
        };
        threads.iter().map(children).find(|children| !children.is_empty()).map(|children| children.trim().to_owned())
    };
    let first = module().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    sandbox.wait("another process", |_| module().is_some_and(|pid| pid != first));
    sandbox.wait("a second beginning", |sandbox| {
        events(sandbox).iter().filter(|line| line["event"]["event"] == "watching").count() >= 2
    });
    std::fs::write(watched.join("after"), "").unwrap();
    sandbox.wait("the event", |sandbox| has(sandbox, "created", "/after"));
    let second = module().unwrap();
    agent.kill();
    sandbox.wait("the end of the process", |_| !PathBuf::from(format!("/proc/{second}")).exists());
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn a_module_is_tried_by_hand_and_is_none_of_actions() {
    let directory = tempfile::tempdir().unwrap();
    let agent = || Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    let mut command = agent();
    command.args(["-P", "fswatch", "-path"]).arg(directory.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["path"]), (&json!("watching"), &json!(directory.path())));
    child.kill().and_then(|()| child.wait()).unwrap();
    let output = agent().args(["-P", "fswatch", "help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("[persistent]") && help.contains("\n  mig-agent -P fswatch -path <path>"), "{help}");
    for (arguments, code) in [(["-m", "fswatch", "-path", "/etc"], 64), (["-P", "file", "-path", "/etc"], 64)] {
        assert_eq!(agent().args(arguments).output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn events_that_nothing_takes_away_are_deleted_in_the_end() {
    let (sandbox, _) = watching();
    sandbox.once("events");
    let directory = sandbox.spool().join("event/new");
    std::fs::write(directory.join("1.jsonl"), "{}\n").unwrap();
    sandbox.once("collector");
    assert_eq!(names(&directory).len(), 1, "it came just now");
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), cfg.replace("[collector]", "[collector]\ndeleteafter = \"1s\"")).unwrap();
    sandbox.wait("its deletion", |sandbox| {
        sandbox.once("collector");
        names(&directory).is_empty()
    });
}
