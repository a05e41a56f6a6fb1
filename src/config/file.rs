//! Files that are read as a whole: configuration, keys, lists.

use rustix::io::Errno;
use std::io::Read;
use std::path::Path;

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unreadable {
    /// The reason.
    pub reason: String,
    /// Whether another try may succeed: the machine lacks something at the moment.
    pub is_temporary: bool,
}

impl Unreadable {
    /// One that stays.
    pub fn for_good(reason: String) -> Unreadable {
        Unreadable { reason, is_temporary: false }
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Unreadable {
        const PASSING: [Errno; 6] =
            [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM, Errno::STALE, Errno::TIMEDOUT];
        let is_temporary = Errno::from_io_error(&error).is_some_and(|errno| PASSING.contains(&errno));
        Unreadable { reason: error.to_string(), is_temporary }
    }
}

/// Reads a file of ours (configuration, keys) of a bounded size.
pub fn read_bounded(path: &Path, size_bytes_max: u64) -> Result<Vec<u8>, Unreadable> {
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(size_bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > size_bytes_max {
        return Err(Unreadable::for_good(format!("has more than {size_bytes_max} bytes")));
    }
    Ok(bytes)
}
