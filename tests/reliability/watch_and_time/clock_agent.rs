//! What an agent's clock does to its answers, and to what it knows of commands that it has run.

use super::system::System;
use crate::common::{json_file, names};
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

#[test]
fn what_was_forgotten_by_a_clock_that_was_ahead_does_not_run_again() {
    let parameters = json!({"n": 2});
    let (mut system, message, bytes) = delivered(&parameters);
    let now = system.started;
    system.pass_agents(now);
    system.pass("results", now);
    let kept = system.sandbox.path("agent-1/done");
    assert_eq!(names(&kept).len(), 1);
    system.pass_agents(time::after(now, Duration::from_secs(86_400)));
    assert_eq!(names(&kept).len(), 0, "by that clock the action has run out");
    for restart in [false, true] {
        if restart {
            system.start_agents();
        }
        std::fs::write(&message, &bytes).unwrap();
        system.pass_agents(now);
        assert_eq!(system.runs(1, &parameters), 1);
        let answer = json_file(&kept.join(&names(&kept)[0]));
        let error = answer["results"][0]["errors"][0].as_str().unwrap();
        assert!(answer["status"] == "expired" && error.starts_with("it may have run before"), "{answer}");
        std::fs::remove_file(kept.join(&names(&kept)[0])).unwrap();
    }
    // The scheduler has the first answer.
    for worker in ["results", "command-returned", "results", "command-returned"] {
        system.pass(worker, now);
    }
    assert_eq!(system.sandbox.only("command/done")["status"], "success");
}

#[test]
fn what_was_signed_in_the_future_of_a_clock_that_is_behind_runs_when_its_time_has_come() {
    let parameters = json!({"n": 3});
    let (mut system, _, _) = delivered(&parameters);
    let now = system.started;
    for behind in [3600, 120] {
        system.pass_agents(time::before(now, Duration::from_secs(behind)));
        assert_eq!(names(&system.sandbox.path("agent-1/received")).len(), 1, "{behind} s behind");
    }
    system.pass_agents(now);
    assert_eq!(system.runs(1, &parameters), 1);
    system.pass("results", now);
    system.pass("command-returned", now);
    assert_eq!(system.sandbox.only("command/done")["status"], "success");
}
