//! Error messages that say what to do. None contains a password.

use crate::config::database::PostgresConfig;
use crate::failure::{Failure, Server};
use crate::limits::ANSWER_TIME_LIMIT;
use std::error::Error as _;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The scripts that create or upgrade the database.
pub(super) const SCRIPTS: &str = "scripts/createlocaldb.sh or scripts/createremotedb.sh";

/// An error of this call alone.
pub(super) fn away(what: impl Display, cause: impl Display) -> Failure {
    Failure::retry(format!("{what}: {cause}"))
}

/// An error of every call while it lasts.
pub(super) fn down(what: impl Display, cause: impl Display) -> Failure {
    Failure::outage(Server::Database, format!("{what}: {cause}"))
}

/// Returns the error with its causes: alone it says "db error".
fn text(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// Returns the first cause of type `T`.
fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<T>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// Converts the error of a failed connection.
pub(super) fn connect(config: &PostgresConfig, error: &Error) -> Failure {
    let (host, port, user, database) = (&config.host, config.port, &config.user, &config.database);
    let help = match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => {
            format!("the password of {user} is wrong (postgres.user, postgres.password)")
        }
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!(
                "the server accepts no {user} from this host (postgres.user, postgres.sslmode; pg_hba.conf on the server)"
            )
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            format!("there is no database {database} (postgres.dbname); create it with {SCRIPTS}")
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("{user} may not use database {database}; grant the permission with {SCRIPTS}")
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
            "the server has too many connections; lower postgres.maxconn, or raise its max_connections".into()
        }
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping".into(),
        Some(_) => "the server refuses the connection".into(),
        None => unreachable_server(config, error),
    };
    down(format!("connect to database {database} on {host}:{port}"), format!("{help}: {}", text(error)))
}

fn unreachable_server(config: &PostgresConfig, error: &Error) -> String {
    if cause::<native_tls::Error>(error).is_some() {
        return "the server's certificate is not accepted; postgres.cacert must name the authority that signed it, and \
            postgres.host a name that is in it"
            .into();
    }
    if error.to_string().contains("TLS") {
        return "TLS failed; if the server has none, set postgres.sslmode = \"disable\"".into();
    }
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => {
            format!("nothing listens on port {}; is the server running (postgres.host, postgres.port)", config.port)
        }
        Some(ErrorKind::TimedOut) => format!("no answer within {} s (postgres.timeout)", config.timeout.as_secs()),
        // The standard library has no kind for it.
        _ if text(error).contains("lookup") => "the host is not known (postgres.host)".into(),
        _ => "the server cannot be reached".into(),
    }
}

/// Converts the error of a failed transaction.
pub(super) fn transaction(what: String, error: &Error) -> Failure {
    let Some(code) = error.code() else {
        return down(what, format!("the connection is lost: {}", text(error)));
    };
    let help = match &code.code()[..2] {
        // Data exceptions and constraints: the same data will never be accepted.
        "22" | "23" | "54" => return Failure::Refuse(format!("{what}: {}", text(error))),
        "42" if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("a permission is missing; grant it with {SCRIPTS}")
        }
        "42" => format!("the tables are not those of this program; upgrade them with {SCRIPTS}"),
        "25" => "the server is read-only: a standby, perhaps; point postgres.host to the primary".into(),
        "40" => "it conflicts with another transaction, and is retried".into(),
        "53" => "the server has no resources left (disk, memory or connections)".into(),
        "57" if *code == SqlState::QUERY_CANCELED => {
            "the server took too long; look in pg_stat_activity for what blocks it".into()
        }
        "57" => "the server is shutting down".into(),
        _ => "the server failed".into(),
    };
    let cause = format!("{help}: {}", text(error));
    let for_all = ["25", "53", "57"].contains(&&code.code()[..2]) && *code != SqlState::QUERY_CANCELED;
    if for_all { down(what, cause) } else { away(what, cause) }
}

/// The failure of a transaction whose server did not answer for too long.
pub(super) fn overdue(failure: Failure) -> Failure {
    let seconds = ANSWER_TIME_LIMIT.as_secs();
    down(failure, format!("no answer within {seconds} s; the server is frozen or overloaded"))
}

/// Converts the error of a target's evaluation. Errors of the target itself are refusals.
pub(super) fn target(error: &Error, limit_seconds: u64) -> Failure {
    let what = "evaluate a target".to_owned();
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => Failure::Refuse(format!(
            "the target takes longer than {limit_seconds} s to evaluate; make it simpler, with fewer tables and subqueries"
        )),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => transaction(what, error),
        Some(code) if ["0A", "21", "22", "42", "54"].contains(&&code.code()[..2]) || code.code() == "53400" => {
            Failure::Refuse(format!("it cannot be evaluated on every agent: {}", text(error)))
        }
        _ => transaction(what, error),
    }
}

/// Converts the error of a BEGIN on a new connection.
pub(super) fn begin(config: &PostgresConfig, error: &Error) -> Failure {
    let what = format!("begin a transaction in database {} on {}:{}", config.database, config.host, config.port);
    let help = match error.code() {
        Some(code) if code.code() == "22023" || *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("{} cannot become migreadonly; grant the permission with {SCRIPTS}: ", config.user)
        }
        _ => String::new(),
    };
    let cause = format!("{help}{}", text(error));
    // Without a code it is the connection that failed.
    if error.code().is_none() { down(what, cause) } else { away(what, cause) }
}
