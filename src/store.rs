//! The store: what is known of agents, actions and commands, for targets, counters and the API.
//!
//! The spool decides what happens next; the store remembers it. Every method of [`Store`] is idempotent and one
//! transaction: after a crash the caller does the same again and nothing changes that had been done. No SQL outside
//! this module's children and [`crate::targets`]. Two implementations: [`sqlite`], one file on this machine, and [`postgres`],
//! a server that several schedulers and the API share.

pub mod postgres;
pub mod sqlite;

use crate::action::Action;
use crate::command::{Command, CommandStatus};
use crate::config::Secret;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::{ActionId, AgentId, CommandId, CommandRef};
use crate::investigator::{Fingerprint, Investigator};
use crate::targets::Target;
use crate::time::Timestamp;

/// What [`Store::begin_actions`] is given for each action.
pub struct Begin<'a> {
    /// The verified action; it has an id.
    pub action: &'a Action,
    /// That id.
    pub id: ActionId,
    /// Who signed it.
    pub signers: &'a [Investigator],
    /// Whom its target selects now.
    pub agents: &'a [AgentId],
}

/// What the store knows of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCommand {
    /// How far it is.
    pub status: CommandStatus,
    /// Whose it is.
    pub queueloc: String,
}

/// The name of the investigator that the schedulers are when they sign actions of their own.
pub const SCHEDULER_NAME: &str = "migscheduler";

/// The OpenPGP key that all schedulers of one store share.
#[derive(Debug, Clone)]
pub struct SchedulerKey {
    /// Of the key.
    pub fingerprint: Fingerprint,
    /// Its certificate, armored.
    pub public_key: String,
    /// The secret key, armored.
    pub private_key: Secret,
}

impl SchedulerKey {
    /// The key that the store has.
    fn stored(fingerprint: &str, public_key: String, private_key: String) -> Result<SchedulerKey, Failure> {
        let fingerprint = Fingerprint::parse(fingerprint)
            .map_err(|reason| Failure::Refuse(format!("investigator {SCHEDULER_NAME}: {reason}")))?;
        Ok(SchedulerKey { fingerprint, public_key, private_key: Secret::new(private_key) })
    }
}

/// Modules whose operations end an agent's process; see [`Store::mark_upgraded`].
const ENDING_MODULES: [&str; 2] = ["upgrade", "agentdestroy"];

/// Whether an action can end the agent that runs it, or another one beside it.
fn ends_agents(action: &Action) -> bool {
    action.operations.iter().any(|operation| ENDING_MODULES.contains(&operation.module.as_str()))
}

/// An action of the store: its JSON without the times, which each database keeps in its own way. None when the row cannot
/// be one of ours.
fn stored_action(text: &str, valid_from: Timestamp, expire_after: Timestamp) -> Option<Action> {
    let action = Action::parse_draft(text.as_bytes()).ok()?;
    Some(Action { valid_from, expire_after, ..action })
}

/// Why an action is not begun whose id another one has.
fn id_taken(id: ActionId) -> Failure {
    Failure::Refuse(format!("the id {id} belongs to another action; drop this one without an id, and it is given one"))
}

/// Why an action is not begun that is another scheduler's.
fn claimed(id: ActionId, owner: &str) -> Failure {
    Failure::Refuse(format!(
        "action {id} is being scheduled by another scheduler; its spool has the id {owner} in scheduler-id"
    ))
}

/// A command that is stored and not yet sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Its id.
    pub id: CommandId,
    /// Its agent.
    pub agent: AgentId,
}

impl Prepared {
    /// From a row; none when it cannot be one of ours.
    fn stored(id: i64, agent: i64) -> Option<Prepared> {
        Some(Prepared { id: CommandId::new(id as u64)?, agent: AgentId::new(agent as u64)? })
    }
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
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, Failure>;

    /// The agents that a target selects now: online or idle, the newest registration of each queueloc. Runs read-only
    /// with a time limit.
    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure>;

    /// These registrations, in this order; those that there are not are left out.
    fn load_agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure>;

    /// The query that [`Store::select_agents`] would run.
    fn explain_target(&self, target: &Target, now: Timestamp) -> String;

    /// Stores actions with one command for each agent that has none of that action yet. Gives, per action, the commands
    /// that have not been sent; refuses an action whose id belongs to another one. The action's row is `owner`'s claim
    /// until every command has ended: while it is in flight, another scheduler's begin is refused.
    fn begin_actions(
        &mut self,
        owner: &str,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Failure>;

    /// Notes that the relay has these commands.
    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), Failure>;

    /// Adds actions, agents and commands that are missing, from commands that are on their way or answered: a store that
    /// was made anew knows again what is still in the spool.
    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Failure>;

    /// Commands without a final status whose action ran out before `before`, at most `count`.
    fn overdue_commands(&mut self, before: Timestamp, count: usize) -> Result<Vec<Command>, Failure>;

    /// Stores final answers. The first final status of a command stays; a command that is missing is added from
    /// the answer.
    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Failure>;

    /// Of these actions, those whose every command has ended.
    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Failure>;

    /// What is known of each command; none when there is no such command of that action.
    fn find_commands(&mut self, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Failure>;

    /// An action as it was begun.
    fn find_action(&mut self, action: ActionId) -> Result<Option<Action>, Failure>;

    /// Whether the store has commands of this action.
    fn has_commands(&mut self, action: ActionId) -> Result<bool, Failure>;

    /// Takes heartbeats in; the newest wins. One that was taken in by a clock that was ahead, later than `now`, does not.
    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, Failure>;

    /// Marks agents idle that were not heard of since `idle_before`, and offline since `offline_before`.
    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, Failure>;

    /// Adds a row of statistics.
    fn record_statistics(&mut self, now: Timestamp) -> Result<(), Failure>;

    /// The key of the schedulers: the one that is stored, or else `candidate`, which is stored. Of several first starts at
    /// once all get the same. None when there is neither.
    fn scheduler_key(
        &mut self,
        candidate: Option<&SchedulerKey>,
        now: Timestamp,
    ) -> Result<Option<SchedulerKey>, Failure>;

    /// Online registrations, heard of since then, of a queueloc that has a newer such one: the newest is the process that
    /// started last.
    fn duplicate_agents(&mut self, heard_since: Timestamp) -> Result<Vec<Agent>, Failure>;

    /// Takes note of processes that commands have ended, of the last [`crate::limits::ENDED_AGENTS_PERIOD`]. Gives how many
    /// registrations changed.
    ///
    /// - `destroyed`, with the command's end as the destruction time: the queueloc ran `agentdestroy` with success, for the
    ///   pid and version of this registration.
    /// - `upgraded`: this registration ran `upgrade` with success, and is not heard of any more: idle or offline, or there
    ///   is a registration of the queueloc that was heard of later, started later, and has another version.
    ///
    /// A process that started after the command ended is another one.
    fn mark_upgraded(&mut self, now: Timestamp) -> Result<u64, Failure>;

    /// Queuelocs of which nothing was heard since then, which have no registration that is online or idle, and no command
    /// that has not ended; at most `count`, those heard of last first.
    fn gone_queuelocs(&mut self, heard_before: Timestamp, count: usize) -> Result<Vec<QueueLoc>, Failure>;
}
