//! The system calls behind the spool: directories held open, files read without trust, and [`Commit`], which shares the
//! syncs of many small steps.

use super::Entry;
use crate::limits;
use crate::time::Timestamp;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What went wrong with a file or directory: what was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{what} {path}: {cause}")]
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
    /// It is nothing that should be read: a link, a pipe, too large, not permitted. The text is for its owner.
    #[error("{0}")]
    Refused(String),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] Error),
}

fn escaped(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes())
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// The name of a file in a directory: any bytes but `/`, shown escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(OsString);

impl FileName {
    /// A name of one component.
    pub fn new(name: impl Into<OsString>) -> Option<FileName> {
        let name = name.into();
        let bytes = name.as_bytes();
        let plain =
            !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/') && !bytes.contains(&0);
        plain.then_some(FileName(name))
    }

    /// The name as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// The name for the system.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// Whether it begins with a dot.
    pub fn is_hidden(&self) -> bool {
        self.0.as_bytes().starts_with(b".")
    }

    /// Whether a file of this name is meant for us: ends in `.json` and is not hidden.
    pub fn is_drop(&self) -> bool {
        !self.is_hidden() && self.0.as_bytes().ends_with(b".json")
    }

    /// A variation for the `attempt`-th try to find a free name, short enough for `.reason` to be added.
    fn variation(&self, attempt: u64) -> FileName {
        const SUFFIX: &[u8] = b".json";
        let bytes = self.0.as_bytes();
        let stem = bytes.strip_suffix(SUFFIX).unwrap_or(bytes);
        let mut name = stem[..stem.len().min(220)].to_vec();
        if attempt > 0 {
            name.extend_from_slice(format!("~{attempt}").as_bytes());
        }
        name.extend_from_slice(SUFFIX);
        FileName(OsString::from_vec(name))
    }

    /// The `.reason` of a refused file, or the refused file of a `.reason`.
    pub fn partner(&self) -> Option<FileName> {
        const REASON: &[u8] = b".reason";
        match self.0.as_bytes().strip_suffix(REASON) {
            Some(file) => FileName::new(OsStr::from_bytes(file)),
            None => Some(self.with_suffix(".reason")),
        }
    }

    fn with_suffix(&self, suffix: &str) -> FileName {
        let mut name = self.0.clone();
        name.push(suffix);
        FileName(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

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

/// A file's content and what the system said of it.
pub struct Content {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// What could be told of it when it was opened, with the size that was read: a file that grew meanwhile looks
    /// different the next time.
    pub look: Look,
}

/// What can be told of a file without opening it. Equal looks mean that nobody touched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Last write.
    pub modified: Timestamp,
    /// Last change of any kind, moves included.
    pub changed: Timestamp,
    /// Bytes.
    pub size_bytes: u64,
    /// Inode number.
    pub inode: u64,
}

impl From<&Statx> for Look {
    fn from(stat: &Statx) -> Look {
        Look {
            modified: timestamp(stat.stx_mtime),
            changed: timestamp(stat.stx_ctime),
            size_bytes: stat.stx_size,
            inode: stat.stx_ino,
        }
    }
}

/// A directory that is held open: what is done in it reaches it wherever its path leads meanwhile.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn timestamp(time: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp::new(time.tv_sec, time.tv_nsec as i32).unwrap_or(Timestamp::MIN)
}

impl Dir {
    /// Opens a directory.
    pub fn open(path: &Path) -> Result<Dir, Error> {
        let fd =
            rustix::fs::open(path, OPEN_DIR, Mode::empty()).map_err(|e| Error::io("open directory", path, e.into()))?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Its path when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, what: &'static str, name: impl AsRef<OsStr>, errno: Errno) -> Error {
        Error::io(what, &self.path.join(name.as_ref()), errno.into())
    }

    pub(super) fn device(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| self.error("stat", "", e))?;
        Ok(stat.st_dev)
    }

