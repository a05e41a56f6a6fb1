//! The key that the schedulers of one store share, and those of the investigators.

use super::super::{SCHEDULER_NAME, SchedulerKey, StoredKey, StoredKeys};
use super::{micros, next_ids};
use crate::failure::Failure;
use crate::limits;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction};

/// See `Store::scheduler_key`.
pub(super) fn scheduler_key(
    transaction: &Transaction,
    candidate: Option<&SchedulerKey>,
    now: Timestamp,
) -> rusqlite::Result<Result<Option<SchedulerKey>, Failure>> {
    let find = "SELECT pgpfingerprint, publickey, privatekey FROM investigators
        WHERE name = ?1 AND privatekey IS NOT NULL";
    let row = |row: &rusqlite::Row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?));
    let stored = transaction.prepare_cached(find)?.query_row([SCHEDULER_NAME], row).optional()?;
    if let Some((fingerprint, public_key, private_key)) = stored {
        return Ok(SchedulerKey::stored(&fingerprint, public_key, private_key).map(Some));
    }
    let Some(candidate) = candidate else { return Ok(Ok(None)) };
    let sql = "INSERT INTO investigators
            (id, name, pgpfingerprint, publickey, privatekey, status, createdat, lastmodified)
        VALUES (?1, ?2, ?3, ?4, ?5, 'active', ?6, ?6)";
    let id = *next_ids(transaction, 1)?.start();
    transaction.prepare_cached(sql)?.execute((
        id,
        SCHEDULER_NAME,
        candidate.fingerprint.as_str(),
        &candidate.public_key,
        candidate.private_key.expose(),
        micros(now),
    ))?;
    Ok(Ok(Some(candidate.clone())))
}

/// The version of the investigators: the last number changes with each status, also where a clock was set back.
pub(super) const VERSION: &str =
    "SELECT count(*) || ' ' || ifnull(max(id), 0) || ' ' || ifnull(max(lastmodified), 0) || ' ' || ifnull(
        sum((id % 1000003 + lastmodified % 1000003) * CASE status WHEN 'active' THEN 1 ELSE 3 END), 0)
    FROM investigators WHERE privatekey IS NULL";

/// See `Store::investigator_keys`. The version is read first: a change in between is read twice, not missed.
pub(super) fn investigator_keys(connection: &Connection, known: Option<&str>) -> rusqlite::Result<Option<StoredKeys>> {
    let version: String = connection.prepare_cached(VERSION)?.query_row([], |row| row.get(0))?;
    if known == Some(&version) {
        return Ok(None);
    }
    let sql = "SELECT name, pgpfingerprint, iif(length(publickey) <= ?1, publickey, ''), status = 'active'
        FROM investigators WHERE privatekey IS NULL ORDER BY id LIMIT ?2";
    let row = |row: &rusqlite::Row| {
        Ok(StoredKey { name: row.get(0)?, fingerprint: row.get(1)?, public_key: row.get(2)?, is_active: row.get(3)? })
    };
    let mut statement = connection.prepare_cached(sql)?;
    let keys =
        statement.query_map((limits::STORED_KEY_BYTES_MAX as i64, limits::STORED_INVESTIGATORS_MAX as i64), row)?;
    Ok(Some(StoredKeys { version, keys: keys.collect::<rusqlite::Result<_>>()? }))
}
