//! Agents: registration, presence, selection by targets, statistics.

use super::super::{AgentCounts, Duplicate, Registration};
use super::pool::Session;
use super::{ending, text};
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::AgentId;
use crate::limits;
use crate::time::{self, Timestamp};
use postgres::{Error, Row};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The columns that [`from_row`] reads.
macro_rules! columns {
    () => {
        "agents.id, agents.name, agents.queueloc, agents.mode, agents.version, agents.pid, agents.starttime, \
        agents.destructiontime, agents.heartbeattime, agents.status, agents.environment::text, agents.tags::text"
    };
}

/// See the macro.
pub(super) const COLUMNS: &str = columns!();

/// Returns the query for the agents that `condition` selects: online or idle, the newest registration of each queueloc. One
/// that was upgraded sends heartbeats until it is destroyed, and takes no commands.
pub(super) fn selection(condition: &str) -> String {
    format!(
        "SELECT agents.id, agents.queueloc FROM agents WHERE agents.status IN ('online', 'idle') AND NOT EXISTS (SELECT 1 \
        FROM agents AS newer WHERE newer.queueloc = agents.queueloc AND newer.status NOT IN ('upgraded', 'destroyed') \
        AND (newer.heartbeattime, newer.id) > (agents.heartbeattime, agents.id)) AND ({condition}) ORDER BY agents.id"
    )
}

/// Converts the rows of [`selection`]. Skips those with an invalid queueloc: nothing is ever sent there.
pub(super) fn selected(rows: &[Row]) -> Result<Vec<AgentId>, Error> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        ids.extend(QueueLoc::parse(row.try_get(1)?).ok().and(AgentId::new(row.try_get::<_, i64>(0)? as u64)));
    }
    Ok(ids)
}

/// See `Store::load_agents`.
pub(super) fn load(session: &mut Session, ids: &[AgentId]) -> Result<Vec<Agent>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (id, place) JOIN agents USING (id) ORDER BY place"
    );
    let ids: Vec<i64> = ids.iter().map(|id| id.get() as i64).collect();
    from_rows(&session.query(sql, &[&ids])?)
}

/// Converts rows with the columns above; skips those with an invalid queueloc.
fn from_rows(rows: &[Row]) -> Result<Vec<Agent>, Error> {
    rows.iter().filter_map(|row| from_row(row).transpose()).collect()
}

/// None if the row has an invalid queueloc.
pub(super) fn from_row(row: &Row) -> Result<Option<Agent>, Error> {
    let Ok(queueloc) = QueueLoc::parse(row.try_get(2)?) else { return Ok(None) };
    let object = |text: &str| -> Map<String, Value> { serde_json::from_str(text).unwrap_or_default() };
    Ok(Some(Agent {
        id: AgentId::new(row.try_get::<_, i64>(0)? as u64),
        name: row.try_get(1)?,
        queueloc,
        mode: row.try_get(3)?,
        version: row.try_get(4)?,
        pid: row.try_get(5)?,
        start_time: row.try_get(6)?,
        destruction_time: row.try_get(7)?,
        heartbeat_time: row.try_get(8)?,
        status: row.try_get(9)?,
        environment: object(row.try_get(10)?),
        tags: object(row.try_get(11)?),
    }))
}

/// Returns the newest registration of each queueloc, whatever its status.
pub(super) fn by_queueloc(session: &mut Session, queuelocs: &[String]) -> Result<HashMap<String, Agent>, Error> {
    if queuelocs.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM unnest($1::text[]) AS wanted (queueloc) JOIN LATERAL (
            SELECT * FROM agents AS one WHERE one.queueloc = wanted.queueloc
            ORDER BY one.heartbeattime DESC, one.id DESC LIMIT 1) AS agents ON true"
    );
    let agents = from_rows(&session.query(sql, &[&queuelocs])?)?;
    Ok(agents.into_iter().map(|agent| (agent.queueloc.as_str().to_owned(), agent)).collect())
}

/// See `Store::duplicate_agents`. If any newer process started before an older one's heartbeat, the next one did.
pub(super) fn duplicates(session: &mut Session, heard_since: Timestamp, count: usize) -> Result<Vec<Duplicate>, Error> {
    let sql = "SELECT id, newer FROM (
            SELECT id, newer, row_number() OVER (PARTITION BY queueloc ORDER BY id) AS place FROM (
                SELECT id, queueloc, heartbeattime, lead(id) OVER starts AS newer, lead(starttime) OVER starts AS started
                FROM agents WHERE status = 'online' AND heartbeattime >= $1 AND starttime <= heartbeattime
                WINDOW starts AS (PARTITION BY queueloc ORDER BY starttime, id)) AS processes
            WHERE started < heartbeattime) AS pairs
        WHERE place <= $2 ORDER BY newer DESC LIMIT $3";
    let rows = session.query(sql, &[&heard_since, &(limits::DUPLICATES_OF_ONE_MAX as i64), &(count as i64)])?;
    pairs(session, &rows)
}

