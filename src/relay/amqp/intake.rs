//! The messages that the broker delivers ahead, as long as there is room for them.
//!
//! The prefetch bounds their number; their sizes are up to the publisher. When too many bytes are in memory the channel is
//! closed and the broker requeues all of them; what is still on its way is discarded as it arrives. The next intake of the
//! queue has a reduced prefetch.

use super::link::{Link, OpenChannel};
use crate::failure::Failure;
use crate::limits;
use crate::relay::Queue;
use crate::wake::Waker;
use futures_util::StreamExt;
use futures_util::future::select;
use lapin::message::DeliveryResult;
use lapin::options::*;
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, ConsumerDelegate};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// See the module docs.
pub(super) struct Intake {
    link: Arc<Link>,
    channel: OpenChannel,
    shared: Arc<Shared>,
}

/// Why nothing arrives any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// There is no room.
    Full,
    /// The connection is lost, or the broker ended the consumer.
    Lost(String),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// To end it. Not kept by its delegate: lapin drops that while it holds a lock that the end of a consumer needs.
    consumer: Option<(Channel, Consumer)>,
    /// By delivery tag.
    arrived: VecDeque<(u64, Vec<u8>)>,
    /// Of all unacknowledged messages.
    held_bytes: usize,
    /// It is full, and the broker has not requeued everything yet.
    is_closing: bool,
    ended: Option<Ended>,
    waker: Option<Waker>,
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

    /// Waits, for a limited time, while a condition holds.
    fn wait_while(&self, limit: Duration, condition: impl FnMut(&mut State) -> bool) {
        drop(self.changed.wait_timeout_while(self.lock(), limit, condition));
    }
}

/// Fills a [`Shared`] from the I/O thread.
struct Filler(Arc<Shared>);

impl ConsumerDelegate for Filler {
    fn on_new_delivery(&self, delivery: DeliveryResult) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (mut guard, mut full) = (self.0.lock(), None);
        let state = &mut *guard;
        match delivery {
            Ok(Some(delivery)) if state.ended.is_none() => {
                state.held_bytes += delivery.data.len();
                state.arrived.push_back((delivery.delivery_tag, delivery.data));
                if state.held_bytes > limits::BROKER_BYTES_AHEAD_MAX {
                    full = state.consumer.take();
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let reason = "the broker ended it; the queue may have been deleted";
                state.ended.get_or_insert_with(|| Ended::Lost(reason.into()));
            }
            Err(error) => state.ended = Some(Ended::Lost(error.to_string())),
        }
        if full.is_some() {
            state.ended = Some(Ended::Full);
            state.is_closing = true;
            state.arrived = VecDeque::new();
        }
        drop(guard);
        self.0.wake();
        match full {
            Some((channel, consumer)) => Box::pin(close(Arc::clone(&self.0), channel, consumer)),
            None => Box::pin(std::future::ready(())),
        }
    }
}

/// Has the broker requeue everything.
async fn close(shared: Arc<Shared>, channel: Channel, mut consumer: Consumer) {
    let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
    // Deliveries arrive here now, until the broker has answered.
    let dropped = async { while consumer.next().await.is_some() {} };
    select(pin!(cancelled), pin!(dropped)).await;
    let _ = channel.close(REPLY_SUCCESS, "done".into()).await;
    shared.lock().is_closing = false;
    shared.wake();
}

impl Intake {
    /// Consumes a queue, with at most `prefetch` unacknowledged messages; [`limits::BROKER_MESSAGES_AHEAD_REDUCED`] or fewer
    /// may be of any size.
    pub(super) fn open(link: Arc<Link>, queue: &Queue, prefetch: u16, waker: Option<Waker>) -> Result<Intake, Failure> {
        let channel = link.channel()?;
        let shared = Arc::new(Shared::default());
        shared.lock().waker = waker;
        let name = queue.as_str();
        link.wait(&format!("receive from queue {name}"), async {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(name.into(), "".into(), options, FieldTable::default()).await?;
            if usize::from(prefetch) > limits::BROKER_MESSAGES_AHEAD_REDUCED {
                shared.lock().consumer = Some((channel.clone(), consumer.clone()));
            }
            consumer.set_delegate(Filler(Arc::clone(&shared)));
            Ok(())
        })?;
        // lapin does not always notify a consumer of a lost connection.
        let (status, weak) = (channel.status().clone(), Arc::downgrade(&shared));
        link.spawn(async move {
            while status.connected() && weak.strong_count() > 0 {
                tokio::time::sleep(limits::BROKER_CONNECTION_CHECKED_EVERY).await;
            }
            if let Some(shared) = weak.upgrade() {
                shared.wake();
            }
        });
        Ok(Intake { link, channel, shared })
    }

    /// Opens a channel without a consumer, for [`Intake::pull`].
    pub(super) fn without_consumer(link: Arc<Link>) -> Result<Intake, Failure> {
        let channel = link.channel()?;
        Ok(Intake { link, channel, shared: Arc::default() })
    }

    /// Asks the broker for the oldest message that waits; false if none does. What a consumer is sent ahead may still be on
    /// its way when the broker says that a queue is empty; here the answer is exact, for a quorum queue too.
    pub(super) fn pull(&self, queue: &Queue) -> Result<bool, Failure> {
        let name = queue.as_str();
        let get = self.channel.basic_get(name.into(), BasicGetOptions::default());
        let Some(message) = self.link.wait(&format!("get a message from queue {name}"), get)? else {
            return Ok(false);
        };
        let mut state = self.shared.lock();
        state.held_bytes += message.delivery.data.len();
        state.arrived.push_back((message.delivery.delivery_tag, message.delivery.data));
        Ok(true)
    }

    /// Where messages are acknowledged.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Why nothing arrives any more, if so.
    pub(super) fn ended(&self) -> Option<Ended> {
        let ended = self.shared.lock().ended.clone();
        ended.or_else(|| (!self.channel.status().connected()).then(|| Ended::Lost("the connection was lost".into())))
    }

    pub(super) fn wake_with(&self, waker: Waker) {
        self.shared.lock().waker = Some(waker);
    }

    /// What arrived since the last call, by delivery tag.
    pub(super) fn take_arrived(&self) -> VecDeque<(u64, Vec<u8>)> {
        std::mem::take(&mut self.shared.lock().arrived)
    }

    /// Waits until a message arrives or none will, for a limited time.
    pub(super) fn await_arrival(&self, limit: Duration) {
        self.shared.wait_while(limit, |state| state.arrived.is_empty() && state.ended.is_none());
    }

    /// Messages of so many bytes are not in memory any more.
    pub(super) fn forget(&self, bytes: usize) {
        self.shared.lock().held_bytes -= bytes;
    }
}

impl Drop for Intake {
    /// The broker has requeued what was not acknowledged before this returns.
    fn drop(&mut self) {
        self.shared.wait_while(self.link.config().timeout, |state| state.is_closing);
        self.channel.close();
        // Here rather than with the last delegate, see `State::consumer`.
        let state = std::mem::take(&mut *self.shared.lock());
        drop(state);
    }
}
