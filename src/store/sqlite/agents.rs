//! Agents: registration, presence, selection by targets, statistics.

use super::super::{AgentCounts, Duplicate, Registration};
use super::{ending, from_micros, micros, next_ids};
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::AgentId;
use crate::limits;
use crate::time::{self, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use serde_json::{Map, Value};
use std::time::Duration;

pub(super) const COLUMNS: &str = "agents.id, agents.name, agents.queueloc, agents.mode, agents.version, agents.pid, agents.starttime, \
    agents.destructiontime, agents.heartbeattime, agents.status, agents.environment, agents.tags";

/// Returns the query for the agents that `condition` selects: online or idle, the newest registration of each queueloc. One
/// that was upgraded sends heartbeats until it is destroyed, and takes no commands.
pub(super) fn selection(condition: &str) -> String {
    format!(
        "SELECT agents.id, agents.queueloc FROM agents WHERE agents.status IN ('online', 'idle') AND agents.id = (SELECT newest.id \
        FROM agents AS newest WHERE newest.queueloc = agents.queueloc AND newest.status NOT IN ('upgraded', 'destroyed') \
        ORDER BY newest.heartbeattime DESC, newest.id DESC LIMIT 1) AND ({condition}) ORDER BY agents.id"
    )
}

/// Runs a [`selection`]. Skips rows with an invalid queueloc: nothing is ever sent there.
pub(super) fn select(reader: &Connection, sql: &str) -> rusqlite::Result<Vec<AgentId>> {
    let mut statement = reader.prepare_cached(sql)?;
    let id = |row: &Row| {
        let is_valid = QueueLoc::parse(row.get_ref(1)?.as_str()?).is_ok();
        Ok(is_valid.then_some(row.get::<_, i64>(0)?).and_then(|id| AgentId::new(id as u64)))
    };
    let ids = statement.query_map([], id)?;
    ids.filter_map(Result::transpose).collect()
}

/// See `Store::load_agents`.
pub(super) fn load(reader: &Connection, ids: &[AgentId]) -> rusqlite::Result<Vec<Agent>> {
    let mut statement = reader.prepare_cached(&format!("SELECT {COLUMNS} FROM agents WHERE agents.id = ?1"))?;
    let mut load = |id: &AgentId| statement.query_row([id.get() as i64], from_row).optional();
    ids.iter().filter_map(|id| load(id).map(Option::flatten).transpose()).collect()
}

/// Returns the newest registration of a queueloc, whatever its status.
pub(super) fn by_queueloc(connection: &Connection, queueloc: &str) -> rusqlite::Result<Option<Agent>> {
    let order = "ORDER BY agents.heartbeattime DESC, agents.id DESC LIMIT 1";
    let sql = format!("SELECT {COLUMNS} FROM agents WHERE agents.queueloc = ?1 {order}");
    Ok(connection.prepare_cached(&sql)?.query_row([queueloc], from_row).optional()?.flatten())
}

/// See `Store::duplicate_agents`. If any newer process started before an older one's heartbeat, the next one did.
pub(super) fn duplicates(
    connection: &Connection,
    heard_since: Timestamp,
    count: usize,
) -> rusqlite::Result<Vec<Duplicate>> {
    let sql = "SELECT id, newer FROM (
            SELECT id, newer, row_number() OVER (PARTITION BY queueloc ORDER BY id) AS place FROM (
                SELECT id, queueloc, heartbeattime, lead(id) OVER starts AS newer, lead(starttime) OVER starts AS started
                FROM agents WHERE status = 'online' AND heartbeattime >= ?1 AND starttime <= heartbeattime
                WINDOW starts AS (PARTITION BY queueloc ORDER BY starttime, id))
            WHERE started < heartbeattime)
        WHERE place <= ?2 ORDER BY newer DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let row = (micros(heard_since), limits::DUPLICATES_OF_ONE_MAX as i64, count as i64);
    let ids = statement.query_map(row, |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]))?;
    pairs(connection, ids.collect::<rusqlite::Result<_>>()?)
}

/// See `Store::upgraded_agents`.
pub(super) fn upgraded(
    connection: &Connection,
    heard_since: Timestamp,
    after: Option<AgentId>,
    count: usize,
) -> rusqlite::Result<Vec<Duplicate>> {
    let sql = "SELECT id, newer FROM (
            SELECT old.id, (SELECT newer.id FROM agents AS newer
                WHERE newer.queueloc = old.queueloc AND newer.status = 'online' AND newer.version <> old.version
                    AND newer.starttime > old.starttime AND newer.starttime < old.heartbeattime
                ORDER BY newer.starttime DESC, newer.id DESC LIMIT 1) AS newer
            FROM agents AS old WHERE old.status = 'upgraded' AND old.heartbeattime >= ?1 AND old.id > ?2)
        WHERE newer IS NOT NULL ORDER BY id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let row = (micros(heard_since), after.map_or(0, |after| after.get() as i64), count as i64);
    let ids = statement.query_map(row, |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]))?;
    pairs(connection, ids.collect::<rusqlite::Result<_>>()?)
}

