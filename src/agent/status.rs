//! What the agent says of itself when it is asked ([`super::stat_socket`]). Its workers note what happens when it happens; the
//! files that wait are counted when somebody asks.

use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::id::{ActionId, CommandId, CommandRef};
use crate::limits::STAT_FAILURE_CHARACTERS_MAX;
use crate::relay::{Delivery, Event, Message, Queue, Relay, Sent};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_EVENTS, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::watch::Watch;
use crate::spool::{Spool, Stage};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module docs. Clones are one.
#[derive(Clone)]
pub struct Status {
    noted: Arc<Mutex<Noted>>,
    spool: Arc<Spool>,
    queueloc: QueueLoc,
    start_time: Timestamp,
}

/// What the workers noted.
#[derive(Clone, Default)]
struct Noted {
    /// How the last request to the relay ended; None before the first.
    relay: Option<Result<(), String>>,
    /// The way to it, when it was looked at last.
    proxy: Option<String>,
    last_heartbeat: Option<Timestamp>,
    last_command: Option<LastCommand>,
}

#[derive(Clone, Serialize)]
struct LastCommand {
    action: ActionId,
    command: CommandId,
    status: String,
    time: Timestamp,
}

/// An answer to `status`.
#[derive(Serialize)]
struct Report {
    pid: u32,
    version: &'static str,
    queueloc: QueueLoc,
    #[serde(rename = "starttime")]
    start_time: Timestamp,
    connected: bool,
    failure: Option<String>,
    proxy: Option<String>,
    #[serde(rename = "lastheartbeat")]
    last_heartbeat: Option<Timestamp>,
    #[serde(rename = "lastcommand")]
    last_command: Option<LastCommand>,
    /// Files; None where they cannot be counted.
    received: Option<usize>,
    running: Option<usize>,
    answered: Option<usize>,
    /// Batches of what persistent modules noticed.
    events: Option<usize>,
}

impl Status {
    /// Of the agent of this name since then, whose run directory is `spool`.
    pub fn new(queueloc: QueueLoc, start_time: Timestamp, spool: Arc<Spool>) -> Status {
        Status { noted: Arc::default(), spool, queueloc, start_time }
    }

    /// The relay keeps a heartbeat.
    pub fn heartbeat_sent(&self, now: Timestamp) {
        self.lock().last_heartbeat = Some(now);
    }

    /// When it kept the last one.
    pub fn last_heartbeat(&self) -> Option<Timestamp> {
        self.lock().last_heartbeat
    }

    /// What is known of a command now: `running`, or its final status.
    pub fn command(&self, command: CommandRef, status: impl Display) {
        let CommandRef { action, command } = command;
        let (status, time) = (status.to_string(), time::now());
        self.lock().last_command = Some(LastCommand { action, command, status, time });
    }

    /// A relay whose requests are noted.
    pub fn noting(&self, relay: Box<dyn Relay>) -> Box<dyn Relay> {
        Box::new(NotedRelay { relay, status: self.clone() })
    }

    /// `key: value` in lines.
    pub fn text(&self) -> String {
        let report = serde_json::to_value(self.report()).unwrap_or_default();
        let lines = report.as_object().into_iter().flatten();
        lines.map(|(key, value)| format!("{key}: {}\n", plain(value))).collect()
    }

    /// The same as JSON, in one line.
    pub fn json(&self) -> String {
        serde_json::to_string(&self.report()).unwrap_or_default() + "\n"
    }

    fn report(&self) -> Report {
        let Noted { relay, proxy, last_heartbeat, last_command } = self.lock().clone();
        let count = |stage: Stage| self.spool.list(stage).ok().map(|names| names.len());
        Report {
            pid: std::process::id(),
            version: crate::cli::version(),
            queueloc: self.queueloc.clone(),
            start_time: self.start_time,
            connected: relay == Some(Ok(())),
            failure: relay.and_then(Result::err),
            proxy,
            last_heartbeat,
            last_command,
            received: count(AGENT_RECEIVED),
            running: count(AGENT_RUNNING),
            answered: count(AGENT_ANSWERED),
            events: count(AGENT_EVENTS),
        }
    }

    fn relay_answered<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let short = |failure: &Failure| failure.to_string().chars().take(STAT_FAILURE_CHARACTERS_MAX).collect();
        self.lock().relay = Some(outcome.as_ref().map(drop).map_err(short));
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value as a word of a line.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Object(fields) => fields.values().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// See [`Status::noting`].
struct NotedRelay {
    relay: Box<dyn Relay>,
    status: Status,
}

impl Relay for NotedRelay {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        let proxy = self.status.relay_answered(self.relay.proxy())?;
        self.status.lock().proxy.clone_from(&proxy);
        Ok(proxy)
    }

    fn declare(&mut self, queue: &Queue) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.declare(queue))
    }

    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure> {
        self.status.relay_answered(self.relay.send(messages, now))
    }

    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, Failure> {
        self.status.relay_answered(self.relay.receive(queue, max, now))
    }

    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        self.status.relay_answered(self.relay.settled_before(queue, now))
    }

    fn has_receiver(&mut self, queue: &Queue) -> Result<Option<bool>, Failure> {
        self.status.relay_answered(self.relay.has_receiver(queue))
    }

    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.acknowledge(queue, deliveries))
    }

    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.reject(queue, refused, now))
    }

    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
        self.status.relay_answered(self.relay.remove(queue))
    }

    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.publish(events, now))
    }

    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.subscribe(queue, event))
    }

    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure> {
        // It promises notifications, no answer of the relay.
        self.relay.watch(queue, waker)
    }

    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), Failure> {
        self.status.relay_answered(self.relay.tidy(age, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::fake::Fake;
    use crate::spool::{Mover, stages};

    #[test]
    fn what_the_workers_note_is_what_is_said() {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        std::fs::write(directory.path().join("received/1-2.json"), "{}").unwrap();
        let mover = Mover::open(directory.path(), &stages::AGENT, "agent").unwrap();
        let queueloc = QueueLoc::parse("linux.host.example.net.1").unwrap();
        let status = Status::new(queueloc, time::now(), Arc::clone(mover.spool()));
        let text = status.text();
        for line in
            ["connected: false", "failure: -", "lastheartbeat: -", "lastcommand: -", "received: 1", "running: 0"]
        {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let mut outcomes = vec![Ok(vec![Sent::Kept]), Err(Failure::retry("the broker said\n\u{1b}[31mno".repeat(99)))];
        let send = move |_: Vec<Message>| outcomes.pop().unwrap();
        let mut relay = status.noting(Box::new(Fake { send: Box::new(send), ..Fake::default() }));
        assert!(relay.send(&[], time::now()).is_err());
        let text = status.text();
        assert!(text.contains("connected: false\n") && text.contains("failure: the broker said  [31mno"), "{text}");
        assert!(text.len() < 2000 && !text.contains('\u{1b}'), "{text}");
        relay.send(&[], time::now()).unwrap();
        status.heartbeat_sent("2026-11-22T12:00:00Z".parse().unwrap());
        status.command(CommandRef::from_file_name("12-34.json").unwrap(), "success");
        let json: Value = serde_json::from_str(&status.json()).unwrap();
        assert_eq!((&json["connected"], &json["failure"]), (&true.into(), &Value::Null));
        assert_eq!(
            (&json["lastheartbeat"], &json["lastcommand"]["command"]),
            (&"2026-11-22T12:00:00Z".into(), &34.into())
        );
        assert!(status.text().contains("lastcommand: 12 34 success 20"), "{}", status.text());
    }
}
