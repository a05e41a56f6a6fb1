//! dispatch drains events: a batch of events is sent to the relay, and is deleted once the relay keeps it.
//!
//! While the relay is away they wait on the disk, as many as there is room for ([`super::persistent`]). A crash between the relay's
//! promise and the deletion sends a batch twice, under the same name.

use super::{send_files, sent_or_later};
use crate::event::EventBatch;
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::spool::stages::{AGENT_EVENTS, AGENT_INVALID};
use crate::spool::{Entry, Spool, Step};
use crate::time::{self, Timestamp};
use crate::worker::stage::{FileHandler, Source, Verdict};

/// See the module docs.
pub struct Dispatch {
    relay: Box<dyn Relay>,
}

impl Dispatch {
    /// Sends over this relay.
    pub fn new(relay: Box<dyn Relay>) -> Dispatch {
        Dispatch { relay }
    }
}

impl FileHandler for Dispatch {
    type Checked = ();

    fn name(&self) -> &'static str {
        "dispatch"
    }

    fn source(&self) -> Source {
        Source {
            stage: AGENT_EVENTS,
            invalid: AGENT_INVALID,
            size_bytes_max: limits::EVENT_BATCH_BYTES_MAX,
            batch_entries_max: limits::AGENT_DELIVERIES_MAX,
        }
    }

    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |entry| EventBatch::parse(&entry.bytes).map(drop).map_err(|error| Verdict::Reject(error.to_string()))
    }

    fn handle(&mut self, _spool: &Spool, batch: Vec<(&Entry, ())>, now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        let expires = time::after(now, limits::AGENT_EVENTS_LIFETIME);
        let message =
            |(entry, ()): &(&Entry, ())| Message { queue: Queue::events(), body: entry.bytes.clone(), expires };
        let messages: Vec<Message> = batch.iter().map(message).collect();
        let outcomes = send_files(self.relay.as_mut(), "send events", &messages, &Queue::events(), now)?;
        let verdict = |((entry, ()), sent): (&(&Entry, ()), &Sent)| {
            sent_or_later(sent, Step::clear(AGENT_EVENTS, &entry.name), now)
        };
        Ok(batch.iter().zip(&outcomes).map(verdict).collect())
    }
}
