//! The store: agents, actions and commands, for targets, counters and the API.
//!
//! The spool decides what happens next; the store records it. Every method of [`Store`] is idempotent and one
//! transaction: after a crash the caller repeats the call, and what was committed stays unchanged. No SQL outside this
//! module's children and [`crate::targets`]. Two implementations: [`sqlite`], one file on this machine, and
//! [`postgres`], a server that several schedulers and the API share. Both implement [`catalog::Catalog`] too, what people
//! read, and [`accounts::Accounts`], who may.

pub mod accounts;
pub mod catalog;
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

/// An action for [`Store::begin_actions`].
pub struct Begin<'a> {
    /// The verified action; it has an id.
    pub action: &'a Action,
    /// Its id.
    pub id: ActionId,
    /// The investigators that signed it.
    pub signers: &'a [Investigator],
    /// The agents that its target selects now.
    pub agents: &'a [AgentId],
}

/// A stored command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCommand {
    /// Its stored status.
    pub status: CommandStatus,
    /// The queueloc of its agent.
    pub queueloc: String,
}

/// Name of the investigator that signs the schedulers' own actions.
pub const SCHEDULER_NAME: &str = "migscheduler";

/// The OpenPGP key that all schedulers of one store share.
#[derive(Debug, Clone)]
pub struct SchedulerKey {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its certificate, armored.
    pub public_key: String,
    /// The secret key, armored.
    pub private_key: Secret,
}

impl SchedulerKey {
    /// Builds the key from its row.
    fn stored(fingerprint: &str, public_key: String, private_key: String) -> Result<SchedulerKey, Failure> {
        let fingerprint = Fingerprint::parse(fingerprint)
            .map_err(|reason| Failure::Refuse(format!("investigator {SCHEDULER_NAME}: {reason}")))?;
        Ok(SchedulerKey { fingerprint, public_key, private_key: Secret::new(private_key) })
    }
}

/// An investigator's key as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The name.
    pub name: String,
    /// The fingerprint, as it is written there.
    pub fingerprint: String,
    /// The certificate, armored; empty if it is too large.
    pub public_key: String,
    /// Whether the status is `active`: only then signatures count.
    pub is_active: bool,
}

/// The investigators of the store, without the schedulers' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// Another one whenever an investigator was added or changed.
    pub version: String,
    /// At most [`crate::limits::STORED_INVESTIGATORS_MAX`], in the order of their ids.
    pub keys: Vec<StoredKey>,
}

/// Builds an action from its row: JSON without the times, which each database stores in its own type. None if the row
/// is invalid.
fn stored_action(text: &str, valid_from: Timestamp, expire_after: Timestamp) -> Option<Action> {
    let action = Action::parse_draft(text.as_bytes()).ok()?;
    Some(Action { valid_from, expire_after, ..action })
}

/// The error for an action whose id belongs to another one.
fn id_taken(id: ActionId) -> Failure {
    Failure::Refuse(format!(
        "the id {id} belongs to another action; drop this one without an id, and it gets a new one"
    ))
}

/// The error for an action that another scheduler has claimed.
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
    /// Builds it from its row; None if an id is invalid.
    fn stored(id: i64, agent: i64) -> Option<Prepared> {
        Some(Prepared { id: CommandId::new(id as u64)?, agent: AgentId::new(agent as u64)? })
    }
}

/// The effect of one answer in [`Store::finish_commands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It set the command's final status.
    Now,
    /// The command had ended before, with this status, which stays.
    Before(CommandStatus),
}

/// Which commands [`Store::overdue_commands`] returns.
#[derive(Debug, Clone, Copy)]
pub struct OverdueSearch<'a> {
    /// Their actions are of these schedulers; "" stands for those that none has claimed.
    pub owners: &'a [String],
    /// Their actions have expired before this time.
    pub before: Timestamp,
    /// Only commands behind this one, in the order of their ids.
    pub after: Option<CommandRef>,
    /// At most so many.
    pub count: usize,
}

