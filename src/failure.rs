//! Why something was not done, as what the caller shall do about it. Made once, where the error arises; nothing above
//! looks at error codes again.

use crate::error::{ExitClass, ProgramError};
use std::fmt;

/// A server that all workers of a process share: its outage is logged once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Of the relay.
    Broker,
    /// Of the store.
    Database,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Broker => "the broker",
            Server::Database => "the database",
        })
    }
}

/// What went wrong: what was tried, on what, and the cause, as text; and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Skip this file or message, go on with the others: a bad sector, a lease, a missing right.
    #[error("{0}")]
    Skip(String),
    /// Refuse this file or message: it can never be handled. The text is for its author.
    #[error("{0}")]
    Refuse(String),
    /// Retry everything after a pause: something that all need is unavailable.
    #[error("{reason}")]
    Retry {
        /// The server that is unavailable, where it is one.
        server: Option<Server>,
        /// The text.
        reason: String,
    },
    /// End the process: what reached the disk is not known.
    #[error("{0}")]
    End(String),
}

impl Failure {
    /// A [`Failure::Retry`] that concerns this worker alone.
    pub fn retry(reason: impl fmt::Display) -> Failure {
        Failure::Retry { server: None, reason: reason.to_string() }
    }

    /// A [`Failure::Retry`] of everything that uses a server.
    pub fn outage(server: Server, reason: impl fmt::Display) -> Failure {
        Failure::Retry { server: Some(server), reason: reason.to_string() }
    }
}

/// Logs a [`Failure::Skip`] and returns None for it: the others of a batch go on.
pub fn log_skipped<T>(what: &str, result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Skip(reason)) => {
            log::warn!("{what}: {reason}; skipped, the others go on");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

impl Failure {
    /// Why a program cannot start, with the key of the configuration.
    pub fn at_start(&self, key: &str) -> ProgramError {
        ProgramError::new(self.class(), format!("{key}: {self}"))
    }

    /// Only what is refused needs another configuration; the rest may work with the next start.
    fn class(&self) -> ExitClass {
        match self {
            Failure::Skip(_) | Failure::Retry { .. } => ExitClass::TemporaryFailure,
            Failure::Refuse(_) => ExitClass::Config,
            Failure::End(_) => ExitClass::Io,
        }
    }
}

impl From<Failure> for ProgramError {
    fn from(failure: Failure) -> Self {
        ProgramError::new(failure.class(), failure)
    }
}
