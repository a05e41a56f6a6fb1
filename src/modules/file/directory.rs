//! Directories of a walk: locations, and pending and open directories.

use super::entry::{Active, FileEntry, Kind};
use super::limits;
use super::open;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The location of a directory.
#[derive(Clone)]
pub(super) struct Location {
    /// The path that is reported.
    pub(super) path: PathBuf,
    /// The resolved path ([`super::mounts::Place::Local`]), if it differs.
    real: Option<PathBuf>,
    /// Levels below the path of the search.
    pub(super) level: usize,
}

impl Location {
    /// The location of a search path; `real` is the same without links.
    pub(super) fn of_root(path: &Path, real: PathBuf) -> Location {
        Location { path: path.to_owned(), real: (real != path).then_some(real), level: 0 }
    }

    fn join(&self, name: &OsStr) -> Location {
        let real = self.real.as_ref().map(|real| real.join(name));
        Location { path: self.path.join(name), real, level: self.level + 1 }
    }

    /// The path without links.
    pub(super) fn real(&self) -> &Path {
        self.real.as_ref().unwrap_or(&self.path)
    }
}

/// A pending directory.
pub(super) enum Directory {
    /// A path of a search, which may be a symbolic link.
    Root(Location),
    /// A subdirectory, by its name.
    In(Parent, OsString),
}

/// The parent of a pending directory, shared by its siblings, of which there may be many.
#[derive(Clone)]
pub(super) enum Parent {
    /// Open, so that its entries are found even if its path changes.
    Open(Arc<OpenDirectory>),
    /// Reopened by path, because too many are open.
    Closed(Arc<Location>),
}

impl Parent {
    /// Keeps `directory` open unless too many are.
    pub(super) fn of(directory: &Arc<OpenDirectory>) -> Parent {
        if directory.may_stay_open() {
            return Parent::Open(directory.clone());
        }
        Parent::Closed(directory.location.clone())
    }

    fn location(&self) -> &Location {
        match self {
            Parent::Open(directory) => &directory.location,
            Parent::Closed(location) => location,
        }
    }
}

impl Directory {
    /// Returns its location.
    pub(super) fn location(&self) -> Location {
        match self {
            Directory::Root(location) => location.clone(),
            Directory::In(parent, name) => parent.location().join(name),
        }
    }

    /// Whether it is a path of a search.
    pub(super) fn is_root(&self) -> bool {
        matches!(self, Directory::Root(_))
    }

    /// Whether it may disappear during a walk: those of processes do when the process ends.
    pub(super) fn may_vanish(&self) -> bool {
        matches!(self, Directory::In(Parent::Open(parent), _) if parent.is_pseudo)
    }

    /// Opens the directory.
    pub(super) fn open(self, active: Arc<[Active]>, open_count: &Arc<AtomicUsize>) -> Result<OpenDirectory, Errno> {
        let location = Arc::new(self.location());
        let descriptor = match &self {
            Directory::Root(location) => open::open_directory(CWD, &location.path, true),
            Directory::In(Parent::Open(parent), name) => {
                open::open_directory(parent.descriptor.as_fd(), Path::new(name), false)
            }
            Directory::In(Parent::Closed(_), _) => open::open_directory(CWD, &location.path, false),
        }?;
        OpenDirectory::new(descriptor, location, active, open_count)
    }
}

/// A directory that is being walked.
pub(super) struct OpenDirectory {
    /// Its descriptor.
    pub(super) descriptor: OwnedFd,
    /// Its location.
    pub(super) location: Arc<Location>,
    /// The searches that cover it.
    pub(super) active: Arc<[Active]>,
    /// It is on a pseudo file system with files that must not be opened.
    pub(super) is_pseudo: bool,
    /// Number of open directories of this walk.
    open_count: Arc<AtomicUsize>,
}

impl OpenDirectory {
    fn new(
        descriptor: OwnedFd,
        location: Arc<Location>,
        active: Arc<[Active]>,
        open_count: &Arc<AtomicUsize>,
    ) -> Result<Self, Errno> {
        let is_pseudo = open::is_pseudo(&descriptor)?;
        open_count.fetch_add(1, Relaxed);
        Ok(OpenDirectory { descriptor, location, active, is_pseudo, open_count: open_count.clone() })
    }

    /// Reopens a directory that was walked before.
    pub(super) fn reopen(
        location: &Arc<Location>,
        active: Arc<[Active]>,
        open_count: &Arc<AtomicUsize>,
    ) -> Result<Self, Errno> {
        let descriptor = open::open_directory(CWD, &location.path, location.level == 0)?;
        OpenDirectory::new(descriptor, location.clone(), active, open_count)
    }

    /// Whether it may stay open.
    pub(super) fn may_stay_open(&self) -> bool {
        self.open_count.load(Relaxed) < limits::OPEN_DIRECTORIES_MAX
    }

    /// Returns an entry of the directory.
    pub(super) fn entry<'e>(&'e self, name: &'e OsStr, kind: Kind) -> FileEntry<'e> {
        let (at, is_pseudo) = (self.descriptor.as_fd(), self.is_pseudo);
        FileEntry { at, directory: &self.location.path, real: Some(self.location.real()), is_pseudo, name, kind }
    }
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        self.open_count.fetch_sub(1, Relaxed);
    }
}
