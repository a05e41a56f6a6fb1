//! The store: what is known of agents, actions and commands, for targets, counters and the API.
//!
//! The spool decides what happens next; the store remembers it. Every method of [`Store`] is idempotent and one
//! transaction: after a crash the caller does the same again and nothing changes that had been done. No SQL outside
//! this module's children and [`crate::target`].

pub mod sqlite;

use crate::action::Action;
use crate::command::{Command, CommandStatus};
use crate::heartbeat::Agent;
use crate::id::{ActionId, CommandId, CommandRef};
use crate::investigator::Investigator;
use crate::target::Target;
use crate::time::Timestamp;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or written now; the same call may work later.
    #[error("{what}: {cause}")]
    Away {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        cause: String,
    },
    /// A sync failed: what it has on the disk is not known. The process must end.
    #[error("{0}")]
    Fatal(String),
    /// It will never do this: the data contradict what it has, or a target cannot be evaluated.
    #[error("{0}")]
    Refused(String),
}

/// What [`Store::begin_actions`] is given for each action.
pub struct Begin<'a> {
    /// The verified action; it has an id.
    pub action: &'a Action,
    /// That id.
    pub id: ActionId,
    /// Who signed it.
    pub signers: &'a [Investigator],
    /// Whom its target selects now.
    pub agents: &'a [Agent],
}

/// A command that is stored and not yet sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Its id.
    pub id: CommandId,
    /// Its agent.
    pub agent: Agent,
}

/// What [`Store::finish_commands`] did with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is the command's final status now.
    Now,
    /// The command had ended before; its status stays as it was.
    Before(CommandStatus),
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Which.
    pub id: ActionId,
    /// How many of its commands ended how.
    pub counters: crate::action::Counters,
    /// When the last one did.
    pub finish_time: Timestamp,
}

/// What [`Store::finish_commands`] did with a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedBatch {
    /// Per answer, in order.
    pub finished: Vec<Finished>,
    /// The actions of the batch whose every command has ended.
    pub ended: Vec<Ended>,
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// The agent was not known.
    New,
    /// It was, and is online.
    Known,
    /// It had been heard of later than this heartbeat was sent: nothing changed.
    Stale,
}

/// Who has which status now, and what changed since the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// Agents heard of within the idle limit.
    pub online: u64,
    /// Agents heard of within the offline limit.
    pub idle: u64,
    /// Agents that became idle now.
    pub became_idle: u64,
    /// Agents that became offline now.
    pub became_offline: u64,
}

/// See the module docs. One contract suite (`tests/store_contract.rs`) runs against every implementation.
pub trait Store: Send {
    /// Ids that no action has, in the order of creation, below 2^53.
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, StoreError>;

    /// The agents that a target selects now: online or idle, the newest registration of each queueloc. Runs read-only
    /// with a time limit.
    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<Agent>, StoreError>;

    /// The query that [`Store::select_agents`] would run.
    fn explain_target(&self, target: &Target, now: Timestamp) -> String;

    /// Stores actions with one command for each agent that has none of that action yet. Gives, per action, the commands
    /// that have not been sent; refuses an action whose id belongs to another one.
    fn begin_actions(
        &mut self,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, StoreError>>, StoreError>;

    /// Notes that the relay has these commands.
    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), StoreError>;

    /// Adds actions, agents and commands that are missing, from commands that are on their way or answered: a store that
    /// was made anew knows again what is still in the spool.
    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), StoreError>;

    /// Commands without a final status whose action ran out before `before`, at most `count`.
    fn overdue_commands(&mut self, before: Timestamp, count: usize) -> Result<Vec<Command>, StoreError>;

    /// Stores final answers. The first final status of a command stays; a command that is missing is added from
    /// the answer.
    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, StoreError>;

    /// Of these actions, those whose every command has ended.
    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, StoreError>;

    /// A command's status and whose it is; none when there is no such command of that action.
    fn find_command(&mut self, command: CommandRef) -> Result<Option<(CommandStatus, String)>, StoreError>;

    /// Whether the store has commands of this action.
    fn has_commands(&mut self, action: ActionId) -> Result<bool, StoreError>;

    /// Takes heartbeats in; the newest wins. One that was taken in by a clock that was ahead, later than `now`, does not.
    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, StoreError>;

    /// Marks agents idle that were not heard of since `idle_before`, and offline since `offline_before`.
    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, StoreError>;

    /// Adds a row of statistics.
    fn record_statistics(&mut self, now: Timestamp) -> Result<(), StoreError>;
}
