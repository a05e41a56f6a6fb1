//! Directories of a walk: where they are, waiting and open.

use super::entry::{Active, Entry, Kind};
use super::limits;
use super::open;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where a directory is.
#[derive(Clone)]
pub(super) struct Location {
    /// The path that is reported.
    pub(super) path: PathBuf,
    /// The path as [`super::mounts::Place::Local`] has it, where that is another.
    real: Option<PathBuf>,
    /// Below the path of a search.
    pub(super) level: usize,
}

impl Location {
    /// A path of a search, and the same without links.
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

/// A directory to be walked.
pub(super) enum Directory {
    /// A path of a search, which may be a symbolic link.
    Root(Location),
    /// One in another.
    In(Parent, OsString),
}

/// The directory that another is in: what siblings share, of which there may be many.
#[derive(Clone)]
pub(super) enum Parent {
    /// Open, so that whatever becomes of its path what is in it is found.
    Open(Arc<OpenDirectory>),
    /// Found by its path again, where too many are open.
    Closed(Arc<Location>),
}

impl Parent {
    /// Keeps `directory` open if not too many are.
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
    /// Where it is.
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

    /// Whether it is no wonder when it is gone: processes end.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Directory::In(Parent::Open(parent), _) if parent.is_pseudo)
    }

    /// Opens it.
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
    /// What it is read by.
    pub(super) descriptor: OwnedFd,
    /// Where it is.
    pub(super) location: Arc<Location>,
    /// The searches that cover it.
    pub(super) active: Arc<[Active]>,
    /// It is of a pseudo file system that has files which must not be opened.
    pub(super) is_pseudo: bool,
    /// How many are open in this walk.
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

    /// Opens a directory again that was walked before.
    pub(super) fn again(
        location: &Arc<Location>,
        active: Arc<[Active]>,
        open_count: &Arc<AtomicUsize>,
    ) -> Result<Self, Errno> {
        let descriptor = open::open_directory(CWD, &location.path, location.level == 0)?;
        OpenDirectory::new(descriptor, location.clone(), active, open_count)
    }

    /// Whether it may be kept open, to be read on.
    pub(super) fn may_stay_open(&self) -> bool {
        self.open_count.load(Relaxed) < limits::OPEN_DIRECTORIES_MAX
    }

    /// An entry of it.
    pub(super) fn entry<'e>(&'e self, name: &'e OsStr, kind: Kind) -> Entry<'e> {
        let (at, is_pseudo) = (self.descriptor.as_fd(), self.is_pseudo);
        Entry { at, directory: &self.location.path, real: Some(self.location.real()), is_pseudo, name, kind }
    }
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        self.open_count.fetch_sub(1, Relaxed);
    }
}
