//! The store in one SQLite file: WAL with `synchronous=FULL`, so that a transaction that returned survives a power cut.
//!
//! Each worker opens its own store; SQLite permits one writer at a time, the others wait. A crash rolls back the open
//! transaction.

mod accounts;
mod actions;
mod agents;
mod catalog;
mod commands;
mod ending;
mod error;
mod key;

use super::{
    AgentCounts, Begin, Duplicate, Ended, FinishedBatch, KnownCommand, OverdueSearch, Prepared, Registration,
    SchedulerKey, Store, StoredKeys,
};
use crate::action::Action;
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::{Agent, QueueLoc};
use crate::id::{ActionId, AgentId, CommandRef};
use crate::limits;
use crate::targets::{Dialect, Target, sqlite_functions};
use crate::time::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The embedded store.
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    /// Read-only: evaluates targets.
    reader: Connection,
    /// Deadline of the query that runs on `reader`.
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// Version of `schema.sql`, kept in the file as `user_version`. `schema-N.sql` upgrades version N - 1 to N.
const SCHEMA_VERSION: i64 = 3;
/// The tables that the API changes.
const WRITTEN_BY_API: [&str; 3] = ["investigators", "sequences", "tokens"];
/// From version 1 to 2, and so on.
const UPGRADES: [&str; SCHEMA_VERSION as usize - 1] = [include_str!("schema-2.sql"), include_str!("schema-3.sql")];
/// How long a transaction waits for that of another worker.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Back-off before the file is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

impl SqliteStore {
    /// Opens the file; creates it with its tables if it is missing, readable by its owner only.
    pub fn open(path: &Path) -> Result<SqliteStore, Failure> {
        // An existing database is never opened beside SQLite: closing any descriptor of a file drops the locks that this
        // process holds on it (fcntl(2)), and another process would then consider its log abandoned and delete it.
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
            Err(cause) if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                return Err(Failure::retry(format!("make {}: {cause}", path.display())));
            }
            Err(cause) => return Err(Failure::Refuse(format!("make {}: {cause}", path.display()))),
        }
        error::check_files(path)?;
        let is_doubtful = is_doubtful(path);
        let connect = || -> rusqlite::Result<(Connection, Connection)> {
            let mut connection =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "full")?;
            if is_doubtful {
                check(&connection)?;
            }
            create_tables(&mut connection)?;
            let reader =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            reader.busy_timeout(BUSY_TIMEOUT)?;
            register_functions(&reader)?;
            Ok((connection, reader))
        };
        let started = Instant::now();
        let (connection, mut reader) = loop {
            match connect() {
                // Two processes may open a new file at once: SQLite does not wait while the other one changes the
                // journal mode.
                Err(cause) if error::is_busy(&cause) && started.elapsed() < BUSY_TIMEOUT => {
                    std::thread::sleep(BUSY_PAUSE)
                }
                other => break other.map_err(|e| error::opening(path, e))?,
            }
        };
        let deadline = Arc::new(Mutex::new(None));
        let watched: Arc<Mutex<Option<Instant>>> = Arc::clone(&deadline);
        let is_over =
            move || watched.lock().is_ok_and(|deadline| deadline.is_some_and(|deadline| Instant::now() > deadline));
        reader.progress_handler(10_000, Some(is_over)).map_err(|e| error::opening(path, e))?;
        Ok(SqliteStore { path: path.to_owned(), connection, reader, deadline })
    }

    /// Opens the file for the API, which may not write actions and commands.
    pub fn open_for_api(path: &Path) -> Result<SqliteStore, Failure> {
        let mut store = SqliteStore::open(path)?;
        let authorize = |context: AuthContext| match context.action {
            AuthAction::Insert { table_name } | AuthAction::Delete { table_name }
                if !WRITTEN_BY_API.contains(&table_name) =>
            {
                Authorization::Deny
            }
            AuthAction::Update { table_name, .. } if !WRITTEN_BY_API.contains(&table_name) => Authorization::Deny,
            _ => Authorization::Allow,
        };
        store.connection.authorizer(Some(authorize)).map_err(|e| error::opening(path, e))?;
        Ok(store)
    }

    /// Runs `work` in one transaction.
    fn transact<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let run = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        let done = run();
        done.map_err(|e| self.failure(what, e))
    }

    fn failure(&self, what: &str, cause: rusqlite::Error) -> Failure {
        error::failure(&self.path, &format!("{what} in {}", self.path.display()), cause)
    }
}

/// Whether the file was in use when its last program ended, or was copied then, and is not too large to be read as a whole.
/// Asked once in a process.
fn is_doubtful(path: &Path) -> bool {
    static ASKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let is_first = ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    let size_bytes = |file: &Path| std::fs::metadata(file).map_or(0, |stat| stat.len());
    let has_log = is_first && size_bytes(&error::side_file(path, "-wal")) > 0;
    has_log && size_bytes(path) <= limits::STORE_CHECKED_SIZE_BYTES_MAX
}

