//! The read side: searches, and single rows. The role `migapi` suffices.

use super::super::catalog::query::{self, Query, Value};
use super::super::catalog::{
    ActionRow, Catalog, CommandCount, CommandRow, Dashboard, Found, FoundAction, FoundPage, Kind, Page, Progress,
    Search, Total, VersionCount,
};
use super::pool::{Parameter, Session};
use super::{PostgresStore, accounts, actions, agents, error};
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::id::{ActionId, AgentId, CommandId};
use crate::limits;
use crate::store::accounts::StoredInvestigator;
use crate::store::{Store, stored_action};
use crate::targets::{Dialect, Target};
use crate::time::Timestamp;
use postgres::{Error, Row};
use std::collections::HashMap;

impl PostgresStore {
    /// Runs `work` in one transaction that only reads, and sees one moment.
    fn read<T>(&self, what: &str, work: impl FnOnce(&mut Session) -> Result<T, Error>) -> Result<T, Failure> {
        self.pool.transact("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work, |e| {
            error::transaction(format!("{what} {}", self.place), e)
        })
    }
}

fn rows(session: &mut Session, query: &Query) -> Result<Vec<Row>, Error> {
    let values: Vec<Parameter> = query
        .values
        .iter()
        .map(|value| match value {
            Value::Number(number) => number as Parameter,
            Value::Text(text) => text as Parameter,
            Value::Time(time) => time as Parameter,
        })
        .collect();
    session.query_once_with(&query.sql, &values)
}

fn number(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(row.try_get::<_, i64>(column)? as u64)
}

fn command_row(row: &Row) -> Result<CommandRow, Error> {
    Ok(CommandRow {
        id: row.try_get(0)?,
        action: row.try_get(1)?,
        agent: row.try_get(2)?,
        status: row.try_get(3)?,
        results: row.try_get(4)?,
        start_time: row.try_get(5)?,
        finish_time: row.try_get(6)?,
    })
}

macro_rules! command_columns {
    () => {
        "commands.id, commands.actionid, commands.agentid, commands.status, \
        coalesce(commands.resultsassent, commands.results::text), commands.starttime, commands.finishtime"
    };
}

/// Looks up commands in this order, until their results have so many bytes; returns how many were looked up. Commands of
/// one action share it.
fn load(session: &mut Session, ids: &[i64], bytes_max: usize) -> Result<(Vec<Command>, usize), Error> {
    let sql =
        "SELECT id, octet_length(coalesce(resultsassent, results::text))::bigint FROM commands WHERE id = ANY($1)";
    let mut sizes: HashMap<i64, u64> = HashMap::new();
    for row in session.query(sql, &[&ids])? {
        sizes.insert(row.try_get(0)?, number(&row, 1)?);
    }
    let (mut looked_up, mut bytes) = (0, 0);
    while looked_up < ids.len() && bytes < bytes_max as u64 {
        bytes += sizes.get(&ids[looked_up]).copied().unwrap_or(0);
        looked_up += 1;
    }
    let wanted = &ids[..looked_up];
    let sql = concat!(
        "SELECT ",
        command_columns!(),
        " FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (id, place) JOIN commands USING (id) ORDER BY place"
    );
    let rows = session.query(sql, &[&wanted])?;
    Ok((complete(session, &rows)?, looked_up))
}

/// Looks up the actions and agents of commands.
fn complete(session: &mut Session, rows: &[Row]) -> Result<Vec<Command>, Error> {
    let rows = rows.iter().map(command_row).collect::<Result<Vec<_>, _>>()?;
    let (actions, agents) = CommandRow::ids(&rows);
    let actions = actions::find(session, &Vec::from_iter(actions))?;
    let agents = agents::load(session, &agents)?;
    Ok(CommandRow::complete(rows, actions, agents))
}

/// The columns of actions, and what is not part of a signed action.
fn action_columns() -> String {
    format!(
        "{}, actions.id, actions.status, actions.starttime, actions.finishtime, actions.lastupdatetime, \
        actions.counters::text",
        actions::COLUMNS
    )
}