/// See `Store::upgraded_agents`.
pub(super) fn upgraded(
    session: &mut Session,
    heard_since: Timestamp,
    after: Option<AgentId>,
    count: usize,
) -> Result<Vec<Duplicate>, Error> {
    let sql = "SELECT old.id, newer.id FROM agents AS old JOIN LATERAL (
            SELECT one.id FROM agents AS one
            WHERE one.queueloc = old.queueloc AND one.status = 'online' AND one.version <> old.version
                AND one.starttime > old.starttime AND one.starttime < old.heartbeattime
            ORDER BY one.starttime DESC, one.id DESC LIMIT 1) AS newer ON true
        WHERE old.status = 'upgraded' AND old.heartbeattime >= $1 AND old.id > $2 ORDER BY old.id LIMIT $3";
    let after = after.map_or(0, |after| after.get() as i64);
    let rows = session.query(sql, &[&heard_since, &after, &(count as i64)])?;
    pairs(session, &rows)
}

/// Loads the older and the newer one of each pair of ids.
fn pairs(session: &mut Session, rows: &[Row]) -> Result<Vec<Duplicate>, Error> {
    let mut ids = Vec::with_capacity(rows.len() * 2);
    for row in rows {
        ids.extend([row.try_get::<_, i64>(0)?, row.try_get(1)?].map(|id| AgentId::new(id as u64)));
    }
    let known: Vec<AgentId> = ids.iter().copied().flatten().collect();
    let agents: HashMap<Option<AgentId>, Agent> =
        load(session, &known)?.into_iter().map(|agent| (agent.id, agent)).collect();
    let pair = |pair: &[Option<AgentId>]| {
        Some(Duplicate { older: agents.get(&pair[0])?.clone(), newer: agents.get(&pair[1])?.clone() })
    };
    Ok(ids.chunks_exact(2).filter_map(pair).collect())
}

/// Agents by column: one array for each parameter of a statement.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    queuelocs: Vec<String>,
    modes: Vec<String>,
    versions: Vec<String>,
    pids: Vec<i64>,
    started: Vec<Timestamp>,
    heard: Vec<Timestamp>,
    environments: Vec<String>,
    tags: Vec<String>,
}

impl Columns {
    fn of<'a>(agents: impl Iterator<Item = &'a Agent>) -> Columns {
        let mut columns = Columns::default();
        for agent in agents {
            columns.names.push(text::plain(&agent.name).into());
            columns.queuelocs.push(agent.queueloc.as_str().into());
            columns.modes.push(text::plain(&agent.mode).into());
            columns.versions.push(text::plain(&agent.version).into());
            columns.pids.push(agent.pid);
            columns.started.push(agent.start_time);
            columns.heard.push(agent.heartbeat_time);
            columns.environments.push(text::object(&agent.environment));
            columns.tags.push(text::object(&agent.tags));
        }
        columns
    }
}

macro_rules! insert {
    () => {
        "INSERT INTO agents (id, name, queueloc, mode, version, pid, starttime, heartbeattime, environment, tags,
            destructiontime, status)
        SELECT nextval('ids'), name, queueloc, mode, version, pid, starttime, heartbeattime, environment::json,
            tags::json, $10, $11
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
            $8::text[], $9::text[]) AS batch
            (name, queueloc, mode, version, pid, starttime, heartbeattime, environment, tags)
        ORDER BY queueloc, pid
        ON CONFLICT (queueloc, pid) "
    };
}