    /// Opens the sub-directory `name`, made with `mode` when missing.
    pub fn ensure(&self, name: &str, mode: u32) -> Result<Dir, Error> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.error("make directory", name, errno)),
        }
        self.sub(name)?.ok_or_else(|| self.error("open directory", name, Errno::NOENT))
    }

    /// Opens the sub-directory `name`; none when there is none. Links are not followed.
    pub fn sub(&self, name: &str) -> Result<Option<Dir>, Error> {
        match rustix::fs::openat(&self.fd, name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, path: self.path.join(name) })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("open directory", name, errno)),
        }
    }

    pub(super) fn remove_dir(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove directory", name, errno)),
        }
    }

    /// The names that `wanted` accepts, sorted.
    pub fn list(&self, wanted: impl Fn(&FileName) -> bool) -> Result<Vec<FileName>, Error> {
        let error = |errno| self.error("list", "", errno);
        // A descriptor of its own, because a directory's reading position belongs to the descriptor.
        let fd = rustix::fs::openat(&self.fd, ".", OPEN_DIR, Mode::empty()).map_err(error)?;
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut names = Vec::new();
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(error)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if let Some(name) = FileName::new(name).filter(&wanted) {
                names.push(name);
                if names.len() == limits::LISTING_ENTRIES_MAX {
                    break;
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a regular file of at most `size_bytes_max` bytes: no links, no waiting on pipes, nothing outside.
    pub fn read(&self, name: &FileName, size_bytes_max: u64) -> Result<Content, ReadError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = match rustix::fs::openat2(&self.fd, name.as_os_str(), flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(ReadError::Gone),
            Err(Errno::LOOP) => return Err(ReadError::Refused("is a symbolic link; drop the file itself".into())),
            Err(Errno::NXIO) => return Err(ReadError::Refused("is a socket or pipe; drop a regular file".into())),
            Err(Errno::ACCESS | Errno::PERM) => {
                let uid = rustix::process::geteuid().as_raw();
                let text = format!(
                    "cannot be read by the scheduler (user id {uid}); make it readable, for example with chmod g+r"
                );
                return Err(ReadError::Refused(text));
            }
            Err(errno) => return Err(self.error("open", name.as_os_str(), errno).into()),
        };
        let stat = statx_fd(&fd).map_err(|e| self.error("stat", name.as_os_str(), e))?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if kind != FileType::RegularFile {
            return Err(ReadError::Refused(format!("is a {}; drop a regular file", kind_name(kind))));
        }
        let too_large =
            |size: u64| ReadError::Refused(format!("has {size} bytes or more, the limit is {size_bytes_max}"));
        if stat.stx_size > size_bytes_max {
            return Err(too_large(stat.stx_size));
        }
        let mut bytes = Vec::with_capacity(stat.stx_size as usize + 1);
        // It may grow while it is read.
        let read = File::from(fd).take(size_bytes_max + 1).read_to_end(&mut bytes);
        read.map_err(|cause| Error::io("read", &self.path.join(name.as_os_str()), cause))?;
        if bytes.len() as u64 > size_bytes_max {
            return Err(too_large(bytes.len() as u64));
        }
        let look = Look { size_bytes: bytes.len() as u64, ..Look::from(&stat) };
        Ok(Content { bytes, look })
    }

    fn statx(&self, name: &FileName) -> Result<Option<Statx>, Error> {
        match rustix::fs::statx(&self.fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("stat", name.as_os_str(), errno)),
        }
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &FileName) -> Result<bool, Error> {
        Ok(self.statx(name)?.is_some())
    }

    /// What can be told of a file without opening it.
    pub fn look(&self, name: &FileName) -> Result<Option<Look>, Error> {
        Ok(self.statx(name)?.map(|stat| Look::from(&stat)))
    }

    /// When a file was last moved (a rename changes the inode's time, not the content's).
    pub(super) fn changed(&self, name: &FileName) -> Result<Option<Timestamp>, Error> {
        Ok(self.look(name)?.map(|look| look.changed))
    }

    /// Takes a file away; gone counts as done. The directory is not synced: a file that comes back is met again.
    pub fn unlink(&self, name: &FileName) -> Result<bool, Error> {
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error("unlink", name.as_os_str(), errno)),
        }
    }

    /// Takes a file or an empty directory away.
    pub fn remove(&self, name: &FileName) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(self.error("unlink", name.as_os_str(), errno)),
        }
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove directory", name.as_os_str(), errno)),
        }
    }

    /// Moves files from here into `invalid`, made unique, each with its reason beside it, sharing the syncs; see
    /// `Spool::reject`. Gives what became of each: one that cannot be moved does not hold up the others.
    pub fn reject_into(
        self: &Arc<Self>,
        staging: (&Arc<Dir>, &str),
        files: &[(FileName, String)],
        invalid: &Arc<Dir>,
        now: Timestamp,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut commit = Commit::new(Arc::clone(staging.0), staging.1);
        let (mut chosen, mut steps) = (HashSet::new(), Vec::with_capacity(files.len()));
        for (name, reason) in files {
            let one_line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let to = invalid.free_name(name, &chosen, now)?;
            chosen.insert(to.clone());
            steps.push((name, to, commit.stage(format!("{now}\n{one_line}\n").as_bytes())?));
        }
        commit.sync_files()?;
        let mut renames = Vec::with_capacity(steps.len());
        for (name, to, staged) in steps {
            commit.replace(staged, invalid, &to.with_suffix(".reason"))?;
            renames.push((name, to));
        }
        // The reasons are on the disk before the files are: no power cut shows a refused file without one.
        commit.sync_destinations()?;
        let mut outcomes = Vec::with_capacity(renames.len());
        for (name, to) in renames {
            let renamed = commit.rename(self, name, invalid, &to);
            if !matches!(renamed, Ok(Placed::New | Placed::Same)) {
                invalid.unlink(&to.with_suffix(".reason"))?;
            }
            outcomes.push(match renamed {
                // Somebody took the name since it was found free; the next pass finds another.
                Ok(Placed::Taken) => Err(invalid.error("rename to", to.as_os_str(), Errno::EXIST)),
                Ok(Placed::New | Placed::Same | Placed::Gone) => Ok(()),
                Err(error) => Err(error),
            });
        }
        commit.finish()?;
        Ok(outcomes)
    }

    /// The first variation of a name that nobody has here. After a few tries the time makes it unique, so that many files
    /// of one name are not looked for one after the other.
    fn free_name(&self, name: &FileName, chosen: &HashSet<FileName>, now: Timestamp) -> Result<FileName, Error> {
        for attempt in 0.. {
            let free = match attempt {
                // `.reason` must fit behind it.
                0 if name.as_os_str().len() < 240 => name.clone(),
                0..=8 => name.variation(attempt),
                _ => name.variation(now.as_microsecond().unsigned_abs().wrapping_add(attempt)),
            };
            if !chosen.contains(&free) && !self.has(&free)? {
                return Ok(free);
            }
        }
        Err(self.error("find a free name for", name.as_os_str(), Errno::EXIST))
    }
}

