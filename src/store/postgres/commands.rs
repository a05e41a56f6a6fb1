//! Commands: look up, restore, finish.

use super::super::{Finished, FinishedBatch, KnownCommand, OverdueSearch};
use super::pool::Session;
use super::{actions, agents, text};
use crate::action::Action;
use crate::command::{Command, CommandStatus};
use crate::heartbeat::Agent;
use crate::id::{ActionId, CommandId, CommandRef};
use crate::time::{self, Timestamp};
use postgres::Error;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

fn number(command: CommandRef) -> i64 {
    command.command.get() as i64
}

/// See `Store::find_commands`.
pub(super) fn find(session: &mut Session, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Error> {
    let ids: Vec<i64> = commands.iter().copied().map(number).collect();
    let sql = "SELECT id, actionid, status, queueloc FROM commands WHERE id = ANY($1)";
    let mut found = HashMap::new();
    for row in session.query(sql, &[&ids])? {
        if let Some(status) = CommandStatus::parse(row.try_get(2)?) {
            let key: (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            found.insert(key, KnownCommand { status, queueloc: row.try_get(3)? });
        }
    }
    let known = |command: &CommandRef| found.get(&(number(*command), command.action.get() as i64)).cloned();
    Ok(commands.iter().map(known).collect())
}

/// See `Store::mark_sent`.
pub(super) fn mark_sent(session: &mut Session, commands: &[CommandRef]) -> Result<(), Error> {
    let ids: Vec<i64> = commands.iter().copied().map(number).collect();
    let sql = "UPDATE commands SET status = 'sent' FROM (
            SELECT id FROM commands WHERE id = ANY($1) AND status = 'prepared' ORDER BY id FOR UPDATE) AS prepared
        WHERE commands.id = prepared.id";
    session.execute(sql, &[&ids])?;
    Ok(())
}

/// See `Store::finish_commands`.
pub(super) fn finish_all(session: &mut Session, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Error> {
    // Of several answers to one command the first counts.
    let mut first: BTreeMap<CommandRef, &Command> = BTreeMap::new();
    for answer in answers {
        first.entry(answer.reference()).or_insert(answer);
    }
    let mut now_ended = finish(session, first.values().copied(), now)?;
    let others: Vec<CommandRef> = first.keys().copied().filter(|one| !now_ended.contains(&number(*one))).collect();
    let known = if others.is_empty() { Vec::new() } else { find(session, &others)? };
    let mut before: HashMap<CommandRef, CommandStatus> = HashMap::new();
    let mut missing = Vec::new();
    for (reference, known) in others.iter().zip(known) {
        match known {
            Some(known) => drop(before.insert(*reference, known.status)),
            None => missing.extend(first.get(reference).copied()),
        }
    }
    if !missing.is_empty() {
        // The store was recreated: the answers have everything that it needs.
        restore(session, &missing, now)?;
        now_ended.extend(finish(session, missing.iter().copied(), now)?);
    }
    let outcome = |answer: &Command| {
        let reference = answer.reference();
        if now_ended.remove(&number(reference)) {
            before.insert(reference, answer.status);
            return Finished::Now;
        }
        Finished::Before(before.get(&reference).copied().unwrap_or(answer.status))
    };
    let finished = answers.iter().map(outcome).collect();
    let actions: BTreeSet<ActionId> = answers.iter().map(|answer| answer.reference().action).collect();
    let ended = actions::ended(session, &actions.into_iter().collect::<Vec<_>>(), now)?;
    Ok(FinishedBatch { finished, ended })
}

/// Stores answers to unfinished commands; returns the ids of those. Locks rows in the order of their ids.
///
/// Two statements: for a join of the batch with the locked rows, neither with an index or a known size, the server
/// would compare all pairs.
fn finish<'a>(
    session: &mut Session,
    answers: impl Iterator<Item = &'a Command> + Clone,
    now: Timestamp,
) -> Result<HashSet<i64>, Error> {
    let ids: Vec<i64> = answers.clone().map(|answer| number(answer.reference())).collect();
    let sql = "SELECT id, actionid FROM commands WHERE id = ANY($1) AND status IN ('prepared', 'sent')
        ORDER BY id FOR UPDATE";
    let mut unfinished = HashSet::new();
    for row in session.query(sql, &[&ids])? {
        unfinished.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let (mut ids, mut statuses, mut finished) = (Vec::new(), Vec::new(), Vec::new());
    let (mut results, mut as_sent) = (Vec::new(), Vec::new());
    for answer in answers {
        let id = number(answer.reference());
        if !unfinished.contains(&(id, answer.reference().action.get() as i64)) {
            continue;
        }
        ids.push(id);
        statuses.push(answer.status.as_str());
        finished.push(if answer.finish_time == time::not_set() { now } else { answer.finish_time });
        let readable = text::readable(answer.results.get());
        as_sent.push(matches!(readable, Cow::Owned(_)).then_some(answer.results.get()));
        results.push(readable);
    }
    let sql = "UPDATE commands SET status = answers.status, results = answers.results::json,
            resultsassent = answers.assent, finishtime = answers.finishtime
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
            AS answers (id, status, results, assent, finishtime)
        WHERE commands.id = answers.id";
    if !ids.is_empty() {
        session.execute(sql, &[&ids, &statuses, &results, &as_sent, &finished])?;
    }
    Ok(ids.into_iter().collect())
}

/// Adds missing commands, with their actions and agents, as sent. Skips those with an id that is taken.
pub(super) fn restore(session: &mut Session, commands: &[&Command], now: Timestamp) -> Result<(), Error> {
    let references: Vec<CommandRef> = commands.iter().map(|command| command.reference()).collect();
    let known = find(session, &references)?;
    let mut missing: Vec<&Command> =
        commands.iter().zip(known).filter(|(_, known)| known.is_none()).map(|(command, _)| *command).collect();
    missing.sort_by_key(|command| command.reference());
    let mut checked: HashMap<ActionId, Option<String>> = HashMap::new();
    let mut restored: Vec<&Command> = Vec::with_capacity(missing.len());
    for command in missing {
        let id = command.reference().action;
        let text = match checked.get(&id) {
            Some(text) => text,
            None => {
                let is_there = actions::insert(session, &command.action, id, "", now)?.is_ok();
                checked.entry(id).or_insert(is_there.then(|| command.action.signed_text()))
            }
        };
        if text.as_ref().is_some_and(|text| *text == command.action.signed_text()) {
            restored.push(command);
        }
    }
    if restored.is_empty() {
        return Ok(());
    }
    let answering: Vec<&Agent> = restored.iter().map(|command| &command.agent).collect();
    let agents = agents::ids_for_answers(session, &answering)?;
    let (mut ids, mut actions, mut agent_ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut queuelocs, mut started) = (Vec::new(), Vec::new());
    for command in restored {
        let key = (command.agent.queueloc.as_str().to_owned(), command.agent.pid);
        let Some(agent) = agents.get(&key) else { continue };
        ids.push(number(command.reference()));
        actions.push(command.reference().action.get() as i64);
        agent_ids.push(*agent);
        queuelocs.push(command.agent.queueloc.as_str());
        started.push(command.start_time);
    }
    let mut counted: Vec<i64> = actions.clone();
    counted.sort_unstable();
    counted.dedup();
    // Before the commands are there: what counts them waits.
    let lock = "SELECT 1 FROM actions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    session.query(lock, &[&counted])?;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        SELECT id, actionid, agentid, queueloc, 'sent', '[]', starttime, $6
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])
            AS restored (id, actionid, agentid, queueloc, starttime)
        ORDER BY actionid, queueloc ON CONFLICT DO NOTHING";
    session.execute(sql, &[&ids, &actions, &agent_ids, &queuelocs, &started, &time::never()])?;
    session.execute("UPDATE actions SET counters = NULL WHERE id = ANY($1) AND counters IS NOT NULL", &[&counted])?;
    Ok(())
}

