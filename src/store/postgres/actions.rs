//! Actions: begin, count, complete.

use super::super::catalog::Progress;
use super::super::{Begin, Ended, Prepared, claimed, id_taken, stored_action};
use super::pool::Session;
use super::text;
use crate::action::{Action, Counters};
use crate::failure::Failure;
use crate::id::ActionId;
use crate::time::{self, Timestamp};
use postgres::Error;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

macro_rules! columns {
    () => {
        "json_build_object('id', actions.id, 'name', actions.name, 'target', actions.target,
            'description', description, 'threat', threat, 'operations', coalesce(operationsassent::json, operations),
            'pgpsignatures', pgpsignatures, 'syntaxversion', syntaxversion)::text, actions.validfrom, actions.expireafter"
    };
}

/// See the macro.
pub(super) const COLUMNS: &str = columns!();

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// See `Store::find_action`; returns no entry for a missing id.
pub(super) fn find(session: &mut Session, ids: &[i64]) -> Result<HashMap<i64, Action>, Error> {
    let sql = concat!("SELECT ", columns!(), ", actions.id FROM actions WHERE id = ANY($1)");
    let mut found = HashMap::new();
    for row in session.query(sql, &[&ids])? {
        if let Some(action) = stored_action(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
            found.insert(row.try_get(3)?, action);
        }
    }
    Ok(found)
}

/// Inserts the action's row if it is missing: in flight, claimed by `owner` (empty: unclaimed). Returns whether it did.
/// Refuses an action whose id belongs to another signed text, or that cannot be stored.
pub(super) fn insert(
    session: &mut Session,
    action: &Action,
    id: ActionId,
    owner: &str,
    now: Timestamp,
) -> Result<Result<bool, Failure>, Error> {
    if action.name.contains('\0') || action.target.contains('\0') {
        let text =
            "its name or target has a character U+0000, which PostgreSQL cannot store; remove it, and sign again";
        return Ok(Err(Failure::Refuse(text.into())));
    }
    let sql = "INSERT INTO actions (id, name, target, description, threat, operations, operationsassent, validfrom,
            expireafter, starttime, finishtime, lastupdatetime, status, syntaxversion, pgpsignatures, owner, endsagents)
        VALUES ($1, $2, $3, $4::text::json, $5::text::json, $6::text::json, $7, $8, $9, $10, $11, $10, 'inflight', $12,
            $13::text::json, $14, $15)
        ON CONFLICT (id) DO NOTHING";
    let operations = json(&action.operations);
    let readable = text::readable(&operations);
    let as_sent = matches!(readable, Cow::Owned(_)).then_some(operations.as_str());
    let number = id.get() as i64;
    let inserted = session.execute(
        sql,
        &[
            &number,
            &action.name,
            &action.target,
            &text::object(&action.description),
            &text::object(&action.threat),
            &&*readable,
            &as_sent,
            &action.valid_from,
            &action.expire_after,
            &now,
            &time::never(),
            &action.syntax_version,
            &text::readable(&json(&action.signatures)).into_owned(),
            &owner,
            &action.ends_agents(),
        ],
    )?;
    if inserted == 1 {
        return Ok(Ok(true));
    }
    let stored = find(session, &[number])?.remove(&number);
    let is_same = stored.is_some_and(|stored| stored.signed_text() == action.signed_text());
    Ok(if is_same { Ok(false) } else { Err(id_taken(id)) })
}

/// Claims the action for `owner`, unless it is in flight with another owner.
fn claim(session: &mut Session, id: ActionId, owner: &str) -> Result<Result<(), Failure>, Error> {
    let number = id.get() as i64;
    let sql = "UPDATE actions SET owner = $2 WHERE id = $1 AND (owner IN ('', $2) OR status <> 'inflight')";
    if session.execute(sql, &[&number, &owner])? == 1 {
        return Ok(Ok(()));
    }
    let rows = session.query("SELECT owner FROM actions WHERE id = $1", &[&number])?;
    let other: &str = rows.first().map_or(Ok(""), |row| row.try_get(0))?;
    Ok(Err(claimed(id, other)))
}

fn insert_signers(session: &mut Session, begin: &Begin, now: Timestamp) -> Result<(), Error> {
    let signers = || begin.signers.iter();
    let fingerprints: Vec<&str> = signers().map(|signer| signer.fingerprint.as_str()).collect();
    let names: Vec<Cow<str>> = signers().map(|signer| text::plain(&signer.name)).collect();
    let keys: Vec<Cow<str>> = signers().map(|signer| text::plain(&signer.public_key)).collect();
    let sql = "INSERT INTO investigators (id, name, pgpfingerprint, publickey, status, createdat, lastmodified)
        SELECT nextval('ids'), name, fingerprint, key, 'active', $4, $4
        FROM unnest($1::text[], $2::text[], $3::text[]) AS signers (fingerprint, name, key)
        WHERE NOT EXISTS (SELECT 1 FROM investigators WHERE pgpfingerprint = fingerprint)
        ORDER BY fingerprint ON CONFLICT DO NOTHING";
    session.execute(sql, &[&fingerprints, &names, &keys, &now])?;
    let sql = "INSERT INTO signatures (actionid, investigatorid, pgpsignature)
        SELECT $1, investigators.id, signature FROM unnest($2::text[], $3::text[]) AS signers (fingerprint, signature)
            JOIN investigators ON pgpfingerprint = fingerprint
        ORDER BY investigators.id, signature ON CONFLICT DO NOTHING";
    let signatures: Vec<Cow<str>> =
        signers().zip(&begin.action.signatures).map(|(_, signature)| text::plain(signature)).collect();
    session.execute(sql, &[&(begin.id.get() as i64), &fingerprints, &signatures])?;
    Ok(())
}

