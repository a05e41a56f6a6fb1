//! heartbeats drains the relay's heartbeats: agents that the whitelist names are registered in the store.
//!
//! Agents repeat their heartbeats, so one that cannot be used is put aside with a log line, and a crash loses nothing. New
//! agents, and those that the whitelist does not name, are published as events.

use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::relay::{Delivery, Event, Queue};
use crate::spool::Spool;
use crate::store::{Registration, Store};
use crate::time::Timestamp;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// See the module docs.
pub struct Heartbeats {
    store: Box<dyn Store>,
    is_allowed: IsAllowed,
    agent_timeout: Duration,
}

/// Whether the whitelist names an agent.
pub type IsAllowed = Box<dyn FnMut(&str) -> bool + Send>;

impl Heartbeats {
    /// Registers into this store the agents that the whitelist names.
    pub fn new(store: Box<dyn Store>, is_allowed: IsAllowed, agent_timeout: Duration) -> Heartbeats {
        Heartbeats { store, is_allowed, agent_timeout }
    }
}

impl MessageHandler for Heartbeats {
    type Checked = Result<Agent, Settlement>;

    fn name(&self) -> &'static str {
        "heartbeats"
    }

    fn queue(&self) -> Queue {
        Queue::heartbeats()
    }

    fn check(
        &mut self,
        _spool: &Arc<Spool>,
        now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<> {
        let agent_timeout = self.agent_timeout;
        move |delivery| {
            let parsed = Agent::parse_heartbeat(&delivery.body, now, agent_timeout);
            parsed.map_err(|error| Settlement::Reject(Kind::Malformed, error.to_string()))
        }
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        checked: Vec<Self::Checked>,
        now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure> {
        let mut settlements = vec![Settlement::accept(Vec::new()); checked.len()];
        // Of several heartbeats of one process in a batch only the newest is stored.
        let mut newest: HashMap<(String, i64), (Agent, usize)> = HashMap::with_capacity(checked.len());
        for (index, checked) in checked.into_iter().enumerate() {
            let agent = match checked {
                Ok(agent) => agent,
                Err(settlement) => {
                    settlements[index] = settlement;
                    continue;
                }
            };
            // Not in the check: regular expressions keep a cache for each thread that ever used them.
            if !(self.is_allowed)(agent.queueloc.as_str()) {
                log::warn!("getHeartbeats(): Agent '{}' is not authorized", agent.queueloc);
                settlements[index] = Settlement::publish(Event::AgentAuthenticationFailure);
                continue;
            }
            let key = (agent.queueloc.as_str().to_owned(), agent.pid);
            let older = newest.get(&key).is_some_and(|(known, _)| known.heartbeat_time >= agent.heartbeat_time);
            if !older {
                newest.insert(key, (agent, index));
            }
        }
        let (agents, indices): (Vec<Agent>, Vec<usize>) = newest.into_values().unzip();
        let registrations = self.store.register(&agents, now)?;
        for ((agent, index), registration) in agents.iter().zip(indices).zip(registrations) {
            match registration {
                Registration::New => {
                    log::info!("agent '{}' is new, version {}", agent.queueloc, agent.version);
                    settlements[index] = Settlement::publish(Event::AgentNew);
                }
                Registration::Known | Registration::Stale => log::debug!("heartbeat of agent '{}'", agent.queueloc),
            }
        }
        Ok(settlements)
    }
}
