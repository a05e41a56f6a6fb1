//! events drains the relay's events: what persistent modules of agents noticed becomes a file of JSON lines in event/new.
//!
//! A batch that comes again has the same name and content, and counts as done; one that was taken away is there again, under its
//! name. Scripts take the files from there with mv; the collector deletes what lies there for longer than `deleteafter`.

use crate::event::EventBatch;
use crate::failure::Failure;
use crate::relay::{Delivery, Queue};
use crate::spool::stages::EVENT_NEW;
use crate::spool::{FileName, Spool, Step};
use crate::time::Timestamp;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use std::sync::Arc;

/// See the module docs.
pub struct Events;

impl MessageHandler for Events {
    type Checked = Result<(FileName, Vec<u8>), Settlement>;

    fn name(&self) -> &'static str {
        "events"
    }

    fn queue(&self) -> Queue {
        Queue::events()
    }

    fn check(
        &mut self,
        _spool: &Arc<Spool>,
        _now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<> {
        |delivery| {
            let batch = EventBatch::parse(&delivery.body);
            let batch = batch.map_err(|error| Settlement::Reject(Kind::Malformed, error.to_string()))?;
            Ok((FileName::of_lines(&batch.id), batch.to_lines()))
        }
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        checked: Vec<Self::Checked>,
        _now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure> {
        let settle = |(name, lines): (FileName, Vec<u8>)| Settlement::accept(vec![Step::put(EVENT_NEW, name, lines)]);
        Ok(checked.into_iter().map(|one| one.map_or_else(|settlement| settlement, settle)).collect())
    }
}
