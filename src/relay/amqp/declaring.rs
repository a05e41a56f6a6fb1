//! How exchanges and queues are made at the broker.

use super::{AmqpRelay, DEAD, EVENTS, EXCHANGE, Role, dead_key};
use crate::config::broker::QueueType;
use crate::failure::Failure;
use crate::limits;
use crate::relay::Queue;
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The argument of a quorum queue: deliveries of a message before it is put aside.
pub(super) const DELIVERY_LIMIT: &str = "x-delivery-limit";
/// How queues are declared.
pub(super) const DURABLE: QueueDeclareOptions =
    QueueDeclareOptions { durable: true, passive: false, exclusive: false, auto_delete: false, nowait: false };

impl AmqpRelay {
    /// Declares what every queue of ours needs.
    pub(super) fn declare_exchanges(&self, channel: &Channel) -> Result<(), Failure> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        for exchange in [EXCHANGE, EVENTS] {
            let declared =
                channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default());
            self.receiver.wait(&format!("make exchange {exchange}"), declared)?;
        }
        self.declare_bound(channel, DEAD, EVENTS, "dead.#", FieldTable::default())
    }

    pub(super) fn declare_bound(
        &self,
        channel: &Channel,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: FieldTable,
    ) -> Result<(), Failure> {
        self.receiver.wait(&make_queue(queue), channel.queue_declare(queue.into(), DURABLE, arguments))?;
        self.bind(channel, queue, exchange, key)
    }

    pub(super) fn bind(&self, channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Failure> {
        let bind = QueueBindOptions::default();
        let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), bind, FieldTable::default());
        self.receiver.wait(&format!("bind queue {queue} to exchange {exchange}"), bound)
    }

    /// A queue that an older version made: it puts messages aside that were returned to it twenty times. Its arguments cannot
    /// be changed. It is made anew if nothing is in it and nothing uses it; senders keep what they have meanwhile, as
    /// nothing is routed to it. Otherwise it is used as it is.
    pub(super) fn replace_limited(&mut self, queue: &Queue) -> Result<(), Failure> {
        let (name, what) = (queue.as_str(), format!("make queue {queue} anew"));
        let channel = self.receiver.channel()?;
        if !self.limited.contains(queue) && self.is_unused(&channel, name)? {
            let unbound = channel.queue_unbind(name.into(), EXCHANGE.into(), name.into(), FieldTable::default());
            self.receiver.wait(&what, unbound)?;
            // What was routed before arrives. The count of a quorum queue is a moment late: that it is empty is known by
            // getting nothing.
            std::thread::sleep(limits::BROKER_ROUTING_TIME_MAX);
            let get = channel.basic_get(name.into(), BasicGetOptions::default());
            if self.is_unused(&channel, name)? && self.receiver.wait(&what, get)?.is_none() {
                self.receiver.wait(&what, channel.queue_delete(name.into(), QueueDeleteOptions::default()))?;
                self.declare_bound(&channel, name, EXCHANGE, name, self.queue_arguments(queue))?;
                log::info!("queue {queue} was made anew, without a limit of deliveries");
                return Ok(());
            }
        }
        if self.limited.insert(queue.clone()) {
            let max = limits::BROKER_DELIVERIES_MAX_BEFORE;
            log::warn!(
                "queue {queue} was made by an older version: it puts messages aside that were returned to it {max} times. A start \
                makes it anew when it is empty and nothing receives from it"
            );
        }
        self.bind(&channel, name, EXCHANGE, name)
    }

    /// Whether a queue has neither messages nor consumers.
    fn is_unused(&self, channel: &Channel, name: &str) -> Result<bool, Failure> {
        let look = QueueDeclareOptions { passive: true, ..DURABLE };
        let found = channel.queue_declare(name.into(), look, FieldTable::default());
        let found = self.receiver.wait(&format!("look at queue {name}"), found)?;
        Ok(found.message_count() == 0 && found.consumer_count() == 0)
    }

    /// As the original declares queues, or replicated. What is returned unhandled, by a restart perhaps, must not count towards
    /// a limit: messages that can never be handled are put aside by us, with a reason.
    pub(super) fn queue_arguments(&self, queue: &Queue) -> FieldTable {
        let mut arguments = FieldTable::default();
        if self.receiver.config().queue_type == QueueType::Quorum {
            let text = |text: &str| AMQPValue::LongString(text.into());
            arguments.insert("x-queue-type".into(), text("quorum"));
            arguments.insert(DELIVERY_LIMIT.into(), AMQPValue::LongLongInt(limits::BROKER_DELIVERIES_MAX));
            if self.role == Role::Scheduler {
                arguments.insert("x-dead-letter-exchange".into(), text(EVENTS));
                arguments.insert("x-dead-letter-routing-key".into(), text(&dead_key(queue)));
            }
        }
        arguments
    }
}

/// What is done, for messages.
pub(super) fn make_queue(name: &str) -> String {
    format!("make queue {name}")
}
