//! register sends a heartbeat at once, and again every period. A lost one is made good by the next.

use super::check_kept;
use super::environment::environment;
use super::identity::host_name;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::limits::AGENT_MESSAGE_PERIODS;
use crate::relay::{Message, Queue, Relay};
use crate::spool::watch::Watch;
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use crate::worker::{Pass, Worker};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// The worker that sends heartbeats.
pub struct Register {
    relay: Box<dyn Relay>,
    queueloc: QueueLoc,
    period: Duration,
    tags: Map<String, Value>,
    start_time: Timestamp,
    started: Instant,
    due: Timestamp,
}

impl Register {
    /// Sends a heartbeat every `period`, beginning now.
    pub fn new(
        relay: Box<dyn Relay>,
        queueloc: QueueLoc,
        period: Duration,
        tags: Map<String, Value>,
        now: Timestamp,
    ) -> Register {
        Register { relay, queueloc, period, tags, start_time: now, started: Instant::now(), due: now }
    }

    fn heartbeat(&mut self, now: Timestamp) -> Agent {
        // The clock was ahead when this process started. A start in the future would make it the newest one of its queueloc.
        if self.start_time > now {
            self.start_time = time::before(now, self.started.elapsed());
        }
        Agent {
            id: None,
            name: host_name(),
            queueloc: self.queueloc.clone(),
            mode: "daemon".into(),
            version: crate::cli::version().into(),
            pid: std::process::id().into(),
            start_time: self.start_time,
            destruction_time: time::not_set(),
            heartbeat_time: now,
            status: None,
            environment: environment(),
            tags: self.tags.clone(),
        }
    }
}

impl Worker for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        // The queue exists before its name is known: a command that is sent right away is routed.
        self.relay.declare(&Queue::agent(&self.queueloc))
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        // Also when the clock was set back: the next one is never further away than a period.
        if now >= self.due || self.due > time::after(now, self.period) {
            let expires = time::after(now, self.period * AGENT_MESSAGE_PERIODS);
            let message = Message { queue: Queue::heartbeats(), body: self.heartbeat(now).to_json(), expires };
            let sent = self.relay.send(&[message], now)?;
            sent.iter().try_for_each(|sent| check_kept("send a heartbeat", &Queue::heartbeats(), sent))?;
            self.due = time::after(now, self.period);
        }
        Ok(Pass { handled: 0, again: Some(self.due) })
    }
}
