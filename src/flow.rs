//! The flow: workers that each drain one source, and the loop around them. The agent runs in the same loop.
//!
//! A worker looks at what is there and answers, per file or message, what shall become of it. It never moves a file
//! itself: the drains in `stage` and `queue` list, read, and carry the answers out, so that the order of
//! effects and moves is written once. [`run::run`] waits, backs off, and stops.
//!
//! | worker | drains | file |
//! |---|---|---|
//! | action-new | action/new | `flow/action_new.rs` |
//! | command-ready | command/ready | `flow/command_ready.rs` |
//! | results | the relay's results | `flow/results.rs` |
//! | command-returned | command/returned | `flow/command_returned.rs` |
//! | heartbeats | the relay's heartbeats | `flow/heartbeats.rs` |
//! | collector | everything, every `freq` | `flow/collector.rs` |
//! | periodic | the store, every `freq` | `flow/periodic.rs` |

#[cfg(feature = "server")]
pub mod action_new;
#[cfg(feature = "server")]
pub mod collector;
#[cfg(feature = "server")]
pub mod command_ready;
#[cfg(feature = "server")]
pub mod command_returned;
#[cfg(feature = "server")]
pub mod heartbeats;
pub mod outage;
#[cfg(feature = "server")]
pub mod owner;
#[cfg(feature = "server")]
pub mod periodic;
#[cfg(feature = "server")]
pub mod queue;
pub mod refusal;
#[cfg(feature = "server")]
pub mod results;
pub mod run;
#[cfg(feature = "server")]
pub mod scheduler_key;
#[cfg(feature = "server")]
pub mod stage;
#[cfg(feature = "server")]
mod sweep;
pub mod watchdog;
#[cfg(feature = "server")]
pub mod whitelist;

use crate::error::{ExitClass, ProgramError};
use crate::relay::RelayError;
use crate::spool;
use crate::spool::watch::{Waker, Watch};
use crate::time::Timestamp;

/// What all workers of a process may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Of the relay.
    Broker,
    /// Of the store.
    Database,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Server::Broker => "the broker",
            Server::Database => "the database",
        })
    }
}

/// Why a worker could not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something that is needed is away: everything stays where it is, and is tried again after a pause.
    #[error("{0}")]
    Away(String),
    /// The same, of a server that all workers share: the outage is told of once.
    #[error("{1}")]
    Down(Server, String),
    /// This file or message can never be handled.
    #[error("{0}")]
    Refused(String),
    /// The process must end.
    #[error("{0}")]
    Fatal(String),
}

impl From<spool::Error> for Failure {
    fn from(error: spool::Error) -> Self {
        if error.is_fatal() { Failure::Fatal(error.to_string()) } else { Failure::Away(error.to_string()) }
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Away { .. } => Failure::Away(error.to_string()),
            RelayError::Down { .. } => Failure::Down(Server::Broker, error.to_string()),
            RelayError::Fatal(text) => Failure::Fatal(text),
        }
    }
}

#[cfg(feature = "server")]
impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Away { .. } => Failure::Away(error.to_string()),
            StoreError::Down { .. } => Failure::Down(Server::Database, error.to_string()),
            StoreError::Fatal(text) => Failure::Fatal(text),
            StoreError::Refused(text) => Failure::Refused(text),
        }
    }
}

impl From<Failure> for ProgramError {
    fn from(failure: Failure) -> Self {
        let class = match failure {
            Failure::Away(_) | Failure::Down(..) | Failure::Refused(_) => ExitClass::TemporaryFailure,
            Failure::Fatal(_) => ExitClass::Io,
        };
        ProgramError::new(class, failure)
    }
}

/// What one pass over a source did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Files or messages that left the source.
    pub handled: usize,
    /// When something that was left behind is due; none when only a notification brings more.
    pub again: Option<Timestamp>,
}

impl Pass {
    /// Whether another pass at this time may find something.
    pub fn has_more(&self, now: Timestamp) -> bool {
        self.handled > 0 || self.again.is_some_and(|again| again <= now)
    }
}

/// Something that the loop can run. `now` is an argument, so that tests can move the clock.
pub trait Worker: Send {
    /// What it is called: on the command line, in systemd, in the logs, and in the spool's `lock`.
    fn name(&self) -> &'static str;
    /// Repairs what a run that was cut short left behind. Called once, before the first pass.
    fn recover(&mut self, now: Timestamp) -> Result<(), Failure>;
    /// Has `waker` woken when there may be work.
    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure>;
    /// Handles what is there now.
    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure>;
}

/// The earlier of two times at which to look again.
fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}