/// Whether the file and its log belong together.
fn check(connection: &Connection) -> rusqlite::Result<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    if found == "ok" { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(corrupt, Some(found.replace('\n', " ")))) }
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let version = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version(connection)? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        SCHEMA_VERSION => {}
        0 => {
            transaction.execute_batch(include_str!("schema.sql"))?;
            // Ids start at the clock's microseconds: a recreated store reuses none.
            let first = crate::time::now().as_microsecond();
            transaction.execute("INSERT INTO sequences (name, last) VALUES ('ids', ?1)", [first])?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        version @ 1..SCHEMA_VERSION => {
            for upgrade in &UPGRADES[version as usize - 1..] {
                transaction.execute_batch(upgrade)?;
            }
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        other => {
            let text = format!(
                "its tables have version {other}, this program knows {SCHEMA_VERSION}; install the newer program, or name \
                another file in sqlite.file"
            );
            return Err(rusqlite::Error::InvalidParameterName(text));
        }
    }
    transaction.commit()
}

fn register_functions(connection: &Connection) -> rusqlite::Result<()> {
    for function in &sqlite_functions::FUNCTIONS {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        connection.create_scalar_function(function.name, function.arguments as i32, flags, move |context| {
            let mut texts = Vec::with_capacity(function.arguments);
            for index in 0..context.len() {
                match context.get_raw(index) {
                    ValueRef::Null => return Ok(Value::Null),
                    // An agent may have sent an unpaired surrogate, which SQLite converts to invalid UTF-8; targets
                    // that read results must work nevertheless.
                    ValueRef::Text(text) => texts.push(String::from_utf8_lossy(text).into_owned()),
                    other => {
                        return Err(rusqlite::Error::UserFunctionError(
                            format!("{}: not text but {}", function.name, other.data_type()).into(),
                        ));
                    }
                }
            }
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            match (function.call)(&texts) {
                Ok(sqlite_functions::Answer::Integer(number)) => Ok(Value::Integer(number)),
                Ok(sqlite_functions::Answer::Real(number)) => Ok(Value::Real(number)),
                Err(reason) => Err(rusqlite::Error::UserFunctionError(reason.into())),
            }
        })?;
    }
    Ok(())
}

/// Reserves the next `count` ids of the sequence.
fn next_ids(transaction: &Transaction, count: usize) -> rusqlite::Result<std::ops::RangeInclusive<i64>> {
    let sql = "UPDATE sequences SET last = last + ?1 WHERE name = 'ids' RETURNING last";
    let last: i64 = transaction.prepare_cached(sql)?.query_row([count as i64], |row| row.get(0))?;
    debug_assert!(last as u64 <= limits::ID_OURS_MAX);
    Ok(last - count as i64 + 1..=last)
}

