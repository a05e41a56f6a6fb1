//! The store in a PostgreSQL database, which several schedulers and the API share.
//!
//! - Each method is one transaction on a connection of the process's pool (`postgres/pool.rs`). When it fails, either
//!   nothing was committed, or everything was and only the reply was lost: the caller repeats the call in both cases.
//! - A batch is one statement, whatever its length, and rows are locked in one order, so that two schedulers wait for
//!   each other and cannot deadlock.
//! - Lookup and insert do not race: the tables' unique constraints decide.
//! - Targets are evaluated in a read-only transaction with a time limit, as the role `migreadonly`, which can read only
//!   what targets may name.
//! - The scripts create and change the tables (`postgres.sql`) as another user; the scheduler's may not.

mod accounts;
mod actions;
mod agents;
mod catalog;
mod commands;
mod ending;
mod error;
mod key;
mod pool;
mod text;

use super::{
    AgentCounts, Begin, Duplicate, Ended, FinishedBatch, KnownCommand, OverdueSearch, Prepared, Registration,
    SchedulerKey, Store, StoredKeys,
};
use crate::action::Action;
use crate::command::Command;
use crate::config::database::PostgresConfig;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::{ActionId, AgentId, CommandRef};
use crate::limits;
use crate::targets::{Dialect, Target};
use crate::time::Timestamp;
use pool::{Pool, Session};
use postgres::error::SqlState;
use std::sync::Arc;

/// Number of the last section of `postgres.sql`.
const SCHEMA_VERSION: i32 = 3;

/// The store for several schedulers.
pub struct PostgresStore {
    pool: Arc<Pool>,
    /// `in database mig on host`, for messages.
    place: String,
}

