//! Connections, shared by all stores of the process that have the same configuration.
//!
//! There are as many places as there may be connections; each transaction takes one. A place begins empty, and a transaction
//! that takes an empty one connects, in at most the configured time: so an error is known at once and in full, and an
//! unreachable server is tried only when it is needed.
//!
//! A connection on which anything failed is not used again. One that was idle while the server restarted fails when the
//! next transaction begins, before anything was done; then a new connection is made in its place.
//!
//! No request waits for longer than [`limits::ANSWER_TIME_LIMIT`]: a server that is frozen keeps its connections open, and
//! its own time limits do not work. The connection is closed then.

use super::error;
use crate::config::database::{PostgresConfig, SslMode};
use crate::failure::Failure;
use crate::io_thread;
use crate::limits;
use crate::tls::trusting;
use crate::waiting::waiting_for;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use postgres_native_tls::MakeTlsConnector;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
// The synchronous client of the crate postgres waits without a limit; the rest is the same.
use postgres::types::ToSql;
use postgres::{Error, NoTls, Row, Statement};
use tokio_postgres::{Client, Config, config};

/// Options of every session. Times are UTC; a client that dies in a transaction does not block others for long.
fn session_options() -> String {
    let limit = limits::STATEMENT_TIME_LIMIT.as_millis();
    format!(
        "-c TimeZone=UTC -c statement_timeout={limit} -c idle_in_transaction_session_timeout={limit} -c jit=off \
        -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    )
}

/// A connection with the statements that it has prepared.
pub(super) struct Session {
    client: Client,
    line: Line,
    statements: HashMap<&'static str, Statement>,
}

/// What runs on the I/O thread for a connection.
struct Line {
    io: Handle,
    task: JoinHandle<()>,
    /// Why the connection ended; requests are only told that it did.
    ended: Arc<Mutex<Option<Error>>>,
    /// Whether the server was given up.
    is_overdue: bool,
}

impl Line {
    /// Waits for an answer. After the time limit the connection is closed, which is an error of the request.
    fn wait<T>(&mut self, limit: Duration, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Line { io, task, is_overdue, .. } = self;
        let answer = io.block_on(async {
            let mut request = pin!(request);
            match timeout(limit, request.as_mut()).await {
                Ok(answer) => answer,
                Err(_) => {
                    *is_overdue = true;
                    task.abort();
                    request.await
                }
            }
        });
        let cause = |error: Error| {
            let ended = error.is_closed().then(|| self.ended.lock().unwrap_or_else(PoisonError::into_inner).take());
            ended.flatten().unwrap_or(error)
        };
        answer.map_err(cause)
    }
}

/// A value for a placeholder of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Session {
    fn statement(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.line.wait(limits::ANSWER_TIME_LIMIT, self.client.prepare(sql))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs a statement, prepared once per connection; returns the rows.
    pub(super) fn query(&mut self, sql: &'static str, values: &[Parameter]) -> Result<Vec<Row>, Error> {
        let statement = self.statement(sql)?;
        self.line.wait(limits::ANSWER_TIME_LIMIT, self.client.query(&statement, values))
    }

    /// The same, giving the number of rows that it changed.
    pub(super) fn execute(&mut self, sql: &'static str, values: &[Parameter]) -> Result<u64, Error> {
        let statement = self.statement(sql)?;
        self.line.wait(limits::ANSWER_TIME_LIMIT, self.client.execute(&statement, values))
    }

    /// Runs one statement that is not used again, with values for its placeholders.
    pub(super) fn query_once_with(&mut self, sql: &str, values: &[Parameter]) -> Result<Vec<Row>, Error> {
        self.line.wait(limits::ANSWER_TIME_LIMIT, self.client.query(sql, values))
    }

    /// Runs one statement that is not used again.
    pub(super) fn query_once(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.query_once_with(sql, &[])
    }

    /// Runs statements without results.
    fn run(&mut self, sql: &str, limit: Duration) -> Result<(), Error> {
        self.line.wait(limit, self.client.batch_execute(sql))
    }
}

/// See the module docs.
pub(super) struct Pool {
    config: PostgresConfig,
    client: Config,
    /// None if nothing is encrypted.
    tls: Option<MakeTlsConnector>,
    io: Handle,
    free: Mutex<Free>,
    freed: Condvar,
}

/// The places that no transaction has.
struct Free {
    /// Those with a connection, and no transaction begun; they are taken first.
    connected: Vec<Session>,
    empty: u32,
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
            .options(session_options())
            .connect_timeout(config.timeout)
            .tcp_user_timeout(config.timeout)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let io = io_thread::handle().map_err(|e| Failure::retry(format!("start the database's thread: {e}")))?;
        let free = Mutex::new(Free { connected: Vec::new(), empty: config.connections_max });
        Ok(Pool { config: config.clone(), client, tls, io, free, freed: Condvar::new() })
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; waits for one as long as for a connection.
    fn take(&self) -> Result<Option<Session>, Failure> {
        let all_taken = |free: &mut Free| free.connected.is_empty() && free.empty == 0;
        let waited = self.freed.wait_timeout_while(self.free(), self.config.timeout, all_taken);
        let mut free = waited.unwrap_or_else(PoisonError::into_inner).0;
        match free.connected.pop() {
            Some(session) => Ok(Some(session)),
            None if free.empty > 0 => {
                free.empty -= 1;
                Ok(None)
            }
            None => {
                let max = self.config.connections_max;
                Err(error::away(
                    self.at_database("connect"),
                    format!("all {max} connections are in use; raise postgres.maxconn"),
                ))
            }
        }
    }

    fn put_back(&self, session: Option<Session>) {
        let mut free = self.free();
        match session {
            Some(session) => free.connected.push(session),
            None => free.empty += 1,
        }
        drop(free);
        self.freed.notify_one();
    }

    /// Runs `work` in one transaction that `begin` begins. An error of `begin` is one of the connection.
    pub(super) fn transact<T>(
        &self,
        begin: &str,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
        explain: impl FnOnce(&Error) -> Failure,
    ) -> Result<T, Failure> {
        let PostgresConfig { database, host, .. } = &self.config;
        waiting_for(format_args!("database {database} on {host}"), || {
            let session = self.take()?;
            // After a failure the place stays empty: the connection ends, and with it the transaction.
            let mut kept = None;
            let done = self.transact_on(session, &mut kept, begin, work, explain);
            self.put_back(kept);
            done
        })
    }

    fn transact_on<T>(
        &self,
        session: Option<Session>,
        kept: &mut Option<Session>,
        begin: &str,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
        explain: impl FnOnce(&Error) -> Failure,
    ) -> Result<T, Failure> {
        let begun = match session {
            None => None,
            Some(mut session) => match session.run(begin, self.config.timeout) {
                Ok(()) => Some(session),
                // A new connection would not be answered either.
                Err(_) if session.line.is_overdue => return Err(self.no_answer("send BEGIN")),
                Err(_) => None,
            },
        };
        let mut session = match begun {
            Some(session) => session,
            None => self.begun(begin, self.connect()?)?,
        };
        let commit = |session: &mut Session| session.run("COMMIT", limits::ANSWER_TIME_LIMIT);
        let done = work(&mut session).and_then(|value| commit(&mut session).map(|()| value));
        let is_overdue = session.line.is_overdue;
        let value = done.map_err(|e| if is_overdue { error::overdue(explain(&e)) } else { explain(&e) })?;
        *kept = Some(session);
        Ok(value)
    }

    fn at_database(&self, what: &str) -> String {
        let PostgresConfig { database, host, port, .. } = &self.config;
        format!("{what} to database {database} on {host}:{port}")
    }

    fn no_answer(&self, what: &str) -> Failure {
        let cause = format!("no answer within {:?} (postgres.timeout)", self.config.timeout);
        error::down(self.at_database(what), cause)
    }

    fn connect(&self) -> Result<Session, Failure> {
        let limit = self.config.timeout;
        let connecting = async { timeout(limit, connect(&self.client, self.tls.clone())).await };
        let (client, connection) = match self.io.block_on(connecting) {
            Ok(connected) => connected.map_err(|e| error::connect(&self.config, &e))?,
            Err(_) => return Err(self.no_answer("connect")),
        };
        let ended = Arc::default();
        let task = self.io.spawn(connection(Arc::clone(&ended)));
        let line = Line { io: self.io.clone(), task, ended, is_overdue: false };
        Ok(Session { client, line, statements: HashMap::new() })
    }

    fn begun(&self, begin: &str, mut session: Session) -> Result<Session, Failure> {
        session.run(begin, self.config.timeout).map_err(|e| error::begin(&self.config, &e))?;
        Ok(session)
    }
}

impl Drop for Pool {
    /// Closes the connections, so that the server logs no error.
    fn drop(&mut self) {
        for session in std::mem::take(&mut self.free().connected) {
            let Session { client, line, .. } = session;
            drop(client);
            let _ = line.io.block_on(async { timeout(limits::DATABASE_GOODBYE_TIME_MAX, line.task).await });
        }
    }
}

/// Makes the task of a connection, which keeps why it ended.
type MakeTask = Box<dyn FnOnce(Arc<Mutex<Option<Error>>>) -> BoxFuture<'static, ()> + Send>;

async fn connect(client: &Config, tls: Option<MakeTlsConnector>) -> Result<(Client, MakeTask), Error> {
    /// The connection is dropped, and requests fail, after the reason is known.
    async fn run(mut connection: impl Future<Output = Result<(), Error>> + Unpin, ended: Arc<Mutex<Option<Error>>>) {
        let reason = (&mut connection).await.err();
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
    Ok(match tls {
        Some(tls) => {
            let (client, connection) = client.connect(tls).await?;
            (client, Box::new(move |ended| run(connection, ended).boxed()))
        }
        None => {
            let (client, connection) = client.connect(NoTls).await?;
            (client, Box::new(move |ended| run(connection, ended).boxed()))
        }
    })
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
        SslMode::VerifyFull => trusting(config.ca.as_ref()).map_err(|e| format!("postgres.cacert: {e}"))?,
    };
    let connector = builder.build().map_err(|e| format!("prepare TLS: {e}"))?;
    Ok(Some(MakeTlsConnector::new(connector)))
}