/// Loads the older and the newer one of each pair.
fn pairs(connection: &Connection, pairs: Vec<[i64; 2]>) -> rusqlite::Result<Vec<Duplicate>> {
    let mut find = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM agents WHERE agents.id = ?1"))?;
    let mut find = |id| find.query_row([id], from_row).optional().map(Option::flatten);
    let mut duplicates = Vec::with_capacity(pairs.len());
    for [older, newer] in pairs {
        duplicates.extend(find(older)?.zip(find(newer)?).map(|(older, newer)| Duplicate { older, newer }));
    }
    Ok(duplicates)
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// None if the row has an invalid queueloc.
pub(super) fn from_row(row: &Row) -> rusqlite::Result<Option<Agent>> {
    let Ok(queueloc) = QueueLoc::parse(row.get_ref(2)?.as_str()?) else { return Ok(None) };
    Ok(Some(Agent {
        id: AgentId::new(row.get::<_, i64>(0)? as u64),
        name: row.get(1)?,
        queueloc,
        mode: row.get(3)?,
        version: row.get(4)?,
        pid: row.get(5)?,
        start_time: from_micros(row.get(6)?),
        destruction_time: from_micros(row.get(7)?),
        heartbeat_time: from_micros(row.get(8)?),
        status: row.get(9)?,
        environment: object(row.get_ref(10)?.as_str()?),
        tags: object(row.get_ref(11)?.as_str()?),
    }))
}

fn json(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

/// Stores a heartbeat; the newest of a process wins.
pub(super) fn register(transaction: &Transaction, agent: &Agent, now: Timestamp) -> rusqlite::Result<Registration> {
    // A stored heartbeat from the future was dated by a clock that was ahead. It would stay the newest until then.
    let ahead = "UPDATE agents SET heartbeattime = ?2 WHERE queueloc = ?1 AND heartbeattime > ?3";
    let (started, heard) = (micros(agent.start_time), micros(agent.heartbeat_time));
    let before = started.min(heard) - 1;
    transaction.prepare_cached(ahead)?.execute((agent.queueloc.as_str(), before, micros(now)))?;
    let known = format!("SELECT {COLUMNS} FROM agents WHERE queueloc = ?1 AND pid = ?2");
    let key = (agent.queueloc.as_str(), agent.pid);
    let mut known = transaction.prepare_cached(&known)?;
    let mut rows = known.query(key)?;
    let Some(row) = rows.next()? else {
        insert(transaction, agent, "online")?;
        ending::remove_surplus(transaction, &agent.queueloc)?;
        return Ok(Registration::New);
    };
    let (other_started, other_heard): (i64, i64) = (row.get(6)?, row.get(8)?);
    if other_heard > heard {
        return Ok(Registration::Stale);
    }
    let is_clone = started < other_started && other_started <= other_heard && other_started < heard;
    let other = if is_clone { from_row(row)? } else { None };
    // A process id may be reused after a reboot: another start time is another process.
    let sql = "UPDATE agents SET name = :name, mode = :mode, version = :version, heartbeattime = :heartbeattime,
        environment = :environment, tags = :tags,
        status = CASE WHEN status IN ('upgraded', 'destroyed') AND starttime = :starttime THEN status ELSE 'online' END,
        starttime = :starttime WHERE queueloc = :queueloc AND pid = :pid";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":name": agent.name, ":mode": agent.mode, ":version": agent.version,
        ":starttime": started, ":heartbeattime": heard,
        ":environment": json(&agent.environment), ":tags": json(&agent.tags),
        ":queueloc": agent.queueloc.as_str(), ":pid": agent.pid,
    })?;
    Ok(other.map_or(Registration::Known, |other| Registration::Cloned(Box::new(other))))
}

fn insert(transaction: &Transaction, agent: &Agent, status: &str) -> rusqlite::Result<i64> {
    let id = *next_ids(transaction, 1)?.start();
    let sql = "INSERT INTO agents (id, name, queueloc, mode, version, pid, starttime, destructiontime, heartbeattime,
            status, environment, tags)
        VALUES (:id, :name, :queueloc, :mode, :version, :pid, :starttime, :destructiontime, :heartbeattime, :status,
            :environment, :tags)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id, ":name": agent.name, ":queueloc": agent.queueloc.as_str(), ":mode": agent.mode,
        ":version": agent.version, ":pid": agent.pid, ":starttime": micros(agent.start_time),
        ":destructiontime": micros(time::never()), ":heartbeattime": micros(agent.heartbeat_time),
        ":status": status, ":environment": json(&agent.environment), ":tags": json(&agent.tags),
    })?;
    Ok(id)
}