/// Converts the `count(*)` of a row.
fn count(row: &rusqlite::Row, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

impl Store for SqliteStore {
    fn reserve_action_ids(&mut self, count: usize) -> Result<Vec<ActionId>, Failure> {
        self.transact("reserve action ids", |transaction| {
            let mut ids = Vec::with_capacity(count);
            // An investigator may have chosen an id that the sequence reaches: skip it.
            while ids.len() < count {
                for id in next_ids(transaction, count - ids.len())? {
                    let taken = transaction.prepare_cached("SELECT 1 FROM actions WHERE id = ?1")?.exists([id])?;
                    ids.extend(ActionId::new(id as u64).filter(|_| !taken));
                }
            }
            Ok(ids)
        })
    }

    fn select_agents(&mut self, target: &Target, now: Timestamp) -> Result<Vec<AgentId>, Failure> {
        let set = |limit: Option<Instant>| *self.deadline.lock().unwrap_or_else(|e| e.into_inner()) = limit;
        set(Some(Instant::now() + limits::TARGET_TIME_LIMIT));
        let selected = agents::select(&self.reader, &self.explain_target(target, now));
        set(None);
        selected.map_err(|cause| match cause.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Failure::Refuse(format!(
                "the target takes longer than {} s to evaluate; make it simpler, with fewer tables and subqueries",
                limits::TARGET_TIME_LIMIT.as_secs()
            )),
            _ => error::failure(&self.path, "it cannot be evaluated on every agent", cause),
        })
    }

    fn load_agents(&mut self, ids: &[AgentId]) -> Result<Vec<Agent>, Failure> {
        agents::load(&self.reader, ids).map_err(|e| self.failure("load agents", e))
    }

    fn explain_target(&self, target: &Target, now: Timestamp) -> String {
        agents::selection(&target.condition(Dialect::Sqlite, micros(now)))
    }

    fn begin_actions(
        &mut self,
        owner: &str,
        actions: &[Begin],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Prepared>, Failure>>, Failure> {
        self.transact("begin actions", |transaction| {
            let commands = actions.iter().map(|begin| begin.agents.len()).sum();
            let mut ids = next_ids(transaction, commands)?;
            actions.iter().map(|begin| actions::begin(transaction, owner, begin, &mut ids, now)).collect()
        })
    }

    fn mark_sent(&mut self, commands: &[CommandRef]) -> Result<(), Failure> {
        self.transact("mark commands sent", |transaction| {
            let mut update = transaction
                .prepare_cached("UPDATE commands SET status = 'sent' WHERE id = ?1 AND status = 'prepared'")?;
            commands.iter().try_for_each(|command| update.execute([command.command.get() as i64]).map(drop))
        })
    }

    fn restore_commands(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Failure> {
        self.transact("restore commands", |transaction| {
            commands.iter().try_for_each(|command| commands::restore(transaction, command, now).map(drop))
        })
    }

    fn overdue_owners(&mut self, before: Timestamp) -> Result<Vec<String>, Failure> {
        commands::overdue_owners(&self.connection, before)
            .map_err(|e| self.failure("look for owners of overdue actions", e))
    }

    fn overdue_commands(&mut self, search: &OverdueSearch) -> Result<(Vec<Command>, Option<CommandRef>), Failure> {
        commands::overdue(&self.connection, search).map_err(|e| self.failure("look for overdue commands", e))
    }

    fn finish_commands(&mut self, answers: &[Command], now: Timestamp) -> Result<FinishedBatch, Failure> {
        self.transact("finish commands", |transaction| {
            let finished = answers
                .iter()
                .map(|answer| commands::finish(transaction, answer, now))
                .collect::<rusqlite::Result<_>>()?;
            let actions: std::collections::BTreeSet<ActionId> =
                answers.iter().map(|answer| answer.reference().action).collect();
            let ended = actions::ended(transaction, actions, now)?;
            Ok(FinishedBatch { finished, ended })
        })
    }

    fn ended_actions(&mut self, actions: &[ActionId], now: Timestamp) -> Result<Vec<Ended>, Failure> {
        self.transact("end actions", |transaction| actions::ended(transaction, actions.iter().copied(), now))
    }

    fn find_commands(&mut self, commands: &[CommandRef]) -> Result<Vec<Option<KnownCommand>>, Failure> {
        let find = |command: &CommandRef| commands::find(&self.connection, *command);
        commands.iter().map(find).collect::<rusqlite::Result<_>>().map_err(|e| self.failure("look up commands", e))
    }

    fn find_action(&mut self, action: ActionId) -> Result<Option<Action>, Failure> {
        actions::find(&self.connection, action).map_err(|e| self.failure(&format!("look up action {action}"), e))
    }

    fn has_commands(&mut self, action: ActionId) -> Result<bool, Failure> {
        let sql = "SELECT 1 FROM commands WHERE actionid = ?1 LIMIT 1";
        let found = self.connection.prepare_cached(sql).and_then(|mut find| find.exists([action.get() as i64]));
        found.map_err(|e| self.failure(&format!("look up action {action}"), e))
    }

    fn register(&mut self, heartbeats: &[Agent], now: Timestamp) -> Result<Vec<Registration>, Failure> {
        self.transact("register agents", |transaction| {
            heartbeats.iter().map(|agent| agents::register(transaction, agent, now)).collect()
        })
    }

    fn mark_absent(&mut self, idle_before: Timestamp, offline_before: Timestamp) -> Result<AgentCounts, Failure> {
        self.transact("mark absent agents", |transaction| agents::mark_absent(transaction, idle_before, offline_before))
    }

    fn record_statistics(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.transact("record statistics", |transaction| agents::record_statistics(transaction, now))
    }

    fn scheduler_key(
        &mut self,
        candidate: Option<&SchedulerKey>,
        now: Timestamp,
    ) -> Result<Option<SchedulerKey>, Failure> {
        self.transact("look up the schedulers' key", |transaction| key::scheduler_key(transaction, candidate, now))?
    }

    fn investigator_keys(&mut self, known: Option<&str>) -> Result<Option<StoredKeys>, Failure> {
        let found = key::investigator_keys(&self.connection, known);
        found.map_err(|e| self.failure("look up the investigators' keys", e))
    }

    fn duplicate_agents(&mut self, heard_since: Timestamp, count: usize) -> Result<Vec<Duplicate>, Failure> {
        let found = agents::duplicates(&self.connection, heard_since, count);
        found.map_err(|e| self.failure("look for duplicate agents", e))
    }

    fn upgraded_agents(
        &mut self,
        heard_since: Timestamp,
        after: Option<AgentId>,
        count: usize,
    ) -> Result<Vec<Duplicate>, Failure> {
        let found = agents::upgraded(&self.connection, heard_since, after, count);
        found.map_err(|e| self.failure("look for upgraded agents", e))
    }

    fn remove_registrations(&mut self, heard_before: Timestamp) -> Result<u64, Failure> {
        self.transact("remove old registrations", |transaction| ending::remove_old(transaction, heard_before))
    }

    fn mark_upgraded(&mut self, now: Timestamp) -> Result<u64, Failure> {
        self.transact("mark ended agents", |transaction| ending::mark(transaction, now))
    }

    fn gone_queuelocs(
        &mut self,
        heard_before: Timestamp,
        after: Option<&QueueLoc>,
        count: usize,
    ) -> Result<Vec<(QueueLoc, Timestamp)>, Failure> {
        ending::gone(&self.connection, heard_before, after, count)
            .map_err(|e| self.failure("look for agents that are gone", e))
    }
}
