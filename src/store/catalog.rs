//! The read side of the store, for people: find one, search many, follow one action.
//!
//! Every search runs in the database, with its values bound and not written into the query. Rows come in the order of
//! their ids, newest first, a page at a time: [`Page`] names the row that the page follows, so that no
//! transaction is open while somebody reads. [`crate::store::Store`] is what workers write.

pub(super) mod query;

use super::accounts::StoredInvestigator;
use crate::action::{Action, ActionStatus, Counters};
use crate::command::{Command, CommandStatus};
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::id::{ActionId, AgentId, CommandId};
use crate::targets::Target;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What a search returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Actions, by when they were last changed.
    Action,
    /// Commands, by when they ran.
    Command,
    /// Registrations of agents, by their last heartbeat.
    Agent,
    /// Investigators, by when they were last changed.
    Investigator,
}

/// A part of what a search finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Only rows behind the one with this id, in the order of the search.
    pub after_id: Option<u64>,
    /// Leaves out so many of them.
    pub offset: u64,
    /// At most so many.
    pub count: usize,
}

/// What is searched for: rows for which every given condition holds. Patterns are those of SQL's LIKE, in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// What is returned.
    pub kind: Kind,
    /// The action, that of the command, or one that the agent or the investigator had.
    pub action_id: Option<u64>,
    /// The same, by its name.
    pub action_name: Option<String>,
    /// The command, or one that the action or the agent has.
    pub command_id: Option<u64>,
    /// The agent, or one that the action or the command is for.
    pub agent_id: Option<u64>,
    /// The same, by its name.
    pub agent_name: Option<String>,
    /// The investigator, or one that signed the action, or that of the command.
    pub investigator_id: Option<u64>,
    /// The same, by the name.
    pub investigator_name: Option<String>,
    /// The status of what is returned.
    pub status: Option<String>,
    /// The family in the action's notes on the threat.
    pub threat_family: Option<String>,
    /// Only commands with a result that found something.
    pub found_anything: bool,
    /// Not older than this.
    pub after: Timestamp,
    /// Not newer than this.
    pub before: Option<Timestamp>,
}

impl Search {
    /// Everything of a kind, of any age.
    pub fn all(kind: Kind) -> Search {
        Search {
            kind,
            action_id: None,
            action_name: None,
            command_id: None,
            agent_id: None,
            agent_name: None,
            investigator_id: None,
            investigator_name: None,
            status: None,
            threat_family: None,
            found_anything: false,
            after: crate::time::not_set(),
            before: None,
        }
    }
}

/// An action, with its investigators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundAction {
    /// The action, with its counters.
    #[serde(flatten)]
    pub action: Action,
    /// Who signed it.
    pub investigators: Vec<StoredInvestigator>,
}

/// What a search found: one row.
#[derive(Debug, Clone)]
pub enum Found {
    /// An action.
    Action(Box<FoundAction>),
    /// A command.
    Command(Box<Command>),
    /// A registration of an agent.
    Agent(Box<Agent>),
    /// An investigator.
    Investigator(Box<StoredInvestigator>),
}

impl Found {
    /// Its id.
    pub fn id(&self) -> Option<u64> {
        match self {
            Found::Action(action) => action.action.id.map(ActionId::get),
            Found::Command(command) => Some(command.id.get()),
            Found::Agent(agent) => agent.id.map(AgentId::get),
            Found::Investigator(investigator) => Some(investigator.id.get()),
        }
    }
}

/// Rows of a search.
#[derive(Debug, Clone, Default)]
pub struct FoundPage {
    /// Those that can be shown; a row that no program of ours has written may be left out.
    pub rows: Vec<Found>,
    /// The id behind which the search goes on; None if there are no more rows.
    pub next: Option<u64>,
}

/// How many rows a search finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// So many.
    pub rows: u64,
    /// Counting stopped there: there are more.
    pub is_minimum: bool,
}

/// Agents of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct VersionCount {
    /// The version.
    pub version: String,
    /// So many.
    pub count: u64,
}