fn action_row(row: &Row) -> Result<Option<ActionRow>, Error> {
    let Some(action) = stored_action(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) else { return Ok(None) };
    let times = [row.try_get(5)?, row.try_get(6)?, row.try_get(7)?];
    Ok(Some(ActionRow::new(row.try_get(3)?, action, row.try_get(4)?, times, row.try_get(8)?)))
}

/// Looks up the counters and investigators of actions.
fn complete_actions(session: &mut Session, rows: &[Row]) -> Result<Vec<FoundAction>, Error> {
    let found = rows.iter().filter_map(|row| action_row(row).transpose()).collect::<Result<Vec<_>, _>>()?;
    let (ids, uncounted) = ActionRow::ids(&found);
    let sql = "SELECT actionid, status, count(*) FROM commands WHERE actionid = ANY($1) GROUP BY actionid, status";
    let mut counts: HashMap<i64, Vec<CommandCount>> = HashMap::new();
    for row in session.query(sql, &[&uncounted])? {
        counts.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, None, number(&row, 2)?));
    }
    let sql = "SELECT id, name, pgpfingerprint, publickey, status, createdat, lastmodified, actionid
        FROM (SELECT DISTINCT actionid, investigatorid FROM signatures WHERE actionid = ANY($1)) AS signed
        JOIN investigators ON investigators.id = signed.investigatorid ORDER BY actionid, id";
    let mut signers: HashMap<i64, Vec<StoredInvestigator>> = HashMap::new();
    for row in session.query(sql, &[&ids])? {
        signers.entry(row.try_get(7)?).or_default().extend(accounts::from_row(&row)?);
    }
    Ok(ActionRow::complete(found, counts, signers))
}

fn search(session: &mut Session, search: &Search, page: Page) -> Result<FoundPage, Error> {
    let columns = match search.kind {
        Kind::Action => &action_columns(),
        Kind::Command => "commands.id",
        Kind::Agent => agents::COLUMNS,
        Kind::Investigator => accounts::COLUMNS,
    };
    let rows = rows(session, &query::page(columns, search, page, Dialect::PostgreSql))?;
    let id_column = if search.kind == Kind::Action { 3 } else { 0 };
    let last = rows.last().filter(|_| rows.len() == page.count);
    let mut next = last.map(|row| number(row, id_column)).transpose()?;
    let rows = match search.kind {
        Kind::Action => {
            let actions = complete_actions(session, &rows)?;
            actions.into_iter().map(|action| Found::Action(Box::new(action))).collect()
        }
        Kind::Command => {
            let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
            let (commands, looked_up) = load(session, &ids, limits::API_RESULTS_AT_ONCE_BYTES)?;
            if looked_up < ids.len() {
                // The page is cut off where results have no room, and goes on there.
                next = ids[..looked_up].last().map(|id| *id as u64);
            }
            commands.into_iter().map(|command| Found::Command(Box::new(command))).collect()
        }
        Kind::Agent => {
            let agents = rows.iter().filter_map(|row| agents::from_row(row).transpose());
            agents.map(|agent| Ok(Found::Agent(Box::new(agent?)))).collect::<Result<_, Error>>()?
        }
        Kind::Investigator => {
            let found = rows.iter().filter_map(|row| accounts::from_row(row).transpose());
            found.map(|one| Ok(Found::Investigator(Box::new(one?)))).collect::<Result<_, Error>>()?
        }
    };
    Ok(FoundPage { rows, next })
}

fn progress(session: &mut Session, id: ActionId) -> Result<Option<Progress>, Error> {
    let id = id.get() as i64;
    let is_known = !session.query("SELECT 1 FROM actions WHERE id = $1", &[&id])?.is_empty();
    let sql = "SELECT commands.status, newest.status, count(*) FROM commands
        LEFT JOIN LATERAL (
            SELECT agents.status FROM agents WHERE agents.queueloc = commands.queueloc
            ORDER BY agents.heartbeattime DESC, agents.id DESC LIMIT 1) AS newest ON commands.status = 'sent'
        WHERE commands.actionid = $1 GROUP BY commands.status, newest.status";
    let mut counts = Vec::new();
    for row in session.query(sql, &[&id])? {
        counts.push((row.try_get(0)?, row.try_get(1)?, number(&row, 2)?));
    }
    Ok(is_known.then(|| Progress::count(counts.into_iter())))
}

