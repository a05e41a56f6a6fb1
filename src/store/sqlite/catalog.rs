//! The read side: searches, and single rows.

use super::super::catalog::query::{self, Query, Value};
use super::super::catalog::{
    ActionRow, Catalog, CommandCount, CommandRow, Dashboard, Found, FoundAction, FoundPage, Kind, Page, Progress,
    Search, Total, VersionCount,
};
use super::{SqliteStore, accounts, actions, agents, count, error, from_micros, micros};
use crate::action::Action;
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::id::{ActionId, AgentId, CommandId};
use crate::limits;
use crate::store::Store;
use crate::store::accounts::StoredInvestigator;
use crate::targets::{Dialect, Target};
use crate::time::Timestamp;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql, params_from_iter};
use std::collections::HashMap;
use std::time::Instant;

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Number(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Time(time) => micros(*time).into(),
        })
    }
}

impl SqliteStore {
    /// Runs `work` on the connection that only reads, with the time limit of a statement.
    fn read<T>(&self, what: &str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let limit = limits::STATEMENT_TIME_LIMIT;
        let set = |limit: Option<Instant>| *self.deadline.lock().unwrap_or_else(|e| e.into_inner()) = limit;
        set(Some(Instant::now() + limit));
        // One transaction, so that what belongs together is of one moment.
        let done = self.reader.unchecked_transaction().and_then(|transaction| work(&transaction));
        set(None);
        done.map_err(|cause| match cause.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => {
                Failure::retry(format!("{what}: takes longer than {} s", limit.as_secs()))
            }
            _ => error::failure(&self.path, &format!("{what} in {}", self.path.display()), cause),
        })
    }
}

/// The ids as the JSON that `json_each` reads.
fn list(ids: impl IntoIterator<Item = i64>) -> String {
    serde_json::Value::from_iter(ids).to_string()
}

const IN_LIST: &str = "IN (SELECT value FROM json_each(?1))";

fn command_row(row: &Row) -> rusqlite::Result<CommandRow> {
    Ok(CommandRow {
        id: row.get(0)?,
        action: row.get(1)?,
        agent: row.get(2)?,
        status: row.get(3)?,
        results: row.get(4)?,
        start_time: from_micros(row.get(5)?),
        finish_time: from_micros(row.get(6)?),
    })
}

const COMMAND_COLUMNS: &str = "commands.id, commands.actionid, commands.agentid, commands.status, commands.results, \
    commands.starttime, commands.finishtime";

/// Looks up commands in this order, until their results have so many bytes; returns how many were looked up. Commands of
/// one action share it.
fn load(connection: &Connection, ids: &[i64], bytes_max: usize) -> rusqlite::Result<(Vec<Command>, usize)> {
    let sql = format!("SELECT {COMMAND_COLUMNS} FROM commands WHERE commands.id = ?1");
    let mut find = connection.prepare_cached(&sql)?;
    let (mut rows, mut looked_up, mut bytes) = (Vec::with_capacity(ids.len()), 0, 0);
    for id in ids {
        if bytes >= bytes_max {
            break;
        }
        let row = find.query_row([id], command_row).optional()?;
        looked_up += 1;
        bytes += row.as_ref().map_or(0, |row| row.results.len());
        rows.extend(row);
    }
    Ok((complete(connection, rows)?, looked_up))
}

/// Looks up the actions and agents of commands.
fn complete(connection: &Connection, rows: Vec<CommandRow>) -> rusqlite::Result<Vec<Command>> {
    let (ids, agents) = CommandRow::ids(&rows);
    let mut actions: HashMap<i64, Action> = HashMap::new();
    for id in ids {
        let found = ActionId::new(id as u64).map(|id| actions::find(connection, id)).transpose()?;
        actions.extend(found.flatten().map(|action| (id, action)));
    }
    let agents = agents::load(connection, &agents)?;
    Ok(CommandRow::complete(rows, actions, agents))
}

fn rows<T>(
    connection: &Connection,
    query: &Query,
    convert: impl FnMut(&Row) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(&query.sql)?.query_map(params_from_iter(&query.values), convert)?.collect()
}

/// The columns of actions, and what is not part of a signed action.
fn action_columns() -> String {
    format!(
        "{}, actions.id, actions.status, actions.starttime, actions.finishtime, actions.lastupdatetime, \
        actions.counters",
        actions::COLUMNS
    )
}

