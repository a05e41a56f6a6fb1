//! Ended agents: registrations left by upgrades and kills, queuelocs without an agent.

use super::pool::Session;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::time::{self, Timestamp};
use tokio_postgres::{Error, Row};

/// See `Store::mark_upgraded`.
pub(super) fn mark(session: &mut Session, now: Timestamp) -> Result<u64, Error> {
    let since = time::before(now, limits::ENDED_AGENTS_PERIOD);
    let destroyed = "UPDATE agents SET status = 'destroyed', destructiontime = ended.at FROM (
            SELECT killed.id, min(commands.finishtime) AS at
            FROM actions CROSS JOIN LATERAL json_array_elements(actions.operations) AS operation
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS killed ON killed.queueloc = commands.queueloc
            WHERE actions.endsagents AND actions.finishtime > $1 AND commands.finishtime > $1
                AND commands.status = 'success' AND operation ->> 'module' = 'agentdestroy'
                AND killed.pid::text = operation -> 'parameters' ->> 'pid'
                AND killed.version = operation -> 'parameters' ->> 'version'
                AND killed.starttime < commands.finishtime AND killed.status <> 'destroyed'
            GROUP BY killed.id) AS ended
        WHERE agents.id = ended.id";
    let upgraded = "UPDATE agents SET status = 'upgraded' WHERE id IN (
            SELECT old.id
            FROM actions CROSS JOIN LATERAL json_array_elements(actions.operations) AS operation
                JOIN commands ON commands.actionid = actions.id
                JOIN agents AS old ON old.id = commands.agentid
            WHERE actions.endsagents AND actions.finishtime > $1 AND commands.finishtime > $1
                AND commands.status = 'success' AND operation ->> 'module' = 'upgrade'
                AND old.starttime < commands.finishtime
                AND (old.status IN ('idle', 'offline') OR (old.status = 'online' AND EXISTS (
                    SELECT 1 FROM agents AS newer WHERE newer.queueloc = old.queueloc
                        AND newer.version <> old.version AND newer.starttime > old.starttime
                        AND newer.heartbeattime > old.heartbeattime))))";
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
