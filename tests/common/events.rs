//! Events of persistent modules: an agent that watches a directory, and what the scheduler has collected.

use super::{Background, Sandbox, names, write_private};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Has the scheduler collect events.
pub fn collect(sandbox: &Sandbox) {
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    write_private(sandbox.scheduler_cfg().as_ref(), &format!("{cfg}\n[events]\ncollect = on\n"));
}

/// A directory in the sandbox, whose scheduler collects events of it.
pub fn watched(sandbox: &Sandbox) -> PathBuf {
    let watched = sandbox.path("watched");
    std::fs::create_dir(&watched).unwrap();
    collect(sandbox);
    watched
}

/// Starts an agent that watches that directory.
pub fn start_agent(sandbox: &Sandbox) -> Background {
    let cfg = std::fs::read_to_string(sandbox.agent_cfg(1)).unwrap();
    let path = sandbox.path("watching.cfg");
    let watched = sandbox.path("watched");
    write_private(&path, &format!("{cfg}\n[persistent]\nfswatch = \"-path '{}'\"\n", watched.display()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    command.arg("-f").arg("-c").arg(path);
    Background::start(command, sandbox.path("agent-1.log"))
}

/// The events that the scheduler has, in order.
pub fn events(sandbox: &Sandbox) -> Vec<Value> {
    let read = |name: &String| std::fs::read_to_string(sandbox.spool().join("event/new").join(name)).unwrap();
    let text: String = sandbox.names("event/new").iter().map(read).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those of one kind.
pub fn of(sandbox: &Sandbox, event: &str) -> Vec<Value> {
    events(sandbox).into_iter().filter(|line| line["event"]["event"] == event).collect()
}

/// Whether it has this event of a file.
pub fn has(sandbox: &Sandbox, event: &str, name: &str) -> bool {
    let is_it = |line: &Value| line["event"]["path"].as_str().is_some_and(|path| path.ends_with(name));
    of(sandbox, event).iter().any(is_it)
}

/// How many batches wait on the agent.
pub fn batches(sandbox: &Sandbox) -> usize {
    names(&sandbox.path("agent-1/events")).len()
}
