//! Configuration: files as [`Ini`] reads them, then typed settings per program.

#[cfg(feature = "agent")]
pub mod agent;
pub mod api;
pub mod broker;
#[cfg(feature = "agent")]
mod broker_url;
pub mod database;
mod file;
mod ini;
mod logging;
mod material;
mod network;
#[cfg(feature = "amqp")]
pub mod proxy;
pub mod scheduler;

pub use file::{Unreadable, read_bounded};
pub use ini::{Ini, Setting};
pub use logging::{LoggingConfig, LoggingMode, SyslogServer};
pub use material::Material;
pub use network::{Network, authority};

/// A configuration error: file, line and key, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {text}", line.map_or(String::new(), |line| format!(":{line}")))]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// The line, if the error has one.
    pub line: Option<usize>,
    /// Key and reason.
    pub text: String,
    /// Whether the file may be readable later.
    pub is_temporary: bool,
}

/// A password: redacted in debug output, so that no log has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Returns the text. Pass it to the service that it is for only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