impl OverdueSearch<'_> {
    /// The ids of `after`; zeros are before all ids.
    fn after_ids(&self) -> (i64, i64) {
        self.after.map_or((0, 0), |after| (after.action.get() as i64, after.command.get() as i64))
    }

    /// Where the search goes on after `found` rows, of which the last one has these ids.
    fn next(&self, found: usize, action: i64, command: i64) -> Option<CommandRef> {
        let last = || {
            let (action, command) = (ActionId::new(action as u64)?, CommandId::new(command as u64)?);
            Some(CommandRef { action, command })
        };
        if found < self.count { None } else { last() }
    }
}

/// An action that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its id.
    pub id: ActionId,
    /// Its commands, counted by status.
    pub counters: crate::action::Counters,
    /// When its last command ended.
    pub finish_time: Timestamp,
}

/// The effect of a batch in [`Store::finish_commands`].
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedBatch {
    /// Per answer, in order.
    pub finished: Vec<Finished>,
    /// The actions of the batch whose every command has ended.
    pub ended: Vec<Ended>,
}

/// The effect of a heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Registration {
    /// The agent is new.
    New,
    /// The agent was known, and is online.
    Known,
    /// As [`Registration::Known`]; but its process id was that of this other process, which started later and has sent
    /// heartbeats. Both are alive, so they are on two machines.
    Cloned(Box<Agent>),
    /// A later heartbeat of the agent is stored: nothing changed.
    Stale,
}

/// Two processes of one queueloc that are alive at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// The one that started first. It sent a heartbeat after the other one had started.
    pub older: Agent,
    /// One that started later.
    pub newer: Agent,
}

/// Agents by status, and the changes of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// Agents whose last heartbeat is within the idle limit.
    pub online: u64,
    /// Agents whose last heartbeat is within the offline limit.
    pub idle: u64,
    /// Agents that became idle now.
    pub became_idle: u64,
    /// Agents that became offline now.
    pub became_offline: u64,
}

/// See the module docs. One contract suite (`tests/servers/store_contract.rs`) runs against every implementation.
pub trait Store: Send {
    /// Returns `count` unused ids, in ascending order and below 2^53.
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, Failure>;

    /// Returns the agents that a target selects now: online or idle, the newest registration of each queueloc among those
    /// that no command has ended. Runs read-only with a time limit.
    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure>;

    /// Returns these registrations, in this order, without the missing ones.
    fn load_agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure>;

    /// Returns the query that [`Store::select_agents`] would run.
    fn explain_target(&self, target: &Target, now: Timestamp) -> String;

    /// Stores actions with one command for each agent that has none of that action yet. Returns, per action, the
    /// commands that have not been sent; refuses an action whose id belongs to another one. The action's row is
    /// `owner`'s claim until every command has ended: while it is in flight, another scheduler's begin is refused.
    fn begin_actions(
        &mut self,
        owner: &str,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Failure>;

    /// Records that the relay has these commands.
    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), Failure>;

    /// Adds missing actions, agents and commands, from commands that are in flight or answered: rebuilds a recreated
    /// store from the spool.
    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Failure>;

    /// Returns the owners of actions in flight that expired before this time.
    fn overdue_owners(&mut self, before: Timestamp) -> Result<Vec<String>, Failure>;

    /// Returns commands without a final status whose action has expired, in the order of their ids, with their stored
    /// status; and the command behind which the search goes on, None at the end. Rows that are no valid command are left
    /// out: no worker could process them.
    fn overdue_commands(&mut self, search: &OverdueSearch) -> Result<(Vec<Command>, Option<CommandRef>), Failure>;

    /// Stores final answers. The first final status of a command stays; a missing command is added from the answer.
    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Failure>;

    /// Completes those of these actions whose every command has ended, and returns them.
    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Failure>;