fn action_row(row: &Row) -> rusqlite::Result<Option<ActionRow>> {
    let Some(action) = actions::from_row(row)? else { return Ok(None) };
    let times = [from_micros(row.get(5)?), from_micros(row.get(6)?), from_micros(row.get(7)?)];
    let (status, counters) = (row.get_ref(4)?.as_str()?, row.get_ref(8)?.as_str_or_null()?);
    Ok(Some(ActionRow::new(row.get(3)?, action, status, times, counters)))
}

/// Looks up the counters and investigators of actions.
fn complete_actions(connection: &Connection, rows: Vec<ActionRow>) -> rusqlite::Result<Vec<FoundAction>> {
    let (ids, uncounted) = ActionRow::ids(&rows);
    let (ids, uncounted) = (list(ids), list(uncounted));
    let sql =
        format!("SELECT actionid, status, count(*) FROM commands WHERE actionid {IN_LIST} GROUP BY actionid, status");
    let mut statement = connection.prepare_cached(&sql)?;
    let counted = |row: &Row| Ok((row.get::<_, i64>(0)?, (row.get(1)?, None, count(row, 2)?)));
    let mut counts: HashMap<i64, Vec<CommandCount>> = HashMap::new();
    for row in statement.query_map([&uncounted], counted)? {
        let (id, row) = row?;
        counts.entry(id).or_default().push(row);
    }
    let sql = format!(
        "SELECT {}, signatures.actionid FROM signatures JOIN investigators ON investigators.id = signatures.investigatorid
        WHERE signatures.actionid {IN_LIST} GROUP BY signatures.actionid, investigators.id
        ORDER BY signatures.actionid, min(signatures.rowid)",
        accounts::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let signed = statement.query_map([&ids], |row| Ok((row.get::<_, i64>(7)?, accounts::from_row(row)?)))?;
    let mut signers: HashMap<i64, Vec<StoredInvestigator>> = HashMap::new();
    for row in signed {
        let (id, investigator) = row?;
        signers.entry(id).or_default().extend(investigator);
    }
    Ok(ActionRow::complete(rows, counts, signers))
}

fn search(connection: &Connection, search: &Search, page: Page) -> rusqlite::Result<FoundPage> {
    let query = |columns: &str| query::page(columns, search, page, Dialect::Sqlite);
    let mut last = None;
    let (found, rows) = match search.kind {
        Kind::Action => {
            let rows = rows(connection, &query(&action_columns()), |row| {
                last = Some(row.get::<_, i64>(3)?);
                action_row(row)
            })?;
            let found = rows.len();
            let actions = complete_actions(connection, rows.into_iter().flatten().collect())?;
            (found, actions.into_iter().map(|action| Found::Action(Box::new(action))).collect())
        }
        Kind::Command => {
            let ids = rows(connection, &query("commands.id"), |row| row.get::<_, i64>(0))?;
            let (commands, looked_up) = load(connection, &ids, limits::API_RESULTS_AT_ONCE_BYTES)?;
            last = ids.get(..looked_up).and_then(|ids| ids.last().copied());
            // The page is cut off where results have no room, and goes on there.
            let found = if looked_up < ids.len() { page.count } else { ids.len() };
            (found, commands.into_iter().map(|command| Found::Command(Box::new(command))).collect())
        }
        Kind::Agent => {
            let rows = rows(connection, &query(agents::COLUMNS), |row| {
                last = Some(row.get::<_, i64>(0)?);
                agents::from_row(row)
            })?;
            let found = rows.len();
            (found, rows.into_iter().flatten().map(|agent| Found::Agent(Box::new(agent))).collect::<Vec<_>>())
        }
        Kind::Investigator => {
            let rows = rows(connection, &query(accounts::COLUMNS), |row| {
                last = Some(row.get::<_, i64>(0)?);
                accounts::from_row(row)
            })?;
            let found = rows.len();
            (found, rows.into_iter().flatten().map(|one| Found::Investigator(Box::new(one))).collect::<Vec<_>>())
        }
    };
    let next = last.filter(|_| found == page.count).map(|id| id as u64);
    Ok(FoundPage { rows, next })
}

fn progress(connection: &Connection, id: ActionId) -> rusqlite::Result<Option<Progress>> {
    let is_known = connection.prepare_cached("SELECT 1 FROM actions WHERE id = ?1")?.exists([id.get() as i64])?;
    let sql = "SELECT status, agent, count(*) FROM (
            SELECT status, CASE WHEN status = 'sent' THEN (
                SELECT agents.status FROM agents WHERE agents.queueloc = commands.queueloc
                ORDER BY agents.heartbeattime DESC, agents.id DESC LIMIT 1) END AS agent
            FROM commands WHERE actionid = ?1)
        GROUP BY status, agent";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([id.get() as i64], |row| Ok((row.get(0)?, row.get(1)?, count(row, 2)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(is_known.then(|| Progress::count(rows.into_iter())))
}

