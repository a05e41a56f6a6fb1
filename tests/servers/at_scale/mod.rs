//! The whole way over a real broker, and what is left of it when the broker goes away in the middle.

mod api;
mod cut;
mod hostile;
mod journey;
mod kills;
mod outages;
mod periodic;
mod quickstart;
mod tls;
mod two_schedulers;

use crate::common::{self, Sandbox, servers};
use mig::relay::amqp::{AmqpRelay, Role};
use std::time::{Duration, Instant};

/// How long something may take that includes the start of a server.
const PATIENCE: Duration = Duration::from_secs(2 * common::PATIENCE.as_secs());

/// Waits until something is there.
fn wait(what: &str, sandbox: &Sandbox, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > PATIENCE {
            let end = |name: &str| {
                let log = std::fs::read_to_string(sandbox.path(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                format!("{name}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
            };
            panic!("still not {what}: {:?}\n{}\n{}", sandbox.picture(), end("scheduler.log"), end("agent-1.log"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Puts heartbeats of simulated agents into the queue, and waits until they are known.
fn register(sandbox: &Sandbox, broker: &servers::Broker, count: usize) {
    use mig::relay::{Message, Queue, Relay};
    let now = mig::time::now();
    let expires = mig::time::after(now, Duration::from_secs(600));
    let body = |n| common::broker_fleet::agent(n).to_json();
    let messages: Vec<Message> =
        (0..count).map(|n| Message { queue: Queue::heartbeats(), body: body(n), expires }).collect();
    let mut relay = agent_relay(broker);
    relay.send(&messages, now).unwrap();
    let all = format!("{count} agents\n");
    wait("registered", sandbox, || sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(all.as_bytes()));
}

/// A relay with the rights of an agent.
fn agent_relay(broker: &servers::Broker) -> AmqpRelay {
    servers::open_relay(&broker.agent_url(), Role::Agent)
}
