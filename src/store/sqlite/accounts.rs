//! Investigators, and the API's tokens.

use super::super::accounts::{Accounts, Added, InvestigatorStatus, StoredInvestigator, TokenHash};
use super::{SqliteStore, from_micros, key, micros, next_ids};
use crate::failure::Failure;
use crate::id::InvestigatorId;
use crate::investigator::Investigator;
use crate::time::Timestamp;
use rusqlite::{OptionalExtension, Row};

/// The columns that [`from_row`] reads.
pub(super) const COLUMNS: &str = "investigators.id, investigators.name, investigators.pgpfingerprint, investigators.publickey, \
    investigators.status, investigators.createdat, investigators.lastmodified";

/// Builds an investigator from a row that begins with [`COLUMNS`].
pub(super) fn from_row(row: &Row) -> rusqlite::Result<Option<StoredInvestigator>> {
    let texts = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
    Ok(StoredInvestigator::stored(row.get(0)?, texts, [from_micros(row.get(5)?), from_micros(row.get(6)?)]))
}

impl Accounts for SqliteStore {
    fn investigator(&mut self, id: InvestigatorId) -> Result<Option<StoredInvestigator>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM investigators WHERE id = ?1");
        let find =
            || Ok(self.reader.prepare_cached(&sql)?.query_row([id.get() as i64], from_row).optional()?.flatten());
        find().map_err(|e| self.failure("look up an investigator", e))
    }

    fn investigators_version(&mut self) -> Result<String, Failure> {
        let find = || self.reader.prepare_cached(key::VERSION)?.query_row((), |row| row.get(0));
        find().map_err(|e| self.failure("look at the investigators", e))
    }

    fn investigators(&mut self) -> Result<Vec<StoredInvestigator>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM investigators WHERE privatekey IS NULL ORDER BY id");
        let find = || {
            let mut statement = self.reader.prepare_cached(&sql)?;
            let rows = statement.query_map((), from_row)?;
            rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()
        };
        find().map_err(|e| self.failure("list investigators", e))
    }

    fn add_investigator(&mut self, investigator: &Investigator, now: Timestamp) -> Result<Added, Failure> {
        self.transact("add an investigator", |transaction| {
            let find = "SELECT id FROM investigators WHERE pgpfingerprint = ?1";
            let known = transaction.query_row(find, [investigator.fingerprint.as_str()], |row| row.get::<_, i64>(0));
            let id = |id: i64| InvestigatorId::new(id as u64).ok_or(rusqlite::Error::InvalidQuery);
            if let Some(known) = known.optional()? {
                return id(known).map(Added::Known);
            }
            let new = *next_ids(transaction, 1)?.start();
            let add = "INSERT INTO investigators (id, name, pgpfingerprint, publickey, status, createdat, lastmodified)
                VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?5)";
            let Investigator { name, fingerprint, public_key } = investigator;
            transaction.execute(add, (new, name, fingerprint.as_str(), public_key, micros(now)))?;
            id(new).map(Added::New)
        })
    }

    fn set_status(&mut self, id: InvestigatorId, status: InvestigatorStatus, now: Timestamp) -> Result<bool, Failure> {
        self.transact("change an investigator", |transaction| {
            let sql = "UPDATE investigators SET status = ?2, lastmodified = ?3 WHERE id = ?1";
            let changed = transaction.execute(sql, (id.get() as i64, status.as_str(), micros(now)))?;
            if status == InvestigatorStatus::Disabled {
                transaction.execute("DELETE FROM tokens WHERE investigatorid = ?1", [id.get() as i64])?;
            }
            Ok(changed == 1)
        })
    }

    fn use_once(&mut self, token: &TokenHash, expires: Timestamp, now: Timestamp) -> Result<bool, Failure> {
        self.transact("record a token", |transaction| {
            transaction.prepare_cached("DELETE FROM tokens WHERE expires < ?1")?.execute([micros(now)])?;
            let sql = "INSERT INTO tokens (hash, expires) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            Ok(transaction.prepare_cached(sql)?.execute((token.as_slice(), micros(expires)))? == 1)
        })
    }

    fn begin_session(
        &mut self,
        token: &TokenHash,
        id: InvestigatorId,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.transact("begin a session", |transaction| {
            transaction.execute("DELETE FROM tokens WHERE expires < ?1", [micros(now)])?;
            let sql = "INSERT INTO tokens (hash, investigatorid, expires) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (token.as_slice(), id.get() as i64, micros(expires))).map(drop)
        })
    }

    fn find_session(&mut self, token: &TokenHash, now: Timestamp) -> Result<Option<InvestigatorId>, Failure> {
        let sql = "SELECT investigators.id FROM tokens JOIN investigators ON investigators.id = tokens.investigatorid
            WHERE tokens.hash = ?1 AND tokens.expires >= ?2 AND investigators.status = 'active'";
        let find = || {
            let mut statement = self.reader.prepare_cached(sql)?;
            statement.query_row((token.as_slice(), micros(now)), |row| row.get::<_, i64>(0)).optional()
        };
        let found = find().map_err(|e| self.failure("look up a session", e))?;
        Ok(found.and_then(|id| InvestigatorId::new(id as u64)))
    }

    fn end_session(&mut self, token: &TokenHash) -> Result<(), Failure> {
        self.transact("end a session", |transaction| {
            transaction.execute("DELETE FROM tokens WHERE hash = ?1", [token.as_slice()]).map(drop)
        })
    }
}
