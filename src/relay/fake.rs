//! A relay for unit tests: it does what the test says, and nothing otherwise.

use super::{Delivery, Event, Message, Queue, Relay, Sent};
use crate::failure::Failure;
use crate::spool::watch::Watch;
use crate::time::Timestamp;
use crate::wake::Waker;
use std::time::Duration;

type Answer<A, T> = Box<dyn FnMut(A) -> Result<T, Failure> + Send>;

/// See the module docs.
pub struct Fake {
    pub proxy: Answer<(), Option<String>>,
    pub send: Answer<Vec<Message>, Vec<Sent>>,
    pub receive: Answer<usize, Vec<Delivery>>,
    pub acknowledge: Answer<usize, ()>,
    pub remove: Answer<Queue, bool>,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            proxy: Box::new(|()| Ok(None)),
            send: Box::new(|messages| Ok(vec![Sent::Kept; messages.len()])),
            receive: Box::new(|_| Ok(Vec::new())),
            acknowledge: Box::new(|_| Ok(())),
            remove: Box::new(|_| Ok(false)),
        }
    }
}

impl Relay for Fake {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        (self.proxy)(())
    }

    fn declare(&mut self, _: &Queue) -> Result<(), Failure> {
        Ok(())
    }
    fn send(&mut self, messages: &[Message], _: Timestamp) -> Result<Vec<Sent>, Failure> {
        (self.send)(messages.to_vec())
    }
    fn receive(&mut self, _: &Queue, max: usize, _: Timestamp) -> Result<Vec<Delivery>, Failure> {
        (self.receive)(max)
    }
    fn settled_before(&mut self, _: &Queue, _: Timestamp) -> Result<Option<Timestamp>, Failure> {
        Ok(None)
    }
    fn has_receiver(&mut self, _: &Queue) -> Result<Option<bool>, Failure> {
        Ok(None)
    }
    fn acknowledge(&mut self, _: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        (self.acknowledge)(deliveries.len())
    }
    fn reject(&mut self, _: &Queue, _: &[(Delivery, String)], _: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
        (self.remove)(queue.clone())
    }
    fn publish(&mut self, _: &[(Event, Vec<u8>)], _: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
    fn subscribe(&mut self, _: &Queue, _: Event) -> Result<(), Failure> {
        Ok(())
    }
    fn watch(&mut self, _: &Queue, _: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }
    fn tidy(&mut self, _: Duration, _: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
}
