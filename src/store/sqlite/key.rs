//! The key that the schedulers of one store share.

use super::super::{SCHEDULER_NAME, SchedulerKey};
use super::{micros, next_ids};
use crate::failure::Failure;
use crate::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction};

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
