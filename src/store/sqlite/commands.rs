//! Actions and their commands: begun, finished, counted.

use super::super::{Begin, Ended, Finished, Prepared, StoreError};
use super::{agents, from_micros, micros, next_ids};
use crate::action::{Action, Counters};
use crate::command::{Command, CommandStatus};
use crate::heartbeat::Agent;
use crate::id::{ActionId, CommandId, CommandRef};
use crate::investigator::Investigator;
use crate::time::{self, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, named_params};
use std::collections::HashMap;

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Adds the action's row unless it is there. Refuses one whose id belongs to an action with another signed text.
fn insert_action(
    transaction: &Transaction,
    action: &Action,
    id: ActionId,
    now: Timestamp,
) -> rusqlite::Result<Result<(), StoreError>> {
    let sql =
        "INSERT INTO actions (id, name, target, description, threat, operations, validfrom, expireafter, starttime,
            finishtime, lastupdatetime, status, syntaxversion, pgpsignatures)
        VALUES (:id, :name, :target, :description, :threat, :operations, :validfrom, :expireafter, :now, :never, :now,
            'inflight', :syntaxversion, :pgpsignatures)
        ON CONFLICT (id) DO NOTHING";
    let operations = json(&action.operations);
    let inserted = transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id.get() as i64, ":name": action.name, ":target": action.target,
        ":description": json(&action.description), ":threat": json(&action.threat), ":operations": operations,
        ":validfrom": micros(action.valid_from), ":expireafter": micros(action.expire_after),
        ":now": micros(now), ":never": micros(time::never()), ":syntaxversion": action.syntax_version,
        ":pgpsignatures": json(&action.signatures),
    })?;
    if inserted == 1 {
        return Ok(Ok(()));
    }
    let sql = "SELECT name = ?2 AND target = ?3 AND operations = ?4 AND validfrom / 1000000 = ?5
        AND expireafter / 1000000 = ?6 FROM actions WHERE id = ?1";
    let window = (action.valid_from.as_second(), action.expire_after.as_second());
    let row = (id.get() as i64, &action.name, &action.target, &operations, window.0, window.1);
    if transaction.prepare_cached(sql)?.query_row(row, |row| row.get(0))? {
        return Ok(Ok(()));
    }
    let text = format!("the id {id} belongs to another action; drop this one without an id, and it is given one");
    Ok(Err(StoreError::Refused(text)))
}

fn insert_signers(
    transaction: &Transaction,
    action: &Action,
    id: ActionId,
    signers: &[Investigator],
    now: Timestamp,
) -> rusqlite::Result<()> {
    for (signer, signature) in signers.iter().zip(&action.signatures) {
        let find = "SELECT id FROM investigators WHERE pgpfingerprint = ?1";
        let known = transaction.prepare_cached(find)?.query_row([signer.fingerprint.as_str()], |row| row.get(0));
        let investigator: i64 = match known.optional()? {
            Some(id) => id,
            None => {
                let add =
                    "INSERT INTO investigators (id, name, pgpfingerprint, publickey, status, createdat, lastmodified)
                    VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?5)";
                let id = *next_ids(transaction, 1)?.start();
                let row = (id, &signer.name, signer.fingerprint.as_str(), &signer.public_key, micros(now));
                transaction.prepare_cached(add)?.execute(row)?;
                id
            }
        };
        let sql = "INSERT INTO signatures (actionid, investigatorid, pgpsignature) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        transaction.prepare_cached(sql)?.execute((id.get() as i64, investigator, signature))?;
    }
    Ok(())
}

/// See `Store::begin_actions`.
pub(super) fn begin(
    transaction: &Transaction,
    begin: &Begin,
    now: Timestamp,
) -> rusqlite::Result<Result<Vec<Prepared>, StoreError>> {
    if let Err(refused) = insert_action(transaction, begin.action, begin.id, now)? {
        return Ok(Err(refused));
    }
    insert_signers(transaction, begin.action, begin.id, begin.signers, now)?;
    let action = begin.id.get() as i64;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        VALUES (?1, ?2, ?3, ?4, 'prepared', '[]', ?5, ?6) ON CONFLICT DO NOTHING";
    let mut insert = transaction.prepare_cached(sql)?;
    let mut added = 0;
    for (id, agent) in next_ids(transaction, begin.agents.len())?.zip(begin.agents) {
        let agent_id = agent.id.map(|id| id as i64);
        let row = (id, action, agent_id, agent.queueloc.as_str(), micros(now), micros(time::never()));
        added += insert.execute(row)?;
    }
    if added > 0 {
        let sql = "UPDATE actions SET status = 'inflight', finishtime = ?2, lastupdatetime = ?3 WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute((action, micros(time::never()), micros(now)))?;
    }
    unsent(transaction, action, begin.agents).map(Ok)
}