/// Statistics of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dashboard {
    /// Processes that are online.
    pub online_agents: u64,
    /// The same by version.
    pub online_agents_by_version: Vec<VersionCount>,
    /// Machines with an agent that is online.
    pub online_endpoints: u64,
    /// Processes that are idle.
    pub idle_agents: u64,
    /// The same by version.
    pub idle_agents_by_version: Vec<VersionCount>,
    /// Machines with an agent that is idle.
    pub idle_endpoints: u64,
    /// Machines that are new since a day.
    pub new_endpoints: u64,
    /// Machines on which two or more agents are online.
    pub multi_agents_endpoints: u64,
    /// Machines that have not been heard of lately.
    pub disappeared_endpoints: u64,
    /// Machines whose agent was restarted lately.
    pub flapping_endpoints: u64,
}

/// Commands that have not ended, by what they wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// They have not been sent yet.
    pub prepared: u64,
    /// Sent to an agent that is online.
    pub online: u64,
    /// Sent to an agent that is idle.
    pub idle: u64,
    /// Sent to an agent that is not there.
    pub offline: u64,
}

/// How far an action is. The counter `sent` is `done` and all of `waiting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whether commands have not ended.
    pub status: ActionStatus,
    /// Its commands, counted by status.
    pub counters: Counters,
    /// Those that have not ended.
    pub waiting: Waiting,
}

impl Progress {
    /// Counts commands by their status and, for those that were sent, that of their agents.
    pub(super) fn count(rows: impl Iterator<Item = CommandCount>) -> Progress {
        let (mut counters, mut waiting) = (Counters::new(), Waiting::default());
        let (mut sent, mut done) = (0, 0);
        for (status, agent, count) in rows {
            sent += count;
            match (CommandStatus::parse(&status), agent.as_deref()) {
                (Some(status), _) if status.is_final() => {
                    done += count;
                    *counters.entry(status.as_str().to_owned()).or_default() += count;
                }
                (Some(CommandStatus::Prepared), _) => waiting.prepared += count,
                (_, Some("online")) => waiting.online += count,
                (_, Some("idle")) => waiting.idle += count,
                _ => waiting.offline += count,
            }
        }
        for (name, count) in [("sent", sent), ("done", done), ("inflight", sent - done)] {
            if count > 0 {
                counters.insert(name.to_owned(), count);
            }
        }
        let status = if sent > 0 && sent == done { ActionStatus::Completed } else { ActionStatus::Inflight };
        Progress { status, counters, waiting }
    }
}

/// See the module docs. One contract suite (`tests/servers/catalog_contract.rs`) runs against every implementation.
pub trait Catalog: Send {
    /// Looks up an action.
    fn action(&mut self, id: ActionId) -> Result<Option<FoundAction>, Failure>;

    /// Looks up commands, in this order; those that are missing are left out, and the last ones if the results of those
    /// before have `bytes_max` bytes.
    fn commands(&mut self, ids: &[CommandId], bytes_max: usize) -> Result<Vec<Command>, Failure>;

    /// Returns the ids of an action's first commands, at most so many.
    fn command_ids(&mut self, action: ActionId, count: usize) -> Result<Vec<CommandId>, Failure>;

    /// Looks up a registration of an agent.
    fn agent(&mut self, id: AgentId) -> Result<Option<Agent>, Failure> {
        Ok(self.agents(&[id])?.pop())
    }

    /// Returns a page of what a search finds; a shorter one if the results of commands are large.
    fn search(&mut self, search: &Search, page: Page) -> Result<FoundPage, Failure>;

    /// Counts what a search finds, but no more than `max`.
    fn count(&mut self, search: &Search, max: u64) -> Result<Total, Failure>;

