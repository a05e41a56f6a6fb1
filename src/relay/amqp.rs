//! A relay over RabbitMQ (AMQP 0-9-1), with the names, properties and permissions that the original uses.
//!
//! A message is sent once the broker has confirmed it; one that it cannot route is returned. Received messages stay with the
//! broker until they are acknowledged: when the connection is lost before, they are requeued. A message that can never be
//! handled goes, with the reason, to the queue `migevent.dead`; an agent, which may not write there, rejects it, and the
//! broker's policies decide.
//!
//! The broker applies a message's time to live, by its own clock.

mod declaring;
mod inbox;
mod intake;
mod link;
mod publisher;

use super::refusing::Refusing;
use super::{Delivery, Event, Message, Queue, Relay, Sent, on_the_wire};
use crate::config::broker::{BrokerConfig, QueueType};
use crate::dial::Dialer;
use crate::failure::Failure;
use crate::limits;
use crate::spool::watch::Watch;
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use declaring::{DELIVERY_LIMIT, DURABLE, make_queue};
use inbox::{Inbox, Way};
use intake::Ended;
use lapin::BasicProperties;
use lapin::options::*;
use lapin::protocol::AMQPSoftError::{NOTFOUND, PRECONDITIONFAILED};
use lapin::types::{AMQPValue, FieldTable, LongString};
use link::{Link, Purpose};
use publisher::{Outgoing, Publisher};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Where commands, answers and heartbeats are published.
const EXCHANGE: &str = "mig";
/// Where events are published.
const EVENTS: &str = "migevent";
/// The queue of messages that can never be handled.
const DEAD: &str = "migevent.dead";
/// The permissions of a relay's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Declares exchanges, may publish dead letters.
    Scheduler,
    /// Has its own queue only.
    Agent,
    /// Receives events only.
    Subscriber,
}

/// See the module docs. It connects when it is first used.
pub struct AmqpRelay {
    role: Role,
    receiver: Arc<Link>,
    publisher: Publisher,
    refusing: Refusing,
    inboxes: HashMap<Queue, Inbox>,
    /// Queues whose prefetch is reduced.
    reduced: HashSet<Queue>,
    /// Queues with a limit of deliveries that was logged.
    limited: HashSet<Queue>,
    wakers: HashMap<Queue, Waker>,
    /// Whether messages are asked for one by one.
    pulls: bool,
}

impl AmqpRelay {
    /// A relay at this broker, which is reached directly.
    pub fn open(config: &BrokerConfig, role: Role) -> Result<AmqpRelay, Failure> {
        AmqpRelay::open_by(config, role, &Dialer::direct())
    }

    /// A relay at this broker, which is reached by one of the dialer's ways.
    pub fn open_by(config: &BrokerConfig, role: Role, dialer: &Dialer) -> Result<AmqpRelay, Failure> {
        let sender = Link::shared(config, Purpose::Send, dialer)?;
        // Ten thousand agents must not be twenty thousand connections.
        let receiver = match role {
            Role::Scheduler => Link::shared(config, Purpose::Receive, dialer)?,
            Role::Agent | Role::Subscriber => Arc::clone(&sender),
        };
        Ok(AmqpRelay {
            role,
            receiver,
            publisher: Publisher::new(sender),
            refusing: Refusing::new("events", "its subscribers miss them"),
            inboxes: HashMap::new(),
            reduced: HashSet::new(),
            limited: HashSet::new(),
            wakers: HashMap::new(),
            pulls: false,
        })
    }

    /// For a program that ends when there is nothing left: it asks the broker for each message, so that none that was in a
    /// queue is missed. Nothing wakes it.
    pub fn pulling(self) -> AmqpRelay {
        AmqpRelay { pulls: true, ..self }
    }

