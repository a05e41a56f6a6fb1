//! What a module may read from the network: files, by HTTPS or HTTP. The agent implements it, with its proxies and its
//! authorities; a module only asks.

use std::io::Write;
use std::time::Instant;

/// Reads files from the network.
pub trait Fetch: Sync {
    /// Writes what `url` returns into `to`. It ends by `deadline`, and `to` receives no byte beyond `size_bytes_max`; after an
    /// error it may have received a part. A redirect is followed to `https` only.
    fn get(&self, url: &str, size_bytes_max: u64, deadline: Instant, to: &mut dyn Write)
    -> Result<Fetched, FetchError>;
}

/// A file that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its size.
    pub size_bytes: u64,
    /// Where it was, after redirects.
    pub url: String,
    /// The proxy that it came through (`host:port`), if any.
    pub proxy: Option<String>,
}

/// Why a file was not read. The texts name the URL, without its user and password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL, a redirect, or the server's answer: another try ends the same.
    #[error("{0}")]
    Refused(String),
    /// No connection, or it was lost, or the deadline has passed.
    #[error("{0}")]
    Unreachable(String),
    /// It has more bytes than were asked for.
    #[error("read {url}: it has more than {size_bytes_max} bytes")]
    TooLarge {
        /// Which.
        url: String,
        /// The limit.
        size_bytes_max: u64,
    },
    /// What it was to be written into failed.
    #[error("write what {url} returns: {reason}")]
    Write {
        /// Which.
        url: String,
        /// Why.
        reason: String,
    },
}