fn dashboard(row: &Row) -> Result<Dashboard, Error> {
    let versions = |column: usize| -> Result<Vec<VersionCount>, Error> {
        Ok(serde_json::from_str(row.try_get(column)?).unwrap_or_default())
    };
    Ok(Dashboard {
        online_agents: number(row, 0)?,
        online_agents_by_version: versions(1)?,
        online_endpoints: number(row, 2)?,
        idle_agents: number(row, 3)?,
        idle_agents_by_version: versions(4)?,
        idle_endpoints: number(row, 5)?,
        new_endpoints: number(row, 6)?,
        multi_agents_endpoints: number(row, 7)?,
        disappeared_endpoints: number(row, 8)?,
        flapping_endpoints: number(row, 9)?,
    })
}

impl Catalog for PostgresStore {
    fn action(&mut self, id: ActionId) -> Result<Option<FoundAction>, Failure> {
        self.read("look up an action", |session| {
            let sql = format!("SELECT {} FROM actions WHERE actions.id = $1", action_columns());
            let rows = session.query_once_with(&sql, &[&(id.get() as i64)])?;
            Ok(complete_actions(session, &rows)?.pop())
        })
    }

    fn commands(&mut self, ids: &[CommandId], bytes_max: usize) -> Result<Vec<Command>, Failure> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get() as i64).collect();
        self.read("look up commands", |session| Ok(load(session, &ids, bytes_max)?.0))
    }

    fn command_ids(&mut self, action: ActionId, count: usize) -> Result<Vec<CommandId>, Failure> {
        self.read("list an action's commands", |session| {
            let sql = "SELECT id FROM commands WHERE actionid = $1 ORDER BY id LIMIT $2";
            let rows = session.query(sql, &[&(action.get() as i64), &(count as i64)])?;
            let ids = rows.iter().map(|row| Ok(CommandId::new(number(row, 0)?))).collect::<Result<Vec<_>, Error>>()?;
            Ok(ids.into_iter().flatten().collect())
        })
    }

    fn search(&mut self, wanted: &Search, page: Page) -> Result<FoundPage, Failure> {
        self.read("search", |session| search(session, wanted, page))
    }

    fn count(&mut self, search: &Search, max: u64) -> Result<Total, Failure> {
        self.read("count what a search finds", |session| {
            let found = rows(session, &query::count(search, max, Dialect::PostgreSql))?;
            let rows = found.first().map(|row| number(row, 0)).transpose()?.unwrap_or_default();
            Ok(Total { rows: rows.min(max), is_minimum: rows > max })
        })
    }

    fn select(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure> {
        let mut selected = self.select_agents(target, now)?;
        selected.reverse();
        Ok(selected)
    }

    fn agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure> {
        self.read("look up agents", |session| agents::load(session, ids))
    }

    fn dashboard(&mut self, now: Timestamp) -> Result<Dashboard, Failure> {
        self.read("count agents", |session| {
            let rows = agents::statistics(session, now)?;
            Ok(rows.first().map(dashboard).transpose()?.unwrap_or_default())
        })
    }

    fn progress(&mut self, id: ActionId) -> Result<Option<Progress>, Failure> {
        self.read("count an action's commands", |session| progress(session, id))
    }

    fn ended_commands(&mut self, id: ActionId) -> Result<Vec<CommandId>, Failure> {
        self.read("list an action's commands", |session| {
            let sql = "SELECT id FROM commands WHERE actionid = $1 AND status NOT IN ('prepared', 'sent') ORDER BY id";
            let mut ids = Vec::new();
            for row in session.query(sql, &[&(id.get() as i64)])? {
                ids.extend(CommandId::new(number(&row, 0)?));
            }
            Ok(ids)
        })
    }
}
