//! Agents that run more than once, are restarted, or are copied with a machine's image.

use crate::common::{Sandbox, mounts, names, score::Score, text};
use mig::heartbeat::Agent;
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Event, Message, Queue, Relay};
use mig::time::{self, Timestamp};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// A scheduler that ends duplicate agents.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), cfg.replacen("[agent]\n", "[agent]\nkilldupagents = true\n", 1)).unwrap();
    sandbox.once("heartbeats,results");
    sandbox
}

/// What heartbeats and periodic write to the log about what the relay has now, and the processes that they end.
fn judged(sandbox: &Sandbox) -> (String, Vec<String>) {
    let output = sandbox.scheduler(&["--only", "heartbeats,periodic", "--once"]);
    assert!(output.status.success(), "{}", text(&output));
    let warnings = text(&output).lines().filter(|line| line.contains(" on ")).map(|line| format!("{line}\n")).collect();
    (warnings, sandbox.names("action/new"))
}

fn ago(seconds: u64) -> Timestamp {
    time::before(time::now(), Duration::from_secs(seconds))
}

/// Sends the heartbeat of a process of `linux.web.x1`.
fn heartbeat(sandbox: &Sandbox, pid: i64, started: Timestamp, heard: Timestamp, environment: serde_json::Value) {
    let document = json!({
        "name": format!("host{pid}"), "queueloc": "linux.web.x1", "mode": "daemon", "version": "1", "pid": pid,
        "starttime": started.to_string(), "heartbeatts": heard.to_string(), "environment": environment
    });
    send(sandbox, &[document.to_string()]);
}

fn send(sandbox: &Sandbox, heartbeats: &[String]) {
    let message =
        |body: &String| Message { queue: Queue::heartbeats(), body: body.clone().into_bytes(), expires: time::never() };
    let mut relay = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    relay.send(&heartbeats.iter().map(message).collect::<Vec<_>>(), time::now()).unwrap();
}

#[test]
fn a_restart_is_no_duplicate() {
    let sandbox = sandbox();
    for _ in 0..3 {
        sandbox.agent_once(1);
        assert_eq!(judged(&sandbox), (String::new(), vec![]));
    }
    let agent = sandbox.start_agent(1);
    sandbox.wait("heard of", |sandbox| !names(&sandbox.path("relay/mig.agt.heartbeats")).is_empty());
    agent.kill();
    sandbox.agent_once(1);
    assert_eq!(judged(&sandbox), (String::new(), vec![]));
    let online = sandbox.scheduler(&["--explain-target", "status = 'online'"]);
    assert!(text(&online).contains("1 agents"), "{}", text(&online));
}

#[test]
fn an_older_process_is_named_and_is_ended_only_on_the_machine_of_the_newer_one() {
    for (older, newer, what, ended) in [
        (json!({"machine": "a"}), json!({"machine": "a"}), "runs twice on one machine", 1),
        (json!({"machine": "a"}), json!({"machine": "b"}), "runs on two machines at once", 0),
        (json!({"os": "linux"}), json!({"os": "linux"}), "runs twice:", 0),
    ] {
        let sandbox = sandbox();
        heartbeat(&sandbox, 300, ago(3600), ago(30), older.clone());
        heartbeat(&sandbox, 301, ago(20), ago(10), newer);
        assert_eq!(judged(&sandbox), (String::new(), vec![]), "{what}: it may have been restarted");
        heartbeat(&sandbox, 300, ago(3600), ago(5), older);
        let (warnings, files) = judged(&sandbox);
        assert!(warnings.lines().count() == 1 && warnings.contains(what), "{what}: {warnings}");
        assert!(warnings.contains("process 300") && warnings.contains("process 301"), "{warnings}");
        let is_of_older = |name: &String| name.starts_with("kill-") && name.ends_with("-300.json");
        assert!(files.len() == ended && files.iter().all(is_of_older), "{what}: {files:?}");
    }
}

