//! Connections, shared by all stores of the process that have the same configuration.
//!
//! There are as many slots as there may be connections; each transaction takes one. A slot begins empty, and a transaction
//! that takes an empty one connects, in at most the configured time: so an error is known at once and in full, and an
//! unreachable server is tried only when it is needed.
//!
//! A connection on which anything failed is not used again. One that was idle while the server restarted fails when the
//! next transaction begins, before anything was done; then a new connection is made in its place.

use super::error;
use crate::config::database::{PostgresConfig, SslMode};
use crate::failure::Failure;
use crate::tls::trusting;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Row, Statement, config};
use postgres_native_tls::MakeTlsConnector;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Options of every session. Times are UTC; a client that dies in a transaction does not block others for long.
fn session_options() -> String {
    let limit = crate::limits::STATEMENT_TIME_LIMIT.as_millis();
    format!(
        "-c TimeZone=UTC -c statement_timeout={limit} -c idle_in_transaction_session_timeout={limit} -c jit=off \
        -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    )
}

/// A connection with the statements that it has prepared.
pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// A value for a placeholder of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Session {
    fn statement(&mut self, sql: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a statement, prepared once per connection; returns the rows.
    pub(super) fn query(&mut self, sql: &'static str, values: &[Parameter]) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.statement(sql)?;
        self.client.query(&statement, values)
    }

    /// The same, giving the number of rows that it changed.
    pub(super) fn execute(&mut self, sql: &'static str, values: &[Parameter]) -> Result<u64, postgres::Error> {
        let statement = self.statement(sql)?;
        self.client.execute(&statement, values)
    }

    /// Runs one statement that is not used again.
    pub(super) fn query_once(&mut self, sql: &str) -> Result<Vec<Row>, postgres::Error> {
        self.client.query(sql, &[])
    }
}

/// A place for a connection.
pub(super) enum Slot {
    /// To be connected.
    Empty,
    /// Being connected by a thread of its own: a server that accepts connections and never answers blocks no caller.
    Connecting(Receiver<Result<Client, postgres::Error>>),
    /// Connected, with no transaction begun.
    Ready(Box<Session>),
}

/// See the module docs.
pub(super) struct Pool {
    config: PostgresConfig,
    client: Config,
    /// None if nothing is encrypted.
    tls: Option<MakeTlsConnector>,
    /// Those that are free; connected ones are at the end, and taken first.
    slots: Mutex<Vec<Slot>>,
    freed: Condvar,
}

/// The pools of this process that stores use.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

impl Pool {
    /// The pool of a configuration; no connection is made yet.
    pub(super) fn shared(config: &PostgresConfig) -> Result<Arc<Pool>, Failure> {
        let mut pools = POOLS.lock().unwrap_or_else(|e| e.into_inner());
        pools.retain(|pool| pool.strong_count() > 0);
        if let Some(pool) = pools.iter().filter_map(Weak::upgrade).find(|pool| pool.config == *config) {
            return Ok(pool);
        }
        let pool = Arc::new(Pool::new(config)?);
        pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    fn new(config: &PostgresConfig) -> Result<Pool, Failure> {
        // What is sent through a Unix socket stays on this machine, and servers offer no TLS there.
        let is_local = config.host.starts_with('/');
        let tls = if is_local { None } else { tls(config).map_err(Failure::Refuse)? };
        let mut client = Config::new();
        client
            .host(&config.host)
            .port(config.port)
            .user(&config.user)
            .password(config.password.expose())
            .dbname(&config.database)
            .ssl_mode(if tls.is_some() { config::SslMode::Require } else { config::SslMode::Disable })
            .application_name("mig-scheduler")
            .options(&session_options())
            .connect_timeout(config.timeout)
            .tcp_user_timeout(config.timeout)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let slots = Mutex::new((0..config.connections_max).map(|_| Slot::Empty).collect());
        Ok(Pool { config: config.clone(), client, tls, slots, freed: Condvar::new() })
    }

    fn free_slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot; waits for one as long as for a connection.
    fn take(&self) -> Result<Slot, Failure> {
        let waited = self.freed.wait_timeout_while(self.free_slots(), self.config.timeout, |slots| slots.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop().ok_or_else(|| {
            let cause = format!("all {} connections are in use; raise postgres.maxconn", self.config.connections_max);
            error::away(self.what(), cause)
        })
    }

    fn put_back(&self, slot: Slot) {
        match slot {
            Slot::Ready(_) => self.free_slots().push(slot),
            Slot::Empty | Slot::Connecting(_) => self.free_slots().insert(0, slot),
        }
        self.freed.notify_one();
    }

    /// Runs `work` in one transaction that `begin` begins. An error of `begin` is one of the connection.
    pub(super) fn transact<T>(
        &self,
        begin: &str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error>,
        explain: impl FnOnce(&postgres::Error) -> Failure,
    ) -> Result<T, Failure> {
        let mut slot = self.take()?;
        let done = self.transact_in(&mut slot, begin, work, explain);
        self.put_back(slot);
        done
    }

    fn transact_in<T>(
        &self,
        slot: &mut Slot,
        begin: &str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error>,
        explain: impl FnOnce(&postgres::Error) -> Failure,
    ) -> Result<T, Failure> {
        let kept = match std::mem::replace(slot, Slot::Empty) {
            Slot::Ready(mut session) => session.client.batch_execute(begin).is_ok().then_some(session),
            Slot::Connecting(coming) => Some(self.begun(begin, self.wait(slot, coming)?)?),
            Slot::Empty => None,
        };
        let mut session = match kept {
            Some(session) => session,
            None => self.begun(begin, self.connect(slot)?)?,
        };
        let done = work(&mut session).and_then(|value| session.client.batch_execute("COMMIT").map(|()| value));
        // After a failure the slot stays empty: the connection ends here, and with it the transaction.
        let value = done.map_err(|e| explain(&e))?;
        *slot = Slot::Ready(session);
        Ok(value)
    }

    fn what(&self) -> String {
        format!("connect to database {} on {}:{}", self.config.database, self.config.host, self.config.port)
    }

    fn connect(&self, slot: &mut Slot) -> Result<Client, Failure> {
        let (sender, coming) = sync_channel(1);
        let (client, tls) = (self.client.clone(), self.tls.clone());
        let connect = move || {
            let connected = match tls {
                Some(tls) => client.connect(tls),
                None => client.connect(NoTls),
            };
            // Fails if the pool is gone.
            let _ = sender.send(connected);
        };
        let thread = std::thread::Builder::new().name("postgres-connect".into());
        thread.spawn(connect).map_err(|e| error::away(self.what(), format!("start a thread: {e}")))?;
        self.wait(slot, coming)
    }

    fn wait(&self, slot: &mut Slot, coming: Receiver<Result<Client, postgres::Error>>) -> Result<Client, Failure> {
        match coming.recv_timeout(self.config.timeout) {
            Ok(connected) => connected.map_err(|e| error::connect(&self.config, &e)),
            Err(RecvTimeoutError::Timeout) => {
                *slot = Slot::Connecting(coming);
                let seconds = self.config.timeout.as_secs();
                Err(error::down(self.what(), format!("no answer within {seconds} s (postgres.timeout)")))
            }
            Err(RecvTimeoutError::Disconnected) => Err(error::away(self.what(), "the connecting thread ended")),
        }
    }

    fn begun(&self, begin: &str, mut client: Client) -> Result<Box<Session>, Failure> {
        client.batch_execute(begin).map_err(|e| error::begin(&self.config, &e))?;
        Ok(Box::new(Session { client, statements: HashMap::new() }))
    }
}

/// None if nothing is to be encrypted.
fn tls(config: &PostgresConfig) -> Result<Option<MakeTlsConnector>, String> {
    let builder = match config.ssl_mode {
        SslMode::Disable => return Ok(None),
        SslMode::Require => {
            let mut builder = trusting(None)?;
            builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true);
            builder
        }
        SslMode::VerifyFull => trusting(config.ca.as_deref()).map_err(|e| format!("postgres.cacert: {e}"))?,
    };
    let connector = builder.build().map_err(|e| format!("prepare TLS: {e}"))?;
    Ok(Some(MakeTlsConnector::new(connector)))
}