/// Returns the id of an agent that answered a command missing from the store; inserts a missing agent as offline.
pub(super) fn id_for_answer(transaction: &Transaction, agent: &Agent) -> rusqlite::Result<i64> {
    let sql = "SELECT id FROM agents WHERE queueloc = ?1 ORDER BY pid = ?2 DESC, heartbeattime DESC LIMIT 1";
    let key = (agent.queueloc.as_str(), agent.pid);
    let known = transaction.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    known.map_or_else(|| insert(transaction, agent, "offline"), Ok)
}

/// Marks agents offline and idle by the time of their last heartbeat.
pub(super) fn mark_absent(
    transaction: &Transaction,
    idle_before: Timestamp,
    offline_before: Timestamp,
) -> rusqlite::Result<AgentCounts> {
    let offline = "UPDATE agents SET status = 'offline' WHERE status IN ('online', 'idle') AND heartbeattime < ?1";
    let became_offline = transaction.execute(offline, [micros(offline_before)])? as u64;
    let restarted = "UPDATE agents SET status = 'offline' FROM (
            SELECT queueloc, max(starttime) AS started FROM agents
            WHERE status IN ('online', 'idle') AND starttime <= heartbeattime GROUP BY queueloc HAVING count(*) > 1) AS last
        WHERE agents.queueloc = last.queueloc AND agents.status IN ('online', 'idle') AND agents.heartbeattime < last.started";
    transaction.execute(restarted, ())?;
    let idle = "UPDATE agents SET status = 'idle' WHERE status = 'online' AND heartbeattime < ?1";
    let became_idle = transaction.execute(idle, [micros(idle_before)])? as u64;
    let count = |status: &str| -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM agents WHERE status = ?1";
        transaction.query_row(sql, [status], |row| row.get::<_, i64>(0)).map(|n| n as u64)
    };
    Ok(AgentCounts { online: count("online")?, idle: count("idle")?, became_idle, became_offline })
}

/// The statistics of now.
const STATISTICS: &str = "SELECT :now,
            (SELECT count(*) FROM agents WHERE status = 'online'),
            (SELECT json_group_array(json_object('version', version, 'count', n)) FROM
                (SELECT version, count(*) AS n FROM agents WHERE status = 'online' GROUP BY version ORDER BY n DESC)),
            (SELECT count(DISTINCT queueloc) FROM agents WHERE status = 'online'),
            (SELECT count(*) FROM agents WHERE status = 'idle'),
            (SELECT json_group_array(json_object('version', version, 'count', n)) FROM
                (SELECT version, count(*) AS n FROM agents WHERE status = 'idle' GROUP BY version ORDER BY n DESC)),
            (SELECT count(DISTINCT queueloc) FROM agents WHERE status = 'idle'),
            (SELECT count(*) FROM (SELECT queueloc FROM agents GROUP BY queueloc HAVING min(starttime) > :day)),
            (SELECT count(*) FROM
                (SELECT queueloc FROM agents WHERE status = 'online' GROUP BY queueloc HAVING count(*) > 1)),
            (SELECT count(*) FROM (SELECT queueloc FROM agents GROUP BY queueloc
                HAVING max(status IN ('online', 'idle')) = 0 AND max(heartbeattime) > :two_months)),
            (SELECT count(*) FROM
                (SELECT queueloc FROM agents WHERE starttime > :hour GROUP BY queueloc HAVING count(*) > 1))";

/// The parameters of [`STATISTICS`].
fn statistics_times(now: Timestamp) -> [(&'static str, i64); 4] {
    const DAY: Duration = Duration::from_secs(86400);
    let ago = |duration: Duration| micros(time::before(now, duration));
    [(":now", micros(now)), (":day", ago(DAY)), (":two_months", ago(60 * DAY)), (":hour", ago(DAY / 24))]
}

/// Adds a row to `agents_stats`.
pub(super) fn record_statistics(transaction: &Transaction, now: Timestamp) -> rusqlite::Result<()> {
    let times = statistics_times(now);
    let times = times.each_ref().map(|(name, time)| (*name, time as &dyn rusqlite::ToSql));
    transaction.execute(&format!("INSERT INTO agents_stats {STATISTICS}"), times.as_slice()).map(drop)
}

/// See `Catalog::dashboard`; the columns are those of `agents_stats`.
pub(super) fn statistics<T>(
    connection: &Connection,
    now: Timestamp,
    convert: impl FnOnce(&Row) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let times = statistics_times(now);
    let times = times.each_ref().map(|(name, time)| (*name, time as &dyn rusqlite::ToSql));
    connection.prepare_cached(STATISTICS)?.query_row(times.as_slice(), convert)
}
