//! Ended agents: registrations left by upgrades, kills and restarts, queuelocs without an agent.

use super::{from_micros, micros};
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::time::{self, Timestamp};
use rusqlite::{Connection, Transaction, named_params};

/// See `Store::mark_upgraded`. The result of the operation counts: others of the same action may have failed.
pub(super) fn mark(transaction: &Transaction, now: Timestamp) -> rusqlite::Result<u64> {
    let since = micros(time::before(now, limits::ENDED_AGENTS_PERIOD));
    let destroyed = "UPDATE agents SET status = 'destroyed', destructiontime = ended.at FROM (
            SELECT killed.id, min(commands.finishtime) AS at
            FROM actions, json_each(actions.operations) AS operation
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS killed ON killed.queueloc = commands.queueloc
            WHERE actions.endsagents = 1 AND actions.finishtime > :since AND commands.finishtime > :since
                AND operation.value ->> '$.module' = 'agentdestroy'
                AND commands.results -> ('$[' || operation.key || '].success') = 'true'
                AND killed.pid = operation.value ->> '$.parameters.pid'
                AND killed.version = operation.value ->> '$.parameters.version'
                AND killed.starttime < commands.finishtime AND killed.status <> 'destroyed'
            GROUP BY killed.id) AS ended
        WHERE agents.id = ended.id";
    let upgraded = "UPDATE agents SET status = 'upgraded' WHERE id IN (
            SELECT old.id
            FROM actions, json_each(actions.operations) AS operation
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS old ON old.id = commands.agentid
            WHERE actions.endsagents = 1 AND actions.finishtime > :since AND commands.finishtime > :since
                AND operation.value ->> '$.module' = 'upgrade'
                AND commands.results -> ('$[' || operation.key || '].success') = 'true'
                AND old.starttime < commands.finishtime
                AND (old.status IN ('idle', 'offline') OR (old.status = 'online' AND EXISTS (
                    SELECT 1 FROM agents AS newer WHERE newer.queueloc = old.queueloc
                        AND newer.version <> old.version AND newer.starttime > old.starttime
                        AND newer.heartbeattime > commands.finishtime))))";
    let mut changed = 0;
    for sql in [destroyed, upgraded] {
        changed += transaction.prepare_cached(sql)?.execute(named_params! { ":since": since })? as u64;
    }
    Ok(changed)
}

/// See `Store::gone_queuelocs`.
pub(super) fn gone(
    connection: &Connection,
    heard_before: Timestamp,
    after: Option<&QueueLoc>,
    count: usize,
) -> rusqlite::Result<Vec<(QueueLoc, Timestamp)>> {
    let sql = "SELECT queueloc, max(heartbeattime) FROM agents WHERE queueloc > ?3 GROUP BY queueloc
        HAVING max(heartbeattime) < ?1 AND max(status IN ('online', 'idle')) = 0
            AND NOT EXISTS (SELECT 1 FROM commands
                WHERE commands.queueloc = agents.queueloc AND commands.status IN ('prepared', 'sent'))
        ORDER BY queueloc LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let values = (micros(heard_before), count as i64, after.map_or("", QueueLoc::as_str));
    let rows = statement.query_map(values, |row| Ok((row.get::<_, String>(0)?, from_micros(row.get(1)?))))?;
    let known = |(text, heard): (String, Timestamp)| Some((QueueLoc::parse(&text).ok()?, heard));
    rows.filter_map(|row| row.map(known).transpose()).collect()
}

/// Keeps the newest registrations of a queueloc, its first, and those with commands.
pub(super) fn remove_surplus(transaction: &Transaction, queueloc: &QueueLoc) -> rusqlite::Result<()> {
    let count = "SELECT count(*) FROM agents WHERE queueloc = ?1";
    let count: i64 = transaction.prepare_cached(count)?.query_row([queueloc.as_str()], |row| row.get(0))?;
    if count <= limits::REGISTRATIONS_MAX as i64 {
        return Ok(());
    }
    let sql = "DELETE FROM agents WHERE id IN (
            SELECT id FROM agents WHERE queueloc = ?1 ORDER BY heartbeattime DESC, id DESC LIMIT -1 OFFSET ?2)
        AND id <> (SELECT id FROM agents WHERE queueloc = ?1 ORDER BY starttime, id LIMIT 1)
        AND id NOT IN (SELECT agentid FROM commands WHERE queueloc = ?1)";
    transaction.prepare_cached(sql)?.execute((queueloc.as_str(), limits::REGISTRATIONS_MAX as i64))?;
    Ok(())
}

/// See `Store::remove_registrations`.
pub(super) fn remove_old(transaction: &Transaction, heard_before: Timestamp) -> rusqlite::Result<u64> {
    let sql = "WITH ranked AS MATERIALIZED (
            SELECT id, queueloc, heartbeattime,
                row_number() OVER (PARTITION BY queueloc ORDER BY heartbeattime DESC, id DESC) AS newest,
                row_number() OVER (PARTITION BY queueloc ORDER BY starttime, id) AS first
            FROM agents),
        old AS MATERIALIZED (SELECT id, queueloc FROM ranked WHERE newest > 1 AND first > 1 AND heartbeattime < ?1)
        DELETE FROM agents WHERE id IN (SELECT id FROM old)
            AND id NOT IN (SELECT agentid FROM commands WHERE queueloc IN (SELECT queueloc FROM old))";
    Ok(transaction.prepare_cached(sql)?.execute([micros(heard_before)])? as u64)
}
