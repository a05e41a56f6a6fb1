//! A relay with planted bugs.

use super::Mutant;
use crate::failure::Failure;
use crate::relay::{Delivery, Event, Message, Queue, Relay, Sent};
use crate::spool::watch::Watch;
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use std::time::Duration;

/// A layer around a relay.
pub struct BuggyRelay {
    inner: Box<dyn Relay>,
    /// Sent with the next call, or at the end.
    unsent: Vec<Message>,
}

impl BuggyRelay {
    /// Around this relay.
    pub fn new(inner: Box<dyn Relay>) -> BuggyRelay {
        BuggyRelay { inner, unsent: Vec::new() }
    }

    fn send_late(&mut self, now: Timestamp) -> Result<(), Failure> {
        let unsent = std::mem::take(&mut self.unsent);
        if unsent.is_empty() { Ok(()) } else { self.inner.send(&unsent, now).map(drop) }
    }
}

impl Drop for BuggyRelay {
    fn drop(&mut self) {
        let _ = self.send_late(time::now());
    }
}

impl Relay for BuggyRelay {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        self.inner.proxy()
    }

    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure> {
        self.send_late(now)?;
        if !Mutant::NoWaitForConfirm.is_on() {
            return self.inner.send(messages, now);
        }
        self.unsent = messages.to_vec();
        Ok(vec![Sent::Kept; messages.len()])
    }

    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, Failure> {
        let received = self.inner.receive(queue, max, now)?;
        let is_early = Mutant::AckEventsBeforeWrite.is_on() && *queue == Queue::events();
        if is_early || Mutant::AckBeforeWrite.is_on() {
            self.inner.acknowledge(queue, &received)?;
        }
        Ok(received)
    }

    fn declare(&mut self, queue: &Queue) -> Result<(), Failure> {
        self.inner.declare(queue)
    }

    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        self.inner.settled_before(queue, now)
    }
    fn has_receiver(&mut self, queue: &Queue) -> Result<Option<bool>, Failure> {
        self.inner.has_receiver(queue)
    }

    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        self.inner.acknowledge(queue, deliveries)
    }

    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure> {
        self.inner.reject(queue, refused, now)
    }

    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
        self.inner.remove(queue)
    }

    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure> {
        self.inner.publish(events, now)
    }

    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure> {
        self.inner.subscribe(queue, event)
    }

    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.inner.watch(queue, waker)
    }

    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), Failure> {
        self.inner.tidy(age, now)
    }
}
