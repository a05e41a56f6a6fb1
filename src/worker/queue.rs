//! Draining a queue of the relay: receive, check, have the messages handled, apply the steps, acknowledge.
//!
//! The effect of a message is durable before it is acknowledged, so a crash brings it again.

use super::refusal::{Kind, Tally};
use super::{Pass, Worker, check_all};
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Delivery, Event, Queue, Relay};
use crate::spool::watch::Watch;
use crate::spool::{Mover, Placed, Spool, Step};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use std::sync::Arc;
use std::time::Instant;

/// How a message is settled.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Acknowledged, after these steps are durable and the message was published as this event.
    Accept {
        /// Its effect in the spool.
        steps: Vec<Step>,
        /// Its subscribers receive the message.
        event: Option<Event>,
    },
    /// Acknowledged: its effect was there before, or it is not needed.
    Discard(Kind, String),
    /// It can never be handled: it is put aside on the relay, with the reason.
    Reject(Kind, String),
}

impl Settlement {
    /// Acknowledged after these steps.
    pub fn accept(steps: Vec<Step>) -> Settlement {
        Settlement::Accept { steps, event: None }
    }

    /// Published, then acknowledged.
    pub fn publish(event: Event) -> Settlement {
        Settlement::Accept { steps: Vec::new(), event: Some(event) }
    }
}

/// What is done with the messages of a queue.
pub trait MessageHandler: Send {
    /// The result of a check.
    type Checked: Send;
    /// See [`Worker::name`].
    fn name(&self) -> &'static str;
    /// The queue it drains.
    fn queue(&self) -> Queue;
    /// How many messages it gets now; with 0 the relay keeps them.
    fn batch_entries_max(&mut self, _spool: &Spool) -> Result<usize, Failure> {
        Ok(limits::BATCH_ENTRIES_MAX)
    }
    /// Returns the function that checks a message without any effect; it runs on all processors.
    fn check(
        &mut self,
        spool: &Arc<Spool>,
        now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<Self>;
    /// Handles a batch: one settlement per message, in order. A [`Failure::Refuse`] is of the whole batch, which is then
    /// handled in halves until only its cause is refused.
    fn handle(
        &mut self,
        spool: &Spool,
        checked: Vec<Self::Checked>,
        now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure>;
}

/// A [`MessageHandler`] as a [`Worker`].
pub struct QueueWorker<H> {
    handler: H,
    mover: Mover,
    relay: Box<dyn Relay>,
    refused: Tally,
    /// No pass succeeded since the start or the last failure: the next one is a small one.
    is_trial: bool,
}

impl<H: MessageHandler> QueueWorker<H> {
    /// Drains the handler's queue of `relay`.
    pub fn new(mover: Mover, relay: Box<dyn Relay>, handler: H) -> QueueWorker<H> {
        let refused = Tally::new(handler.name());
        QueueWorker { handler, mover, relay, refused, is_trial: false }
    }

    /// Handles a batch; when it is refused as a whole, each half.
    fn handle(&mut self, mut batch: Vec<Delivery>, now: Timestamp) -> Result<(), Failure> {
        let checked = check_all(&batch, self.handler.check(self.mover.spool(), now));
        match self.handler.handle(self.mover.spool(), checked, now) {
            Ok(settlements) => self.settle(batch, settlements, now),
            Err(Failure::Refuse(reason)) if batch.len() == 1 => {
                self.settle(batch, vec![Settlement::Reject(Kind::Unusable, reason)], now)
            }
            Err(Failure::Refuse(_)) => {
                let second = batch.split_off(batch.len() / 2);
                self.handle(batch, now)?;
                self.handle(second, now)
            }
            Err(failure) => Err(failure),
        }
    }

    fn settle(&mut self, batch: Vec<Delivery>, settlements: Vec<Settlement>, now: Timestamp) -> Result<(), Failure> {
        let queue = self.handler.queue();
        let (mut done, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
        let (mut all_steps, mut events) = (Vec::new(), Vec::new());
        for (delivery, settlement) in batch.into_iter().zip(settlements) {
            match settlement {
                Settlement::Accept { mut steps, event } => {
                    all_steps.append(&mut steps);
                    events.extend(event.map(|event| (event, delivery.body.clone())));
                    done.push(delivery);
                }
                Settlement::Discard(kind, reason) => {
                    self.refused.count(kind, &reason, now);
                    done.push(delivery);
                }
                Settlement::Reject(kind, reason) => refused.push((delivery, kind, reason)),
            }
        }
        for (step, placed) in all_steps.iter().zip(self.mover.apply(&all_steps)?) {
            if let (Step::Put { name, .. }, Placed::Taken) = (step, placed?) {
                let reason = format!("{name} is there already with another content, the first stays");
                self.refused.count(Kind::Duplicate, &reason, now);
            }
        }
        self.relay.publish(&events, now)?;
        self.relay.acknowledge(&queue, &done)?;
        // Last, because its reason takes room: on a full relay it is the others that make some.
        self.refused.put_aside(self.relay.as_mut(), &queue, refused, now)
    }
}

impl<H: MessageHandler> Worker for QueueWorker<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        self.is_trial = true;
        self.relay.declare(&self.handler.queue())?;
        self.mover.clean()
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.relay.declare(&self.handler.queue())?;
        self.relay.watch(&self.handler.queue(), waker)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let (queue, started, mut handled) = (self.handler.queue(), Instant::now(), 0);
        let mut entries_max = self.handler.batch_entries_max(self.mover.spool())?;
        if self.is_trial {
            entries_max = entries_max.min(limits::TRIAL_ENTRIES_MAX);
        }
        loop {
            // Later than the pass: what the messages answer may have begun since.
            let now = time::after(now, started.elapsed());
            let batch = match entries_max {
                0 => Vec::new(),
                _ => self.relay.receive(&queue, entries_max, now)?,
            };
            if batch.is_empty() {
                break;
            }
            handled += batch.len();
            self.handle(batch, now)?;
            entries_max = self.handler.batch_entries_max(self.mover.spool())?;
            if started.elapsed() > limits::PASS_TIME_MAX {
                break;
            }
        }
        self.is_trial = false;
        // More may be there: the loop looks whether it shall stop, and comes back at once.
        let unlogged = self.refused.log(now);
        Ok(Pass { handled, again: if handled == 0 { unlogged } else { Some(now) } })
    }
}

#[cfg(test)]
mod tests;
