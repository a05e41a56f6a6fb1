//! Publishing with confirms.
//!
//! What the broker has not confirmed in time stays outstanding on its channel: when the same message is to be published again,
//! its confirm is awaited instead. So a broker that takes no messages for a while (an alarm, a slow line) gets each of them
//! once. When the channel is lost, what was outstanding on it is published again.
//!
//! | the broker | outcome of a message |
//! |---|---|
//! | confirms it | [`Sent::Kept`] |
//! | returns it, then confirms it | [`Sent::Unroutable`] |
//! | refuses it (a nack), or closes the channel because of it | [`Sent::Refused`] |
//! | has confirmed others, and not this one | [`Sent::Unconfirmed`] |

use super::link::{Link, OpenChannel, cause, is_soft};
use crate::failure::Failure;
use crate::limits;
use crate::relay::Sent;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future::BoxFuture};
use lapin::options::*;
use lapin::protocol::AMQPSoftError;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// A message to publish.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub exchange: &'static str,
    pub key: ShortString,
    /// Whether it is returned if no queue gets it.
    pub mandatory: bool,
    pub body: Arc<Vec<u8>>,
    pub properties: BasicProperties,
}

/// See the module docs. It connects when it is first used.
pub(super) struct Publisher {
    link: Arc<Link>,
    open: Option<Open>,
}

/// A channel, and what was published on it.
struct Open {
    channel: OpenChannel,
    outstanding: FuturesUnordered<BoxFuture<'static, (u64, lapin::Result<Confirmation>)>>,
    published: u64,
    /// Those of earlier calls that were not confirmed in time.
    left: Vec<Published>,
    /// lapin attaches a returned message to the next confirm, of any message: only its key tells which one it was.
    returned: HashSet<ShortString>,
    /// The last confirm.
    progress: Instant,
}

/// A message that was published.
struct Published {
    number: u64,
    message: Outgoing,
    outcome: Option<Sent>,
    since: Instant,
}

/// How an attempt ended.
enum Ended {
    /// The broker has answered all.
    InTime,
    TimedOut,
    Failed(lapin::Error),
}

impl Publisher {
    pub(super) fn new(link: Arc<Link>) -> Publisher {
        Publisher { link, open: None }
    }

    /// Publishes messages, and waits for the confirms for a limited time. A failure means that the broker answered none.
    pub(super) fn publish(&mut self, messages: &[Outgoing]) -> Result<Vec<Sent>, Failure> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let what = format!("publish {} messages", messages.len());
        let (outcomes, ended) = self.attempt(&what, messages)?;
        if outcomes.iter().any(Option::is_some) {
            return Ok(outcomes.into_iter().map(|sent| sent.unwrap_or(Sent::Unconfirmed)).collect());
        }
        match ended {
            Ended::Failed(error) if is_of_one_message(&error) => self.publish_singly(messages, &error),
            Ended::Failed(error) => Err(self.link.refused(&what, &error)),
            Ended::TimedOut | Ended::InTime => Err(self.link.no_answer(&what)),
        }
    }

    /// Returns the outcomes of those that the broker has answered.
    fn attempt(&mut self, what: &str, messages: &[Outgoing]) -> Result<(Vec<Option<Sent>>, Ended), Failure> {
        let link = Arc::clone(&self.link);
        let open = self.open(what)?;
        let mut asked: Vec<Published> = messages.iter().map(|message| open.publish(message)).collect();
        let ended = open.await_confirms(&link, what, &mut asked);
        let outcomes = asked.iter().map(|one| one.outcome.clone()).collect();
        open.keep(asked);
        let is_stuck = open.progress.elapsed() > limits::BROKER_CONFIRM_TIME_MAX && link.alarm().is_none();
        if matches!(ended, Ended::Failed(_)) || (is_stuck && !open.outstanding.is_empty()) {
            self.open = None;
        }
        Ok((outcomes, ended))
    }

    /// The broker closed the channel because of one of them: it is found by publishing each alone.
    fn publish_singly(&mut self, messages: &[Outgoing], error: &lapin::Error) -> Result<Vec<Sent>, Failure> {
        if let [message] = messages {
            let reason = format!("queue {}: the broker refuses the message: {}", message.key, cause(error));
            return Ok(vec![Sent::Refused(reason)]);
        }
        let started = Instant::now();
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            if started.elapsed() > self.link.config().timeout {
                outcomes.push(Sent::Unconfirmed);
                continue;
            }
            match self.publish(std::slice::from_ref(message)) {
                Ok(mut sent) => outcomes.append(&mut sent),
                Err(failure) if outcomes.is_empty() => return Err(failure),
                Err(_) => outcomes.push(Sent::Unconfirmed),
            }
        }
        Ok(outcomes)
    }

    /// The channel to publish on.
    fn open(&mut self, what: &str) -> Result<&mut Open, Failure> {
        let is_live = self.open.as_ref().is_some_and(|open| open.channel.status().connected());
        if is_live {
            self.link.check_alarm(what)?;
        } else {
            self.open = None;
            let channel = self.link.channel()?;
            self.link.wait("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default()))?;
            self.open = Some(Open {
                channel,
                outstanding: FuturesUnordered::new(),
                published: 0,
                left: Vec::new(),
                returned: HashSet::new(),
                progress: Instant::now(),
            });
        }
        self.open.as_mut().ok_or_else(|| self.link.failure(what, "no channel"))
    }
}

