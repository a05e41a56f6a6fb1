//! Ended agents: the schedulers' key, registrations left by upgrades and kills, queuelocs without an agent.

use super::super::{SCHEDULER_NAME, SchedulerKey};
use super::pool::Session;
use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::time::{self, Timestamp};
use postgres::Error;

/// See `Store::scheduler_key`. A unique index permits only one such key.
pub(super) fn scheduler_key(
    session: &mut Session,
    candidate: Option<&SchedulerKey>,
    now: Timestamp,
) -> Result<Result<Option<SchedulerKey>, Failure>, Error> {
    let find = "SELECT pgpfingerprint, publickey, privatekey FROM investigators
        WHERE name = $1 AND privatekey IS NOT NULL";
    let mut stored = session.query(find, &[&SCHEDULER_NAME])?;
    if stored.is_empty() {
        let Some(candidate) = candidate else { return Ok(Ok(None)) };
        let sql = "INSERT INTO investigators
                (id, name, pgpfingerprint, publickey, privatekey, status, createdat, lastmodified)
            VALUES (nextval('ids'), $1, $2, $3, $4, 'active', $5, $5) ON CONFLICT DO NOTHING";
        let (fingerprint, key) = (candidate.fingerprint.as_str(), candidate.private_key.expose());
        session.execute(sql, &[&SCHEDULER_NAME, &fingerprint, &candidate.public_key, &key, &now])?;
        stored = session.query(find, &[&SCHEDULER_NAME])?;
    }
    let Some(row) = stored.first() else {
        let text = format!("investigator {SCHEDULER_NAME}: its key is stored under another name");
        return Ok(Err(Failure::Refuse(text)));
    };
    Ok(SchedulerKey::stored(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?).map(Some))
}

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
pub(super) fn gone(session: &mut Session, heard_before: Timestamp, count: usize) -> Result<Vec<QueueLoc>, Error> {
    let sql = "SELECT queueloc FROM agents GROUP BY queueloc
        HAVING max(heartbeattime) < $1 AND NOT bool_or(status IN ('online', 'idle'))
            AND NOT EXISTS (SELECT 1 FROM commands
                WHERE commands.queueloc = agents.queueloc AND commands.status IN ('prepared', 'sent'))
        ORDER BY max(heartbeattime) DESC, queueloc LIMIT $2";
    let rows = session.query(sql, &[&heard_before, &(count as i64)])?;
    let queuelocs = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&str>, Error>>()?;
    Ok(queuelocs.into_iter().filter_map(|text| QueueLoc::parse(text).ok()).collect())
}