    /// What the broker counts of a queue; None if it is missing.
    fn look_at(&self, queue: &Queue) -> Result<Option<Counts>, Failure> {
        let channel = self.receiver.channel()?;
        let name = queue.as_str();
        let look = QueueDeclareOptions { passive: true, ..Default::default() };
        self.receiver.wait(&format!("look at queue {name}"), async {
            match channel.queue_declare(name.into(), look, FieldTable::default()).await {
                Ok(found) => Ok(Some(Counts { messages: found.message_count(), consumers: found.consumer_count() })),
                Err(error) if link::is_soft(&error, &NOTFOUND) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Publishes events; logs which kind is refused.
    fn publish_events(&mut self, events: &[Outgoing]) -> Result<Vec<Sent>, Failure> {
        let sent = self.publisher.publish(events)?;
        for (event, sent) in events.iter().zip(&sent) {
            self.refusing.note(&Queue(event.key.to_string()), sent);
        }
        match sent.contains(&Sent::Unconfirmed) {
            true => Err(Failure::retry("publish events: the broker has not confirmed all of them")),
            false => Ok(sent),
        }
    }

    /// The consumer of a queue. One whose connection was lost is a failure once, and is replaced by the next call.
    fn inbox(&mut self, queue: &Queue) -> Result<&mut Inbox, Failure> {
        match self.inboxes.get(queue).and_then(Inbox::ended) {
            None => {}
            Some(Ended::Lost(reason)) => {
                self.inboxes.remove(queue);
                return Err(self.receiver.failure(&format!("receive from queue {queue}"), reason));
            }
            Some(Ended::Full) => {
                let max = limits::BROKER_BYTES_AHEAD_MAX >> 20;
                let few = limits::BROKER_MESSAGES_AHEAD_REDUCED;
                log::warn!(
                    "queue {queue}: unacknowledged messages have more than {max} MiB together, reducing the prefetch to {few} for now"
                );
                self.inboxes.remove(queue);
                self.reduced.insert(queue.clone());
            }
        }
        if !self.inboxes.contains_key(queue) {
            let ahead = match self.role {
                _ if self.reduced.contains(queue) => limits::BROKER_MESSAGES_AHEAD_REDUCED,
                Role::Agent => limits::AGENT_DELIVERIES_MAX,
                Role::Scheduler | Role::Subscriber => limits::BROKER_MESSAGES_AHEAD_MAX,
            };
            let way = if self.pulls { Way::Pull } else { Way::Deliver { ahead } };
            let waker = self.wakers.get(queue).cloned();
            let inbox = Inbox::open(Arc::clone(&self.receiver), queue, way, waker)?;
            self.inboxes.insert(queue.clone(), inbox);
        }
        self.inboxes.get_mut(queue).ok_or_else(|| Failure::retry("an inbox is gone"))
    }

    /// Restores the prefetch of a queue that had large messages, once as many as fit into it were settled.
    fn restore_prefetch(&mut self, queue: &Queue) {
        let enough = |inbox: &Inbox| inbox.settled() >= limits::BROKER_MESSAGES_AHEAD_MAX;
        if self.reduced.contains(queue) && self.inboxes.get(queue).is_some_and(enough) {
            self.inboxes.remove(queue);
            self.reduced.remove(queue);
        }
    }
}

/// What a broker counts of a queue: messages that wait, without those that a consumer has not acknowledged; and consumers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    messages: u32,
    consumers: u32,
}

fn dead_key(queue: &Queue) -> String {
    format!("dead.{queue}")
}

/// As the original sends messages. The broker holds times to live in 32 bits of milliseconds, some 49 days; a message that
/// lives longer has none, and its receiver checks the time.
fn properties(lifetime: Duration, now: Timestamp) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_delivery_mode(2)
        .with_timestamp(now.as_second().max(0) as u64);
    match u32::try_from(lifetime.as_millis()) {
        Ok(millis) => properties.with_expiration(millis.to_string().into()),
        Err(_) => properties,
    }
}

impl Relay for AmqpRelay {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.receiver.way()?.proxy())
    }

    fn declare(&mut self, queue: &Queue) -> Result<(), Failure> {
        let channel = self.receiver.channel()?;
        if self.role == Role::Scheduler {
            self.declare_exchanges(&channel)?;
        }
        let name = queue.as_str();
        let declared = channel.queue_declare(name.into(), DURABLE, self.queue_arguments(queue));
        match self.receiver.ask(&make_queue(name), declared)? {
            Ok(_) => self.bind(&channel, name, EXCHANGE, name),
            Err(error) if link::is_soft(&error, &PRECONDITIONFAILED) && error.to_string().contains(DELIVERY_LIMIT) => {
                self.replace_limited(queue)
            }
            Err(error) => Err(self.receiver.refused(&make_queue(name), &error)),
        }
    }

    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure> {
        let outgoing = messages.iter().map(|message| Outgoing {
            exchange: EXCHANGE,
            key: message.queue.as_str().into(),
            mandatory: true,
            body: Arc::new(on_the_wire(&message.body).to_vec()),
            properties: properties(time::until(now, message.expires), now),
        });
        self.publisher.publish(&outgoing.collect::<Vec<_>>())
    }

    /// The first event of each kind is mandatory: if it is unroutable, there is no subscriber and the others are not sent.
    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure> {
        let message = |(event, body): &&(Event, Vec<u8>), mandatory| Outgoing {
            exchange: EVENTS,
            key: event.key().into(),
            mandatory,
            body: Arc::new(on_the_wire(body).to_vec()),
            properties: properties(limits::EVENT_LIFETIME, now),
        };
        let mut kinds = HashSet::new();
        let (first, rest): (Vec<_>, Vec<_>) = events.iter().partition(|(event, _)| kinds.insert(*event));
        let sent = self.publish_events(&first.iter().map(|event| message(event, true)).collect::<Vec<_>>())?;
        let unwanted = first.iter().zip(sent).filter(|(_, sent)| *sent == Sent::Unroutable);
        let unwanted: HashSet<Event> = unwanted.map(|((event, _), _)| *event).collect();
        let rest = rest.iter().filter(|(event, _)| !unwanted.contains(event));
        self.publish_events(&rest.map(|event| message(event, false)).collect::<Vec<_>>()).map(drop)
    }

    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure> {
        let channel = self.receiver.channel()?;
        if self.role == Role::Scheduler {
            self.declare_exchanges(&channel)?;
        }
        self.declare_bound(&channel, queue.as_str(), EVENTS, event.key(), FieldTable::default())
    }

