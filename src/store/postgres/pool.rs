//! Connections, shared by all stores of the process that have the same configuration.
//!
//! r2d2 keeps as many slots as there may be connections and hands each to one caller at a time. A slot begins empty, and
//! whoever gets an empty one connects, in at most the configured time: so an error is known at once and in full, and while
//! the server is away nobody tries to reach it but those who need it.
//!
//! A connection on which anything failed is not used again. One that lay in the pool while the server restarted shows it
//! when the next transaction begins, before anything was done; then a new connection is made in its place.

use super::super::StoreError;
use super::error;
use crate::config::database::{PostgresConfig, SslMode};
use crate::tls::trusting;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Row, Statement, config};
use postgres_native_tls::MakeTlsConnector;
use r2d2_postgres::r2d2::{self, ManageConnection};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Settings of every session. Times are UTC; a machine that dies in a transaction holds nobody up for long.
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

    /// Runs a statement, prepared once per connection; gives the rows.
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
    /// Whoever gets it connects.
    Empty,
    /// Being made, by a thread of its own: a server that accepts connections and then says nothing holds nobody up.
    Connecting(Receiver<Result<Client, postgres::Error>>),
    /// Connected, with no transaction begun.
    Ready(Box<Session>),
}

/// Makes slots, which cannot fail.
struct Slots;

impl ManageConnection for Slots {
    type Connection = Slot;
    type Error = Infallible;

    fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot::Empty)
    }

    fn is_valid(&self, _slot: &mut Slot) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _slot: &mut Slot) -> bool {
        false
    }
}

/// See the module docs.
pub(super) struct Pool {
    config: PostgresConfig,
    client: Config,
    /// None when nothing is encrypted.
    tls: Option<MakeTlsConnector>,
    slots: r2d2::Pool<Slots>,
}

/// The pools of this process that stores use.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

impl Pool {
    /// The pool of a configuration; no connection is made yet.
    pub(super) fn shared(config: &PostgresConfig) -> Result<Arc<Pool>, StoreError> {
        let mut pools = POOLS.lock().unwrap_or_else(|e| e.into_inner());
        pools.retain(|pool| pool.strong_count() > 0);
        if let Some(pool) = pools.iter().filter_map(Weak::upgrade).find(|pool| pool.config == *config) {
            return Ok(pool);
        }
        let pool = Arc::new(Pool::new(config)?);
        pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    fn new(config: &PostgresConfig) -> Result<Pool, StoreError> {
        // What is sent through a Unix socket stays on this machine, and servers offer no TLS there.
        let is_local = config.host.starts_with('/');
        let tls = if is_local { None } else { tls(config).map_err(StoreError::Refused)? };
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
        let slots = r2d2::Pool::builder()
            .max_size(config.connections_max)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(config.timeout)
            .build_unchecked(Slots);
        Ok(Pool { config: config.clone(), client, tls, slots })
    }

    /// Runs `work` in one transaction that `begin` begins. An error of `begin` is one of the connection.
    pub(super) fn transact<T>(
        &self,
        begin: &str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error>,
        explain: impl FnOnce(&postgres::Error) -> StoreError,
    ) -> Result<T, StoreError> {
        let Ok(mut slot) = self.slots.get() else {
            let max = self.config.connections_max;
            let cause = format!("all {max} connections are in use; raise postgres.maxconn");
            return Err(error::away(self.what(), cause));
        };
        let kept = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Ready(mut session) => session.client.batch_execute(begin).is_ok().then_some(session),
            Slot::Connecting(coming) => Some(self.begun(begin, self.wait(&mut slot, coming)?)?),
            Slot::Empty => None,
        };
        let mut session = match kept {
            Some(session) => session,
            None => self.begun(begin, self.connect(&mut slot)?)?,
        };
        let done = work(&mut session).and_then(|value| session.client.batch_execute("COMMIT").map(|()| value));
        // Whatever failed, the slot is empty now: the connection ends here, and with it the transaction.
        let value = done.map_err(|e| explain(&e))?;
        *slot = Slot::Ready(session);
        Ok(value)
    }

    fn what(&self) -> String {
        format!("connect to database {} on {}:{}", self.config.database, self.config.host, self.config.port)
    }

    fn connect(&self, slot: &mut Slot) -> Result<Client, StoreError> {
        let (sender, coming) = sync_channel(1);
        let (client, tls) = (self.client.clone(), self.tls.clone());
        let connect = move || {
            let connected = match tls {
                Some(tls) => client.connect(tls),
                None => client.connect(NoTls),
            };
            // Fails when the slot is gone, and with it whoever wanted the connection.
            let _ = sender.send(connected);
        };
        let thread = std::thread::Builder::new().name("postgres-connect".into());
        thread.spawn(connect).map_err(|e| error::away(self.what(), format!("start a thread: {e}")))?;
        self.wait(slot, coming)
    }

    fn wait(&self, slot: &mut Slot, coming: Receiver<Result<Client, postgres::Error>>) -> Result<Client, StoreError> {
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

    fn begun(&self, begin: &str, mut client: Client) -> Result<Box<Session>, StoreError> {
        client.batch_execute(begin).map_err(|e| error::begin(&self.config, &e))?;
        Ok(Box::new(Session { client, statements: HashMap::new() }))
    }
}

/// None when nothing shall be encrypted.
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
