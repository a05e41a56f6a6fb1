//! Directories by descriptors, and what paths lead to.

use crate::modules::file::mounts::{self, Mounts};
use crate::modules::files;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a path of the plan leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Device and inode of the directories that are watched for it: what it leads to, or where that is, and where its name is.
    directories: Vec<(u64, u64)>,
    /// Its path without links.
    pub(super) real: PathBuf,
    /// The name itself if it is no directory, by the path of its directory without links: of a file, or of a link.
    pub(super) named: Option<PathBuf>,
}

impl Place {
    /// Whether what is watched for it has this path.
    pub(super) fn needs(&self, path: &Path) -> bool {
        path.starts_with(&self.real) || self.named.as_deref() == Some(path)
    }

    /// Whether something that is watched for it is at this path or below it.
    pub(super) fn is_in(&self, top: &Path) -> bool {
        self.real.starts_with(top) || self.named.as_ref().is_some_and(|named| named.starts_with(top))
    }
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
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    let mut directories = vec![identity(&metadata)];
    let is_directory = fs::symlink_metadata(path).is_ok_and(|itself| itself.is_dir());
    let named = match (is_directory, path.parent(), path.file_name()) {
        (false, Some(parent), Some(name)) => {
            let parent = self::real(parent, ways)?;
            directories.push(identity(&fs::metadata(&parent)?));
            Some(parent.join(name))
        }
        _ => None,
    };
    Ok(Place { directories, real, named })
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

/// Opens a directory, and follows no link on its path.
pub(super) fn open_plain(path: &Path) -> rustix::io::Result<OwnedFd> {
    let root = rustix::fs::openat(CWD, "/", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    files::descend(root, path, OFlags::RDONLY)
}