    /// Returns the ids of the agents that a target selects, as the scheduler would, newest first. A target that cannot be
    /// evaluated is refused.
    fn select(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure>;

    /// Looks up registrations of agents, in this order, without the missing ones.
    fn agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure>;

    /// Counts the fleet as it is now.
    fn dashboard(&mut self, now: Timestamp) -> Result<Dashboard, Failure>;

    /// Returns how far an action is; None if it is missing.
    fn progress(&mut self, id: ActionId) -> Result<Option<Progress>, Failure>;

    /// Returns the ids of an action's commands that have ended.
    fn ended_commands(&mut self, id: ActionId) -> Result<Vec<CommandId>, Failure>;
}

/// A row of an action, before its counters and investigators are looked up.
pub(super) struct ActionRow {
    pub id: i64,
    pub action: Action,
    /// Whether its counters are stored; others have to be counted.
    pub is_counted: bool,
}

impl ActionRow {
    /// From what is signed, and the other columns: status, starttime, finishtime, lastupdatetime, counters.
    pub fn new(
        id: i64,
        mut action: Action,
        status: &str,
        [started, finished, updated]: [Timestamp; 3],
        counters: Option<&str>,
    ) -> ActionRow {
        let counters: Option<Counters> = counters.and_then(|text| serde_json::from_str(text).ok());
        let is_counted = counters.is_some();
        action.status = ActionStatus::parse(status);
        (action.start_time, action.finish_time, action.last_update_time) = (started, finished, updated);
        action.counters = counters.unwrap_or_default();
        ActionRow { id, action, is_counted }
    }

    /// The ids of these, and of those that have to be counted.
    pub fn ids(rows: &[ActionRow]) -> (Vec<i64>, Vec<i64>) {
        let uncounted = rows.iter().filter(|row| !row.is_counted).map(|row| row.id).collect();
        (rows.iter().map(|row| row.id).collect(), uncounted)
    }

    /// The actions, with commands counted by status, and who signed.
    pub fn complete(
        rows: Vec<ActionRow>,
        mut counts: HashMap<i64, Vec<CommandCount>>,
        mut signers: HashMap<i64, Vec<StoredInvestigator>>,
    ) -> Vec<FoundAction> {
        let complete = |ActionRow { id, mut action, is_counted }: ActionRow| {
            if !is_counted {
                action.counters = Progress::count(counts.remove(&id).unwrap_or_default().into_iter()).counters;
            }
            FoundAction { action, investigators: signers.remove(&id).unwrap_or_default() }
        };
        rows.into_iter().map(complete).collect()
    }
}

/// Commands with a status and, for those that were sent, that of their agent.
pub(super) type CommandCount = (String, Option<String>, u64);

/// A row of a command, before its action and its agent are looked up.
pub(super) struct CommandRow {
    pub id: i64,
    pub action: i64,
    pub agent: i64,
    pub status: String,
    pub results: String,
    pub start_time: Timestamp,
    pub finish_time: Timestamp,
}

impl CommandRow {
    /// The commands with their actions and agents, without rows that are no commands. Commands of one action share it.
    pub fn complete(rows: Vec<CommandRow>, actions: HashMap<i64, Action>, agents: Vec<Agent>) -> Vec<Command> {
        let actions: HashMap<i64, Arc<Action>> =
            actions.into_iter().map(|(id, action)| (id, Arc::new(action))).collect();
        let agents: HashMap<i64, Agent> =
            agents.into_iter().filter_map(|agent| Some((agent.id?.get() as i64, agent))).collect();
        let command = |row: CommandRow| {
            let (action, agent) = (actions.get(&row.action)?, agents.get(&row.agent)?);
            row.command(action, agent)
        };
        rows.into_iter().filter_map(command).collect()
    }

    /// The ids of the actions, and of the agents.
    pub fn ids(rows: &[CommandRow]) -> (BTreeSet<i64>, Vec<AgentId>) {
        let agents: BTreeSet<AgentId> = rows.iter().filter_map(|row| AgentId::new(row.agent as u64)).collect();
        (rows.iter().map(|row| row.action).collect(), Vec::from_iter(agents))
    }

    /// The command; None if the row is no command.
    fn command(self, action: &Arc<Action>, agent: &Agent) -> Option<Command> {
        let id = CommandId::new(self.id as u64)?;
        let mut command = Command::new(id, Arc::clone(action), agent.clone(), self.start_time)?;
        command.status = CommandStatus::parse(&self.status)?;
        command.results = serde_json::value::RawValue::from_string(self.results).ok()?;
        command.finish_time = self.finish_time;
        Some(command)
    }
}
