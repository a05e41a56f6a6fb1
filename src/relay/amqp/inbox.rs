//! What a consumer has received and nobody has acknowledged yet.
//!
//! The broker hands over a bounded number of messages ahead; they wait here, in its order. A message that was looked at
//! and not acknowledged is looked at again.

use super::link::Link;
use crate::config::broker::QueueType;
use crate::limits;
use crate::relay::{Delivery, Queue, RelayError, Tag};
use crate::spool::watch::Waker;
use lapin::message::DeliveryResult;
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{Channel, ConsumerDelegate};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long messages that the broker says it has may take to arrive.
const ARRIVAL_TIME_LIMIT: Duration = Duration::from_millis(500);
/// How long a replicated queue is given, whose count of messages is a moment late.
const ARRIVAL_TIME_LIMIT_QUORUM: Duration = Duration::from_millis(50);

/// See the module docs.
pub(super) struct Inbox {
    link: Arc<Link>,
    queue: Queue,
    channel: Channel,
    generation: u64,
    shared: Arc<Shared>,
    /// By delivery tag, which is the order of delivery.
    waiting: BTreeMap<u64, Vec<u8>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<(u64, Vec<u8>)>,
    waker: Option<Waker>,
    ended: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wake(&self) {
        if let Some(waker) = &self.lock().waker {
            waker.wake();
        }
        self.changed.notify_all();
    }
}

/// Fills a [`Shared`] from the I/O thread.
struct Filler(Arc<Shared>);

impl ConsumerDelegate for Filler {
    fn on_new_delivery(&self, delivery: DeliveryResult) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut state = self.0.lock();
        match delivery {
            Ok(Some(delivery)) => state.arrived.push_back((delivery.delivery_tag, delivery.data)),
            Ok(None) => {
                state.ended.get_or_insert_with(|| "the broker ended it; the queue may have been deleted".into());
            }
            Err(error) => state.ended = Some(error.to_string()),
        }
        drop(state);
        self.0.wake();
        Box::pin(std::future::ready(()))
    }
}

impl Inbox {
    /// Begins to consume a queue, with at most `prefetch` messages ahead.
    pub(super) fn open(
        link: Arc<Link>,
        queue: &Queue,
        generation: u64,
        prefetch: u16,
        waker: Option<Waker>,
    ) -> Result<Inbox, RelayError> {
        let channel = link.channel()?;
        let shared = Arc::new(Shared::default());
        shared.lock().waker = waker;
        let name = queue.as_str();
        link.wait(&format!("receive from queue {name}"), async {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(name.into(), "".into(), options, FieldTable::default()).await?;
            consumer.set_delegate(Filler(Arc::clone(&shared)));
            Ok(())
        })?;
        // lapin does not always tell a consumer that its connection is gone.
        let (status, weak) = (channel.status().clone(), Arc::downgrade(&shared));
        link.spawn(async move {
            while status.connected() && weak.strong_count() > 0 {
                tokio::time::sleep(limits::BROKER_CONNECTION_LOOKED_AT_EVERY).await;
            }
            if let Some(shared) = weak.upgrade() {
                shared.wake();
            }
        });
        Ok(Inbox { link, queue: queue.clone(), channel, generation, shared, waiting: BTreeMap::new() })
    }

    /// Why nothing comes any more, if so.
    pub(super) fn ended(&self) -> Option<String> {
        let ended = self.shared.lock().ended.clone();
        ended.or_else(|| (!self.channel.status().connected()).then(|| "the connection was lost".into()))
    }

    pub(super) fn wake_with(&self, waker: Waker) {
        self.shared.lock().waker = Some(waker);
    }

    fn take_arrived(&mut self) {
        self.waiting.extend(self.shared.lock().arrived.drain(..));
    }

    /// The oldest messages that are here, after those in hand. When there are none at all the broker is asked whether it
    /// has any, so that none is an answer.
    pub(super) fn receive_after(&mut self, in_hand: &[Delivery], max: usize) -> Result<Vec<Delivery>, RelayError> {
        self.take_arrived();
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
        let look = self.channel.queue_declare(name.into(), options, FieldTable::default());
        let there = self.link.wait(&format!("look at queue {name}"), look)?.message_count();
        let limit = match self.link.config().queue_type {
            _ if there > 0 => ARRIVAL_TIME_LIMIT,
            QueueType::Quorum => ARRIVAL_TIME_LIMIT_QUORUM,
            QueueType::Classic => Duration::ZERO,
        };
        let empty = |state: &mut State| state.arrived.is_empty() && state.ended.is_none();
        drop(self.shared.changed.wait_timeout_while(self.shared.lock(), limit, empty));
        self.take_arrived();
        Ok(())
    }

    /// Lets the broker forget these. Those of an earlier consumer are passed over.
    pub(super) fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<(), RelayError> {
        let tags: Vec<u64> = self.mine(deliveries).filter(|tag| self.waiting.contains_key(tag)).collect();
        let Some(last) = tags.iter().max().copied() else { return Ok(()) };
        // With all that came before it, where that is what is meant: one frame instead of hundreds.
        let all_before = self.waiting.range(..=last).count() == tags.len();
        let channel = &self.channel;
        self.link.wait("acknowledge messages", async {
            if all_before {
                return channel.basic_ack(last, BasicAckOptions { multiple: true }).await;
            }
            for tag in &tags {
                channel.basic_ack(*tag, BasicAckOptions::default()).await?;
            }
            Ok(())
        })?;
        for tag in tags {
            self.waiting.remove(&tag);
        }
        Ok(())
    }

    /// Has the broker do with messages what its policies say of rejected ones.
    pub(super) fn refuse(&mut self, deliveries: &[Delivery]) -> Result<(), RelayError> {
        let tags: Vec<u64> = self.mine(deliveries).collect();
        for tag in tags {
            if self.waiting.contains_key(&tag) {
                let refused = self.channel.basic_reject(tag, BasicRejectOptions { requeue: false });
                self.link.wait("reject a message", refused)?;
                self.waiting.remove(&tag);
            }
        }
        Ok(())
    }

    fn mine<'a>(&self, deliveries: &'a [Delivery]) -> impl Iterator<Item = u64> + use<'a> {
        let generation = self.generation;
        let tags = deliveries.iter().filter_map(|delivery| delivery.tag.as_amqp());
        tags.filter(move |(of, _)| *of == generation).map(|(_, tag)| tag)
    }
}

impl Drop for Inbox {
    /// The broker has what was not acknowledged back before this returns, for whoever asks next.
    fn drop(&mut self) {
        if self.channel.status().connected() {
            let _ = self.link.wait("close a channel", self.channel.close(200, "done".into()));
        }
    }
}
