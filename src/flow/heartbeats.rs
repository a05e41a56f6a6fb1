//! heartbeats: registers the agents that the whitelist names.
//!
//! Heartbeats come again by themselves, so one that cannot be used is dropped with a log line, and a crash loses nothing.
//! New agents, and those that the whitelist does not name, are told of as events.

use super::Failure;
use super::queue::{QueueWorker, Verdict};
use super::refusal::Kind;
use super::whitelist::Whitelist;
use crate::heartbeat::Agent;
use crate::relay::{Delivery, Event, Queue};
use crate::reload::Reloaded;
use crate::spool::Spool;
use crate::store::{Registration, Store};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// See the module docs.
pub struct Heartbeats {
    store: Box<dyn Store>,
    whitelist: Reloaded<Whitelist>,
    agent_timeout: Duration,
}

impl Heartbeats {
    /// Registers into this store those whom the whitelist names.
    pub fn new(store: Box<dyn Store>, whitelist: Reloaded<Whitelist>, agent_timeout: Duration) -> Heartbeats {
        Heartbeats { store, whitelist, agent_timeout }
    }
}

impl QueueWorker for Heartbeats {
    type Judged = Result<Agent, Verdict>;

    fn name(&self) -> &'static str {
        "heartbeats"
    }

    fn source(&self) -> Queue {
        Queue::heartbeats()
    }

    fn judge(
        &mut self,
        _spool: &Arc<Spool>,
        now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Judged + Send + Sync + use<> {
        let agent_timeout = self.agent_timeout;
        move |delivery| {
            let parsed = Agent::parse_heartbeat(&delivery.body, now, agent_timeout);
            parsed.map_err(|error| Verdict::Reject(Kind::Malformed, error.to_string()))
        }
    }

    fn work(&mut self, _spool: &Spool, judged: Vec<Self::Judged>, now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        let whitelist = self.whitelist.get();
        let mut verdicts = vec![Verdict::Done; judged.len()];
        // Of several heartbeats of one process in a batch only the newest is stored.
        let mut newest: HashMap<(String, i64), (Agent, usize)> = HashMap::with_capacity(judged.len());
        for (index, judged) in judged.into_iter().enumerate() {
            let agent = match judged {
                Ok(agent) => agent,
                Err(verdict) => {
                    verdicts[index] = verdict;
                    continue;
                }
            };
            // Not while it is judged: regular expressions keep a cache for each thread that they ever ran on.
            if !whitelist.allows(agent.queueloc.as_str()) {
                log::warn!("getHeartbeats(): Agent '{}' is not authorized", agent.queueloc);
                verdicts[index] = Verdict::Tell(Event::AgentAuthenticationFailure);
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
                    verdicts[index] = Verdict::Tell(Event::AgentNew);
                }
                Registration::Known | Registration::Stale => log::debug!("heartbeat of agent '{}'", agent.queueloc),
            }
        }
        Ok(verdicts)
    }
}
