//! Investigators, and the API's tokens. The role `migapi` suffices.

use super::super::accounts::{Accounts, Added, InvestigatorStatus, StoredInvestigator, TokenHash};
use super::{PostgresStore, text};
use crate::failure::Failure;
use crate::id::InvestigatorId;
use crate::investigator::Investigator;
use crate::time::Timestamp;
use postgres::{Error, Row};

macro_rules! columns {
    () => {
        "investigators.id, investigators.name, investigators.pgpfingerprint, investigators.publickey, \
        investigators.status, investigators.createdat, investigators.lastmodified"
    };
}

/// The columns that [`from_row`] reads.
pub(super) const COLUMNS: &str = columns!();

/// Builds an investigator from a row that begins with [`COLUMNS`].
pub(super) fn from_row(row: &Row) -> Result<Option<StoredInvestigator>, Error> {
    let texts = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?];
    Ok(StoredInvestigator::stored(row.try_get(0)?, texts, [row.try_get(5)?, row.try_get(6)?]))
}

fn id(row: &Row) -> Result<Option<InvestigatorId>, Error> {
    Ok(InvestigatorId::new(row.try_get::<_, i64>(0)? as u64))
}

impl Accounts for PostgresStore {
    fn investigator(&mut self, id: InvestigatorId) -> Result<Option<StoredInvestigator>, Failure> {
        self.transact("look up an investigator", |session| {
            let sql = concat!("SELECT ", columns!(), " FROM investigators WHERE id = $1");
            let rows = session.query(sql, &[&(id.get() as i64)])?;
            Ok(rows.first().map(from_row).transpose()?.flatten())
        })
    }

    fn investigators_version(&mut self) -> Result<String, Failure> {
        self.transact("look at the investigators", |session| {
            // Whether one has a private key, the API's role may not see; the rest is as for the scheduler.
            let sql = "SELECT coalesce(md5(string_agg(concat_ws(' ', id, status, lastmodified), ',' ORDER BY id)), '')
                FROM investigators";
            session.query(sql, &[])?.first().map(|row| row.try_get(0)).transpose().map(Option::unwrap_or_default)
        })
    }

    fn investigators(&mut self) -> Result<Vec<StoredInvestigator>, Failure> {
        // The API's role may not see which one has a private key.
        self.transact("list investigators", |session| {
            let sql = concat!("SELECT ", columns!(), " FROM investigators WHERE name <> $1 ORDER BY id");
            let rows = session.query(sql, &[&super::super::SCHEDULER_NAME])?;
            rows.iter().filter_map(|row| from_row(row).transpose()).collect()
        })
    }

    fn add_investigator(&mut self, investigator: &Investigator, now: Timestamp) -> Result<Added, Failure> {
        let added = self.transact("add an investigator", |session| {
            let Investigator { name, fingerprint, public_key } = investigator;
            let sql = "INSERT INTO investigators (id, name, pgpfingerprint, publickey, status, createdat, lastmodified)
                VALUES (nextval('ids'), $1, $2, $3, 'active', $4, $4) ON CONFLICT DO NOTHING RETURNING id";
            let values = session.query(sql, &[&text::plain(name), &fingerprint.as_str(), public_key, &now])?;
            if let Some(row) = values.first() {
                return Ok(id(row)?.map(Added::New));
            }
            let find = "SELECT id FROM investigators WHERE pgpfingerprint = $1";
            let rows = session.query(find, &[&fingerprint.as_str()])?;
            Ok(rows.first().map(id).transpose()?.flatten().map(Added::Known))
        })?;
        added.ok_or_else(|| Failure::retry(format!("add investigator {}: it has no id", investigator.name)))
    }

    fn set_status(&mut self, id: InvestigatorId, status: InvestigatorStatus, now: Timestamp) -> Result<bool, Failure> {
        self.transact("change an investigator", |session| {
            let number = id.get() as i64;
            let sql = "UPDATE investigators SET status = $2, lastmodified = $3 WHERE id = $1";
            let changed = session.execute(sql, &[&number, &status.as_str(), &now])?;
            if status == InvestigatorStatus::Disabled {
                session.execute("DELETE FROM tokens WHERE investigatorid = $1", &[&number])?;
            }
            Ok(changed == 1)
        })
    }

    fn use_once(&mut self, token: &TokenHash, expires: Timestamp, now: Timestamp) -> Result<bool, Failure> {
        self.transact("record a token", |session| {
            session.execute("DELETE FROM tokens WHERE expires < $1", &[&now])?;
            let sql = "INSERT INTO tokens (hash, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            Ok(session.execute(sql, &[&token.as_slice(), &expires])? == 1)
        })
    }

    fn begin_session(
        &mut self,
        token: &TokenHash,
        id: InvestigatorId,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.transact("begin a session", |session| {
            session.execute("DELETE FROM tokens WHERE expires < $1", &[&now])?;
            let sql = "INSERT INTO tokens (hash, investigatorid, expires) VALUES ($1, $2, $3)";
            session.execute(sql, &[&token.as_slice(), &(id.get() as i64), &expires]).map(drop)
        })
    }

    fn find_session(&mut self, token: &TokenHash, now: Timestamp) -> Result<Option<InvestigatorId>, Failure> {
        self.transact("look up a session", |session| {
            let sql =
                "SELECT investigators.id FROM tokens JOIN investigators ON investigators.id = tokens.investigatorid
                WHERE tokens.hash = $1 AND tokens.expires >= $2 AND investigators.status = 'active'";
            let rows = session.query(sql, &[&token.as_slice(), &now])?;
            Ok(rows.first().map(id).transpose()?.flatten())
        })
    }

    fn end_session(&mut self, token: &TokenHash) -> Result<(), Failure> {
        self.transact("end a session", |session| {
            session.execute("DELETE FROM tokens WHERE hash = $1", &[&token.as_slice()]).map(drop)
        })
    }
}