#[test]
fn a_start_in_the_future_ends_nobody() {
    let sandbox = sandbox();
    let here = || json!({"machine": "a"});
    for seconds in [20, 10] {
        heartbeat(&sandbox, 300, time::after(time::now(), Duration::from_secs(7200)), ago(seconds), here());
        heartbeat(&sandbox, 301, ago(30), ago(seconds), here());
        assert_eq!(judged(&sandbox), (String::new(), vec![]));
    }
}

#[test]
fn clones_with_one_process_id_are_named() {
    let sandbox = sandbox();
    let addresses = |address: &str| json!({"addresses": [address]});
    heartbeat(&sandbox, 1, ago(3600), ago(30), addresses("192.0.2.1/24"));
    assert_eq!(judged(&sandbox).0, "");
    heartbeat(&sandbox, 1, ago(25), ago(20), addresses("192.0.2.2/24"));
    assert_eq!(judged(&sandbox).0, "", "a restart");
    heartbeat(&sandbox, 1, ago(3600), ago(10), addresses("192.0.2.1/24"));
    let (warnings, files) = judged(&sandbox);
    assert!(warnings.contains("runs on two machines at once") && files.is_empty(), "{warnings}");
    assert!(warnings.contains("192.0.2.1/24") && warnings.contains("192.0.2.2/24"), "{warnings}");
}

#[test]
fn an_agent_that_is_not_authorized_is_told_once_a_minute() {
    let sandbox = sandbox();
    std::fs::write(sandbox.spool().join("agents_whitelist.txt"), "linux.other.x1\n").unwrap();
    let subscriber = Queue::worker("test");
    let mut relay = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    relay.subscribe(&subscriber, Event::AgentAuthenticationFailure).unwrap();
    let document = |host: &str| {
        let heard = time::now().to_string();
        json!({"name": host, "queueloc": format!("linux.{host}.x1"), "pid": 1, "version": "1", "heartbeatts": heard})
    };
    let batch: Vec<String> = ["web", "web", "db", "web", "db"].map(|host| document(host).to_string()).into();
    // More than one batch.
    (0..30).for_each(|_| send(&sandbox, &batch));
    let output = text(&sandbox.scheduler(&["--only", "heartbeats", "--once"]));
    for host in ["web", "db"] {
        let line = format!("Agent 'linux.{host}.x1' is not authorized");
        assert_eq!(output.matches(&line).count(), 1, "{output}");
    }
    let published = relay.receive(&subscriber, 100, time::now()).unwrap();
    assert_eq!(published.len(), 2);
    assert!(names(&sandbox.path("relay/mig.agt.heartbeats")).is_empty());
}

/// The heartbeats that the relay has now.
fn heartbeats(sandbox: &Sandbox) -> Vec<Agent> {
    let directory = sandbox.path("relay/mig.agt.heartbeats");
    let read = |name: &String| std::fs::read(directory.join(name)).unwrap();
    let parse = |bytes: Vec<u8>| Agent::parse_heartbeat(&bytes, time::now(), Duration::from_secs(600)).unwrap();
    names(&directory).iter().map(read).map(parse).collect()
}

#[test]
fn a_copy_of_a_machine_gets_an_identity_of_its_own() {
    let (sandbox, machine_id) = (sandbox(), Path::new("/etc/machine-id"));
    if !machine_id.exists() {
        return Score::begin("machine-id").skip("this machine has no /etc/machine-id");
    }
    sandbox.agent_once(1);
    sandbox.agent_once(1);
    std::fs::write(sandbox.path("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    if let Err(why) = mounts::mount(&["--bind"], &sandbox.path("machine-id"), machine_id) {
        return Score::begin("machine-id").skip(&why);
    }
    let warned = text(&sandbox.agent_once(1));
    assert!(warned.contains("this is another machine than the one of agent.id"), "{warned}");
    sandbox.agent_once(1);
    let queuelocs: Vec<String> = heartbeats(&sandbox).iter().map(|agent| agent.queueloc.to_string()).collect();
    assert!(
        queuelocs[0] == queuelocs[1] && queuelocs[2] == queuelocs[3] && queuelocs[0] != queuelocs[2],
        "{queuelocs:?}"
    );
    assert!(heartbeats(&sandbox).iter().all(|agent| agent.machine().is_some()));
}
