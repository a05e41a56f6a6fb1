//! The key that the schedulers of one store share.

use super::super::{SCHEDULER_NAME, SchedulerKey};
use super::pool::Session;
use crate::failure::Failure;
use crate::time::Timestamp;
use tokio_postgres::Error;

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