/// An action's commands that the relay does not have, with their agents: those just selected, or as the store knows them.
fn unsent(transaction: &Transaction, action: i64, selected: &[Agent]) -> rusqlite::Result<Vec<Prepared>> {
    let selected: HashMap<&str, &Agent> = selected.iter().map(|agent| (agent.queueloc.as_str(), agent)).collect();
    let sql = "SELECT id, queueloc FROM commands WHERE actionid = ?1 AND status = 'prepared' ORDER BY id";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([action], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut prepared = Vec::with_capacity(selected.len());
    for row in rows {
        let (id, queueloc) = row?;
        // One that an earlier, interrupted try selected may be offline by now; it is still owed its command.
        let agent = match selected.get(queueloc.as_str()) {
            Some(agent) => Some((*agent).clone()),
            None => agents::by_queueloc(transaction, &queueloc)?,
        };
        if let (Some(id), Some(agent)) = (CommandId::new(id as u64), agent) {
            prepared.push(Prepared { id, agent });
        }
    }
    Ok(prepared)
}

/// A command's status and queueloc.
pub(super) fn find(connection: &Connection, command: CommandRef) -> rusqlite::Result<Option<(CommandStatus, String)>> {
    let sql = "SELECT status, queueloc FROM commands WHERE id = ?1 AND actionid = ?2";
    let ids = (command.command.get() as i64, command.action.get() as i64);
    let row = |row: &rusqlite::Row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.prepare_cached(sql)?.query_row(ids, row).optional()?;
    Ok(found.and_then(|(status, queueloc)| Some((CommandStatus::parse(&status)?, queueloc))))
}

/// See `Store::finish_commands`.
pub(super) fn finish(transaction: &Transaction, answer: &Command, now: Timestamp) -> rusqlite::Result<Finished> {
    let reference = answer.reference();
    let finish_time = micros(if answer.finish_time == time::not_set() { now } else { answer.finish_time });
    let sql = "UPDATE commands SET status = ?3, results = ?4, finishtime = ?5
        WHERE id = ?1 AND actionid = ?2 AND status IN ('prepared', 'sent')";
    let (id, action) = (reference.command.get() as i64, reference.action.get() as i64);
    let row = (id, action, answer.status.as_str(), answer.results.get(), finish_time);
    if transaction.prepare_cached(sql)?.execute(row)? == 1 {
        return Ok(Finished::Now);
    }
    if let Some((status, _)) = find(transaction, reference)? {
        return Ok(Finished::Before(status));
    }
    // The store was made anew since: the file has all that it needs to know.
    if !restore(transaction, answer, now)? || transaction.prepare_cached(sql)?.execute(row)? != 1 {
        return Ok(Finished::Before(answer.status));
    }
    Ok(Finished::Now)
}

/// Adds a command that is missing, with its action and agent, as sent. False when it cannot be: its ids are taken.
pub(super) fn restore(transaction: &Transaction, command: &Command, now: Timestamp) -> rusqlite::Result<bool> {
    let reference = command.reference();
    if find(transaction, reference)?.is_some() {
        return Ok(true);
    }
    if insert_action(transaction, &command.action, reference.action, now)?.is_err() {
        return Ok(false);
    }
    let agent = agents::id_for_answer(transaction, &command.agent)?;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        VALUES (?1, ?2, ?3, ?4, 'sent', '[]', ?5, ?6) ON CONFLICT DO NOTHING";
    let ids = (reference.command.get() as i64, reference.action.get() as i64);
    let queueloc = command.agent.queueloc.as_str();
    let row = (ids.0, ids.1, agent, queueloc, micros(command.start_time), micros(time::never()));
    Ok(transaction.prepare_cached(sql)?.execute(row)? == 1)
}

/// See `Store::overdue_commands`. A row that cannot be made a command of is passed over: nobody could act on it.
pub(super) fn overdue(connection: &Connection, before: Timestamp, count: usize) -> rusqlite::Result<Vec<Command>> {
    let sql = "SELECT commands.id, commands.queueloc, commands.starttime, json_object('id', actions.id, 'name', actions.name,
            'target', actions.target, 'description', json(description), 'threat', json(threat),
            'operations', json(operations), 'pgpsignatures', json(pgpsignatures), 'syntaxversion', syntaxversion),
            actions.validfrom, actions.expireafter
        FROM actions JOIN commands ON commands.actionid = actions.id
        WHERE actions.status = 'inflight' AND actions.expireafter < ?1 AND commands.status IN ('prepared', 'sent') LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((micros(before), count as i64))?;
    let mut overdue = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(mut action) = Action::parse_draft(row.get_ref(3)?.as_str()?.as_bytes()) else { continue };
        action.valid_from = from_micros(row.get(4)?);
        action.expire_after = from_micros(row.get(5)?);
        let agent = agents::by_queueloc(connection, row.get_ref(1)?.as_str()?)?;
        let id = CommandId::new(row.get::<_, i64>(0)? as u64);
        if let (Some(id), Some(agent)) = (id, agent) {
            overdue.extend(Command::new(id, action, agent, from_micros(row.get(2)?)));
        }
    }
    Ok(overdue)
}

/// Of these actions, ends those that have no command left.
pub(super) fn ended(
    transaction: &Transaction,
    actions: impl IntoIterator<Item = ActionId>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Ended>> {
    let mut ended = Vec::new();
    for id in actions {
        let counters = count(transaction, id)?;
        let total = counters.get("sent").copied().unwrap_or(0);
        if total == 0 || counters.get("done") != Some(&total) {
            continue;
        }
        let sql = "UPDATE actions SET status = 'completed', lastupdatetime = ?2,
            finishtime = CASE WHEN status = 'completed' THEN finishtime ELSE ?2 END WHERE id = ?1 RETURNING finishtime";
        let row = (id.get() as i64, micros(now));
        let finish: i64 = transaction.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
        ended.push(Ended { id, counters, finish_time: from_micros(finish) });
    }
    Ok(ended)
}

/// `sent` is all of an action's commands, `done` those that ended, and each final status has a counter of its own.
fn count(transaction: &Transaction, id: ActionId) -> rusqlite::Result<Counters> {
    let sql = "SELECT status, count(*) FROM commands WHERE actionid = ?1 GROUP BY status";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([id.get() as i64], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut counters = Counters::new();
    for row in rows {
        let (status, n) = row?;
        *counters.entry("sent".into()).or_default() += n as u64;
        if CommandStatus::parse(&status).is_some_and(CommandStatus::is_final) {
            *counters.entry("done".into()).or_default() += n as u64;
            counters.insert(status, n as u64);
        }
    }
    Ok(counters)
}
