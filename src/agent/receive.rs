//! receive drains the agent's queue on the relay: a command goes to received, and is acknowledged once it is on our disk.
//!
//! One that comes again is known by its name: it does not run again, and if it was answered the kept answer is sent again.

use super::room::Room;
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::relay::{Delivery, Queue};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::{FileName, Spool, Step};
use crate::time::Timestamp;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use std::collections::HashSet;
use std::sync::Arc;

/// See the module docs.
pub struct Receive {
    queueloc: QueueLoc,
    room: Room,
}

impl Receive {
    /// Receives the commands of the agent of this name.
    pub fn new(queueloc: QueueLoc) -> Receive {
        Receive { queueloc, room: Room::new("receive", "the relay keeps further commands") }
    }
}

/// The name and the content of a command's file.
fn check(delivery: &Delivery, queueloc: &QueueLoc) -> Result<(FileName, Vec<u8>), Settlement> {
    let command = Command::parse(&delivery.body).map_err(|e| Settlement::Reject(Kind::Malformed, e.to_string()))?;
    if command.agent.queueloc != *queueloc {
        let reason = format!("command {} is for {}", command.reference(), command.agent.queueloc);
        return Err(Settlement::Reject(Kind::Foreign, reason));
    }
    Ok((command.reference().into(), delivery.body.clone()))
}

/// What becomes of a command. The stages are asked in the order in which it moves through them, so that one that moves
/// meanwhile is met.
fn place(spool: &Spool, name: FileName, body: Vec<u8>) -> Result<Vec<Step>, Failure> {
    for stage in [AGENT_RECEIVED, AGENT_RUNNING, AGENT_ANSWERED] {
        if spool.has(stage, &name)? {
            return Ok(Vec::new());
        }
    }
    if spool.has(AGENT_DONE, &name)? {
        log::info!("command {name} came again, the kept answer is sent");
        return Ok(vec![Step::forward(AGENT_DONE, &name, AGENT_ANSWERED)]);
    }
    Ok(vec![Step::put(AGENT_RECEIVED, name, body)])
}

impl MessageHandler for Receive {
    type Checked = Result<(FileName, Vec<u8>), Settlement>;

    fn name(&self) -> &'static str {
        "receive"
    }

    fn queue(&self) -> Queue {
        Queue::agent(&self.queueloc)
    }

    fn batch_entries_max(&mut self, spool: &Spool) -> Result<usize, Failure> {
        Ok(if self.room.is_used_up(spool, AGENT_RECEIVED)? { 0 } else { limits::AGENT_DELIVERIES_MAX })
    }

    fn check(
        &mut self,
        _spool: &Arc<Spool>,
        _now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<> {
        let queueloc = self.queueloc.clone();
        move |delivery| check(delivery, &queueloc)
    }

    fn handle(
        &mut self,
        spool: &Spool,
        checked: Vec<Self::Checked>,
        _now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure> {
        let mut met = HashSet::new();
        let mut settle = |(name, body): (FileName, Vec<u8>)| match met.insert(name.clone()) {
            true => place(spool, name, body).map(Settlement::accept),
            false => Ok(Settlement::accept(Vec::new())),
        };
        checked.into_iter().map(|one| one.map_or_else(Ok, &mut settle)).collect()
    }
}