/// See `Store::overdue_commands`.
pub(super) fn overdue(
    session: &mut Session,
    search: &OverdueSearch,
) -> Result<(Vec<Command>, Option<CommandRef>), Error> {
    let sql = "SELECT commands.id, commands.actionid, commands.queueloc, commands.starttime, commands.status
        FROM actions JOIN commands ON commands.actionid = actions.id
        WHERE actions.status = 'inflight' AND actions.expireafter < $1 AND actions.owner = ANY($2)
            AND commands.status IN ('prepared', 'sent') AND (commands.actionid, commands.id) > ($3, $4)
        ORDER BY commands.actionid, commands.id LIMIT $5";
    let (action, command) = search.after_ids();
    let count = search.count as i64;
    let rows = session.query(sql, &[&search.before, &search.owners, &action, &command, &count])?;
    let mut found: Vec<(i64, i64, String, Timestamp, String)> = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?));
    }
    let next = found.last().and_then(|(id, action, ..)| search.next(found.len(), *action, *id));
    let ids: BTreeSet<i64> = found.iter().map(|(_, action, ..)| *action).collect();
    let actions = actions::find(session, &ids.into_iter().collect::<Vec<_>>())?;
    let actions: HashMap<i64, Arc<Action>> = actions.into_iter().map(|(id, action)| (id, Arc::new(action))).collect();
    let queuelocs: BTreeSet<String> = found.iter().map(|(_, _, queueloc, ..)| queueloc.clone()).collect();
    let agents = agents::by_queueloc(session, &queuelocs.into_iter().collect::<Vec<_>>())?;
    let command = |(id, action, queueloc, started, status): (i64, i64, String, Timestamp, String)| {
        let (id, status) = (CommandId::new(id as u64)?, CommandStatus::parse(&status)?);
        let action = Arc::clone(actions.get(&action)?);
        let mut command = Command::new(id, action, agents.get(&queueloc)?.clone(), started)?;
        command.status = status;
        Some(command)
    };
    Ok((found.into_iter().filter_map(command).collect(), next))
}
