//! register sends a heartbeat at once, again every period, and when the machine has changed. A lost one is made good by the
//! next.

use super::environment::Environment;
use super::identity::host_name;
use super::status::Status;
use super::{Mode, check_kept};
use crate::config::agent::AgentConfig;
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
    mode: Mode,
    period: Duration,
    tags: Map<String, Value>,
    environment: Environment,
    waker: Option<Waker>,
    /// Through which the last heartbeat went.
    proxy: Option<String>,
    status: Status,
    start_time: Timestamp,
    started: Instant,
    due: Timestamp,
}

impl Register {
    /// Sends a heartbeat every `heartbeatfreq`, beginning now.
    pub fn new(
        relay: Box<dyn Relay>,
        queueloc: QueueLoc,
        mode: Mode,
        config: &AgentConfig,
        status: Status,
        now: Timestamp,
    ) -> Register {
        Register {
            relay,
            queueloc,
            mode,
            period: config.heartbeat_freq,
            tags: config.tags.clone(),
            environment: Environment::of(config),
            waker: None,
            proxy: None,
            status,
            start_time: now,
            started: Instant::now(),
            due: now,
        }
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
            mode: self.mode.in_heartbeats().into(),
            version: crate::cli::version().into(),
            pid: std::process::id().into(),
            start_time: self.start_time,
            destruction_time: time::not_set(),
            heartbeat_time: now,
            status: None,
            environment: self.environment.object(self.proxy.as_deref()),
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

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.waker = Some(waker);
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        if self.environment.refresh() {
            self.due = now;
        }
        // Also when the clock was set back: the next one is never further away than a period.
        if now >= self.due || self.due > time::after(now, self.period) {
            self.proxy = self.relay.proxy()?;
            let expires = time::after(now, self.period * AGENT_MESSAGE_PERIODS);
            let message = Message { queue: Queue::heartbeats(), body: self.heartbeat(now).to_json(), expires };
            let sent = self.relay.send(&[message], now)?;
            sent.iter().try_for_each(|sent| check_kept("send a heartbeat", &Queue::heartbeats(), sent))?;
            self.status.heartbeat_sent(now);
            self.due = time::after(now, self.period);
        }
        self.environment.ask_public_ip(self.proxy.as_deref(), self.waker.as_ref());
        Ok(Pass { handled: 0, again: Some(self.due.min(time::after(now, self.environment.left()))) })
    }
}
