//! Directories by descriptors, and what paths lead to.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Which directory is watched for a path: what it leads to, or where that is.
pub(super) fn place(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = match (fs::metadata(path), path.parent()) {
        (Ok(metadata), _) if metadata.is_dir() => metadata,
        (Ok(_), _) => fs::metadata(fs::canonicalize(path)?.parent().unwrap_or(Path::new("/")))?,
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => fs::metadata(parent)?,
        (Err(error), _) => return Err(error),
    };
    Ok((metadata.dev(), metadata.ino()))
}

/// The path of what a descriptor holds.
pub(super) fn by_descriptor(held: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

/// Opens a directory name by name: a link on the path would lead root where a user wants.
pub(super) fn open_plain(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut held = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
    for part in path.components().skip(1) {
        held = rustix::fs::openat(&held, part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(held)
}
