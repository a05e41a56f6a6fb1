//! The relay: brings messages from one place to another and keeps them until somebody took them.
//!
//! It is trusted with delivery, never with authority: what arrives is verified by whoever acts on it. Delivery is at
//! least once; a message may come twice and in any order.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod directory;

use crate::heartbeat::QueueLoc;
use crate::spool::FileName;
use crate::spool::watch::{Waker, Watch};
use crate::time::Timestamp;
use std::time::Duration;

/// Why the relay did not do something. The same call may work later; messages of the call may have been kept.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It cannot be reached now, or refused.
    #[error("{what}: {cause}")]
    Away {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        cause: String,
    },
    /// The broker cannot be reached, or does not answer: nobody in this process can use it.
    #[error("{what}: {cause}")]
    Down {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        cause: String,
    },
    /// What it did is not known to have reached the disk: the process must end.
    #[error("{0}")]
    Fatal(String),
}

impl From<crate::spool::Error> for RelayError {
    fn from(error: crate::spool::Error) -> Self {
        if error.is_fatal() {
            return RelayError::Fatal(error.to_string());
        }
        RelayError::Away { what: "directory relay".into(), cause: error.to_string() }
    }
}

/// The name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue(String);

impl Queue {
    /// Where the event worker of this name takes events from; letters, digits, `-` and `_` are kept of it.
    pub fn worker(name: &str) -> Queue {
        let kept = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        Queue(format!("migevent.worker.{}", name.chars().filter(kept).take(100).collect::<String>()))
    }

    /// Where agents send heartbeats.
    pub fn heartbeats() -> Queue {
        Queue("mig.agt.heartbeats".into())
    }

    /// Where agents send answers.
    pub fn results() -> Queue {
        Queue("mig.agt.results".into())
    }

    /// Where an agent takes commands from.
    pub fn agent(queueloc: &QueueLoc) -> Queue {
        Queue(format!("mig.agt.{queueloc}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happened, told to whoever subscribed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// An agent registered for the first time; the heartbeat.
    AgentNew,
    /// An agent that the whitelist does not name sent a heartbeat; the heartbeat.
    AgentAuthenticationFailure,
    /// A command has its final status; its ids, agent and status.
    CommandFinished,
    /// An action's last command has ended; the action.
    ActionFinished,
}

impl Event {
    /// The routing key.
    pub fn key(self) -> &'static str {
        match self {
            Event::AgentNew => "agent.new",
            Event::AgentAuthenticationFailure => "agent.authentication.failure",
            Event::CommandFinished => "command.finished",
            Event::ActionFinished => "action.finished",
        }
    }
}

/// Something to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where to.
    pub queue: Queue,
    /// The JSON text, perhaps with the line end of the file that it was read from, which is cut off before it is sent.
    pub body: Vec<u8>,
    /// When it is of no use any more, and the relay may drop it.
    pub expires: Timestamp,
}

/// A body as a relay sends it: its first and last bytes are those of its JSON text. The original's scheduler discards
/// answers with anything around their braces, also a line end.
fn on_the_wire(body: &[u8]) -> &[u8] {
    body.trim_ascii()
}

/// What became of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The relay keeps it, also over its own restart.
    Kept,
    /// The queue does not exist.
    Unroutable,
}

/// Something received and not yet acknowledged.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The JSON text.
    pub body: Vec<u8>,
    /// How the relay finds it again.
    pub tag: Tag,
}

/// See [`Delivery::tag`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Tag {
    /// A file of a directory relay.
    File(FileName),
    /// A message of a broker.
    Amqp {
        /// Which consumer got it: one whose connection was lost has no messages any more.
        generation: u64,
        /// Its number there.
        delivery: u64,
    },
}

/// See the module docs. One contract suite (`tests/relay_contract.rs`) runs against every implementation.
pub trait Relay: Send {
    /// Makes a queue unless it is there.
    fn declare(&mut self, queue: &Queue) -> Result<(), RelayError>;

    /// Sends messages. Returns when the relay has promised to keep them; in the order given, what became of each. White
    /// space around a body's JSON text is not sent.
    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, RelayError>;

    /// The oldest messages of a queue, at most `max`, without waiting. They are received again until [`Relay::done`] or
    /// [`Relay::reject`], also by the next process.
    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, RelayError> {
        self.receive_after(&[], queue, max, now)
    }

    /// The same for messages that come after those in hand, which were received last. None does not mean that there are
    /// none: what has just arrived may be left to the next [`Relay::receive`].
    fn receive_after(
        &mut self,
        in_hand: &[Delivery],
        queue: &Queue,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, RelayError>;

    /// Lets go of messages whose effect is on the disk.
    fn done(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), RelayError>;

    /// Puts messages that nobody can use aside, each with the reason, where an operator can look at them.
    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), RelayError>;

    /// Removes a queue of somebody who is gone, with what is in it, and gives true; false when somebody still takes messages
    /// from it, or may do so.
    fn remove(&mut self, queue: &Queue) -> Result<bool, RelayError>;

    /// Publishes events. Each subscriber receives them at least once, with bodies as of messages; without subscribers they
    /// are discarded.
    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), RelayError>;

    /// Makes a queue unless it is there, and has the events of this kind put into it.
    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), RelayError>;

    /// Wakes `waker` when a message may have arrived, for as long as the watch lives; a relay that gives none does so for
    /// as long as it lives itself.
    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, RelayError>;

    /// Removes what expired, and what was put aside more than `age` ago.
    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), RelayError>;
}
