//! action-ended drains the events of actions whose last answer another scheduler has stored: an action that is in flight
//! here moves from action/inflight to action/done.
//!
//! An event is a hint: the store says whether the action has ended, and the collector's next round finds what an event
//! that was lost would have told.

use super::command_returned::Endings;
use crate::failure::Failure;
use crate::id::ActionId;
use crate::json::Fields;
use crate::relay::{Delivery, Event, Queue};
use crate::spool::stages::ACTION_INFLIGHT;
use crate::spool::{FileName, Spool};
use crate::store::Store;
use crate::time::Timestamp;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// See the module docs.
pub struct ActionEnded {
    store: Box<dyn Store>,
    queue: Queue,
}

impl ActionEnded {
    /// Ends the actions of the scheduler with this id.
    pub fn new(store: Box<dyn Store>, scheduler: &str) -> ActionEnded {
        ActionEnded { store, queue: Queue::scheduler(scheduler) }
    }
}

/// The action that an event names.
fn parse(body: &[u8]) -> Result<ActionId, String> {
    let id = Fields::parse(body)
        .and_then(|fields| fields.id("id", ActionId::from_json_number))
        .map_err(|e| e.to_string())?;
    id.ok_or_else(|| "field 'id': is missing".into())
}

impl MessageHandler for ActionEnded {
    type Checked = Result<ActionId, String>;

    fn name(&self) -> &'static str {
        "action-ended"
    }

    fn queue(&self) -> Queue {
        self.queue.clone()
    }

    fn subscription(&self) -> Option<Event> {
        Some(Event::ActionEnded)
    }

    fn check(
        &mut self,
        _spool: &Arc<Spool>,
        _now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<> {
        |delivery| parse(&delivery.body)
    }

    fn handle(
        &mut self,
        spool: &Spool,
        checked: Vec<Self::Checked>,
        now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure> {
        let mut here = BTreeSet::new();
        for id in checked.iter().flatten() {
            if spool.has(ACTION_INFLIGHT, &FileName::from(*id))? {
                here.insert(*id);
            }
        }
        // An empty list would be a transaction for nothing.
        let ended = if here.is_empty() { Vec::new() } else { self.store.ended_actions(&Vec::from_iter(here), now)? };
        let Endings { steps, events, log } = Endings::new(spool, ended, now)?;
        // They belong to no single event; the batch is acknowledged after all of them.
        let mut accept = Settlement::publish_others(events, steps, log);
        let settlement = |one: Self::Checked| match one {
            Ok(_) => std::mem::replace(&mut accept, Settlement::accept(Vec::new())),
            Err(reason) => Settlement::Reject(Kind::Malformed, reason),
        };
        Ok(checked.into_iter().map(settlement).collect())
    }
}