impl Outgoing {
    fn is_again(&self, other: &Outgoing) -> bool {
        (self.exchange, &self.key, &self.body) == (other.exchange, &other.key, &other.body)
    }

    fn outcome(&self, is_acknowledged: bool, returned: &HashSet<ShortString>) -> Sent {
        let key = &self.key;
        match is_acknowledged {
            true if self.mandatory && returned.contains(key) => Sent::Unroutable,
            true => Sent::Kept,
            false => Sent::Refused(format!(
                "queue {key}: the broker refuses its messages; it may be full, or its node down: \
                rabbitmqctl list_queues name messages policy"
            )),
        }
    }
}

impl Open {
    /// Publishes a message, unless that was done before.
    fn publish(&mut self, message: &Outgoing) -> Published {
        if let Some(index) = self.left.iter().position(|one| one.message.is_again(message)) {
            return self.left.swap_remove(index);
        }
        if self.outstanding.is_empty() {
            self.progress = Instant::now();
        }
        self.published += 1;
        let number = self.published;
        let (channel, outgoing) = (self.channel.clone(), message.clone());
        // All at once: a publish that is awaited alone waits for its write to the socket.
        self.outstanding.push(Box::pin(async move {
            let Outgoing { exchange, key, mandatory, body, properties } = outgoing;
            let options = BasicPublishOptions { mandatory, immediate: false };
            let confirmed = match channel.basic_publish(exchange.into(), key, options, &body, properties).await {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, confirmed)
        }));
        Published { number, message: message.clone(), outcome: None, since: Instant::now() }
    }

    /// Waits for a limited time until the broker has answered all. Notes what became of those that were asked for, and of
    /// those that are left.
    fn await_confirms(&mut self, link: &Link, what: &str, asked: &mut [Published]) -> Ended {
        let mut acknowledged: HashMap<u64, bool> = HashMap::with_capacity(asked.len());
        let Open { outstanding, returned, progress, left, .. } = self;
        let mut settle = |number, confirmation: Confirmation| {
            *progress = Instant::now();
            acknowledged.insert(number, confirmation.is_ack());
            returned.extend(confirmation.take_message().map(|message| message.routing_key.clone()));
        };
        let confirms = async {
            while let Some((number, confirmed)) = outstanding.next().await {
                match confirmed {
                    Ok(confirmation) => settle(number, confirmation),
                    Err(error) => return Ended::Failed(error),
                }
            }
            Ended::InTime
        };
        let ended = link.within(what, link.config().timeout, link.unless_alarmed(confirms)).flatten();
        // A return may be attached to one that has arrived since.
        while let Some(Some((number, Ok(confirmation)))) = outstanding.next().now_or_never() {
            settle(number, confirmation);
        }
        for one in asked.iter_mut().chain(left) {
            let is_acknowledged = acknowledged.get(&one.number);
            one.outcome = one.outcome.take().or(is_acknowledged.map(|is| one.message.outcome(*is, returned)));
        }
        if outstanding.is_empty() {
            returned.clear();
        }
        ended.unwrap_or(Ended::TimedOut)
    }

    /// Remembers those without an outcome; the outcome of one that is not asked for again, for a while.
    fn keep(&mut self, asked: Vec<Published>) {
        self.left.extend(asked.into_iter().filter(|one| one.outcome.is_none()));
        self.left.retain(|one| one.outcome.is_none() || one.since.elapsed() < limits::BROKER_CONFIRM_TIME_MAX);
    }
}

/// Whether the broker closed the channel because of one message: it is too large, or its key is not permitted.
fn is_of_one_message(error: &lapin::Error) -> bool {
    is_soft(error, &AMQPSoftError::CONTENTTOOLARGE)
        || is_soft(error, &AMQPSoftError::PRECONDITIONFAILED)
        || (is_soft(error, &AMQPSoftError::ACCESSREFUSED) && error.to_string().contains("topic"))
}
