//! The unacknowledged messages of a consumer.
//!
//! The broker delivers a bounded number of messages ahead (prefetch); they wait here, in its order. A message that was
//! received and is not settled yet is received again. A program that ends when its queue is empty asks for each message
//! instead ([`Way::Pull`]).

use super::intake::{Ended, Intake};
use super::link::Link;
use crate::config::broker::QueueType;
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Delivery, Queue, Tag};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use lapin::options::*;
use lapin::types::FieldTable;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long messages that the broker says it has may take to arrive.
const ARRIVAL_TIME_LIMIT: Duration = Duration::from_millis(500);
/// The same for a quorum queue, whose count of messages is a moment late.
const ARRIVAL_TIME_LIMIT_QUORUM: Duration = Duration::from_millis(50);

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The broker delivers them as they arrive, at most so many ahead.
    Deliver {
        /// The prefetch.
        ahead: usize,
    },
    /// Each is asked for, so that it is certain when there is none.
    Pull,
}

/// See the module docs.
pub(super) struct Inbox {
    link: Arc<Link>,
    queue: Queue,
    way: Way,
    intake: Intake,
    /// By delivery tag, which is the order of delivery.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// How many were acknowledged or rejected.
    settled: usize,
    /// A look at the queue: when, and how many are settled when all are that were there.
    looked: Option<(Timestamp, usize)>,
}

impl Inbox {
    /// Begins to take messages from a queue.
    pub(super) fn open(link: Arc<Link>, queue: &Queue, way: Way, waker: Option<Waker>) -> Result<Inbox, Failure> {
        let intake = match way {
            Way::Deliver { ahead } => Intake::open(Arc::clone(&link), queue, ahead as u16, waker)?,
            Way::Pull => Intake::without_consumer(Arc::clone(&link))?,
        };
        Ok(Inbox { link, queue: queue.clone(), way, intake, waiting: BTreeMap::new(), settled: 0, looked: None })
    }