/// Stores heartbeats; the newest of each process wins. Locks rows in the order of their keys.
pub(super) fn register(
    session: &mut Session,
    heartbeats: &[Agent],
    now: Timestamp,
) -> Result<Vec<Registration>, Error> {
    // A stored heartbeat from the future was dated by a clock that was ahead. It would stay the newest until then.
    let (mut queuelocs, mut before) = (Vec::with_capacity(heartbeats.len()), Vec::with_capacity(heartbeats.len()));
    for agent in heartbeats {
        queuelocs.push(agent.queueloc.as_str());
        before.push(agent.heartbeat_time.min(agent.start_time));
    }
    let ahead = "UPDATE agents SET heartbeattime = batch.before - interval '1 microsecond'
        FROM unnest($1::text[], $2::timestamptz[]) AS batch (queueloc, before)
        WHERE agents.queueloc = batch.queueloc AND agents.heartbeattime > $3";
    session.execute(ahead, &[&queuelocs, &before, &now])?;
    // A statement can change a row only once.
    let mut newest: BTreeMap<(&str, i64), &Agent> = BTreeMap::new();
    for agent in heartbeats {
        let known = newest.entry((agent.queueloc.as_str(), agent.pid)).or_insert(agent);
        if known.heartbeat_time <= agent.heartbeat_time {
            *known = agent;
        }
    }
    let batch = Columns::of(newest.values().copied());
    let mut clones = clones(session, &batch)?;
    // A process id may be reused after a reboot: another start time is another process.
    let sql = concat!(
        insert!(),
        "DO UPDATE SET name = excluded.name, mode = excluded.mode, version = excluded.version,
            heartbeattime = excluded.heartbeattime, environment = excluded.environment, tags = excluded.tags,
            status = CASE WHEN agents.status IN ('upgraded', 'destroyed') AND agents.starttime = excluded.starttime
                THEN agents.status ELSE 'online' END,
            starttime = excluded.starttime
        WHERE agents.heartbeattime <= excluded.heartbeattime
        RETURNING queueloc, pid, xmax = 0"
    );
    let rows = execute_insert(session, sql, &batch, "online")?;
    let (mut outcomes, mut new) = (HashMap::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let key = (row.try_get::<_, &str>(0)?, row.try_get::<_, i64>(1)?);
        let outcome = match (row.try_get(2)?, clones.remove(&(key.0.to_owned(), key.1))) {
            (true, _) => Registration::New,
            (false, None) => Registration::Known,
            (false, Some(other)) => Registration::Cloned(Box::new(other)),
        };
        new.extend((outcome == Registration::New).then_some(key.0));
        outcomes.insert(key, (outcome, Timestamp::MIN));
    }
    if !new.is_empty() {
        ending::remove_surplus(session, &new)?;
    }
    // Evaluates the heartbeats of one process in the order of arrival.
    let mut registrations = Vec::with_capacity(heartbeats.len());
    for agent in heartbeats {
        registrations.push(match outcomes.get_mut(&(agent.queueloc.as_str(), agent.pid)) {
            Some((outcome, heard)) if *heard <= agent.heartbeat_time => {
                *heard = agent.heartbeat_time;
                std::mem::replace(outcome, Registration::Known)
            }
            _ => Registration::Stale,
        });
    }
    Ok(registrations)
}

/// Processes that are stored under the process ids of this batch, and that started later than those of the batch, but
/// before their heartbeats.
fn clones(session: &mut Session, batch: &Columns) -> Result<HashMap<(String, i64), Agent>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[])
            AS batch (queueloc, pid, started, heard) JOIN agents USING (queueloc, pid)
        WHERE batch.started < agents.starttime AND agents.starttime <= agents.heartbeattime
            AND agents.starttime < batch.heard"
    );
    let agents = from_rows(&session.query(sql, &[&batch.queuelocs, &batch.pids, &batch.started, &batch.heard])?)?;
    Ok(agents.into_iter().map(|agent| ((agent.queueloc.as_str().to_owned(), agent.pid), agent)).collect())
}

fn execute_insert(session: &mut Session, sql: &'static str, batch: &Columns, status: &str) -> Result<Vec<Row>, Error> {
    session.query(
        sql,
        &[
            &batch.names,
            &batch.queuelocs,
            &batch.modes,
            &batch.versions,
            &batch.pids,
            &batch.started,
            &batch.heard,
            &batch.environments,
            &batch.tags,
            &time::never(),
            &status,
        ],
    )
}

/// Returns the ids of agents that answered commands missing from the store; inserts missing agents as offline.
pub(super) fn ids_for_answers(session: &mut Session, agents: &[&Agent]) -> Result<HashMap<(String, i64), i64>, Error> {
    let sql = "SELECT wanted.queueloc, wanted.pid, found.id
        FROM unnest($1::text[], $2::bigint[]) AS wanted (queueloc, pid) JOIN LATERAL (
            SELECT id FROM agents WHERE agents.queueloc = wanted.queueloc
            ORDER BY agents.pid = wanted.pid DESC, agents.heartbeattime DESC LIMIT 1) AS found ON true";
    let (queuelocs, pids): (Vec<&str>, Vec<i64>) =
        agents.iter().map(|agent| (agent.queueloc.as_str(), agent.pid)).unzip();
    let find = |session: &mut Session| -> Result<HashMap<(String, i64), i64>, Error> {
        let rows = session.query(sql, &[&queuelocs, &pids])?;
        rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?))).collect()
    };
    let known = find(session)?;
    let key = |agent: &Agent| (agent.queueloc.as_str().to_owned(), agent.pid);
    let missing: BTreeMap<_, &Agent> =
        agents.iter().map(|agent| (key(agent), *agent)).filter(|(key, _)| !known.contains_key(key)).collect();
    if missing.is_empty() {
        return Ok(known);
    }
    execute_insert(session, concat!(insert!(), "DO NOTHING"), &Columns::of(missing.into_values()), "offline")?;
    find(session)
}