fn statx_fd(fd: &OwnedFd) -> rustix::io::Result<Statx> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "directory",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Symlink => "symbolic link",
        _ => "file of an unknown kind",
    }
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
    sources: Vec<Arc<Dir>>,
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
            sources: Vec::new(),
        }
    }

    fn write(&mut self, dir: &Dir, name: &FileName, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name.as_os_str(), flags, Mode::from_raw_mode(0o640));
        let mut file = File::from(fd.map_err(|e| dir.error("create", name.as_os_str(), e))?);
        if let Err(cause) = file.write_all(bytes) {
            dir.unlink(name)?;
            return Err(Error::io("write", &dir.path.join(name.as_os_str()), cause));
        }
        self.unsynced_count += 1;
        if self.unsynced_count <= FSYNC_FILES_MAX {
            self.unsynced.push((file.into(), dir.path.join(name.as_os_str())));
        }
        Ok(())
    }

    /// Writes a file into the staging directory.
    pub fn stage(&mut self, bytes: &[u8]) -> Result<Staged, Error> {
        let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let name = FileName(OsString::from(format!("{}.{number}", self.owner)));
        let tmp = Arc::clone(&self.tmp);
        self.write(&tmp, &name, bytes)?;
        self.staged.insert(name.clone());
        Ok(Staged { name })
    }

    fn discard(&mut self, staged: Staged) -> Result<(), Error> {
        self.tmp.unlink(&staged.name)?;
        self.staged.remove(&staged.name);
        Ok(())
    }

    /// Writes a file straight into a directory that is not a stage.
    pub(super) fn write_into(&mut self, dir: &Dir, name: &FileName, bytes: &[u8]) -> Result<(), Error> {
        self.write(dir, name, bytes)
    }

    /// Brings the content of every file written so far to the disk.
    pub fn sync_files(&mut self) -> Result<(), Error> {
        let count = std::mem::take(&mut self.unsynced_count);
        let files = std::mem::take(&mut self.unsynced);
        if count > FSYNC_FILES_MAX {
            return self.sync_all();
        }
        for (fd, path) in files {
            rustix::fs::fsync(&fd).map_err(|e| Error::Sync { path: escaped(path.as_os_str()), cause: e.into() })?;
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.tmp)
            .map_err(|e| Error::Sync { path: format!("file system of {}", self.tmp.path.display()), cause: e.into() })
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
            if self.rename(&tmp, &staged.name, to, &name.variation(attempt))? != Placed::Taken {
                break;
            }
        }
        Ok(true)
    }

    /// Moves a file. Same content under the new name counts as done, and the source is taken away.
    pub fn rename(
        &mut self,
        from: &Arc<Dir>,
        name: &FileName,
        to: &Arc<Dir>,
        to_name: &FileName,
    ) -> Result<Placed, Error> {
        match rustix::fs::renameat_with(from, name.as_os_str(), to, to_name.as_os_str(), RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.touch(Arc::clone(to));
                self.touch_source(from);
                Ok(Placed::New)
            }
            Err(Errno::NOENT) => Ok(Placed::Gone),
            Err(Errno::EXIST) if same_content(from, name, to, to_name)? => {
                from.unlink(name)?;
                self.touch_source(from);
                Ok(Placed::Same)
            }
            Err(Errno::EXIST) => Ok(Placed::Taken),
            Err(errno) => {
                let path = format!(
                    "{} to {}",
                    from.path.join(name.as_os_str()).display(),
                    to.path.join(to_name.as_os_str()).display()
                );
                Err(Error::io("rename", Path::new(&path), errno.into()))
            }
        }
    }

    /// Takes a file away, once the destinations of this commit are synced.
    pub fn unlink(&mut self, dir: &Arc<Dir>, name: &FileName) -> Result<(), Error> {
        if dir.unlink(name)? {
            self.touch_source(dir);
        }
        Ok(())
    }

    /// Has a directory synced with the destinations.
    pub(super) fn touch(&mut self, dir: Arc<Dir>) {
        remember(&mut self.destinations, dir);
    }

    fn touch_source(&mut self, dir: &Arc<Dir>) {
        // What leaves the staging directory need not be on the disk: a leftover is removed at the next start.
        if !Arc::ptr_eq(dir, &self.tmp) {
            remember(&mut self.sources, Arc::clone(dir));
        }
    }

    /// Brings the names given so far to the disk, before what they replace is taken away.
    pub fn sync_destinations(&mut self) -> Result<(), Error> {
        let dirs = std::mem::take(&mut self.destinations);
        self.sync_dirs(&dirs)
    }

    fn sync_dirs(&self, dirs: &[Arc<Dir>]) -> Result<(), Error> {
        if dirs.len() > FSYNC_DIRS_MAX {
            return self.sync_all();
        }
        for dir in dirs {
            rustix::fs::fsync(dir.as_ref())
                .map_err(|e| Error::Sync { path: dir.path.display().to_string(), cause: e.into() })?;
        }
        Ok(())
    }

    /// Brings every step to the disk: destinations first, then sources.
    pub fn finish(mut self) -> Result<(), Error> {
        self.sync_destinations()?;
        let sources = std::mem::take(&mut self.sources);
        self.sync_dirs(&sources)
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
        Err(ReadError::Gone | ReadError::Refused(_)) => Ok(None),
    };
    Ok(match (content(from, name)?, content(to, to_name)?) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    })
}
