//! The key that the schedulers of one store share, and those of the investigators.

use super::super::{SCHEDULER_NAME, SchedulerKey, StoredKey, StoredKeys};
use super::pool::Session;
use crate::failure::Failure;
use crate::limits;
use crate::time::Timestamp;
use postgres::{Error, Row};

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

/// See `Store::investigator_keys`. The version is read first: a change in between is read twice, not missed.
pub(super) fn investigator_keys(session: &mut Session, known: Option<&str>) -> Result<Option<StoredKeys>, Error> {
    let sql = "SELECT coalesce(md5(string_agg(concat_ws(' ', id, status, lastmodified), ',' ORDER BY id)), '')
        FROM investigators WHERE privatekey IS NULL";
    let rows = session.query(sql, &[])?;
    let version: String = rows.first().map_or(Ok(String::new()), |row| row.try_get(0))?;
    if known == Some(&version) {
        return Ok(None);
    }
    let sql = "SELECT name, pgpfingerprint, CASE WHEN length(publickey) <= $1 THEN publickey ELSE '' END,
            status = 'active'
        FROM investigators WHERE privatekey IS NULL ORDER BY id LIMIT $2";
    let (size_max, count_max) = (limits::STORED_KEY_BYTES_MAX as i32, limits::STORED_INVESTIGATORS_MAX as i64);
    let key = |row: &Row| {
        Ok(StoredKey {
            name: row.try_get(0)?,
            fingerprint: row.try_get(1)?,
            public_key: row.try_get(2)?,
            is_active: row.try_get(3)?,
        })
    };
    let keys: Result<_, Error> = session.query(sql, &[&size_max, &count_max])?.iter().map(key).collect();
    Ok(Some(StoredKeys { version, keys: keys? }))
}
