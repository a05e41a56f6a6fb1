//! periodic makes a round every `freq` and updates what the store knows of agents:
//!
//! - agents become idle and offline by their last heartbeat; those that commands have ended are marked;
//! - a row of statistics is stored;
//! - agents that run more than once at the same time are logged; with `killdupagents` the older process is ended, by an
//!   action that the scheduler signs and puts into action/new, if it is certain that it is alive: it sent a heartbeat after
//!   the newer one had started, and both are on one machine;
//! - agents that were upgraded and still run beside their successor, on one machine, are ended by such an action too,
//!   whatever `killdupagents` says (`periodic/upgraded.rs`);
//! - every `queuescleanupfreq` the queues of agents that are gone are removed (`periodic/cleaning.rs`).
//!
//! Everything here is safe to do twice, and beside other schedulers.

mod cleaning;
mod upgraded;

use super::duplicates::{Place, notice, place};
use crate::action::Action;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::AgentId;
use crate::limits::{self, IDLE_AFTER_PERIODS};
use crate::relay::Relay;
use crate::signature::sign_with_key;
use crate::spool::stages::ACTION_NEW;
use crate::spool::{FileName, Spool, Step};
use crate::store::{Duplicate, SchedulerKey, Store};
use crate::time::{self, Timestamp};
use crate::worker::clock::ClockHandler;
use crate::worker::told::Told;
use crate::worker::{Apply, Pass, apply_all};
use cleaning::Cleaning;
use serde_json::json;
use std::time::{Duration, Instant};
use upgraded::Orders;

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
    /// The older ones of duplicate agents; a hint only.
    told: Told<(QueueLoc, i64)>,
    orders: Orders,
}

impl Periodic {
    /// Updates this store, and removes queues of this relay.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>, config: PeriodicConfig) -> Periodic {
        let told = Told::new("agents run more than once", limits::KILL_ACTION_VALIDITY);
        Periodic { store, relay, config, marked: None, cleaning: Cleaning::default(), told, orders: Orders::default() }
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

    /// Logs agents that run twice, and ends the older process where it is certain that there are two on one machine.
    fn end_duplicates(&mut self, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        for Duplicate { older, newer } in self.store.duplicate_agents(self.alive_since(now), limits::DUPLICATES_MAX)? {
            let key = (older.queueloc.clone(), older.pid);
            if !self.told.is_news(key.clone(), now) {
                continue;
            }
            log::warn!("periodic: {}", notice(&older, &newer));
            if self.config.kill_dup_agents && place(&older, &newer) == Place::OneMachine {
                let put = self.kill_action("duplicate", &older, now).and_then(|step| apply_all(apply, vec![step]));
                // The next round tries again.
                put.inspect_err(|_| self.told.forget(&key))?;
            }
        }
        Ok(())
    }

    /// A process that has sent a heartbeat since then is taken for alive.
    fn alive_since(&self, now: Timestamp) -> Timestamp {
        time::before(now, self.config.heartbeat_freq * 2)
    }

    /// The step that puts it into action/new. `what` is what the agent is.
    fn kill_action(&mut self, what: &str, agent: &Agent, now: Timestamp) -> Result<Step, Failure> {
        let begun = Instant::now();
        let key = (self.config.find_key)(self.store.as_mut(), now)?;
        // A key that was just made is younger than the round.
        let signed = time::after(now, begun.elapsed());
        let refused = |error: &dyn std::fmt::Display| Failure::retry(format!("sign a kill action: {error}"));
        let draft = json!({
            "name": format!("Kill {what} agent {} (process {})", agent.queueloc, agent.pid),
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
        let signature = sign_with_key(&action.signed_text(), key.private_key.expose().as_bytes(), signed);
        action.signatures = vec![signature.map_err(|e| refused(&e))?];
        // Not of the queueloc, which may be as long as a file's name.
        let registration = agent.id.map_or(0, AgentId::get);
        let name = format!("kill-{registration}-{}.json", agent.pid);
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
            self.end_upgraded(apply, now)?;
            self.marked = Some(now);
        }
        let heard_before = time::before(now, self.config.agent_timeout);
        let (store, relay) = (self.store.as_mut(), self.relay.as_mut());
        self.cleaning.step(store, relay, heard_before, self.config.queues_cleanup_freq, now)?;
        Ok(Pass { handled: 0, again: self.cleaning.is_going_on().then_some(now) })
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
                "starttime": start.to_string(), "heartbeatts": now.to_string(), "environment": {"machine": "m"}});
            Agent::parse_heartbeat(text.to_string().as_bytes(), now, hour).unwrap()
        };
        let mut store = SqliteStore::open(&path("mig.db")).unwrap();
        store.register(&[agent(1), agent(2), agent(3)], now).unwrap();
        let relay = Box::new(DirectoryRelay::open(&path("relay")).unwrap());
        let config = PeriodicConfig {
            freq: hour,
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
