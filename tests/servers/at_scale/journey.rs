//! Real programs, and many simulated agents.

use super::{register, wait};
use crate::common::broker_fleet::BrokerFleet;
use crate::common::every_module::EveryModule;
use crate::common::servers::{Broker, open_relay};
use crate::common::{Sandbox, text};
use mig::limits::AGENT_DELIVERIES_MAX;
use mig::relay::amqp::Role;
use mig::relay::{Event, Queue, Relay};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

fn a_signed_action_is_answered_by_a_real_agent(queue_type: &'static str) {
    let broker = Broker::shared(queue_type);
    let sandbox = Sandbox::new().with_broker(&broker);
    // An agent that comes before the exchange and the queues are there waits for them, and is as quick as others then.
    let agent = sandbox.start_agent(1);
    wait("waiting", &sandbox, || {
        let log = std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap_or_default();
        ["receive: bind queue", "register: "].iter().all(|words| log.contains(words))
    });
    let scheduler = sandbox.start_scheduler();
    wait("registered", &sandbox, || sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(b"1 agents\n"));
    let (mut worker, ended) = (open_relay(&broker.url("worker"), Role::Agent), Queue::worker("ended"));
    [Event::CommandFinished, Event::ActionFinished].into_iter().for_each(|e| worker.subscribe(&ended, e).unwrap());
    let dropped = Instant::now();
    for n in 0..3 {
        sandbox.drop_action(&format!("{n}.json"));
    }
    wait("done", &sandbox, || sandbox.names("action/done").len() == 3 && sandbox.names("command/done").len() == 3);
    assert!(dropped.elapsed() < Duration::from_secs(55), "no notification came, the agent's next sweep found it");
    for (_, command) in sandbox.commands("command/done") {
        assert_eq!(command["status"], "success");
        assert_eq!(command["results"][0]["foundanything"], true);
    }
    let every = EveryModule::new(&sandbox.path("tree"));
    let _connection = every.connect();
    let mut draft = sandbox.draft("every module");
    draft["operations"] = json!(every.operations);
    sandbox.drop_bytes("every.json", sandbox.sign(draft).to_string().as_bytes());
    wait("answered by every module", &sandbox, || sandbox.names("command/done").len() == 4);
    let done = sandbox.commands("command/done");
    let (_, command) = done.iter().find(|(_, command)| command["action"]["name"] == "every module").unwrap();
    every.assert_answered(&command["results"]);
    let mut told = Vec::new();
    wait("told of four commands and four actions", &sandbox, || {
        told = worker.receive(&ended, 10, mig::time::now()).unwrap();
        told.len() == 8
    });
    worker.acknowledge(&ended, &told).unwrap();
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
    wait("what was handled is acknowledged", &sandbox, || broker.waiting().is_empty());
}

#[test]
fn a_signed_action_is_answered_over_classic_queues() {
    a_signed_action_is_answered_by_a_real_agent("classic");
}

#[test]
fn a_signed_action_is_answered_over_quorum_queues() {
    a_signed_action_is_answered_by_a_real_agent("quorum");
}

