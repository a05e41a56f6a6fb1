//! The relay: carries messages from one place to another and keeps them until they are acknowledged.
//!
//! It is trusted with delivery, never with authority: the receiver verifies what arrives. Delivery is at least once; a
//! message may come twice and in any order.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod directory;
#[cfg(test)]
pub(crate) mod fake;
pub mod refusing;

use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::spool::FileName;
use crate::spool::watch::Watch;
use crate::time::Timestamp;
use crate::wake::Waker;
use std::time::Duration;

/// The name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue(String);

impl Queue {
    /// Where the event worker of this name takes events from; of the name, letters, digits, `-` and `_` are kept.
    pub fn worker(name: &str) -> Queue {
        let kept = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        Queue(format!("migevent.worker.{}", name.chars().filter(kept).take(100).collect::<String>()))
    }

    /// Where the scheduler with this id receives events that concern its actions.
    pub fn scheduler(id: &str) -> Queue {
        Queue(format!("migevent.scheduler.{id}"))
    }

    /// Where agents send heartbeats.
    pub fn heartbeats() -> Queue {
        Queue("mig.agt.heartbeats".into())
    }

    /// Where agents send answers.
    pub fn results() -> Queue {
        Queue("mig.agt.results".into())
    }

    /// Where agents send what their persistent modules notice.
    pub fn events() -> Queue {
        Queue("mig.agt.events".into())
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

/// Something that happened, published to its subscribers.
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
    /// A scheduler stored the last answer to an action that is not in flight in its own spool; the id. For the scheduler
    /// that has it.
    ActionEnded,
}

impl Event {
    /// The routing key.
    pub fn key(self) -> &'static str {
        match self {
            Event::AgentNew => "agent.new",
            Event::AgentAuthenticationFailure => "agent.authentication.failure",
            Event::CommandFinished => "command.finished",
            Event::ActionFinished => "action.finished",
            Event::ActionEnded => "action.ended",
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
    /// When it expires, and the relay may discard it.
    pub expires: Timestamp,
}

/// A body as a relay sends it: its first and last bytes are those of its JSON text. The original's scheduler discards
/// answers with anything around their braces, also a line end.
fn on_the_wire(body: &[u8]) -> &[u8] {
    body.trim_ascii()
}

/// What became of a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The relay keeps it, also over its own restart.
    Kept,
    /// The queue does not exist.
    Unroutable,
    /// The relay takes no messages for this queue, or not this one; the text names the queue and says why.
    Refused(String),
    /// The relay has not answered yet. It is to be sent again; a relay that has it by then does not keep it twice.
    Unconfirmed,
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
    /// The delivery tag of a broker's message, which counts on the channel it came by.
    Amqp(u64),
}

/// See the module docs. One contract suite (`tests/servers/relay_contract.rs`) runs against every implementation.
pub trait Relay: Send {
    /// The proxy (`host:port`) through which it is reached now; connects if it is not connected. None without a proxy.
    fn proxy(&mut self) -> Result<Option<String>, Failure>;

    /// Makes a queue unless it is there.
    fn declare(&mut self, queue: &Queue) -> Result<(), Failure>;

    /// Sends messages; returns, in the order given, what became of each. A message that cannot be kept does not hold up the
    /// others. A failure concerns all of them: the relay has answered none. White space around a body's JSON text is not
    /// sent.
    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure>;

    /// The oldest messages of a queue, at most `max`, without waiting. They are received again until they are acknowledged
    /// or rejected, also by the next process. A connection that was lost since the last call is a failure once, so that no
    /// message is settled on another connection than the one it came by.
    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, Failure>;

    /// The time before which every message that was sent to a queue is acknowledged or rejected. None if it is not known:
    /// messages wait, or a receiver may hold some.
    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure>;

    /// Whether something receives from a queue; None if this relay cannot know.
    fn has_receiver(&mut self, queue: &Queue) -> Result<Option<bool>, Failure>;

    /// Acknowledges messages whose effect is on the disk.
    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure>;

    /// Puts messages aside that can never be handled, each with the reason, where an operator can look at them. Those for
    /// which there is no room are received again, and a failure; the others are put aside.
    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure>;

    /// Removes a queue whose owner is gone, with its messages, and returns true; false if it has a consumer, or may have
    /// one.
    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure>;

    /// Publishes events. Each subscriber receives them at least once, with bodies as of messages; without subscribers they
    /// are discarded. A subscriber whose queue refuses them misses them, which is logged, and holds up nothing.
    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure>;

    /// Makes a queue unless it is there, and routes the events of this kind to it.
    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure>;

    /// Wakes `waker` when a message may have arrived, for as long as the watch lives; a relay that returns None does so for
    /// as long as it lives itself.
    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure>;

    /// Removes what expired, and what was put aside more than `age` ago.
    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), Failure>;
}
