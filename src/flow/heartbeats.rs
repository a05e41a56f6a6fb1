//! heartbeats drains the relay's heartbeats: agents that the whitelist names are registered in the store.
//!
//! Agents repeat their heartbeats, so one that cannot be used is put aside with a log line, and a crash loses nothing. New
//! agents, and those that the whitelist does not name, are published as events; an agent that is not named, once a minute.

use super::duplicates::notice;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::limits;
use crate::relay::{Delivery, Event, Queue};
use crate::spool::Spool;
use crate::store::{Registration, Store};
use crate::time::Timestamp;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use crate::worker::told::Told;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// See the module docs.
pub struct Heartbeats {
    store: Box<dyn Store>,
    is_allowed: IsAllowed,
    agent_timeout: Duration,
    /// `agent.detectmultiagents`
    detect_multi_agents: bool,
    /// Agents that are not authorized: each is logged, and published, once in a while.
    unauthorized: Told<QueueLoc>,
    /// Agents that run on two machines.
    cloned: Told<QueueLoc>,
}

/// Whether the whitelist names an agent.
pub type IsAllowed = Box<dyn FnMut(&str) -> bool + Send>;

impl Heartbeats {
    /// Registers into this store the agents that the whitelist names. `detect_multi_agents`: logs those that run on two
    /// machines under one process id; periodic sees the others.
    pub fn new(
        store: Box<dyn Store>,
        is_allowed: IsAllowed,
        agent_timeout: Duration,
        detect_multi_agents: bool,
    ) -> Heartbeats {
        Heartbeats {
            store,
            is_allowed,
            agent_timeout,
            detect_multi_agents,
            unauthorized: Told::new("agents are not authorized", limits::REFUSALS_LOGGED_EVERY),
            cloned: Told::new("agents run on two machines", limits::KILL_ACTION_VALIDITY),
        }
    }

    /// What becomes of the heartbeat of an agent that the whitelist does not name.
    fn refuse(&mut self, agent: Agent, now: Timestamp) -> Settlement {
        log::debug!("heartbeat of agent '{}', which is not authorized", agent.queueloc);
        let text = format!("getHeartbeats(): Agent '{}' is not authorized", agent.queueloc);
        if !self.unauthorized.is_news(agent.queueloc, now) {
            return Settlement::accept(Vec::new());
        }
        log::warn!("{text}");
        Settlement::publish(Event::AgentAuthenticationFailure)
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
                settlements[index] = self.refuse(agent, now);
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
                Registration::Cloned(other) => {
                    if self.detect_multi_agents && self.cloned.is_news(agent.queueloc.clone(), now) {
                        log::warn!("heartbeats: {}", notice(agent, &other));
                    }
                }
                Registration::Known | Registration::Stale => log::debug!("heartbeat of agent '{}'", agent.queueloc),
            }
        }
        Ok(settlements)
    }
}
