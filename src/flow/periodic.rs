//! periodic makes a round every `freq` and updates what the store knows of agents:
//!
//! - agents become idle and offline by their last heartbeat; those that commands have ended are marked;
//! - a row of statistics is stored;
//! - endpoints on which several agents run are logged; with `killdupagents` all but the newest agent are ended, by an
//!   action that the scheduler signs and puts into action/new;
//! - every `queuescleanupfreq` the queues of agents that are gone are removed (`periodic/cleaning.rs`).
//!
//! Everything here is safe to do twice, and beside other schedulers.

mod cleaning;

use crate::action::Action;
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::limits::{self, IDLE_AFTER_PERIODS};
use crate::relay::Relay;
use crate::signature::sign_with_key;
use crate::spool::stages::ACTION_NEW;
use crate::spool::{FileName, Spool, Step};
use crate::store::{SchedulerKey, Store};
use crate::time::{self, Timestamp};
use crate::worker::clock::ClockHandler;
use crate::worker::{Apply, Pass, apply_all};
use cleaning::Cleaning;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// Its configuration.
#[derive(Debug, Clone)]
pub struct PeriodicConfig {
    /// `periodic.freq`
    pub freq: Duration,
    /// `agent.heartbeatfreq`
    pub heartbeat_freq: Duration,
    /// `agent.timeout`
    pub agent_timeout: Duration,
    /// `periodic.queuescleanupfreq`
    pub queues_cleanup_freq: Duration,
    /// `agent.detectmultiagents`
    pub detect_multi_agents: bool,
    /// `agent.killdupagents`
    pub kill_dup_agents: bool,
    /// Finds the key that signs kill actions.
    pub find_key: fn(&mut dyn Store, Timestamp) -> Result<SchedulerKey, Failure>,
}

/// See the module docs.
pub struct Periodic {
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    config: PeriodicConfig,
    /// When the rest of a round was done last.
    marked: Option<Timestamp>,
    cleaning: Cleaning,
    /// Until when no further action is made against a process; a hint only.
    ended: HashMap<(String, i64), Timestamp>,
}

impl Periodic {
    /// Updates this store, and removes queues of this relay.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>, config: PeriodicConfig) -> Periodic {
        Periodic { store, relay, config, marked: None, cleaning: Cleaning::default(), ended: HashMap::new() }
    }

    fn mark(&mut self, now: Timestamp) -> Result<(), Failure> {
        let idle_before = time::before(now, self.config.heartbeat_freq * IDLE_AFTER_PERIODS);
        let counts = self.store.mark_absent(idle_before, time::before(now, self.config.agent_timeout))?;
        let ended = self.store.mark_upgraded(now)?;
        self.store.record_statistics(now)?;
        if counts.became_idle + counts.became_offline + ended > 0 {
            log::info!(
                "periodic: {} agents became idle, {} offline, {ended} were upgraded or destroyed; {} are online",
                counts.became_idle,
                counts.became_offline,
                counts.online
            );
        }
        Ok(())
    }

    /// Of several agents on one endpoint, all but the one that started last.
    fn end_duplicates(&mut self, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        self.ended.retain(|_, until| *until > now);
        // Only those that still send: an agent that was restarted is online twice for a while.
        let heard_since = time::before(now, self.config.heartbeat_freq * 2);
        for agent in self.store.duplicate_agents(heard_since)? {
            let key = (agent.queueloc.as_str().to_owned(), agent.pid);
            if self.ended.contains_key(&key) {
                continue;
            }
            log::warn!(
                "periodic: agent '{}' runs more than once, process {} version {} is an older one",
                agent.queueloc,
                agent.pid,
                agent.version
            );
            if self.config.kill_dup_agents {
                apply_all(apply, vec![self.kill_action(&agent, now)?])?;
            }
            self.ended.insert(key, time::after(now, limits::KILL_ACTION_VALIDITY));
        }
        Ok(())
    }

    /// The step that puts it into action/new.
    fn kill_action(&mut self, agent: &Agent, now: Timestamp) -> Result<Step, Failure> {
        let key = (self.config.find_key)(self.store.as_mut(), now)?;
        let refused = |error: &dyn std::fmt::Display| Failure::retry(format!("sign a kill action: {error}"));
        let draft = json!({
            "name": format!("Kill duplicate agent {} (process {})", agent.queueloc, agent.pid),
            "target": format!("queueloc = '{}'", agent.queueloc),
            "description": {"author": "MIG Scheduler"},
            "operations": [
                {"module": "agentdestroy", "parameters": {"pid": agent.pid, "version": agent.version}}
            ],
            "syntaxversion": 2
        });
        let mut action = Action::parse_draft(draft.to_string().as_bytes()).map_err(|e| refused(&e))?;
        // An agent whose clock is a little behind must not refuse it.
        action.valid_from = time::before(now, limits::KILL_ACTION_MARGIN);
        action.expire_after = time::after(now, limits::KILL_ACTION_VALIDITY);
        let signature = sign_with_key(&action.signed_text(), key.private_key.expose().as_bytes(), now);
        action.signatures = vec![signature.map_err(|e| refused(&e))?];
        let name = format!("kill-{}-{}.json", agent.queueloc, agent.pid);
        let name = FileName::new(name).ok_or_else(|| refused(&"its file has no name"))?;
        Ok(Step::put(ACTION_NEW, name, action.to_json()))
    }
}

impl ClockHandler for Periodic {
    fn name(&self) -> &'static str {
        "periodic"
    }

    fn round(&mut self, _spool: &Spool, apply: Apply, now: Timestamp) -> Result<Pass, Failure> {
        // In the middle of a long cleaning only as often as otherwise.
        if !self.cleaning.is_going_on() || time::is_due(self.marked, self.config.freq, now) {
            self.mark(now)?;
            if self.config.detect_multi_agents || self.config.kill_dup_agents {
                self.end_duplicates(apply, now)?;
            }
            self.marked = Some(now);
        }
        let heard_before = time::before(now, self.config.agent_timeout);
        let (store, relay) = (self.store.as_mut(), self.relay.as_mut());
        self.cleaning.step(store, relay, heard_before, self.config.queues_cleanup_freq, now)?;
        Ok(Pass { handled: 0, again: self.cleaning.is_going_on().then_some(now) })
    }
}
