//! Commands: look up, restore, finish.

use super::super::{Finished, KnownCommand, OverdueSearch};
use super::{actions, agents, from_micros, micros};
use crate::command::{Command, CommandStatus};
use crate::id::{CommandId, CommandRef};
use crate::time::{self, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Looks up a command; None if that action has no such command.
pub(super) fn find(connection: &Connection, command: CommandRef) -> rusqlite::Result<Option<KnownCommand>> {
    let sql = "SELECT status, queueloc FROM commands WHERE id = ?1 AND actionid = ?2";
    let ids = (command.command.get() as i64, command.action.get() as i64);
    let row = |row: &rusqlite::Row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.prepare_cached(sql)?.query_row(ids, row).optional()?;
    Ok(found.and_then(|(status, queueloc)| Some(KnownCommand { status: CommandStatus::parse(&status)?, queueloc })))
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
    if let Some(known) = find(transaction, reference)? {
        return Ok(Finished::Before(known.status));
    }
    // The store was recreated: the answer has everything that it needs.
    if !restore(transaction, answer, now)? || transaction.prepare_cached(sql)?.execute(row)? != 1 {
        return Ok(Finished::Before(answer.status));
    }
    Ok(Finished::Now)
}

/// Adds a missing command, with its action and agent, as sent. Returns false if its ids are taken.
pub(super) fn restore(transaction: &Transaction, command: &Command, now: Timestamp) -> rusqlite::Result<bool> {
    let reference = command.reference();
    if find(transaction, reference)?.is_some() {
        return Ok(true);
    }
    if actions::insert(transaction, &command.action, reference.action, "", now)? == actions::Inserted::Other {
        return Ok(false);
    }
    let agent = agents::id_for_answer(transaction, &command.agent)?;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        VALUES (?1, ?2, ?3, ?4, 'sent', '[]', ?5, ?6) ON CONFLICT DO NOTHING";
    let ids = (reference.command.get() as i64, reference.action.get() as i64);
    let queueloc = command.agent.queueloc.as_str();
    let row = (ids.0, ids.1, agent, queueloc, micros(command.start_time), micros(time::never()));
    let uncount = "UPDATE actions SET counters = NULL WHERE id = ?1 AND counters IS NOT NULL";
    transaction.prepare_cached(uncount)?.execute([ids.1])?;
    Ok(transaction.prepare_cached(sql)?.execute(row)? == 1)
}

/// See `Store::overdue_owners`.
pub(super) fn overdue_owners(connection: &Connection, before: Timestamp) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT DISTINCT owner FROM actions WHERE status = 'inflight' AND expireafter < ?1";
    connection.prepare_cached(sql)?.query_map([micros(before)], |row| row.get(0))?.collect()
}

/// See `Store::overdue_commands`.
pub(super) fn overdue(
    connection: &Connection,
    search: &OverdueSearch,
) -> rusqlite::Result<(Vec<Command>, Option<CommandRef>)> {
    let sql = format!(
        "SELECT {}, commands.id, commands.queueloc, commands.starttime, commands.actionid, commands.status
        FROM actions JOIN commands ON commands.actionid = actions.id
        WHERE actions.status = 'inflight' AND actions.expireafter < ?1
            AND actions.owner IN (SELECT value FROM json_each(?2))
            AND commands.status IN ('prepared', 'sent') AND (commands.actionid, commands.id) > (?3, ?4)
        ORDER BY commands.actionid, commands.id LIMIT ?5",
        actions::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (action, command) = search.after_ids();
    let owners = serde_json::json!(search.owners).to_string();
    let mut rows = statement.query((micros(search.before), owners, action, command, search.count as i64))?;
    let (mut overdue, mut known) = (Vec::new(), HashMap::new());
    let (mut found, mut last) = (0, (0, 0));
    while let Some(row) = rows.next()? {
        (found, last) = (found + 1, (row.get(6)?, row.get(3)?));
        // Commands of one action share it: it may be large, and they may be many.
        let action = match known.entry(row.get::<_, i64>(6)?) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(actions::from_row(row)?.map(Arc::new)),
        };
        let Some(action) = action.as_ref() else { continue };
        let agent = agents::by_queueloc(connection, row.get_ref(4)?.as_str()?)?;
        let id = CommandId::new(row.get::<_, i64>(3)? as u64);
        let status = CommandStatus::parse(row.get_ref(7)?.as_str()?);
        if let (Some(id), Some(agent), Some(status)) = (id, agent, status) {
            overdue.extend(Command::new(id, Arc::clone(action), agent, from_micros(row.get(5)?)).map(|mut command| {
                command.status = status;
                command
            }));
        }
    }
    Ok((overdue, search.next(found, last.0, last.1)))
}
