//! `mig-agent --checkin`: registers, runs what waits, answers, and ends; for cron.

use crate::agent::{answer, deliver};
use crate::common::{Background, Sandbox, json_file, names, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
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
    assert!(said.lines().count() == 1, "{said}");
    let (pid, place) = (agent.0.id(), sandbox.path("agent-1").display().to_string());
    let words = format!("nothing to do: the agent of process {pid} works in {place}");
    assert!(said.trim_end().ends_with(&words), "{said}");
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
fn what_runs_at_the_end_of_its_time_is_answered_with_what_it_found() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let mut draft = sandbox.draft("long");
    draft["operations"][0]["parameters"] =
        json!({"searches": {"s": {"paths": ["/"], "contents": ["^no line is this$"]}}});
    deliver(&sandbox, 1, "c.json", draft, |_| {});
    let mut command = Command::new(AGENT);
    command.args(["-c", &with(&sandbox, "checkintime = 5s"), "--checkin"]);
    let mut agent = Background::start(command, sandbox.path("agent-1.log"));
    // Its process is stopped: it would never end.
    sandbox.wait("stopped", |_| {
        let stop = |pid: &i32| kill_process(Pid::from_raw(*pid).unwrap(), Signal::STOP).is_ok();
        children(agent.0.id()).iter().any(stop)
    });
    let log = |sandbox: &Sandbox| std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap();
    assert_eq!(agent.0.wait().unwrap().code(), Some(0), "{}", log(&sandbox));
    let answer = answer(&sandbox);
    let error = answer["results"][0]["errors"][0].as_str().unwrap();
    assert_eq!(answer["status"], "timeout");
    assert!(error.contains("took longer than ") && error.ends_with("and was ended"), "{answer}");
}

#[test]
fn under_a_supervisor_an_agent_stays_whatever_the_configuration_says() {
    let sandbox = Sandbox::new();
    let mut command = Command::new(AGENT);
    command.args(["-f", "-c", &with(&sandbox, "checkin = on")]);
    let agent = Background::start(command, sandbox.path("agent-1.log"));
    sandbox.wait("asked", |sandbox| sandbox.path("agent-1/agent.sock").exists());
    assert_eq!(agent.terminate(), Some(0));
}

/// The address of an API that says this agent's address once, and then hangs.
fn api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n192.0.2.77\n").unwrap();
        drop(stream);
        let hanging: Vec<_> = listener.incoming().collect();
        drop(hanging);
    });
    format!("http://{place}")
}

#[test]
fn the_heartbeat_has_the_public_address_that_the_api_says_in_time() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let heartbeats = sandbox.path("relay/mig.agt.heartbeats");
    names(&heartbeats).iter().for_each(|name| std::fs::remove_file(heartbeats.join(name)).unwrap());
    let newest = || {
        let name = names(&heartbeats).pop().unwrap();
        let heartbeat = json_file(&heartbeats.join(&name));
        std::fs::remove_file(heartbeats.join(name)).unwrap();
        heartbeat["environment"]["publicip"].clone()
    };
    let api = api();
    let cfg = with(&sandbox, &format!("checkintime = 20s\ndiscoverpublicip = on\napi = {api}"));
    let output = check_in(&cfg);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(newest(), "192.0.2.77", "{}", text(&output));
    let output = check_in(&cfg);
    assert_eq!((output.status.code(), newest()), (Some(0), serde_json::Value::Null), "{}", text(&output));
    assert!(text(&output).contains("agent.discoverpublicip: read "), "{}", text(&output));
}

#[test]
fn a_variable_that_names_no_proxy_is_logged_once() {
    let sandbox = Sandbox::new();
    let cfg = with(&sandbox, "discoverpublicip = on\napi = http://127.0.0.1:1");
    let text = std::fs::read_to_string(&cfg).unwrap();
    let relay = format!("dir://{}", sandbox.path("relay").display());
    std::fs::write(&cfg, text.replace(&relay, "amqp://agent:secret@127.0.0.1:1/mig")).unwrap();
    let mut command = Command::new(AGENT);
    let output = command.args(["-c", &cfg, "--checkin"]).env("HTTP_PROXY", "socks5://u:s3cret@h:1").output().unwrap();
    let text = crate::common::text(&output);
    assert_eq!(output.status.code(), Some(75), "{text}");
    assert_eq!(text.matches("HTTP_PROXY of the environment is not a proxy").count(), 1, "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn the_line_for_cron_finds_its_program_and_prints_nothing() {
    let readme = include_str!("../../README.md");
    let line = readme.lines().map(str::trim).find(|line| line.starts_with("* * * * * root ")).unwrap();
    let command = line.trim_start_matches("* * * * * root ").split(" # ").next().unwrap();
    let program = command.split(' ').next().unwrap();
    assert!(program.starts_with('/'), "cron's PATH is /usr/bin:/bin: {command}");
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let here = command.replacen(program, &format!("'{AGENT}' -c '{}'", sandbox.agent_cfg(1)), 1);
    let output = Command::new("sh").args(["-c", &here]).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "cron mails it: {}", text(&output));
}
