//! What can go wrong with files and directories.

use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What went wrong with a file or directory: what was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{what} {path}: {cause}{}", hint(cause))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// A sync failed: what is on the disk is not known any more. The process must end.
    #[error(
        "sync {path}: {cause}; ending, because what reached the disk is not known: check the disk, then start again"
    )]
    Sync {
        /// On what.
        path: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// `tmp` and a stage are on different file systems.
    #[error("{stage} is not on the file system of {tmp}: files could not be renamed into it")]
    OtherFilesystem {
        /// The stage.
        stage: PathBuf,
        /// The staging directory.
        tmp: PathBuf,
    },
}

/// What an operator may not think of: the disk may have room, and no inode left.
fn hint(cause: &io::Error) -> &'static str {
    if cause.kind() == io::ErrorKind::StorageFull { ", see df and df -i" } else { "" }
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path, cause: io::Error) -> Error {
        Error::Io { what, path: escaped(path.as_os_str()), cause }
    }

    /// Whether the process must end.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::Sync { .. } | Error::OtherFilesystem { .. })
    }

    /// Whether it is this one file's trouble (a bad sector, a lease, a right), and others may well work.
    pub fn is_of_one_file(&self) -> bool {
        let Error::Io { cause, .. } = self else { return false };
        let systemic = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
        !cause.raw_os_error().is_some_and(|code| systemic.iter().any(|errno| errno.raw_os_error() == code))
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there any more.
    #[error("is gone")]
    Gone,
    /// We have no right to read it. The text is for its owner.
    #[error("{0}")]
    Denied(String),
    /// It is nothing that should be read: a link, a pipe, too large. The text is for its owner.
    #[error("{0}")]
    Refused(String),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] Error),
}
/// A name or path as text, with control characters escaped: log lines are one line.
pub(super) fn escaped(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes())
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
