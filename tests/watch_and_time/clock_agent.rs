//! What an agent's clock does to its answers, and to what it knows of commands that it has run.

use crate::common::{json_file, names};
use crate::system::System;
use mig::time;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// A system whose one agent has an action's command, with the place and text of its message.
fn delivered(parameters: &Value) -> (System, PathBuf, Vec<u8>) {
    let mut system = System::new(1);
    let mut draft = system.sandbox.draft("delivered");
    draft["operations"] = json!([{"module": "file", "parameters": parameters}]);
    system.sandbox.drop_bytes("a.json", system.sandbox.sign(draft).to_string().as_bytes());
    system.pass("action-new", system.started);
    system.pass("command-ready", system.started);
    let relay = system.sandbox.path("relay");
    let queue = names(&relay).into_iter().find(|name| name.starts_with("mig.agt.linux.")).unwrap();
    let message = relay.join(&queue).join(&names(&relay.join(&queue))[0]);
    let bytes = std::fs::read(&message).unwrap();
    (system, message, bytes)
}

#[test]
fn an_answer_that_took_longer_than_a_heartbeats_lifetime_counts() {
    let (mut system, _, _) = delivered(&json!({}));
    let now = system.started;
    system.pass_agents(now);
    // The operations began ten heartbeat periods ago and more: the agent's pass, and so its `now`, is as old.
    let later = time::after(now, Duration::from_secs(600));
    system.pass("results", later);
    system.pass("command-returned", later);
    assert_eq!(system.sandbox.only("command/done")["status"], "success");
}
