//! periodic: every `freq`, what the store knows of agents is brought up to date.
//!
//! - marks agents idle and offline by their last heartbeat, and those that commands have ended;
//! - stores a row of statistics;
//! - tells of endpoints on which several agents run, and ends all but the newest when `killdupagents` says so: with an
//!   action of the schedulers' own, dropped into action/new like anybody's;
//! - every `queuescleanupfreq` removes the queues of agents that are gone.
//!
//! Everything here is safe to do twice, and beside other schedulers.

use super::{Failure, Pass, Worker, scheduler_key};
use crate::action::Action;
use crate::heartbeat::Agent;
use crate::limits::{self, IDLE_AFTER_PERIODS};
use crate::relay::{Queue, Relay};
use crate::signature::sign_with_key;
use crate::spool::stages::ACTION_NEW;
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Spool};
use crate::store::Store;
use crate::time::{self, Timestamp};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// What an operator chooses.
#[derive(Debug, Clone)]
pub struct Settings {
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
}

/// See the module docs.
pub struct Periodic {
    spool: Spool,
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    settings: Settings,
    /// When queues were removed last; after a start it is done once.
    cleaned: Option<Timestamp>,
    /// Until when no further action is made against a process; a hint only.
    ended: HashMap<(String, i64), Timestamp>,
}

impl Periodic {
    /// Works on this store, with kill actions in this spool.
    pub fn new(spool: Spool, store: Box<dyn Store>, relay: Box<dyn Relay>, settings: Settings) -> Periodic {
        Periodic { spool, store, relay, settings, cleaned: None, ended: HashMap::new() }
    }

    fn mark(&mut self, now: Timestamp) -> Result<(), Failure> {
        let idle_before = time::before(now, self.settings.heartbeat_freq * IDLE_AFTER_PERIODS);
        let counts = self.store.mark_absent(idle_before, time::before(now, self.settings.agent_timeout))?;
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
    fn end_duplicates(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.ended.retain(|_, until| *until > now);
        // Only those that still send: an agent that was restarted is online twice for a while.
        let heard_since = time::before(now, self.settings.heartbeat_freq * 2);
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
            if self.settings.kill_dup_agents {
                self.drop_kill_action(&agent, now)?;
            }
            self.ended.insert(key, time::after(now, limits::KILL_ACTION_VALIDITY));
        }
        Ok(())
    }

    fn drop_kill_action(&mut self, agent: &Agent, now: Timestamp) -> Result<(), Failure> {
        let key = scheduler_key::find_or_make(self.store.as_mut(), now)?;
        let refused = |error: &dyn std::fmt::Display| Failure::Away(format!("sign a kill action: {error}"));
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
        // A clock that is a little behind must not refuse it.
        action.valid_from = time::before(now, limits::KILL_ACTION_MARGIN);
        action.expire_after = time::after(now, limits::KILL_ACTION_VALIDITY);
        let signature = sign_with_key(&action.signed_text(), key.private_key.expose().as_bytes(), now);
        action.signatures = vec![signature.map_err(|e| refused(&e))?];
        let name = format!("kill-{}-{}.json", agent.queueloc, agent.pid);
        let name = FileName::new(name).ok_or_else(|| refused(&"its file has no name"))?;
        self.spool.put_replacing(ACTION_NEW, &[], &[(name, action.to_json())])?;
        Ok(())
    }

    fn remove_queues(&mut self, now: Timestamp) -> Result<(), Failure> {
        let heard_before = time::before(now, self.settings.agent_timeout);
        let mut removed = 0;
        for queueloc in self.store.gone_queuelocs(heard_before, limits::QUEUES_CLEANED_MAX)? {
            removed += usize::from(self.relay.remove(&Queue::agent(&queueloc))?);
        }
        if removed > 0 {
            log::info!("periodic: of {removed} agents that are gone the queues are removed");
        }
        self.cleaned = Some(now);
        Ok(())
    }
}

impl Worker for Periodic {
    fn name(&self) -> &'static str {
        "periodic"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        self.mark(now)?;
        if self.settings.detect_multi_agents || self.settings.kill_dup_agents {
            self.end_duplicates(now)?;
        }
        if time::is_due(self.cleaned, self.settings.queues_cleanup_freq, now) {
            self.remove_queues(now)?;
        }
        Ok(Pass { handled: 0, again: None })
    }
}
