//! The parent of an agent that no service manager looks after.

use crate::common::{Background, Sandbox};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::Cell;
use std::path::Path;
use std::process::Command;

const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");

/// An agent that nobody looks after.
fn start(sandbox: &Sandbox, arguments: &[&str], environment: &[(&str, &str)]) -> Background {
    let mut command = Command::new(AGENT);
    command.args(["-c", &sandbox.agent_cfg(1)]).args(arguments);
    command
        .env_remove("INVOCATION_ID")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("SYSTEMD_EXEC_PID")
        .envs(environment.iter().copied());
    Background::start(command, sandbox.path("agent-1.log"))
}

/// The process that works.
fn pid(sandbox: &Sandbox) -> Option<u32> {
    let asked =
        Command::new(AGENT).args(["-c", &sandbox.path("agent-1.cfg").display().to_string(), "-q", "pid"]).output();
    String::from_utf8(asked.unwrap().stdout).unwrap().trim().parse().ok()
}

/// The same, once it is another one than before.
fn next_pid(sandbox: &Sandbox, before: u32) -> u32 {
    let next = Cell::new(before);
    sandbox.wait("working", |sandbox| {
        next.set(pid(sandbox).unwrap_or(before));
        next.get() != before
    });
    next.get()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn log(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap_or_default()
}

#[test]
fn an_agent_that_is_killed_is_started_again_and_signals_are_passed_on() {
    let sandbox = Sandbox::new();
    let mut parent = start(&sandbox, &[], &[]);
    let first = next_pid(&sandbox, parent.0.id());
    signal(first, Signal::KILL);
    let second = next_pid(&sandbox, first);
    assert!(
        second != parent.0.id() && log(&sandbox).contains("the agent ended: signal: 9 (SIGKILL)"),
        "{}",
        log(&sandbox)
    );
    signal(parent.0.id(), Signal::HUP);
    sandbox.wait("told of SIGHUP", |sandbox| log(sandbox).contains("SIGHUP: keys and lists are read again"));
    assert_eq!(pid(&sandbox), Some(second));
    signal(parent.0.id(), Signal::TERM);
    assert_eq!(parent.0.wait().unwrap().code(), Some(0));
    assert!(log(&sandbox).contains("mig-agent ends") && pid(&sandbox).is_none(), "{}", log(&sandbox));
    assert!(!Path::new(&format!("/proc/{second}")).exists());
}

#[test]
fn an_agent_that_cannot_work_or_was_told_to_end_is_not_started_again() {
    let sandbox = Sandbox::new();
    let mut parent = start(&sandbox, &[], &[]);
    let first = next_pid(&sandbox, parent.0.id());
    std::fs::write(sandbox.path("acl.json"), "[]").unwrap();
    signal(first, Signal::KILL);
    assert_eq!(parent.0.wait().unwrap().code(), Some(78), "{}", log(&sandbox));
    assert!(log(&sandbox).contains("the access list is empty"), "{}", log(&sandbox));

    let sandbox = Sandbox::new();
    let mut parent = start(&sandbox, &[], &[]);
    next_pid(&sandbox, parent.0.id());
    let cfg = sandbox.path("agent-1.cfg").display().to_string();
    assert!(Command::new(AGENT).args(["-c", &cfg, "-q", "shutdown"]).output().unwrap().status.success());
    assert_eq!(parent.0.wait().unwrap().code(), Some(0));
}

#[test]
fn there_is_no_parent_where_another_one_looks_after_the_agent_or_none_is_wanted() {
    for (arguments, environment) in [(&["-f"][..], &[][..]), (&["-d"], &[]), (&[], &[("NOTIFY_SOCKET", "@nowhere")])] {
        let sandbox = Sandbox::new();
        let agent = start(&sandbox, arguments, environment);
        sandbox.wait("working", |sandbox| pid(sandbox).is_some());
        assert_eq!(pid(&sandbox), Some(agent.0.id()), "{arguments:?} {environment:?}");
        assert_eq!(agent.terminate(), Some(0));
    }
}
