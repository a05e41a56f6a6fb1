//! Directories by descriptors, and what paths lead to.

use crate::modules::file::mounts::{self, Mounts};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a path of the plan leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Device and inode of the directory that is watched for it: what it leads to, or where that is.
    directory: (u64, u64),
    /// Its path without links.
    pub(super) real: PathBuf,
}

/// Where a path leads now.
pub(super) fn place(path: &Path, ways: &Mounts) -> io::Result<Place> {
    let (real, metadata) = match (real(path, ways), path.parent()) {
        (Ok(real), _) => {
            let metadata = fs::metadata(&real)?;
            let is_directory = metadata.is_dir();
            let directory =
                if is_directory { metadata } else { fs::metadata(real.parent().unwrap_or(Path::new("/")))? };
            (real, directory)
        }
        // A file is watched by its name, which may come again.
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = self::real(parent, ways)?;
            let directory = fs::metadata(&parent)?;
            (parent.join(path.file_name().unwrap_or_default()), directory)
        }
        (Err(error), _) => return Err(error),
    };
    Ok(Place { directory: (metadata.dev(), metadata.ino()), real })
}

/// A path without links. One that leads into a network mount is an error: no server is asked, as it may never answer.
pub(super) fn real(path: &Path, ways: &Mounts) -> io::Result<PathBuf> {
    match ways.locate(path)? {
        mounts::Place::Local(_) => fs::canonicalize(path),
        mounts::Place::Network(point) => {
            Err(io::Error::other(format!("it leads into the network mount {}, which is not entered", point.display())))
        }
    }
}

/// Whether a path leads to this directory.
pub(super) fn leads_to(path: &Path, held: &OwnedFd) -> bool {
    let is_it = |found: fs::Metadata, held: rustix::fs::Stat| (found.dev(), found.ino()) == (held.st_dev, held.st_ino);
    fs::symlink_metadata(path).is_ok_and(|found| rustix::fs::fstat(held).is_ok_and(|held| is_it(found, held)))
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