    /// Why nothing arrives any more, if so.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.intake.ended()
    }

    /// Whether it was closed because its messages were too large together; the broker requeues them.
    pub(super) fn is_full(&self) -> bool {
        self.ended() == Some(Ended::Full)
    }

    /// How many messages were acknowledged or rejected.
    pub(super) fn settled(&self) -> usize {
        self.settled
    }

    pub(super) fn wake_with(&self, waker: Waker) {
        self.intake.wake_with(waker);
    }

    /// The oldest messages. If there are none here the broker is asked whether it has any, so that none is an answer.
    pub(super) fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, Failure> {
        self.waiting.extend(self.intake.take_arrived());
        match self.way {
            Way::Deliver { .. } if self.waiting.is_empty() => self.await_arrival()?,
            Way::Deliver { .. } => {}
            Way::Pull => self.pull(max)?,
        }
        let (mut deliveries, mut size_bytes) = (Vec::new(), 0);
        for (tag, body) in self.waiting.iter().take(max) {
            if size_bytes > limits::BATCH_SIZE_BYTES_MAX {
                break;
            }
            size_bytes += body.len() as u64;
            deliveries.push(Delivery { body: body.clone(), tag: Tag::Amqp(*tag) });
        }
        Ok(deliveries)
    }

    /// See [`crate::relay::Relay::settled_before`]. The broker delivers in order, so what was there at a look is settled
    /// when as many messages are.
    pub(super) fn settled_before(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        let (there, consumers) = self.look()?;
        // Before the broker's answer came what it had delivered until then.
        self.waiting.extend(self.intake.take_arrived());
        if consumers == 0 || self.ended().is_some() {
            // It does not know us: its counts are those of another moment.
            self.looked = None;
            return Ok(None);
        }
        let due = self.settled + self.waiting.len() + there as usize;
        let settled = match self.looked {
            _ if due == self.settled => Some(now),
            Some((time, due)) if due <= self.settled => Some(time),
            _ => None,
        };
        if settled.is_some() || self.looked.is_none() {
            self.looked = Some((now, due));
        }
        // What another consumer holds comes back when its connection is lost, which the broker notices after two intervals.
        let elsewhere = 2 * Duration::from_secs(limits::BROKER_HEARTBEAT_SECONDS.into());
        Ok(settled.map(|time| if consumers > 1 { time::before(time, elsewhere) } else { time }))
    }

    /// Messages that wait at the broker, and consumers.
    fn look(&self) -> Result<(u32, u32), Failure> {
        let name = self.queue.as_str();
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let look = self.intake.channel().queue_declare(name.into(), options, FieldTable::default());
        let found = self.link.wait(&format!("look at queue {name}"), look)?;
        Ok((found.message_count(), found.consumer_count()))
    }

    /// Asks for messages until there are so many, or as many bytes as a batch may have.
    fn pull(&mut self, max: usize) -> Result<(), Failure> {
        let size_bytes = |waiting: &BTreeMap<u64, Vec<u8>>| waiting.values().map(Vec::len).sum::<usize>() as u64;
        while self.waiting.len() < max && size_bytes(&self.waiting) <= limits::BATCH_SIZE_BYTES_MAX {
            if !self.intake.pull(&self.queue)? {
                break;
            }
            self.waiting.extend(self.intake.take_arrived());
        }
        Ok(())
    }

    /// Waits for what the broker still has.
    fn await_arrival(&mut self) -> Result<(), Failure> {
        let (there, _) = self.look()?;
        let limit = match self.link.config().queue_type {
            _ if there > 0 => ARRIVAL_TIME_LIMIT,
            QueueType::Quorum => ARRIVAL_TIME_LIMIT_QUORUM,
            QueueType::Classic => Duration::ZERO,
        };
        self.intake.await_arrival(limit);
        self.waiting.extend(self.intake.take_arrived());
        Ok(())
    }

    /// Acknowledges messages; those that the broker has requeued are left out.
    pub(super) fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<(), Failure> {
        let tags = self.waiting_tags(deliveries);
        let Some(last) = tags.iter().max().copied() else { return Ok(()) };
        // One frame instead of hundreds, if nothing before the last is left out.
        let all_before = self.waiting.range(..=last).count() == tags.len();
        let channel = self.intake.channel();
        let is_settled = self.settle("acknowledge messages", async {
            if all_before {
                return channel.basic_ack(last, BasicAckOptions { multiple: true }).await;
            }
            for tag in &tags {
                channel.basic_ack(*tag, BasicAckOptions::default()).await?;
            }
            Ok(())
        })?;
        if is_settled {
            tags.iter().for_each(|tag| self.forget(*tag));
        }
        Ok(())
    }

    /// Rejects messages: the broker's policies decide what becomes of them.
    pub(super) fn refuse(&mut self, deliveries: &[Delivery]) -> Result<(), Failure> {
        for tag in self.waiting_tags(deliveries) {
            let refused = self.intake.channel().basic_reject(tag, BasicRejectOptions { requeue: false });
            if self.settle("reject a message", refused)? {
                self.forget(tag);
            }
        }
        Ok(())
    }

    /// Settles messages. Returns false if the broker has requeued them before.
    fn settle(&self, what: &str, request: impl Future<Output = lapin::Result<()>>) -> Result<bool, Failure> {
        match self.link.tell(what, request) {
            Err(_) if self.is_full() => Ok(false),
            settled => settled.map(|()| true),
        }
    }

    fn forget(&mut self, tag: u64) {
        self.settled += 1;
        let body = self.waiting.remove(&tag);
        self.intake.forget(body.map_or(0, |body| body.len()));
    }

    fn waiting_tags(&self, deliveries: &[Delivery]) -> Vec<u64> {
        let tag = |delivery: &Delivery| match delivery.tag {
            Tag::Amqp(tag) => self.waiting.contains_key(&tag).then_some(tag),
            Tag::File(_) => None,
        };
        deliveries.iter().filter_map(tag).collect()
    }
}
