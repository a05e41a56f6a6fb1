//! Steps that share their syncs.

use super::Entry;
use super::dir::Dir;
use super::error::{Error, ReadError, escaped};
use super::name::FileName;
use crate::limits;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a file that was to be placed or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is there now.
    New,
    /// It was there already, with the same content.
    Same,
    /// The name is taken by other content; the source is untouched.
    Taken,
    /// The source is gone: somebody else moved it.
    Gone,
}
/// A whole file in the staging directory, on its way to a name.
#[derive(Debug)]
pub struct Staged {
    name: FileName,
}

/// Tells apart the staged files of one process.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// Up to this many files are synced one by one, which is quicker than syncing the whole file system for them.
const FSYNC_FILES_MAX: usize = 8;
/// Up to this many directories are synced one by one.
const FSYNC_DIRS_MAX: usize = 8;

/// Steps that share their syncs: stage files, [`Commit::sync_files`], place or rename, [`Commit::finish`].
///
/// Only directories that gain a name are synced. Where a name was taken away nothing needs to be: a rename is in the
/// file system's log once, and a file that is there again after a power cut is a picture that every stage knows.
///
/// Dropping one unfinished (an error) leaves what was done unsynced, which is safe to do again, and takes away what is
/// still staged, so that a full disk does not get fuller with every try.
pub struct Commit {
    tmp: Arc<Dir>,
    owner: String,
    /// Files in `tmp` that have no other name yet.
    staged: HashSet<FileName>,
    unsynced: Vec<(OwnedFd, PathBuf)>,
    unsynced_count: usize,
    destinations: Vec<Arc<Dir>>,
}

impl Commit {
    /// Steps whose files are staged in `tmp`, under names that begin with `owner`.
    pub fn new(tmp: Arc<Dir>, owner: &str) -> Commit {
        Commit {
            tmp,
            owner: owner.to_owned(),
            staged: HashSet::new(),
            unsynced: Vec::new(),
            unsynced_count: 0,
            destinations: Vec::new(),
        }
    }

