//! Ended agents: registrations left by upgrades, kills and restarts, queuelocs without an agent.

use super::pool::Session;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::time::{self, Timestamp};
use postgres::{Error, Row};

/// See `Store::mark_upgraded`. The result of the operation counts: others of the same action may have failed.
pub(super) fn mark(session: &mut Session, now: Timestamp) -> Result<u64, Error> {
    let since = time::before(now, limits::ENDED_AGENTS_PERIOD);
    let destroyed = "UPDATE agents SET status = 'destroyed', destructiontime = ended.at FROM (
            SELECT killed.id, min(commands.finishtime) AS at
            FROM actions CROSS JOIN LATERAL json_array_elements(actions.operations)
                    WITH ORDINALITY AS operation(value, number)
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS killed ON killed.queueloc = commands.queueloc
            WHERE actions.endsagents AND actions.finishtime > $1 AND commands.finishtime > $1
                AND operation.value ->> 'module' = 'agentdestroy'
                AND commands.results -> (operation.number - 1)::integer ->> 'success' = 'true'
                AND killed.pid::text = operation.value -> 'parameters' ->> 'pid'
                AND killed.version = operation.value -> 'parameters' ->> 'version'
                AND killed.starttime < commands.finishtime AND killed.status <> 'destroyed'
            GROUP BY killed.id) AS ended
        WHERE agents.id = ended.id";
    let upgraded = "UPDATE agents SET status = 'upgraded' WHERE id IN (
            SELECT old.id
            FROM actions CROSS JOIN LATERAL json_array_elements(actions.operations)
                    WITH ORDINALITY AS operation(value, number)
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS old ON old.id = commands.agentid
            WHERE actions.endsagents AND actions.finishtime > $1 AND commands.finishtime > $1
                AND operation.value ->> 'module' = 'upgrade'
                AND commands.results -> (operation.number - 1)::integer ->> 'success' = 'true'
                AND old.starttime < commands.finishtime
                AND (old.status IN ('idle', 'offline') OR (old.status = 'online' AND EXISTS (
                    SELECT 1 FROM agents AS newer WHERE newer.queueloc = old.queueloc
                        AND newer.version <> old.version AND newer.starttime > old.starttime
                        AND newer.heartbeattime > commands.finishtime))))";
    Ok(session.execute(destroyed, &[&since])? + session.execute(upgraded, &[&since])?)
}

/// See `Store::gone_queuelocs`.
pub(super) fn gone(
    session: &mut Session,
    heard_before: Timestamp,
    after: Option<&QueueLoc>,
    count: usize,
) -> Result<Vec<(QueueLoc, Timestamp)>, Error> {
    let sql = "SELECT queueloc, max(heartbeattime) FROM agents WHERE queueloc > $3 GROUP BY queueloc
        HAVING max(heartbeattime) < $1 AND NOT bool_or(status IN ('online', 'idle'))
            AND NOT EXISTS (SELECT 1 FROM commands
                WHERE commands.queueloc = agents.queueloc AND commands.status IN ('prepared', 'sent'))
        ORDER BY queueloc LIMIT $2";
    let after = after.map_or("", QueueLoc::as_str);
    let rows = session.query(sql, &[&heard_before, &(count as i64), &after])?;
    let row = |row: &Row| Ok((row.try_get::<_, String>(0)?, row.try_get(1)?));
    let found = rows.iter().map(row).collect::<Result<Vec<(String, Timestamp)>, Error>>()?;
    Ok(found.into_iter().filter_map(|(text, heard)| Some((QueueLoc::parse(&text).ok()?, heard))).collect())
}

/// Keeps the newest registrations of these queuelocs, the first of each, and those with commands. A row that another
/// transaction has locked is one that is heard of.
pub(super) fn remove_surplus(session: &mut Session, queuelocs: &[&str]) -> Result<(), Error> {
    let sql = "DELETE FROM agents WHERE id IN (
            SELECT id FROM agents WHERE id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY queueloc ORDER BY heartbeattime DESC, id DESC) AS newest,
                        row_number() OVER (PARTITION BY queueloc ORDER BY starttime, id) AS first
                    FROM agents WHERE queueloc = ANY($1)) AS ranked
                WHERE newest > $2 AND first > 1)
            AND NOT EXISTS (SELECT 1 FROM commands WHERE commands.agentid = agents.id) FOR UPDATE SKIP LOCKED)";
    session.execute(sql, &[&queuelocs, &(limits::REGISTRATIONS_MAX as i64)]).map(drop)
}

/// See `Store::remove_registrations`.
pub(super) fn remove_old(session: &mut Session, heard_before: Timestamp) -> Result<u64, Error> {
    let sql = "DELETE FROM agents WHERE id IN (
            SELECT id FROM agents WHERE id IN (
                SELECT id FROM (
                    SELECT id, heartbeattime,
                        row_number() OVER (PARTITION BY queueloc ORDER BY heartbeattime DESC, id DESC) AS newest,
                        row_number() OVER (PARTITION BY queueloc ORDER BY starttime, id) AS first
                    FROM agents) AS ranked
                WHERE newest > 1 AND first > 1 AND heartbeattime < $1)
            AND NOT EXISTS (SELECT 1 FROM commands WHERE commands.agentid = agents.id) FOR UPDATE SKIP LOCKED)";
    session.execute(sql, &[&heard_before])
}
