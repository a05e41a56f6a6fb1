//! What a consumer has received and nobody has acknowledged yet.
//!
//! The broker hands over a bounded number of messages ahead; they wait here, in its order. A message that was looked at
//! and not acknowledged is looked at again.

use super::intake::{Ended, Intake};
use super::link::Link;
use crate::config::broker::QueueType;
use crate::limits;
use crate::relay::{Delivery, Queue, RelayError, Tag};
use crate::spool::watch::Waker;
use lapin::options::*;
use lapin::types::FieldTable;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How long messages that the broker says it has may take to arrive.
const ARRIVAL_TIME_LIMIT: Duration = Duration::from_millis(500);
/// How long a replicated queue is given, whose count of messages is a moment late.
const ARRIVAL_TIME_LIMIT_QUORUM: Duration = Duration::from_millis(50);

/// See the module docs.
pub(super) struct Inbox {
    link: Arc<Link>,
    queue: Queue,
    generation: u64,
    intake: Intake,
    /// By delivery tag, which is the order of delivery.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// How many were let go of.
    handled: usize,
}

impl Inbox {
    /// Begins to consume a queue, with at most `ahead` messages that are not acknowledged.
    pub(super) fn open(
        link: Arc<Link>,
        queue: &Queue,
        generation: u64,
        ahead: usize,
        waker: Option<Waker>,
    ) -> Result<Inbox, RelayError> {
        let intake = Intake::open(Arc::clone(&link), queue, ahead as u16, waker)?;
        Ok(Inbox { link, queue: queue.clone(), generation, intake, waiting: BTreeMap::new(), handled: 0 })
    }

    /// Why nothing comes any more, if so.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.intake.ended()
    }

    /// Whether the broker has everything back, because it was too much for the memory.
    pub(super) fn is_full(&self) -> bool {
        self.ended() == Some(Ended::Full)
    }

    /// How many messages were let go of.
    pub(super) fn handled(&self) -> usize {
        self.handled
    }

    pub(super) fn wake_with(&self, waker: Waker) {
        self.intake.wake_with(waker);
    }

    /// The oldest messages that are here, after those in hand. When there are none at all the broker is asked whether it
    /// has any, so that none is an answer.
    pub(super) fn receive_after(&mut self, in_hand: &[Delivery], max: usize) -> Result<Vec<Delivery>, RelayError> {
        self.waiting.extend(self.intake.take_arrived());
        if self.waiting.is_empty() {
            self.await_arrival()?;
        }
        let (mut deliveries, mut size_bytes) = (Vec::new(), 0);
        let last = self.mine(in_hand).max().map_or(Bound::Unbounded, Bound::Excluded);
        for (tag, body) in self.waiting.range((last, Bound::Unbounded)).take(max) {
            if size_bytes > limits::BATCH_SIZE_BYTES_MAX {
                break;
            }
            size_bytes += body.len() as u64;
            let tag = Tag::Amqp { generation: self.generation, delivery: *tag };
            deliveries.push(Delivery { body: body.clone(), tag });
        }
        Ok(deliveries)
    }

    /// What the broker still has is on its way.
    fn await_arrival(&mut self) -> Result<(), RelayError> {
        let name = self.queue.as_str();
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let look = self.intake.channel().queue_declare(name.into(), options, FieldTable::default());
        let there = self.link.wait(&format!("look at queue {name}"), look)?.message_count();
        let limit = match self.link.config().queue_type {
            _ if there > 0 => ARRIVAL_TIME_LIMIT,
            QueueType::Quorum => ARRIVAL_TIME_LIMIT_QUORUM,
            QueueType::Classic => Duration::ZERO,
        };
        self.intake.await_arrival(limit);
        self.waiting.extend(self.intake.take_arrived());
        Ok(())
    }

    /// Lets the broker forget these. Those of an earlier consumer are passed over, and so are those that it has back.
    pub(super) fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<(), RelayError> {
        let tags: Vec<u64> = self.mine(deliveries).filter(|tag| self.waiting.contains_key(tag)).collect();
        let Some(last) = tags.iter().max().copied() else { return Ok(()) };
        // With all that came before it, where that is what is meant: one frame instead of hundreds.
        let all_before = self.waiting.range(..=last).count() == tags.len();
        let channel = self.intake.channel();
        let settled = self.settle("acknowledge messages", async {
            if all_before {
                return channel.basic_ack(last, BasicAckOptions { multiple: true }).await;
            }
            for tag in &tags {
                channel.basic_ack(*tag, BasicAckOptions::default()).await?;
            }
            Ok(())
        })?;
        if settled {
            tags.iter().for_each(|tag| self.forget(*tag));
        }
        Ok(())
    }

    /// Has the broker do with messages what its policies say of rejected ones.
    pub(super) fn refuse(&mut self, deliveries: &[Delivery]) -> Result<(), RelayError> {
        let tags: Vec<u64> = self.mine(deliveries).collect();
        for tag in tags {
            if self.waiting.contains_key(&tag) {
                let refused = self.intake.channel().basic_reject(tag, BasicRejectOptions { requeue: false });
                if self.settle("reject a message", refused)? {
                    self.forget(tag);
                }
            }
        }
        Ok(())
    }

    /// Tells the broker what shall become of messages. Gives whether it took that: not when it has them back.
    fn settle(&self, what: &str, request: impl Future<Output = lapin::Result<()>>) -> Result<bool, RelayError> {
        match self.link.wait(what, request) {
            Err(_) if self.is_full() => Ok(false),
            settled => settled.map(|()| true),
        }
    }

    fn forget(&mut self, tag: u64) {
        self.handled += 1;
        let body = self.waiting.remove(&tag);
        self.intake.let_go(body.map_or(0, |body| body.len()));
    }

    fn mine<'a>(&self, deliveries: &'a [Delivery]) -> impl Iterator<Item = u64> + use<'a> {
        let generation = self.generation;
        let tags = deliveries.iter().filter_map(|delivery| delivery.tag.as_amqp());
        tags.filter(move |(of, _)| *of == generation).map(|(_, tag)| tag)
    }
}