/// More commands wait than the broker delivers ahead.
fn an_agent_that_checks_in_takes_all_that_waits(queue_type: &'static str) {
    const COMMANDS: usize = AGENT_DELIVERIES_MAX + 6;
    let broker = Broker::shared(queue_type);
    let sandbox = Sandbox::new().with_broker(&broker);
    let scheduler = sandbox.start_scheduler();
    wait("ready", &sandbox, || broker_has_queues(&broker));
    let check_in = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        let output = command.args(["-c", &sandbox.agent_cfg(1), "--checkin"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    };
    check_in();
    wait("registered", &sandbox, || {
        sandbox.scheduler(&["--explain-target", "mode='checkin'"]).stdout.ends_with(b"1 agents\n")
    });
    (0..COMMANDS).for_each(|n| sandbox.drop_action(&format!("{n}.json")));
    wait("sent", &sandbox, || sandbox.names("command/inflight").len() == COMMANDS);
    check_in();
    wait("done", &sandbox, || sandbox.names("action/done").len() == COMMANDS);
    assert!(sandbox.commands("command/done").iter().all(|(_, command)| command["status"] == "success"));
    assert_eq!(scheduler.terminate(), Some(0));
    wait("what was handled is acknowledged", &sandbox, || broker.waiting().is_empty());
}

#[test]
fn an_agent_that_checks_in_takes_all_that_waits_in_a_classic_queue() {
    an_agent_that_checks_in_takes_all_that_waits("classic");
}

#[test]
fn an_agent_that_checks_in_takes_all_that_waits_in_a_quorum_queue() {
    an_agent_that_checks_in_takes_all_that_waits("quorum");
}

#[test]
fn each_of_a_thousand_agents_ends_in_one_final_status() {
    let broker = Broker::shared("classic");
    let sandbox = Sandbox::new().with_broker(&broker);
    let scheduler = sandbox.start_scheduler();
    wait("ready", &sandbox, || broker_has_queues(&broker));
    register(&sandbox, &broker, 1000);
    // The last hundred have no queue: their commands wait for them.
    let fleet = BrokerFleet::start(&broker.agent_url(), 900);
    sandbox.drop_action("all.json");
    wait("answered", &sandbox, || sandbox.names("command/done").len() == 900);
    // An answer may come before the file of its command has moved on.
    wait("what cannot be routed stays, and nothing else", &sandbox, || sandbox.names("command/ready").len() == 100);
    assert_eq!(fleet.answered(), 900);
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn new_and_unknown_agents_are_told_of() {
    let broker = Broker::shared("classic");
    let sandbox = Sandbox::new().with_broker(&broker);
    std::fs::write(sandbox.spool().join("agents_whitelist.txt"), "linux.sim0.example.net.0\n").unwrap();
    sandbox.once("heartbeats,results");
    let mut worker = open_relay(&broker.url("worker"), Role::Agent);
    let (new, failed) = (Queue::worker("new"), Queue::worker("failed"));
    worker.subscribe(&new, Event::AgentNew).unwrap();
    worker.subscribe(&failed, Event::AgentAuthenticationFailure).unwrap();
    let scheduler = sandbox.start_scheduler();
    let mut agent = super::agent_relay(&broker);
    let now = mig::time::now();
    let heartbeat = |n| mig::relay::Message {
        queue: Queue::heartbeats(),
        body: crate::common::broker_fleet::agent(n).to_json(),
        expires: mig::time::never(),
    };
    agent.send(&[heartbeat(0), heartbeat(1), heartbeat(0)], now).unwrap();
    let (mut told, mut refused) = (Vec::new(), Vec::new());
    wait("told", &sandbox, || !broker.waiting().is_empty());
    let started = std::time::Instant::now();
    while (told.is_empty() || refused.is_empty()) && started.elapsed() < super::PATIENCE {
        told = worker.receive(&new, 10, now).unwrap();
        refused = worker.receive(&failed, 10, now).unwrap();
    }
    assert_eq!((told.len(), refused.len()), (1, 1));
    assert!(String::from_utf8_lossy(&told[0].body).contains("linux.sim0.example.net.0"));
    assert!(String::from_utf8_lossy(&refused[0].body).contains("linux.sim1.example.net.1"));
    assert_eq!(scheduler.terminate(), Some(0));
    let log = std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap();
    assert!(log.contains("[warning] getHeartbeats(): Agent 'linux.sim1.example.net.1' is not authorized"), "{log}");
}

/// Whether a scheduler has made them.
pub(super) fn broker_has_queues(broker: &Broker) -> bool {
    let arguments = ["-q", "list_queues", "-p", &broker.vhost, "--no-table-headers", "name"];
    let text = crate::common::servers::rabbitmqctl(&broker.directory, &arguments);
    ["mig.agt.heartbeats", "mig.agt.results"].iter().all(|queue| text.lines().any(|line| line.trim() == *queue))
}
