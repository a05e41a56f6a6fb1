//! `mig-agent --checkin`: registers, runs what waits, answers, and ends; for cron.

use crate::agent::{answer, deliver};
use crate::common::{Background, Sandbox, json_file, names, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Output};

const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");

fn check_in(cfg: &str) -> Output {
    Command::new(AGENT).args(["-c", cfg, "--checkin"]).output().unwrap()
}

/// Adds lines to the section `[agent]` of agent 1's configuration.
fn with(sandbox: &Sandbox, lines: &str) -> String {
    let cfg = sandbox.agent_cfg(1);
    let text = std::fs::read_to_string(&cfg).unwrap();
    std::fs::write(&cfg, text.replace("[logging]", &format!("{lines}\n[logging]"))).unwrap();
    cfg
}

#[test]
fn what_waits_is_run_and_answered_and_the_heartbeat_says_checkin() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    deliver(&sandbox, 1, "c.json", sandbox.draft("waits"), |_| {});
    let cfg = sandbox.agent_cfg(1);
    let output = check_in(&cfg);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(answer(&sandbox)["status"], "success");
    let heartbeats = sandbox.path("relay/mig.agt.heartbeats");
    let name = names(&heartbeats).pop().unwrap();
    assert_eq!(json_file(&heartbeats.join(name))["mode"], "checkin");
    sandbox.once("heartbeats");
    assert!(!sandbox.path("agent-1/agent.sock").exists(), "there is nothing to ask");
    // The configuration may say so too, and nothing waits.
    let output =
        Command::new(AGENT).args(["-c", &with(&sandbox, "checkin = on\ninstallservice = on")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn beside_another_agent_it_does_nothing_and_says_so_in_a_line() {
    let sandbox = Sandbox::new();
    let agent = sandbox.start_agent(1);
    sandbox.wait("locked", |s| !std::fs::read_to_string(s.path("agent-1/lock/agent")).unwrap_or_default().is_empty());
    let output = check_in(&sandbox.agent_cfg(1));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() == 1 && said.contains("nothing to do: ") && said.contains("is locked by"), "{said}");
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
fn without_a_relay_it_ends_with_75() {
    let sandbox = Sandbox::new();
    let cfg = sandbox.agent_cfg(1);
    std::fs::rename(sandbox.path("relay"), sandbox.path("elsewhere")).unwrap();
    let output = check_in(&cfg);
    assert_eq!(output.status.code(), Some(75), "{}", text(&output));
    let text = std::fs::read_to_string(&cfg).unwrap();
    let relay = format!("dir://{}", sandbox.path("relay").display());
    std::fs::write(&cfg, text.replace(&relay, "amqp://agent:secret@127.0.0.1:1/mig")).unwrap();
    let output = check_in(&cfg);
    assert_eq!(output.status.code(), Some(75), "{}", crate::common::text(&output));
}

#[test]
fn what_does_not_fit_into_its_time_waits_for_the_next_one() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    deliver(&sandbox, 1, "c.json", sandbox.draft("waits"), |_| {});
    let output = check_in(&with(&sandbox, "checkintime = 1ms"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!sandbox.path("agent-1/done/1000-1001.json").exists(), "a millisecond is not enough");
    let output = check_in(&sandbox.agent_cfg(1));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(answer(&sandbox)["status"], "success");
}

/// The children of a process.
fn children(pid: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |path: PathBuf| std::fs::read_to_string(path.join("children")).unwrap_or_default();
    let all: String = tasks.map(|task| read(task.path())).collect();
    all.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn what_runs_at_the_end_of_its_time_ends_as_after_sigterm() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    // It would take a while, and its process is stopped besides.
    let search = json!({"paths": ["/usr"], "contents": ["no such words are anywhere"]});
    let mut draft = sandbox.draft("long");
    draft["operations"][0]["parameters"]["searches"] = json!({"s": search});
    deliver(&sandbox, 1, "c.json", draft, |_| {});
    let mut command = Command::new(AGENT);
    command.args(["-c", &with(&sandbox, "checkintime = 1s"), "--checkin"]);
    let mut agent = Background::start(command, sandbox.path("agent-1.log"));
    sandbox.wait("stopped", |_| {
        let stop = |pid: &i32| kill_process(Pid::from_raw(*pid).unwrap(), Signal::STOP).is_ok();
        children(agent.0.id()).iter().any(stop)
    });
    let log = |sandbox: &Sandbox| std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap();
    assert_eq!(agent.0.wait().unwrap().code(), Some(75), "{}", log(&sandbox));
    assert!(log(&sandbox).contains("not ended 6 s after it was asked to"), "{}", log(&sandbox));
    let output = check_in(&sandbox.agent_cfg(1));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(answer(&sandbox)["results"][0]["errors"], json!(["interrupted"]));
}