    fn receive(&mut self, queue: &Queue, max: usize, _now: Timestamp) -> Result<Vec<Delivery>, Failure> {
        self.restore_prefetch(queue);
        loop {
            let received = self.inbox(queue)?.receive(max);
            // While a full inbox is replaced, neither no message nor an error is an answer.
            let is_full = self.inboxes.get(queue).is_some_and(Inbox::is_full);
            if received.as_ref().is_ok_and(|received| !received.is_empty()) || !is_full {
                return received;
            }
        }
    }

    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        if let Some(inbox) = self.inboxes.get_mut(queue) {
            return inbox.settled_before(now);
        }
        // The counts of a quorum queue are zero also while its leader does not answer.
        let is_exact = self.receiver.config().queue_type == QueueType::Classic;
        let found = self.look_at(queue)?;
        // What a consumer has not acknowledged is not counted.
        Ok((is_exact && found.is_none_or(|queue| queue == Counts::default())).then_some(now))
    }

    fn has_receiver(&mut self, queue: &Queue) -> Result<Option<bool>, Failure> {
        Ok(Some(self.look_at(queue)?.is_some_and(|queue| queue.consumers > 0)))
    }

    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        // Those of a lost connection come again; their effect is known by then.
        self.inboxes.get_mut(queue).map_or(Ok(()), |inbox| inbox.acknowledge(deliveries))
    }

    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure> {
        if refused.is_empty() {
            return Ok(());
        }
        let deliveries: Vec<Delivery> = refused.iter().map(|(delivery, _)| delivery.clone()).collect();
        if self.role != Role::Scheduler {
            return self.inboxes.get_mut(queue).map_or(Ok(()), |inbox| inbox.refuse(&deliveries));
        }
        let letters = refused.iter().map(|(delivery, reason)| dead_letter(queue, delivery, reason, now));
        let sent = self.publisher.publish(&letters.collect::<Vec<_>>())?;
        let (kept, left): (Vec<_>, Vec<_>) =
            deliveries.into_iter().zip(sent).partition(|(_, sent)| *sent == Sent::Kept);
        self.acknowledge(queue, &kept.into_iter().map(|(delivery, _)| delivery).collect::<Vec<_>>())?;
        match left.into_iter().next() {
            None => Ok(()),
            Some((_, Sent::Refused(reason))) => Err(Failure::retry(format!("put messages aside: {reason}"))),
            Some(_) => Err(Failure::retry("put messages aside: the broker has not confirmed all of them")),
        }
    }

    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
        let channel = self.receiver.channel()?;
        let name = queue.as_str();
        let look = QueueDeclareOptions { passive: true, ..Default::default() };
        // Quorum queues cannot be deleted on that condition; their consumers are counted a moment before.
        let if_unused = self.receiver.config().queue_type == QueueType::Classic;
        self.receiver.wait(&format!("remove queue {name}"), async {
            match channel.queue_declare(name.into(), look, FieldTable::default()).await {
                Ok(found) if found.consumer_count() > 0 => return Ok(false),
                Ok(_) => {}
                Err(error) if link::is_soft(&error, &NOTFOUND) => return Ok(true),
                Err(error) => return Err(error),
            }
            let options = QueueDeleteOptions { if_unused, ..Default::default() };
            match channel.queue_delete(name.into(), options).await {
                Err(error) if link::is_soft(&error, &PRECONDITIONFAILED) => Ok(false),
                other => other.map(|_| true),
            }
        })
    }

    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure> {
        if let Some(inbox) = self.inboxes.get(queue) {
            inbox.wake_with(waker.clone());
        }
        self.wakers.insert(queue.clone(), waker);
        if let Err(error) = self.inbox(queue) {
            // Nothing is unsettled here: the next receive opens another one.
            log::debug!("{error}");
        }
        Ok(None)
    }

    fn tidy(&mut self, _age: Duration, _now: Timestamp) -> Result<(), Failure> {
        // Every message has its time to live.
        Ok(())
    }
}

fn dead_letter(queue: &Queue, delivery: &Delivery, reason: &str, now: Timestamp) -> Outgoing {
    let reason: String = reason.chars().take(limits::DEAD_LETTER_REASON_CHARS_MAX).collect();
    let mut headers = FieldTable::default();
    for (name, value) in [("x-mig-queue", queue.as_str()), ("x-mig-reason", &reason)] {
        headers.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
    }
    Outgoing {
        exchange: EVENTS,
        key: dead_key(queue).as_str().into(),
        mandatory: false,
        body: Arc::new(delivery.body.clone()),
        properties: properties(limits::DEAD_LETTER_LIFETIME, now).with_headers(headers),
    }
}