/// Marks agents offline and idle by the time of their last heartbeat.
pub(super) fn mark_absent(
    session: &mut Session,
    idle_before: Timestamp,
    offline_before: Timestamp,
) -> Result<AgentCounts, Error> {
    let offline = "UPDATE agents SET status = 'offline' WHERE status IN ('online', 'idle') AND heartbeattime < $1";
    let became_offline = session.execute(offline, &[&offline_before])?;
    let restarted = "UPDATE agents SET status = 'offline' FROM (
            SELECT queueloc, max(starttime) AS started FROM agents
            WHERE status IN ('online', 'idle') AND starttime <= heartbeattime GROUP BY queueloc HAVING count(*) > 1) AS last
        WHERE agents.queueloc = last.queueloc AND agents.status IN ('online', 'idle') AND agents.heartbeattime < last.started";
    session.execute(restarted, &[])?;
    let idle = "UPDATE agents SET status = 'idle' WHERE status = 'online' AND heartbeattime < $1";
    let became_idle = session.execute(idle, &[&idle_before])?;
    let mut counts = AgentCounts { became_idle, became_offline, ..AgentCounts::default() };
    let sql = "SELECT status, count(*) FROM agents WHERE status IN ('online', 'idle') GROUP BY status";
    for row in session.query(sql, &[])? {
        let count = row.try_get::<_, i64>(1)? as u64;
        match row.try_get(0)? {
            "online" => counts.online = count,
            _ => counts.idle = count,
        }
    }
    Ok(counts)
}

/// The statistics of now: `$1` is now, the others are a day, two months and an hour ago.
macro_rules! statistics {
    () => {
        "SELECT $1::timestamptz,
            (SELECT count(*) FROM agents WHERE status = 'online'),
            (SELECT coalesce(json_agg(json_build_object('version', version, 'count', n) ORDER BY n DESC), '[]') FROM
                (SELECT version, count(*) AS n FROM agents WHERE status = 'online' GROUP BY version) AS versions),
            (SELECT count(DISTINCT queueloc) FROM agents WHERE status = 'online'),
            (SELECT count(*) FROM agents WHERE status = 'idle'),
            (SELECT coalesce(json_agg(json_build_object('version', version, 'count', n) ORDER BY n DESC), '[]') FROM
                (SELECT version, count(*) AS n FROM agents WHERE status = 'idle' GROUP BY version) AS versions),
            (SELECT count(DISTINCT queueloc) FROM agents WHERE status = 'idle'),
            (SELECT count(*) FROM (SELECT queueloc FROM agents GROUP BY queueloc HAVING min(starttime) > $2) AS new),
            (SELECT count(*) FROM (SELECT queueloc FROM agents WHERE status = 'online'
                GROUP BY queueloc HAVING count(*) > 1) AS multiple),
            (SELECT count(*) FROM (SELECT queueloc FROM agents GROUP BY queueloc
                HAVING NOT bool_or(status IN ('online', 'idle')) AND max(heartbeattime) > $3) AS disappeared),
            (SELECT count(*) FROM (SELECT queueloc FROM agents WHERE starttime > $4
                GROUP BY queueloc HAVING count(*) > 1) AS flapping)"
    };
}

/// The times that the statistics of now need.
fn statistics_times(now: Timestamp) -> [Timestamp; 4] {
    const DAY: Duration = Duration::from_secs(86400);
    let ago = |duration: Duration| time::before(now, duration);
    [now, ago(DAY), ago(60 * DAY), ago(DAY / 24)]
}

/// Adds a row to `agents_stats`.
pub(super) fn record_statistics(session: &mut Session, now: Timestamp) -> Result<(), Error> {
    let [now, day, two_months, hour] = statistics_times(now);
    let sql = concat!("INSERT INTO agents_stats ", statistics!());
    session.execute(sql, &[&now, &day, &two_months, &hour])?;
    Ok(())
}

/// See `Catalog::dashboard`.
pub(super) fn statistics(session: &mut Session, now: Timestamp) -> Result<Vec<Row>, Error> {
    let [now, day, two_months, hour] = statistics_times(now);
    // JSON is read as text, whatever the names of the columns.
    let sql = concat!(
        "SELECT c1, c2::text, c3, c4, c5::text, c6, c7, c8, c9, c10 FROM (",
        statistics!(),
        ") AS now (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10)"
    );
    session.query(sql, &[&now, &day, &two_months, &hour])
}