    /// Looks up each command; None if that action has no such command.
    fn find_commands(&mut self, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Failure>;

    /// Returns an action as it was begun; None if it is missing.
    fn find_action(&mut self, action: ActionId) -> Result<Option<Action>, Failure>;

    /// Whether the store has commands of this action.
    fn has_commands(&mut self, action: ActionId) -> Result<bool, Failure>;

    /// Stores heartbeats; the newest wins. A stored one later than `now`, from a clock that was ahead, loses: it is dated
    /// before the start of the process that is heard of now. Of each queueloc that has a new registration, at most
    /// [`crate::limits::REGISTRATIONS_MAX`] without commands are kept, and its first one.
    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, Failure>;

    /// Marks agents idle whose last heartbeat is before `idle_before`, and offline before `offline_before`. A process
    /// whose last heartbeat is before the start of another one of its queueloc that is present has been restarted: it is
    /// offline too, and not counted.
    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, Failure>;

    /// Adds a row of statistics.
    fn record_statistics(&mut self, now: Timestamp) -> Result<(), Failure>;

    /// Returns the schedulers' key: the stored one, or else `candidate`, which it stores. Concurrent first starts all
    /// get the same key. None if there is neither.
    fn scheduler_key(
        &mut self,
        candidate: Option<&SchedulerKey>,
        now: Timestamp,
    ) -> Result<Option<SchedulerKey>, Failure>;

    /// Returns the investigators; None if they are those of version `known`: one small query then.
    fn investigator_keys(&mut self, known: Option<&str>) -> Result<Option<StoredKeys>, Failure>;

    /// Returns at most `count` pairs of processes of which one queueloc runs both at once, no more than
    /// [`crate::limits::DUPLICATES_OF_ONE_MAX`] of one queueloc: both are online and have sent a heartbeat since
    /// `heard_since`, the older one after the newer one, the next that started, had started. A process that started after its own heartbeat has a
    /// clock that was set back; nothing follows from its times, and it is left out.
    fn duplicate_agents(&mut self, heard_since: Timestamp, count: usize) -> Result<Vec<Duplicate>, Failure>;

    /// Returns at most `count` upgraded registrations behind `after`, in the order of their ids, whose process still runs:
    /// it has sent a heartbeat since `heard_since`, and after the start of a process of another version of its queueloc,
    /// which is online. Each comes with the last of these that started.
    fn upgraded_agents(
        &mut self,
        heard_since: Timestamp,
        after: Option<AgentId>,
        count: usize,
    ) -> Result<Vec<Duplicate>, Failure>;

    /// Removes registrations without a heartbeat since `heard_before` to which no command belongs, except the first and
    /// the newest of each queueloc. Returns how many.
    fn remove_registrations(&mut self, heard_before: Timestamp) -> Result<u64, Failure>;

    /// Marks processes that commands have ended within the last [`crate::limits::ENDED_AGENTS_PERIOD`]. Returns how
    /// many registrations changed.
    ///
    /// - `destroyed`, with the command's end as the destruction time: the queueloc ran `agentdestroy` with success, for the
    ///   pid and version of this registration.
    /// - `upgraded`: this registration ran `upgrade` with success, and commands are for another one: it is idle or offline,
    ///   or the queueloc has a registration with a later start, another version, and a heartbeat after the command's end.
    ///
    /// A process that started after the command ended is another one.
    fn mark_upgraded(&mut self, now: Timestamp) -> Result<u64, Failure>;

    /// Returns at most `count` queuelocs after `after` in order, each with its last heartbeat, that have no heartbeat since
    /// `heard_before`, no online or idle registration and no unfinished command.
    fn gone_queuelocs(
        &mut self,
        heard_before: Timestamp,
        after: Option<&QueueLoc>,
        count: usize,
    ) -> Result<Vec<(QueueLoc, Timestamp)>, Failure>;
}
