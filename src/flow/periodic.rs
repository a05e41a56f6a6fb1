//! periodic makes a round every `freq` and updates what the store knows of agents:
//!
//! - agents become idle and offline by their last heartbeat; those that commands have ended are marked;
//! - a row of statistics is stored;
//! - endpoints on which several agents run are logged; with `killdupagents` all but the newest agent are ended, by an
//!   action that the scheduler signs and puts into action/new;
//! - every `queuescleanupfreq` the queues of agents that are gone are removed.
//!
//! Everything here is safe to do twice, and beside other schedulers.

use crate::action::Action;
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::id::AgentId;
use crate::limits::{self, IDLE_AFTER_PERIODS};
use crate::relay::{Queue, Relay};
use crate::signature::sign_with_key;
use crate::spool::stages::ACTION_NEW;
use crate::spool::{FileName, Spool, Step};
use crate::store::{SchedulerKey, Store};
use crate::time::{self, Timestamp};
use crate::worker::clock::ClockHandler;
use crate::worker::{Apply, Pass, apply_all};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// Its configuration.
#[derive(Debug, Clone)]
pub struct PeriodicConfig {
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
    /// When queues were removed last; after a start it is done once.
    cleaned: Option<Timestamp>,
    /// Until when no further action is made against a process; a hint only.
    ended: HashMap<(String, i64), Timestamp>,
}

impl Periodic {
    /// Updates this store, and removes queues of this relay.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>, config: PeriodicConfig) -> Periodic {
        Periodic { store, relay, config, cleaned: None, ended: HashMap::new() }
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
        // Not of the queueloc, which may be as long as a file's name.
        let registration = agent.id.map_or(0, AgentId::get);
        let name = format!("kill-{registration}-{}.json", agent.pid);
        let name = FileName::new(name).ok_or_else(|| refused(&"its file has no name"))?;
        Ok(Step::put(ACTION_NEW, name, action.to_json()))
    }

    fn remove_queues(&mut self, now: Timestamp) -> Result<(), Failure> {
        let heard_before = time::before(now, self.config.agent_timeout);
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

impl ClockHandler for Periodic {
    fn name(&self) -> &'static str {
        "periodic"
    }

    fn round(&mut self, _spool: &Spool, apply: Apply, now: Timestamp) -> Result<Pass, Failure> {
        self.mark(now)?;
        if self.config.detect_multi_agents || self.config.kill_dup_agents {
            self.end_duplicates(apply, now)?;
        }
        if time::is_due(self.cleaned, self.config.queues_cleanup_freq, now) {
            self.remove_queues(now)?;
        }
        Ok(Pass { handled: 0, again: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::relay::directory::DirectoryRelay;
    use crate::signature::{Keyring, generate_key};
    use crate::spool::{Mover, stages};
    use crate::store::sqlite::SqliteStore;
    use crate::worker::Worker;
    use crate::worker::clock::ClockWorker;

    fn make_key(_store: &mut dyn Store, _now: Timestamp) -> Result<SchedulerKey, Failure> {
        let (public_key, private_key) = generate_key("MIG Scheduler").unwrap();
        let keyring = Keyring::parse(public_key.as_bytes()).unwrap();
        let fingerprint = keyring.investigators().next().unwrap().fingerprint.clone();
        Ok(SchedulerKey { fingerprint, public_key, private_key: Secret::new(private_key) })
    }

    #[test]
    fn a_kill_action_has_a_name_that_fits_whatever_the_queueloc() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        stages::make(directory.path(), &stages::SCHEDULER).unwrap();
        std::fs::create_dir(path("relay")).unwrap();
        let (now, hour) = (time::now(), Duration::from_secs(3600));
        let queueloc = format!("linux.{}.1", "h".repeat(limits::QUEUELOC_BYTES_MAX - "linux..1".len()));
        let agent = |pid: u64| {
            let start = time::before(now, Duration::from_secs(100 - pid));
            let text = json!({"name": "h", "queueloc": queueloc, "pid": 4_000_000_000 + pid,
                "starttime": start.to_string(), "heartbeatts": now.to_string()});
            Agent::parse_heartbeat(text.to_string().as_bytes(), now, hour).unwrap()
        };
        let mut store = SqliteStore::open(&path("mig.db")).unwrap();
        store.register(&[agent(1), agent(2), agent(3)], now).unwrap();
        let relay = Box::new(DirectoryRelay::open(&path("relay")).unwrap());
        let config = PeriodicConfig {
            heartbeat_freq: hour,
            agent_timeout: hour,
            queues_cleanup_freq: hour,
            detect_multi_agents: true,
            kill_dup_agents: true,
            find_key: make_key,
        };
        let mover = Mover::open(directory.path(), &stages::SCHEDULER, "periodic").unwrap();
        let mut periodic = ClockWorker::new(mover, Periodic::new(Box::new(store), relay, config));
        periodic.pass(now).unwrap();
        assert_eq!(std::fs::read_dir(path("action/new")).unwrap().count(), 2);
    }
}