    /// Writes a file straight into a directory that is not a stage.
    pub(super) fn write(&mut self, dir: &Dir, name: &FileName, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name.as_os_str(), flags, Mode::from_raw_mode(0o640));
        let mut file = File::from(fd.map_err(|e| dir.error("create", name.as_os_str(), e))?);
        if let Err(cause) = file.write_all(bytes) {
            dir.unlink(name)?;
            return Err(Error::io("write", &dir.path().join(name.as_os_str()), cause));
        }
        self.unsynced_count += 1;
        if self.unsynced_count <= FSYNC_FILES_MAX {
            self.unsynced.push((file.into(), dir.path().join(name.as_os_str())));
        }
        Ok(())
    }

    /// Writes a file into the staging directory.
    pub fn stage(&mut self, bytes: &[u8]) -> Result<Staged, Error> {
        let tmp = Arc::clone(&self.tmp);
        loop {
            let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
            let name = FileName(OsString::from(format!("{}.{number}", self.owner)));
            match self.write(&tmp, &name, bytes) {
                // It could not be cleaned away at the start, and keeps its name.
                Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::AlreadyExists => {}
                written => {
                    written?;
                    self.staged.insert(name.clone());
                    return Ok(Staged { name });
                }
            }
        }
    }

    fn discard(&mut self, staged: Staged) -> Result<(), Error> {
        self.tmp.unlink(&staged.name)?;
        self.staged.remove(&staged.name);
        Ok(())
    }

    /// Brings the content of every file written so far to the disk.
    pub fn sync_files(&mut self) -> Result<(), Error> {
        let count = std::mem::take(&mut self.unsynced_count);
        let files = std::mem::take(&mut self.unsynced);
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::NoFileSync.is_on() {
            return Ok(());
        }
        if count > FSYNC_FILES_MAX {
            return self.sync_all();
        }
        for (fd, path) in files {
            rustix::fs::fsync(&fd).map_err(|e| Error::Sync { path: escaped(path.as_os_str()), cause: e.into() })?;
        }
        Ok(())
    }

    /// Brings everything on the file system to the disk.
    pub(super) fn sync_all(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.tmp)
            .map_err(|e| Error::Sync { path: format!("file system of {}", self.tmp.path().display()), cause: e.into() })
    }

    /// Gives a staged file its name. Same content under that name counts as done.
    pub fn place(&mut self, staged: Staged, to: &Arc<Dir>, name: &FileName) -> Result<Placed, Error> {
        let tmp = Arc::clone(&self.tmp);
        match self.rename(&tmp, &staged.name, to, name)? {
            Placed::Taken => {
                self.discard(staged)?;
                Ok(Placed::Taken)
            }
            // The staged file is ours alone: it is the directory that was removed.
            Placed::Gone => Err(to.error("rename to", name.as_os_str(), Errno::NOENT)),
            placed => {
                self.staged.remove(&staged.name);
                Ok(placed)
            }
        }
    }

    /// Gives a staged file a name, over what has it now.
    pub(super) fn replace(&mut self, staged: Staged, to: &Arc<Dir>, name: &FileName) -> Result<(), Error> {
        let renamed = rustix::fs::renameat(&self.tmp, staged.name.as_os_str(), to, name.as_os_str());
        renamed.map_err(|e| to.error("rename to", name.as_os_str(), e))?;
        self.staged.remove(&staged.name);
        self.touch(Arc::clone(to));
        Ok(())
    }

    /// Exchanges a staged file with the one that was read, if that is still there, and takes the old one away.
    pub(super) fn exchange(&mut self, staged: Staged, to: &Arc<Dir>, entry: &Entry) -> Result<bool, Error> {
        let name = &entry.name;
        let exchanged =
            rustix::fs::renameat_with(&self.tmp, staged.name.as_os_str(), to, name.as_os_str(), RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                self.discard(staged)?;
                return Ok(false);
            }
            // Not every file system can exchange; then the one moment in which a drop could be replaced is accepted.
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.replace(staged, to, name)?;
                return Ok(true);
            }
            Err(errno) => return Err(to.error("exchange", name.as_os_str(), errno)),
        }
        self.touch(Arc::clone(to));
        if self.tmp.look(&staged.name)?.is_some_and(|look| entry.is(&look)) {
            self.discard(staged)?;
            return Ok(true);
        }
        // Somebody put another file there since it was read: that one goes back, ours stays under its name.
        let tmp = Arc::clone(&self.tmp);
        self.staged.remove(&staged.name);
        for attempt in 1.. {
            match self.rename(&tmp, &staged.name, to, &name.variation(attempt)) {
                Ok(Placed::Taken) => {}
                // A directory whose owner has closed it meanwhile cannot be moved any more, by anybody else.
                Err(error) if error.is_of_one_file() => {
                    log::error!("{}: {error}; move it away by hand", self.owner);
                    break;
                }
                other => {
                    other?;
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Moves a file. Same content under the new name counts as done, and the source is taken away.
    pub fn rename(&mut self, from: &Dir, name: &FileName, to: &Arc<Dir>, to_name: &FileName) -> Result<Placed, Error> {
        match rustix::fs::renameat_with(from, name.as_os_str(), to, to_name.as_os_str(), RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.touch(Arc::clone(to));
                Ok(Placed::New)
            }
            Err(Errno::NOENT) => Ok(Placed::Gone),
            Err(Errno::EXIST) if same_content(from, name, to, to_name)? => {
                // Whoever brought it there may not have come to the sync.
                self.touch(Arc::clone(to));
                from.unlink(name)?;
                Ok(Placed::Same)
            }
            Err(Errno::EXIST) => Ok(Placed::Taken),
            Err(errno) => {
                let path = format!(
                    "{} to {}",
                    from.path().join(name.as_os_str()).display(),
                    to.path().join(to_name.as_os_str()).display()
                );
                Err(Error::io("rename", Path::new(&path), errno.into()))
            }
        }
    }

    /// Has a directory synced with the destinations.
    pub(super) fn touch(&mut self, dir: Arc<Dir>) {
        remember(&mut self.destinations, dir);
    }

    /// Brings the names given so far to the disk, before what they replace is taken away.
    pub fn sync_destinations(&mut self) -> Result<(), Error> {
        let dirs = std::mem::take(&mut self.destinations);
        self.sync_dirs(&dirs)
    }

    fn sync_dirs(&self, dirs: &[Arc<Dir>]) -> Result<(), Error> {
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::NoDirectorySync.is_on() {
            return Ok(());
        }
        if dirs.len() > FSYNC_DIRS_MAX {
            return self.sync_all();
        }
        for dir in dirs {
            rustix::fs::fsync(dir.as_ref())
                .map_err(|e| Error::Sync { path: dir.path().display().to_string(), cause: e.into() })?;
        }
        Ok(())
    }

    /// Brings files and names to the disk that count only after a later step, in any order: with one sync when they are
    /// many.
    pub(super) fn finish_uncounted(mut self) -> Result<(), Error> {
        if self.unsynced_count > FSYNC_FILES_MAX || self.destinations.len() > FSYNC_DIRS_MAX {
            return self.sync_all();
        }
        self.sync_files()?;
        self.sync_destinations()
    }

    /// Brings every step to the disk.
    pub fn finish(mut self) -> Result<(), Error> {
        self.sync_destinations()
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        for name in &self.staged {
            // What cannot be taken away now is taken away by the next start.
            let _ = self.tmp.unlink(name);
        }
    }
}

fn remember(dirs: &mut Vec<Arc<Dir>>, dir: Arc<Dir>) {
    // One more than are synced singly is enough to know that the whole file system must be.
    if dirs.len() <= FSYNC_DIRS_MAX && !dirs.iter().any(|known| Arc::ptr_eq(known, &dir)) {
        dirs.push(dir);
    }
}

fn same_content(from: &Dir, name: &FileName, to: &Dir, to_name: &FileName) -> Result<bool, Error> {
    let content = |dir: &Dir, name: &FileName| match dir.read(name, limits::RESULT_SIZE_BYTES_MAX) {
        Ok(content) => Ok(Some(content.bytes)),
        Err(ReadError::Io(error)) => Err(error),
        Err(ReadError::Gone | ReadError::Denied(_) | ReadError::Refused(_)) => Ok(None),
    };
    Ok(match (content(from, name)?, content(to, to_name)?) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    })
}
