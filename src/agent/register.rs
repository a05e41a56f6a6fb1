//! register sends a heartbeat at once, again every period, and when the machine or the proxy to the relay has changed. A lost one is made good by the
//! next.

use super::environment::Environment;
use super::identity::host_name;
use super::status::Status;
use super::{Mode, check_kept, installed};
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
    /// Through which the relay was reached last.
    proxy: Option<String>,
    started: Instant,
    due: Timestamp,
    /// Whether a heartbeat proves, after an upgrade, that this program works.
    proves: bool,
}

impl Register {
    /// Sends a heartbeat every `period`, beginning now.
    pub fn new(relay: Box<dyn Relay>, profile: Profile, period: Duration, status: Status) -> Register {
        let (started, due) = (Instant::now(), profile.start_time);
        Register { relay, profile, period, status, waker: None, proxy: None, started, due, proves: false }
    }

    /// The first heartbeat that was sent proves that this program works.
    pub fn proving(self) -> Register {
        Register { proves: true, ..self }
    }

    /// With the next heartbeat again if it cannot be written down.
    fn prove(&mut self) {
        match installed::prove() {
            Ok(true) => log::info!("upgrade: this version works, and stays"),
            Ok(false) => {}
            Err(error) => return log::error!("upgrade: remove the previous program, as this one works: {error}"),
        }
        self.proves = false;
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
        let proxy = self.relay.proxy()?;
        let environment = &mut self.profile.environment;
        environment.ask_public_ip(proxy.as_deref(), self.waker.as_ref());
        if environment.refresh() || proxy != self.proxy {
            self.due = now;
        }
        self.proxy = proxy;
        // Also when the clock was set back: the next one is never further away than a period.
        if now >= self.due || self.due > time::after(now, self.period) {
            let expires = time::after(now, self.period * AGENT_MESSAGE_PERIODS);
            let message = Message { queue: Queue::heartbeats(), body: self.heartbeat(now).to_json(), expires };
            let sent = self.relay.send(&[message], now)?;
            sent.iter().try_for_each(|sent| check_kept("send a heartbeat", &Queue::heartbeats(), sent))?;
            self.status.heartbeat_sent(now);
            if self.proves {
                self.prove();
            }
            self.due = time::after(now, self.period);
        }
        Ok(Pass { handled: 0, again: Some(self.due.min(time::after(now, self.profile.environment.left()))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Sent;
    use crate::relay::fake::Fake;
    use crate::spool::{Mover, stages};
    use std::sync::{Arc, Mutex};

    #[test]
    fn another_proxy_is_in_a_heartbeat_at_once() {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        let mover = Mover::open(directory.path(), &stages::AGENT, "agent").unwrap();
        let queueloc = QueueLoc::parse("linux.host.example.net.1").unwrap();
        let status = Status::new(queueloc.clone(), time::now(), Arc::clone(mover.spool()));
        let mut proxies = ["b:2", "a:1", "a:1"].map(|proxy| Some(proxy.to_owned())).to_vec();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&sent);
        let relay = Fake {
            proxy: Box::new(move |()| Ok(proxies.pop().flatten())),
            send: Box::new(move |messages| {
                let texts = messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned());
                keep.lock().unwrap().extend(texts);
                Ok(vec![Sent::Kept; messages.len()])
            }),
            ..Fake::default()
        };
        let environment = Environment::new(Duration::from_secs(3600), None);
        let profile = Profile { queueloc, mode: Mode::Daemon, tags: Map::new(), environment, start_time: time::now() };
        let mut register =
            Register::new(status.noting(Box::new(relay)), profile, Duration::from_secs(3600), status.clone());
        for _ in 0..4 {
            register.pass(time::now()).unwrap();
        }
        let named = |text: &String| {
            let heartbeat: Value = serde_json::from_str(text).unwrap();
            heartbeat["environment"]["proxy"].as_str().unwrap_or("none").to_owned()
        };
        let named: Vec<String> = sent.lock().unwrap().iter().map(named).collect();
        assert_eq!(named, ["a:1", "b:2", "none"], "the second pass has nothing new");
        assert!(status.text().contains("\nproxy: -\n"), "{}", status.text());
    }
}