/// See `Store::begin_actions`. Rows are locked in the order of the actions' ids.
pub(super) fn begin_all(
    session: &mut Session,
    owner: &str,
    actions: &[Begin],
    now: Timestamp,
) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Error> {
    let mut order: Vec<usize> = (0..actions.len()).collect();
    order.sort_by_key(|index| actions[*index].id);
    let mut begun = BTreeMap::new();
    for index in order {
        begun.insert(index, begin(session, owner, &actions[index], now)?);
    }
    Ok(begun.into_values().collect())
}

fn begin(
    session: &mut Session,
    owner: &str,
    begin: &Begin,
    now: Timestamp,
) -> Result<Result<Vec<Prepared>, Failure>, Error> {
    let is_new = match insert(session, begin.action, begin.id, owner, now)? {
        Ok(is_new) => is_new,
        Err(refused) => return Ok(Err(refused)),
    };
    if !is_new && let Err(refused) = claim(session, begin.id, owner)? {
        return Ok(Err(refused));
    }
    insert_signers(session, begin, now)?;
    let action = begin.id.get() as i64;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        SELECT nextval('ids'), $1, agents.id, queueloc, 'prepared', '[]', $3, $4
        FROM unnest($2::bigint[]) AS selected (id) JOIN agents USING (id)
        ORDER BY queueloc ON CONFLICT DO NOTHING";
    let agents: Vec<i64> = begin.agents.iter().map(|id| id.get() as i64).collect();
    let added = session.execute(sql, &[&action, &agents, &now, &time::never()])?;
    if added > 0 && !is_new {
        let sql = "UPDATE actions SET status = 'inflight', finishtime = $2, lastupdatetime = $3, counters = NULL WHERE id = $1";
        session.execute(sql, &[&action, &time::never(), &now])?;
    }
    unsent(session, action).map(Ok)
}

/// Returns an action's commands that the relay does not have: new ones, and those of an interrupted attempt.
fn unsent(session: &mut Session, action: i64) -> Result<Vec<Prepared>, Error> {
    let sql = "SELECT id, agentid FROM commands WHERE actionid = $1 AND status = 'prepared' ORDER BY id";
    let mut prepared = Vec::new();
    for row in session.query(sql, &[&action])? {
        prepared.extend(Prepared::stored(row.try_get(0)?, row.try_get(1)?));
    }
    Ok(prepared)
}

/// Completes those of these actions that have no unfinished command, and returns them.
///
/// Locks their rows before it reads their commands: of two transactions that each end one of the last two commands, the
/// second sees the first's update.
pub(super) fn ended(session: &mut Session, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Error> {
    let ids: Vec<i64> = actions.iter().map(|id| id.get() as i64).collect();
    let lock = "SELECT 1 FROM actions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    session.query(lock, &[&ids])?;
    let done = "SELECT wanted.id FROM unnest($1::bigint[]) AS wanted (id)
        WHERE EXISTS (SELECT 1 FROM commands WHERE actionid = wanted.id)
            AND NOT EXISTS (SELECT 1 FROM commands WHERE actionid = wanted.id AND status = 'prepared')
            AND NOT EXISTS (SELECT 1 FROM commands WHERE actionid = wanted.id AND status = 'sent')";
    let rows = session.query(done, &[&ids])?;
    let done = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, Error>>()?;
    if done.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT actionid, status, count(*) FROM commands WHERE actionid = ANY($1) GROUP BY actionid, status";
    let mut counted: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for row in session.query(sql, &[&done])? {
        let count: i64 = row.try_get(2)?;
        counted.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, None, count as u64));
    }
    let mut counters: BTreeMap<i64, Counters> =
        counted.into_iter().map(|(id, rows)| (id, Progress::count(rows.into_iter()).counters)).collect();
    let (ids, texts): (Vec<i64>, Vec<String>) = counters.iter().map(|(id, counters)| (*id, json(counters))).unzip();
    let end = "UPDATE actions SET status = 'completed', lastupdatetime = $2, counters = done.counters::json,
            finishtime = CASE WHEN status = 'completed' THEN finishtime ELSE $2 END
        FROM unnest($1::bigint[], $3::text[]) AS done (id, counters) WHERE actions.id = done.id
        RETURNING actions.id, finishtime";
    let rows = session.query(end, &[&ids, &now, &texts])?;
    let mut finished: HashMap<i64, Timestamp> = HashMap::new();
    for row in &rows {
        finished.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let ended = actions.iter().filter_map(|id| {
        let number = id.get() as i64;
        Some(Ended { id: *id, counters: counters.remove(&number)?, finish_time: *finished.get(&number)? })
    });
    Ok(ended.collect())
}
