//! Agents at a fixed time, for the tests of stores.

use mig::heartbeat::{Agent, QueueLoc};
use mig::time::{self, Timestamp};
use serde_json::json;
use std::time::Duration;

/// When these tests take place.
pub fn now() -> Timestamp {
    "2026-11-22T12:00:00.123456Z".parse().unwrap()
}

/// Some seconds before.
pub fn ago(seconds: u64) -> Timestamp {
    time::before(now(), Duration::from_secs(seconds))
}

/// An agent on a host, last heard of then.
pub fn agent(host: &str, pid: i64, heard: Timestamp) -> Agent {
    Agent {
        id: None,
        name: host.into(),
        queueloc: QueueLoc::parse(&format!("linux.{host}.x1")).unwrap(),
        mode: "daemon".into(),
        version: "1".into(),
        pid,
        start_time: ago(9000),
        destruction_time: time::not_set(),
        heartbeat_time: heard,
        status: None,
        environment: json!({"os": "linux"}).as_object().unwrap().clone(),
        tags: json!({"host": host}).as_object().unwrap().clone(),
    }
}
