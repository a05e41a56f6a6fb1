//! receive: from the agent's queue on the relay to `received`.
//!
//! The relay lets go of a command once it is on our disk. One that comes again is met by its name: it is not run again,
//! and when it was answered the kept answer is sent again.

use crate::command::Command;
use crate::flow::refusal::{Kind, Tally};
use crate::flow::{Failure, Pass, Worker};
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::relay::{Delivery, Queue, Relay};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Move, Spool};
use crate::time::Timestamp;

/// See the module docs.
pub struct Receive {
    spool: Spool,
    relay: Box<dyn Relay>,
    queueloc: QueueLoc,
    refused: Tally,
}

impl Receive {
    /// Takes the commands of the agent of this name from the relay into its spool.
    pub fn new(spool: Spool, relay: Box<dyn Relay>, queueloc: QueueLoc) -> Receive {
        Receive { spool, relay, queueloc, refused: Tally::new("receive") }
    }

    fn queue(&self) -> Queue {
        Queue::agent(&self.queueloc)
    }

    fn accept(&self, body: &[u8]) -> Result<FileName, (Kind, String)> {
        let command = Command::parse(body).map_err(|e| (Kind::Malformed, e.to_string()))?;
        if command.agent.queueloc != self.queueloc {
            let reason = format!("command {} is for {}", command.reference(), command.agent.queueloc);
            return Err((Kind::Foreign, reason));
        }
        Ok(command.reference().into())
    }

    /// Whether a delivered command is one we have never had. The stages are asked in the order in which a command moves
    /// through them, so that one that moves meanwhile is met.
    fn is_unknown(&self, name: &FileName, taken: &[(FileName, Vec<u8>)]) -> Result<bool, Failure> {
        if taken.iter().any(|(known, _)| known == name) {
            return Ok(false);
        }
        for stage in [AGENT_RECEIVED, AGENT_RUNNING, AGENT_ANSWERED] {
            if self.spool.has(stage, name)? {
                return Ok(false);
            }
        }
        if self.spool.has(AGENT_DONE, name)? {
            log::info!("command {name} came again, the kept answer is sent");
            self.spool.advance(&[Move::new(AGENT_DONE, name, AGENT_ANSWERED)])?;
            return Ok(false);
        }
        Ok(true)
    }
}

impl Worker for Receive {
    fn name(&self) -> &'static str {
        "receive"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.relay.declare(&self.queue())?;
        Ok(self.relay.watch(&self.queue(), waker)?)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let queue = self.queue();
        let deliveries = self.relay.receive(&queue, limits::AGENT_DELIVERIES_MAX, now)?;
        let (mut taken, mut done): (Vec<(FileName, Vec<u8>)>, Vec<Delivery>) = (Vec::new(), Vec::new());
        let mut refused = Vec::new();
        for delivery in &deliveries {
            match self.accept(&delivery.body) {
                Ok(name) => {
                    if self.is_unknown(&name, &taken)? {
                        taken.push((name, delivery.body.clone()));
                    }
                    done.push(delivery.clone());
                }
                Err((kind, reason)) => refused.push((delivery.clone(), kind, reason)),
            }
        }
        self.spool.put_replacing(AGENT_RECEIVED, &[], &taken)?;
        self.relay.done(&queue, &done)?;
        // Last, because its reason takes room: on a full relay it is the others that make some.
        self.refused.put_aside(self.relay.as_mut(), &queue, refused, now)?;
        let untold = self.refused.tell(now);
        // More may be waiting on the relay: the loop looks whether it shall stop, and comes back at once.
        Ok(Pass { handled: deliveries.len(), again: if deliveries.is_empty() { untold } else { Some(now) } })
    }
}
