//! Duplicate agents, and queues of agents that are gone.

use super::wait;
use crate::common::Sandbox;
use crate::common::broker_fleet;
use crate::common::servers::{self, Broker};
use mig::relay::{Message, Queue, Relay};
use std::time::Duration;

#[test]
fn an_older_agent_of_an_endpoint_is_ended_by_an_action_of_the_schedulers_own() {
    let broker = Broker::shared("classic");
    let database = servers::database(&servers::shared("postgres"));
    let sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
    let text = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    let text = text.replace("[collector]", "killdupagents = true\n[periodic]\nfreq = \"1s\"\n[collector]");
    std::fs::write(sandbox.scheduler_cfg(), text).unwrap();
    let scheduler = sandbox.start_scheduler();
    let mut relay = super::agent_relay(&broker);
    wait("ready", &sandbox, || relay.declare(&Queue::agent(&broker_fleet::agent(1).queueloc)).is_ok());
    let now = mig::time::now();
    let process = |pid, started| {
        let mut agent = broker_fleet::agent(1);
        agent.pid = pid;
        agent.start_time = mig::time::before(now, Duration::from_secs(started));
        agent.environment.insert("machine".into(), "one".into());
        Message { queue: Queue::heartbeats(), body: agent.to_json(), expires: mig::time::never() }
    };
    // The older one is heard of after the newer one's start.
    let messages = [process(77, 3600), process(1, 5)];
    wait("sent", &sandbox, || {
        let sent = relay.send(&messages, now);
        sent.is_ok_and(|sent| sent.iter().all(|sent| *sent == mig::relay::Sent::Kept))
    });
    wait("sent to its queue", &sandbox, || sandbox.names("command/inflight").len() == 1);
    let command = sandbox.only("command/inflight");
    let operation = &command["action"]["operations"][0];
    assert_eq!(
        (operation["module"].as_str(), operation["parameters"]["pid"].as_i64()),
        (Some("agentdestroy"), Some(77))
    );
    let sql = "SELECT name FROM investigators WHERE privatekey IS NOT NULL";
    assert_eq!(servers::psql(&servers::shared("postgres"), &database.database, sql).trim(), "migscheduler");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sandbox.names("command/inflight").len(), 1, "one action is enough");
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn queues_of_agents_that_are_gone_are_removed_and_others_are_not() {
    let broker = Broker::shared("classic");
    let sandbox = Sandbox::new().with_broker(&broker);
    let text = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    let text = text
        .replace("heartbeatfreq = \"30s\"", "heartbeatfreq = \"500ms\"")
        .replace("timeout = \"10m\"", "timeout = \"10s\"");
    let text = text.replace("[collector]", "[periodic]\nfreq = \"1s\"\nqueuescleanupfreq = \"1s\"\n[collector]");
    std::fs::write(sandbox.scheduler_cfg(), text).unwrap();
    let scheduler = sandbox.start_scheduler();
    let (mut relay, mut here) = (super::agent_relay(&broker), super::agent_relay(&broker));
    let queue = |n| Queue::agent(&broker_fleet::agent(n).queueloc);
    wait("ready", &sandbox, || relay.declare(&queue(1)).is_ok() && here.declare(&queue(2)).is_ok());
    assert!(here.receive(&queue(2), 1, mig::time::now()).unwrap().is_empty());
    wait("sent", &sandbox, || {
        let now = mig::time::now();
        let heartbeat = |n| Message {
            queue: Queue::heartbeats(),
            body: broker_fleet::agent(n).to_json(),
            expires: mig::time::never(),
        };
        let sent = relay.send(&[heartbeat(1), heartbeat(2)], now);
        sent.is_ok_and(|sent| sent.iter().all(|sent| *sent == mig::relay::Sent::Kept))
    });
    let queues = || {
        let arguments = ["-q", "list_queues", "-p", &broker.vhost, "--no-table-headers", "name"];
        servers::rabbitmqctl(&broker.directory, &arguments)
    };
    wait("removed", &sandbox, || !queues().contains(queue(1).as_str()));
    assert!(queues().contains(queue(2).as_str()), "somebody takes messages from it");
    assert_eq!(scheduler.terminate(), Some(0));
}
