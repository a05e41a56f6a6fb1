//! A store with a planted bug.

use super::Mutant;
use crate::action::Action;
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::{ActionId, AgentId, CommandRef};
use crate::store::{
    AgentCounts, Begin, Ended, FinishedBatch, KnownCommand, Prepared, Registration, SchedulerKey, Store,
};
use crate::targets::Target;
use crate::time::Timestamp;
use std::path::{Path, PathBuf};

/// A layer around a store.
pub struct BuggyStore {
    inner: Box<dyn Store>,
    spool: PathBuf,
}

impl BuggyStore {
    /// Around this store, beside this spool.
    pub fn new(inner: Box<dyn Store>, spool: &Path) -> BuggyStore {
        BuggyStore { inner, spool: spool.to_owned() }
    }

    /// Moves answers on, whose effect is still to come.
    fn move_before_effect(&self, answers: &[Command]) {
        for answer in answers.iter().filter(|_| Mutant::MoveBeforeEffect.is_on()) {
            let name = answer.reference().file_name();
            let [from, to] = ["returned", "done"].map(|stage| self.spool.join("command").join(stage).join(&name));
            let _ = std::fs::rename(from, to);
        }
    }
}

impl Store for BuggyStore {
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, Failure> {
        self.inner.reserve_action_ids(count)
    }

    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure> {
        self.inner.select_agents(target, now)
    }

    fn load_agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure> {
        self.inner.load_agents(ids)
    }

    fn explain_target(&self, target: &Target, now: Timestamp) -> String {
        self.inner.explain_target(target, now)
    }

    fn begin_actions(
        &mut self,
        owner: &str,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Failure> {
        self.inner.begin_actions(owner, actions, now)
    }

    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), Failure> {
        self.inner.mark_sent(commands)
    }

    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Failure> {
        self.inner.restore_commands(commands, now)
    }

    fn overdue_commands(&mut self, before: Timestamp, count: usize) -> Result<Vec<Command>, Failure> {
        self.inner.overdue_commands(before, count)
    }

    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Failure> {
        self.move_before_effect(answers);
        self.inner.finish_commands(answers, now)
    }

    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Failure> {
        self.inner.ended_actions(actions, now)
    }

    fn find_commands(&mut self, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Failure> {
        self.inner.find_commands(commands)
    }

    fn find_action(&mut self, action: ActionId) -> Result<Option<Action>, Failure> {
        self.inner.find_action(action)
    }

    fn has_commands(&mut self, action: ActionId) -> Result<bool, Failure> {
        self.inner.has_commands(action)
    }

    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, Failure> {
        self.inner.register(heartbeats, now)
    }

    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, Failure> {
        self.inner.mark_absent(idle_before, offline_before)
    }

    fn record_statistics(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.inner.record_statistics(now)
    }

    fn scheduler_key(
        &mut self,
        candidate: Option<&SchedulerKey>,
        now: Timestamp,
    ) -> Result<Option<SchedulerKey>, Failure> {
        self.inner.scheduler_key(candidate, now)
    }

    fn duplicate_agents(&mut self, heard_since: Timestamp) -> Result<Vec<Agent>, Failure> {
        self.inner.duplicate_agents(heard_since)
    }

    fn mark_upgraded(&mut self, now: Timestamp) -> Result<u64, Failure> {
        self.inner.mark_upgraded(now)
    }

    fn gone_queuelocs(&mut self, heard_before: Timestamp, count: usize) -> Result<Vec<QueueLoc>, Failure> {
        self.inner.gone_queuelocs(heard_before, count)
    }
}
