//! Errors of files and directories as [`Failure`]s: what was tried, on what, why it failed, and what to do about it.

use crate::failure::Failure;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Errors that the next file meets as well. ESTALE and ENOTCONN: a file system of another machine, or of a program, is gone.
const SYSTEMIC: [Errno; 8] =
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::STALE, Errno::NOTCONN];

/// A system call that failed on a path.
pub(crate) fn io_failure(what: &str, path: &Path, cause: impl Into<io::Error>) -> Failure {
    let cause = cause.into();
    // The disk may have room and no inode left.
    let hint = if cause.kind() == io::ErrorKind::StorageFull { ", see df and df -i" } else { "" };
    let text = format!("{what} {}: {cause}{hint}", escaped(path.as_os_str()));
    let is_systemic = SYSTEMIC.iter().any(|errno| Some(errno.raw_os_error()) == cause.raw_os_error());
    if is_systemic { Failure::retry(text) } else { Failure::Skip(text) }
}

/// A sync that failed: the kernel has dropped what it could not write.
pub(super) fn sync_failure(path: &Path, cause: Errno) -> Failure {
    let path = escaped(path.as_os_str());
    Failure::End(format!(
        "sync {path}: {cause}; ending, because what reached the disk is not known: check the disk, then start again"
    ))
}

/// A name or path as text, with control characters escaped: log lines are one line.
pub(super) fn escaped(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes())
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
