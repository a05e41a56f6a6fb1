//! Actions: begin, count, complete.

use super::super::catalog::Progress;
use super::super::{Begin, Ended, Prepared, claimed, id_taken, stored_action};
use super::{from_micros, micros, next_ids};
use crate::action::{Action, ActionStatus};
use crate::failure::Failure;
use crate::id::ActionId;
use crate::investigator::Investigator;
use crate::time::{self, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use std::ops::RangeInclusive;

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The columns that [`from_row`] reads.
pub(super) const COLUMNS: &str = "json_object('id', actions.id, 'name', actions.name, 'target', actions.target, \
    'description', json(description), 'threat', json(threat), 'operations', json(operations), \
    'pgpsignatures', json(pgpsignatures), 'syntaxversion', syntaxversion), actions.validfrom, actions.expireafter";

/// Builds an action from a row that begins with [`COLUMNS`].
pub(super) fn from_row(row: &Row) -> rusqlite::Result<Option<Action>> {
    Ok(stored_action(row.get_ref(0)?.as_str()?, from_micros(row.get(1)?), from_micros(row.get(2)?)))
}

/// See `Store::find_action`.
pub(super) fn find(connection: &Connection, id: ActionId) -> rusqlite::Result<Option<Action>> {
    let sql = format!("SELECT {COLUMNS} FROM actions WHERE id = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([id.get() as i64], from_row).optional()?.flatten())
}

/// Outcome of [`insert`].
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Inserted {
    /// The row was missing: it is in flight now.
    Now,
    /// The same action was stored.
    Before,
    /// An action with another signed text was stored.
    Other,
}

/// Inserts the action's row if it is missing: in flight, claimed by `owner` (empty: unclaimed).
pub(super) fn insert(
    transaction: &Transaction,
    action: &Action,
    id: ActionId,
    owner: &str,
    now: Timestamp,
) -> rusqlite::Result<Inserted> {
    let sql =
        "INSERT INTO actions (id, name, target, description, threat, operations, validfrom, expireafter, starttime,
            finishtime, lastupdatetime, status, syntaxversion, pgpsignatures, owner, endsagents)
        VALUES (:id, :name, :target, :description, :threat, :operations, :validfrom, :expireafter, :now, :never, :now,
            'inflight', :syntaxversion, :pgpsignatures, :owner, :endsagents)
        ON CONFLICT (id) DO NOTHING";
    let operations = json(&action.operations);
    let inserted = transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id.get() as i64, ":name": action.name, ":target": action.target,
        ":description": json(&action.description), ":threat": json(&action.threat), ":operations": operations,
        ":validfrom": micros(action.valid_from), ":expireafter": micros(action.expire_after),
        ":now": micros(now), ":never": micros(time::never()), ":syntaxversion": action.syntax_version,
        ":pgpsignatures": json(&action.signatures), ":owner": owner, ":endsagents": action.ends_agents(),
    })?;
    if inserted == 1 {
        return Ok(Inserted::Now);
    }
    let sql = "SELECT name = ?2 AND target = ?3 AND operations = ?4 AND validfrom / 1000000 = ?5
        AND expireafter / 1000000 = ?6 FROM actions WHERE id = ?1";
    let window = (action.valid_from.as_second(), action.expire_after.as_second());
    let row = (id.get() as i64, &action.name, &action.target, &operations, window.0, window.1);
    let is_same: bool = transaction.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
    Ok(if is_same { Inserted::Before } else { Inserted::Other })
}

/// Claims the action for `owner`, unless it is in flight with another owner.
fn claim(transaction: &Transaction, id: ActionId, owner: &str) -> rusqlite::Result<Result<(), Failure>> {
    let sql = "UPDATE actions SET owner = ?2 WHERE id = ?1 AND (owner IN ('', ?2) OR status <> 'inflight')";
    if transaction.prepare_cached(sql)?.execute((id.get() as i64, owner))? == 1 {
        return Ok(Ok(()));
    }
    let other: String =
        transaction.query_row("SELECT owner FROM actions WHERE id = ?1", [id.get() as i64], |row| row.get(0))?;
    Ok(Err(claimed(id, &other)))
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

/// See `Store::begin_actions`. The commands take their ids from `ids`, which must be enough.
pub(super) fn begin(
    transaction: &Transaction,
    owner: &str,
    begin: &Begin,
    ids: &mut RangeInclusive<i64>,
    now: Timestamp,
) -> rusqlite::Result<Result<Vec<Prepared>, Failure>> {
    let inserted = insert(transaction, begin.action, begin.id, owner, now)?;
    let may_begin = match inserted {
        Inserted::Now => Ok(()),
        Inserted::Before => claim(transaction, begin.id, owner)?,
        Inserted::Other => Err(id_taken(begin.id)),
    };
    if let Err(refused) = may_begin {
        return Ok(Err(refused));
    }
    insert_signers(transaction, begin.action, begin.id, begin.signers, now)?;
    let action = begin.id.get() as i64;
    let sql = "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime)
        SELECT ?1, ?2, agents.id, agents.queueloc, 'prepared', '[]', ?4, ?5 FROM agents WHERE agents.id = ?3
        ON CONFLICT DO NOTHING";
    let mut insert = transaction.prepare_cached(sql)?;
    let mut added = Vec::with_capacity(begin.agents.len());
    for (agent, id) in begin.agents.iter().zip(ids) {
        if insert.execute((id, action, agent.get() as i64, micros(now), micros(time::never())))? == 1 {
            added.extend(Prepared::stored(id, agent.get() as i64));
        }
    }
    if inserted == Inserted::Now {
        return Ok(Ok(added));
    }
    if !added.is_empty() {
        let sql = "UPDATE actions SET status = 'inflight', finishtime = ?2, lastupdatetime = ?3, counters = NULL WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute((action, micros(time::never()), micros(now)))?;
    }
    unsent(transaction, action).map(Ok)
}

/// Returns an action's commands that the relay does not have: new ones, and those of an interrupted attempt.
fn unsent(transaction: &Transaction, action: i64) -> rusqlite::Result<Vec<Prepared>> {
    let sql = "SELECT id, agentid FROM commands WHERE actionid = ?1 AND status = 'prepared' ORDER BY id";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([action], |row| Ok(Prepared::stored(row.get(0)?, row.get(1)?)))?;
    rows.filter_map(Result::transpose).collect()
}

/// Completes those of these actions that have no unfinished command, and returns them.
pub(super) fn ended(
    transaction: &Transaction,
    actions: impl IntoIterator<Item = ActionId>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Ended>> {
    let mut ended = Vec::new();
    for id in actions {
        let sql = "SELECT status, count(*) FROM commands WHERE actionid = ?1 GROUP BY status";
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = statement.query_map([id.get() as i64], |row| Ok((row.get(0)?, None, super::count(row, 1)?)))?;
        let progress = Progress::count(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter());
        if progress.status != ActionStatus::Completed {
            continue;
        }
        let sql = "UPDATE actions SET status = 'completed', lastupdatetime = ?2, counters = ?3,
            finishtime = CASE WHEN status = 'completed' THEN finishtime ELSE ?2 END WHERE id = ?1 RETURNING finishtime";
        let row = (id.get() as i64, micros(now), json(&progress.counters));
        let finish: i64 = transaction.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
        ended.push(Ended { id, counters: progress.counters, finish_time: from_micros(finish) });
    }
    Ok(ended)
}
