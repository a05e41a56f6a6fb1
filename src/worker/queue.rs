//! Draining a queue of the relay: receive, check, have the messages handled, apply the steps, acknowledge.
//!
//! The effect of a message is durable before it is acknowledged, so a crash brings it again.

use super::refusal::{Kind, Tally};
use super::{LogLine, Pass, Worker, check_all};
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
    /// Acknowledged, after the events are published and then these steps are durable.
    Accept {
        /// Its effect in the spool.
        steps: Vec<Step>,
        /// Events and their bodies; None for the message itself.
        events: Vec<(Event, Option<Vec<u8>>)>,
        /// Logged afterwards.
        log: Vec<LogLine>,
    },
    /// Acknowledged: its effect was there before, or it is not needed.
    Discard(Kind, String),
    /// It can never be handled: it is put aside on the relay, with the reason.
    Reject(Kind, String),
}

impl Settlement {
    /// Acknowledged after these steps.
    pub fn accept(steps: Vec<Step>) -> Settlement {
        Settlement::Accept { steps, events: Vec::new(), log: Vec::new() }
    }

    /// Acknowledged after events with bodies of their own are published.
    pub fn publish_others(events: Vec<(Event, Vec<u8>)>, steps: Vec<Step>, log: Vec<LogLine>) -> Settlement {
        let events = events.into_iter().map(|(event, body)| (event, Some(body))).collect();
        Settlement::Accept { steps, events, log }
    }

    /// Published, then acknowledged.
    pub fn publish(event: Event) -> Settlement {
        Settlement::Accept { steps: Vec::new(), events: vec![(event, None)], log: Vec::new() }
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
    /// The events that its queue subscribes to, instead of being sent messages.
    fn subscription(&self) -> Option<Event> {
        None
    }
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
    /// Called after each pass. `settled_before` asks the relay for the time before which every message of the queue is
    /// settled. Returns when the next pass is due though nothing arrives.
    fn passed(
        &mut self,
        _spool: &Spool,
        _settled_before: &mut dyn FnMut() -> Result<Option<Timestamp>, Failure>,
        _now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        Ok(None)
    }
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

    fn declare(&mut self) -> Result<(), Failure> {
        match self.handler.subscription() {
            Some(event) => self.relay.subscribe(&self.handler.queue(), event),
            None => self.relay.declare(&self.handler.queue()),
        }
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
        let (mut accepted, mut done, mut refused) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        let (mut all_steps, mut all_events) = (Vec::new(), Vec::new());
        for (delivery, settlement) in batch.into_iter().zip(settlements) {
            match settlement {
                Settlement::Accept { mut steps, events, log } => {
                    let body = |body: Option<Vec<u8>>| body.unwrap_or_else(|| delivery.body.clone());
                    all_events.extend(events.into_iter().map(|(event, own)| (event, body(own))));
                    accepted.push((delivery, steps.len(), log));
                    all_steps.append(&mut steps);
                }
                Settlement::Discard(kind, reason) => {
                    self.refused.count(kind, &reason, now);
                    done.push(delivery);
                }
                Settlement::Reject(kind, reason) => refused.push((delivery, kind, reason)),
            }
        }
        // Before the steps: after a crash in between the message comes again and the events with it.
        self.relay.publish(&all_events, now)?;
        let mut outcomes = all_steps.iter().zip(self.mover.apply(&all_steps)?);
        let mut happened = Vec::new();
        for (delivery, count, mut log) in accepted {
            let mut taken = None;
            for (step, placed) in outcomes.by_ref().take(count) {
                if let (Step::Put { name, .. }, Placed::Taken) = (step, placed?) {
                    taken = Some(name);
                }
            }
            match taken {
                None => happened.append(&mut log),
                Some(name) => {
                    let reason = format!("{name} is there already with another content, the first stays");
                    self.refused.count(Kind::Duplicate, &reason, now);
                }
            }
            done.push(delivery);
        }
        self.relay.acknowledge(&queue, &done)?;
        happened.iter().for_each(LogLine::log);
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
        self.declare()?;
        self.mover.recover()
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.declare()?;
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
            if entries_max == 0 {
                break;
            }
            let batch = self.relay.receive(&queue, entries_max, now)?;
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
        let QueueWorker { handler, mover, relay, .. } = self;
        let due = handler.passed(mover.spool(), &mut || relay.settled_before(&queue, now), now)?;
        // More may be there: the loop looks whether it shall stop, and comes back at once.
        let more = (handled > 0).then_some(now);
        let again = [more, due, self.refused.log(now)].into_iter().flatten().min();
        Ok(Pass { handled, again })
    }
}

#[cfg(test)]
mod tests;
