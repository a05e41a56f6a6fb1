//! register sends a heartbeat at once, again every period, and when the machine has changed. A lost one is made good by the
//! next.

use super::environment::Environment;
use super::identity::host_name;
use super::start::REGISTERED;
use super::status::Status;
use super::{Mode, check_kept};
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::limits::AGENT_MESSAGE_PERIODS;
use crate::relay::{Message, Queue, Relay};
use crate::spool::Notes;
use crate::spool::watch::Watch;
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use crate::worker::{Pass, Worker};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// What an agent says of itself in every heartbeat.
pub struct Profile {
    /// Its queue.
    pub queueloc: QueueLoc,
    /// How it runs.
    pub mode: Mode,
    /// The operator's tags.
    pub tags: Map<String, Value>,
    /// What its machine is like.
    pub environment: Environment,
    /// When it started.
    pub start_time: Timestamp,
}

/// The worker that sends heartbeats.
pub struct Register {
    relay: Box<dyn Relay>,
    profile: Profile,
    period: Duration,
    status: Status,
    waker: Option<Waker>,
    /// Where the first heartbeat is noted, for the process that hands over.
    unnoted: Option<Notes>,
    /// Through which the last heartbeat went.
    proxy: Option<String>,
    started: Instant,
    due: Timestamp,
}

impl Register {
    /// Sends a heartbeat every `period`, beginning now.
    pub fn new(
        relay: Box<dyn Relay>,
        profile: Profile,
        period: Duration,
        status: Status,
        notes: Option<Notes>,
    ) -> Register {
        let (started, due) = (Instant::now(), profile.start_time);
        Register { relay, profile, period, status, waker: None, unnoted: notes, proxy: None, started, due }
    }

    fn heartbeat(&mut self, now: Timestamp) -> Agent {
        // The clock was ahead when this process started. A start in the future would make it the newest one of its queueloc.
        let profile = &mut self.profile;
        if profile.start_time > now {
            profile.start_time = time::before(now, self.started.elapsed());
        }
        Agent {
            id: None,
            name: host_name(),
            queueloc: profile.queueloc.clone(),
            mode: profile.mode.in_heartbeats().into(),
            version: crate::cli::version().into(),
            pid: std::process::id().into(),
            start_time: profile.start_time,
            destruction_time: time::not_set(),
            heartbeat_time: now,
            status: None,
            environment: profile.environment.object(self.proxy.as_deref()),
            tags: profile.tags.clone(),
        }
    }
}

impl Worker for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        // The queue exists before its name is known: a command that is sent right away is routed.
        self.relay.declare(&Queue::agent(&self.profile.queueloc))
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.waker = Some(waker);
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        if self.profile.environment.refresh() {
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
            if let Some(notes) = &self.unnoted {
                notes.mark(REGISTERED, now)?;
                self.unnoted = None;
            }
            self.due = time::after(now, self.period);
        }
        self.profile.environment.ask_public_ip(self.proxy.as_deref(), self.waker.as_ref());
        Ok(Pass { handled: 0, again: Some(self.due.min(time::after(now, self.profile.environment.left()))) })
    }
}