fn dashboard(row: &Row) -> rusqlite::Result<Dashboard> {
    let versions = |column: usize| -> rusqlite::Result<Vec<VersionCount>> {
        Ok(serde_json::from_str(row.get_ref(column)?.as_str()?).unwrap_or_default())
    };
    Ok(Dashboard {
        online_agents: count(row, 1)?,
        online_agents_by_version: versions(2)?,
        online_endpoints: count(row, 3)?,
        idle_agents: count(row, 4)?,
        idle_agents_by_version: versions(5)?,
        idle_endpoints: count(row, 6)?,
        new_endpoints: count(row, 7)?,
        multi_agents_endpoints: count(row, 8)?,
        disappeared_endpoints: count(row, 9)?,
        flapping_endpoints: count(row, 10)?,
    })
}

impl Catalog for SqliteStore {
    fn action(&mut self, id: ActionId) -> Result<Option<FoundAction>, Failure> {
        self.read("look up an action", |connection| {
            let sql = format!("SELECT {} FROM actions WHERE actions.id = ?1", action_columns());
            let row = connection.prepare_cached(&sql)?.query_row([id.get() as i64], action_row).optional()?;
            Ok(complete_actions(connection, row.flatten().into_iter().collect())?.pop())
        })
    }

    fn commands(&mut self, ids: &[CommandId], bytes_max: usize) -> Result<Vec<Command>, Failure> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get() as i64).collect();
        self.read("look up commands", |connection| Ok(load(connection, &ids, bytes_max)?.0))
    }

    fn command_ids(&mut self, action: ActionId, count: usize) -> Result<Vec<CommandId>, Failure> {
        self.read("list an action's commands", |connection| {
            let sql = "SELECT id FROM commands WHERE actionid = ?1 ORDER BY id LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let row = |row: &Row| Ok(CommandId::new(row.get::<_, i64>(0)? as u64));
            statement.query_map((action.get() as i64, count as i64), row)?.filter_map(Result::transpose).collect()
        })
    }

    fn search(&mut self, wanted: &Search, page: Page) -> Result<FoundPage, Failure> {
        self.read("search", |connection| search(connection, wanted, page))
    }

    fn count(&mut self, search: &Search, max: u64) -> Result<Total, Failure> {
        self.read("count what a search finds", |connection| {
            let found = rows(connection, &query::count(search, max, Dialect::Sqlite), |row| count(row, 0))?;
            let rows = found.first().copied().unwrap_or_default();
            Ok(Total { rows: rows.min(max), is_minimum: rows > max })
        })
    }

    fn select(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure> {
        let mut selected = self.select_agents(target, now)?;
        selected.reverse();
        Ok(selected)
    }

    fn agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure> {
        self.read("look up agents", |connection| agents::load(connection, ids))
    }

    fn dashboard(&mut self, now: Timestamp) -> Result<Dashboard, Failure> {
        self.read("count agents", |connection| agents::statistics(connection, now, dashboard))
    }

    fn progress(&mut self, id: ActionId) -> Result<Option<Progress>, Failure> {
        self.read("count an action's commands", |connection| progress(connection, id))
    }

    fn ended_commands(&mut self, id: ActionId) -> Result<Vec<CommandId>, Failure> {
        self.read("list an action's commands", |connection| {
            let sql = "SELECT id FROM commands WHERE actionid = ?1 AND status NOT IN ('prepared', 'sent') ORDER BY id";
            let mut statement = connection.prepare_cached(sql)?;
            let ids = statement.query_map([id.get() as i64], |row| Ok(CommandId::new(row.get::<_, i64>(0)? as u64)))?;
            ids.filter_map(Result::transpose).collect()
        })
    }
}