impl PostgresStore {
    /// Connects, and checks the version of the tables.
    pub fn open(config: &PostgresConfig) -> Result<PostgresStore, Failure> {
        let place = format!("in database {} on {}", config.database, config.host);
        let store = PostgresStore { pool: Pool::shared(config)?, place };
        store.check_session()?;
        let found = store.pool.transact(
            "BEGIN READ ONLY",
            |session| {
                session
                    .query("SELECT max(version) FROM schema_version", &[])?
                    .first()
                    .map(|row| row.try_get(0))
                    .transpose()
            },
            |e| match e.code() {
                Some(code) if *code == SqlState::UNDEFINED_TABLE => Failure::Refuse(String::new()),
                _ => error::transaction(format!("look for the tables {}", store.place), e),
            },
        );
        let scripts = error::SCRIPTS;
        match found {
            Ok(Some(Some(SCHEMA_VERSION))) => Ok(store),
            Ok(Some(Some(newer @ SCHEMA_VERSION..))) => Err(Failure::Refuse(format!(
                "the tables {} have version {newer}, this program knows {SCHEMA_VERSION}; install the newer program",
                store.place
            ))),
            Ok(Some(Some(older))) => Err(Failure::Refuse(format!(
                "the tables {} have version {older}, this program needs {SCHEMA_VERSION}; upgrade them with {scripts}",
                store.place
            ))),
            Ok(_) => Err(Failure::Refuse(format!("there are no tables {}; create them with {scripts}", store.place))),
            Err(Failure::Refuse(text)) if text.is_empty() => {
                Err(Failure::Refuse(format!("there are no tables {}; create them with {scripts}", store.place)))
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses a server on which the store would work wrongly.
    fn check_session(&self) -> Result<(), Failure> {
        let sql = "SELECT current_setting('server_encoding'), current_setting('TimeZone'), setting
            FROM pg_settings WHERE name = 'statement_timeout'";
        let settings = self.pool.transact(
            "BEGIN READ ONLY",
            |session| {
                let row = session.query_once(sql)?.remove(0);
                Ok::<[String; 3], postgres::Error>([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])
            },
            |e| error::transaction(format!("look at the settings {}", self.place), e),
        );
        match settings {
            // No later try will cure it.
            Err(Failure::End(reason)) => Err(Failure::Refuse(reason)),
            Err(failure) => Err(failure),
            Ok([encoding, ..]) if encoding != "UTF8" => Err(Failure::Refuse(format!(
                "the encoding {} is {encoding}, and results need UTF8; create another database with {}",
                self.place,
                error::SCRIPTS
            ))),
            Ok([_, zone, limit]) if zone == "UTC" && limit == limits::STATEMENT_TIME_LIMIT.as_millis().to_string() => {
                Ok(())
            }
            Ok(_) => Err(Failure::Refuse(format!(
                "the settings of the session did not arrive {}: {}",
                self.place,
                error::POOLER
            ))),
        }
    }

    /// Runs `work` in one transaction.
    fn transact<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error>,
    ) -> Result<T, Failure> {
        self.pool.transact("BEGIN", work, |e| error::transaction(format!("{what} {}", self.place), e))
    }
}

impl Store for PostgresStore {
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, Failure> {
        self.transact("reserve action ids", |session| {
            // An investigator may have chosen an id that the sequence reaches: skip it.
            let sql = "WITH next AS MATERIALIZED (SELECT nextval('ids') AS id FROM generate_series(1, $1::bigint))
                SELECT id FROM next WHERE NOT EXISTS (SELECT 1 FROM actions WHERE actions.id = next.id) ORDER BY id";
            let mut ids = Vec::with_capacity(count);
            while ids.len() < count {
                for row in session.query(sql, &[&((count - ids.len()) as i64)])? {
                    ids.extend(ActionId::new(row.try_get::<_, i64>(0)? as u64));
                }
            }
            Ok(ids)
        })
    }

    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure> {
        let limit = limits::TARGET_TIME_LIMIT;
        let begin =
            format!("BEGIN READ ONLY; SET LOCAL ROLE migreadonly; SET LOCAL statement_timeout = {}", limit.as_millis());
        let sql = self.explain_target(target, now);
        self.pool.transact(
            &begin,
            |session| agents::selected(&session.query_once(&sql)?),
            |e| error::target(e, limit.as_secs()),
        )
    }

    fn load_agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure> {
        self.transact("load agents", |session| agents::load(session, ids))
    }

    fn explain_target(&self, target: &Target, now: Timestamp) -> String {
        agents::selection(&target.condition(Dialect::PostgreSql, now.as_microsecond()))
    }

    fn begin_actions(
        &mut self,
        owner: &str,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Failure> {
        self.transact("begin actions", |session| actions::begin_all(session, owner, actions, now))
    }

    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), Failure> {
        self.transact("mark commands sent", |session| commands::mark_sent(session, commands))
    }

    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Failure> {
        self.transact("restore commands", |session| {
            commands::restore(session, &commands.iter().collect::<Vec<_>>(), now)
        })
    }

    fn overdue_owners(&mut self, before: Timestamp) -> Result<Vec<String>, Failure> {
        self.transact("look for owners of overdue actions", |session| {
            let sql = "SELECT DISTINCT owner FROM actions WHERE status = 'inflight' AND expireafter < $1";
            session.query(sql, &[&before])?.iter().map(|row| row.try_get(0)).collect()
        })
    }

    fn overdue_commands(&mut self, search: &OverdueSearch) -> Result<(Vec<Command>, Option<CommandRef>), Failure> {
        self.transact("look for overdue commands", |session| commands::overdue(session, search))
    }

    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Failure> {
        self.transact("finish commands", |session| commands::finish_all(session, answers, now))
    }

    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Failure> {
        self.transact("end actions", |session| actions::ended(session, actions, now))
    }

    fn find_commands(&mut self, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Failure> {
        self.transact("look up commands", |session| commands::find(session, commands))
    }

    fn find_action(&mut self, action: ActionId) -> Result<Option<Action>, Failure> {
        let id = action.get() as i64;
        self.transact(&format!("look up action {action}"), |session| Ok(actions::find(session, &[id])?.remove(&id)))
    }

    fn has_commands(&mut self, action: ActionId) -> Result<bool, Failure> {
        // ORDER BY selects the index (actionid, queueloc): (actionid, status) begins with dead entries of rows that
        // were once 'prepared'.
        let sql = "SELECT 1 FROM commands WHERE actionid = $1 ORDER BY queueloc LIMIT 1";
        self.transact(&format!("look up action {action}"), |session| {
            Ok(!session.query(sql, &[&(action.get() as i64)])?.is_empty())
        })
    }

    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, Failure> {
        self.transact("register agents", |session| agents::register(session, heartbeats, now))
    }

    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, Failure> {
        self.transact("mark absent agents", |session| agents::mark_absent(session, idle_before, offline_before))
    }

    fn record_statistics(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.transact("record statistics", |session| agents::record_statistics(session, now))
    }

    fn scheduler_key(
        &mut self,
        candidate: Option<&SchedulerKey>,
        now: Timestamp,
    ) -> Result<Option<SchedulerKey>, Failure> {
        self.transact("look up the schedulers' key", |session| key::scheduler_key(session, candidate, now))?
    }

    fn investigator_keys(&mut self, known: Option<&str>) -> Result<Option<StoredKeys>, Failure> {
        self.transact("look up the investigators' keys", |session| key::investigator_keys(session, known))
    }

    fn duplicate_agents(&mut self, heard_since: Timestamp, count: usize) -> Result<Vec<Duplicate>, Failure> {
        self.transact("look for duplicate agents", |session| agents::duplicates(session, heard_since, count))
    }

    fn upgraded_agents(
        &mut self,
        heard_since: Timestamp,
        after: Option<AgentId>,
        count: usize,
    ) -> Result<Vec<Duplicate>, Failure> {
        self.transact("look for upgraded agents", |session| agents::upgraded(session, heard_since, after, count))
    }

    fn remove_registrations(&mut self, heard_before: Timestamp) -> Result<u64, Failure> {
        self.transact("remove old registrations", |session| ending::remove_old(session, heard_before))
    }

    fn mark_upgraded(&mut self, now: Timestamp) -> Result<u64, Failure> {
        self.transact("mark ended agents", |session| ending::mark(session, now))
    }

    fn gone_queuelocs(
        &mut self,
        heard_before: Timestamp,
        after: Option<&QueueLoc>,
        count: usize,
    ) -> Result<Vec<(QueueLoc, Timestamp)>, Failure> {
        self.transact("look for agents that are gone", |session| ending::gone(session, heard_before, after, count))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_last_section_of_the_schema_is_the_version() {
        let text = include_str!("postgres.sql");
        let inserted = format!("INSERT INTO schema_version (version) VALUES ({});", super::SCHEMA_VERSION);
        let last = text.lines().rfind(|line| line.starts_with("INSERT INTO schema_version"));
        assert_eq!(last, Some(inserted.as_str()));
    }
}
