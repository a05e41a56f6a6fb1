//! Directories that are held open, and files that are read from them without trust.

use super::failures::{escaped, io_failure};
use super::name::FileName;
use crate::failure::Failure;
use crate::limits;
use crate::time::Timestamp;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file's content and metadata.
pub struct Content {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Its metadata when it was opened, with the size that was read: a file that grew meanwhile looks different the next
    /// time.
    pub look: Look,
}

/// The metadata of a file. Equal looks mean that it was not touched in between.
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

impl Look {
    /// Whether it shows the very file of an earlier look. The time of the last change may differ: a rename is one.
    pub(super) fn is_file_of(&self, earlier: &Look) -> bool {
        (self.inode, self.size_bytes, self.modified) == (earlier.inode, earlier.size_bytes, earlier.modified)
    }
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

/// A directory that is held open: changes reach it wherever its path leads meanwhile.
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
    /// Opens a directory. A path that leads to something else is a [`Failure::Refuse`].
    pub fn open(path: &Path) -> Result<Dir, Failure> {
        let shown = escaped(path.as_os_str());
        match rustix::fs::open(path, OPEN_DIR, Mode::empty()) {
            Ok(fd) => Ok(Dir { fd, path: path.to_owned() }),
            Err(errno @ (Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)) => {
                refuse(format!("open directory {shown}: {}", std::io::Error::from(errno)))
            }
            Err(Errno::NOENT) => {
                Err(Failure::Skip(format!("open directory {shown}: it is missing; mount its file system, or make it")))
            }
            Err(errno) => Err(io_failure("open directory", path, errno)),
        }
    }

    /// Its path when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failure(&self, what: &str, name: impl AsRef<OsStr>, errno: Errno) -> Failure {
        io_failure(what, &self.path.join(name.as_ref()), errno)
    }

    /// What tells its mount from others: a device and the kernel's id of the mount, 0 before Linux 5.8.
    pub(super) fn mount(&self) -> Result<(u32, u32, u64), Failure> {
        let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat =
            rustix::fs::statx(&self.fd, "", AtFlags::EMPTY_PATH, flags).map_err(|e| self.failure("stat", "", e))?;
        let has_mount = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        Ok((stat.stx_dev_major, stat.stx_dev_minor, if has_mount { stat.stx_mnt_id } else { 0 }))
    }

    /// Fails if its path leads elsewhere by now. In a directory that was removed every file seems to be gone, and in one
    /// that was moved away or mounted over what is put there is not found.
    pub fn check_place(&self) -> Result<(), Failure> {
        let ours = rustix::fs::fstat(&self.fd).map_err(|e| self.failure("stat", "", e))?;
        match rustix::fs::stat(&self.path) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino) => Ok(()),
            Ok(_) => Err(Failure::retry(format!("{} is another directory by now, opening it again", self.shown()))),
            Err(Errno::NOENT | Errno::STALE) => Err(Failure::retry(format!(
                "{} was removed or unmounted; mount its file system, or make it",
                self.shown()
            ))),
            Err(errno) => Err(self.failure("stat", "", errno)),
        }
    }

    /// The answer that something is not there, if the directory itself is.
    pub(super) fn absent<T>(&self, answer: T) -> Result<T, Failure> {
        self.check_place().map(|()| answer)
    }

    fn shown(&self) -> String {
        escaped(self.path.as_os_str())
    }

    /// Opens the sub-directory `name`, made with `mode` when missing.
    pub fn ensure(&self, name: &str, mode: u32) -> Result<Dir, Failure> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.failure("make directory", name, errno)),
        }
        self.sub(name)?.ok_or_else(|| self.failure("open directory", name, Errno::NOENT))
    }

    /// Opens the sub-directory `name`; none when there is none. Links are not followed.
    pub fn sub(&self, name: &str) -> Result<Option<Dir>, Failure> {
        match rustix::fs::openat(&self.fd, name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, path: self.path.join(name) })),
            Err(Errno::NOENT) => self.absent(None),
            Err(errno) => Err(self.failure("open directory", name, errno)),
        }
    }

    /// The names that `wanted` accepts, sorted.
    pub fn list(&self, mut wanted: impl FnMut(&FileName) -> bool) -> Result<Vec<FileName>, Failure> {
        self.check_place()?;
        let error = |errno| self.failure("list", "", errno);
        // A descriptor of its own, because a directory's reading position belongs to the descriptor.
        let fd = rustix::fs::openat(&self.fd, ".", OPEN_DIR, Mode::empty()).map_err(error)?;
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut names = Vec::new();
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(error)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if let Some(name) = FileName::new(name).filter(&mut wanted) {
                names.push(name);
                if names.len() == limits::LISTING_ENTRIES_MAX {
                    break;
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The names, without hidden ones, of what last changed before `limit`. A move is a change too. Lists by path.
    pub fn changed_before(&self, limit: Timestamp) -> Result<Vec<FileName>, Failure> {
        self.check_place()?;
        let mut names = Vec::new();
        let entries = WalkDir::new(&self.path).min_depth(1).max_depth(1);
        for entry in entries.into_iter().take(limits::LISTING_ENTRIES_MAX) {
            match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
                Ok((metadata, entry)) => {
                    let changed = Timestamp::new(metadata.ctime(), metadata.ctime_nsec() as i32);
                    let name = FileName::new(entry.file_name()).filter(|name| !name.is_hidden());
                    names.extend(name.filter(|_| changed.is_ok_and(|changed| changed < limit)));
                }
                Err(error) => match (error.depth(), error.into_io_error()) {
                    // Removed since it was listed.
                    (1, Some(cause)) if cause.kind() == ErrorKind::NotFound => {}
                    (_, cause) => {
                        let cause = cause.unwrap_or_else(|| ErrorKind::Other.into());
                        return Err(io_failure("list", &self.path, cause));
                    }
                },
            }
        }
        Ok(names)
    }

    /// Reads a regular file of at most `size_bytes_max` bytes: no links, no waiting on pipes, nothing outside. None if it
    /// is gone. One that must not be read is a [`Failure::Refuse`].
    pub fn read(&self, name: &FileName, size_bytes_max: u64) -> Result<Option<Content>, Failure> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = match self.open_plainly(name, flags) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return self.absent(None),
            Err(Errno::LOOP) => return refuse("is a symbolic link; drop the file itself".into()),
            Err(Errno::NXIO) => return refuse("is a socket, or a device that is missing; drop a regular file".into()),
            Err(Errno::ACCESS | Errno::PERM) => {
                let uid = rustix::process::geteuid().as_raw();
                return Err(Failure::Skip(format!(
                    "cannot be read by the scheduler (user id {uid}); make it readable, for example with chmod g+r"
                )));
            }
            Err(errno) => return Err(self.failure("open", name.as_os_str(), errno)),
        };
        let stat = statx_fd(&fd).map_err(|e| self.failure("stat", name.as_os_str(), e))?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if kind != FileType::RegularFile {
            return refuse(format!("is a {}; drop a regular file", kind_name(kind)));
        }
        if stat.stx_size > size_bytes_max {
            return refuse(format!("has {} bytes, the limit is {size_bytes_max}", stat.stx_size));
        }
        let read = read_whole(File::from(fd), stat.stx_size as usize, size_bytes_max);
        let bytes = read.map_err(|cause| io_failure("read", &self.path.join(name.as_os_str()), cause))?;
        if bytes.len() as u64 > size_bytes_max {
            return refuse(format!("grew while it was read, the limit is {size_bytes_max} bytes"));
        }
        let look = Look { size_bytes: bytes.len() as u64, ..Look::from(&stat) };
        Ok(Some(Content { bytes, look }))
    }

    /// Opens a file that is no link. Services with `RestrictSUIDSGID=` and some containers have no openat2(2): a name has no
    /// slash, so `O_NOFOLLOW` says the same.
    fn open_plainly(&self, name: &FileName, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, name.as_os_str(), flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS) => rustix::fs::openat(&self.fd, name.as_os_str(), flags, Mode::empty()),
            opened => opened,
        }
    }

    fn statx(&self, name: &FileName) -> Result<Option<Statx>, Failure> {
        match rustix::fs::statx(&self.fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => self.absent(None),
            Err(errno) => Err(self.failure("stat", name.as_os_str(), errno)),
        }
    }

    /// Whether our user has the right to read a file.
    pub fn may_read(&self, name: &FileName) -> bool {
        let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::accessat(&self.fd, name.as_os_str(), Access::READ_OK, flags).is_ok()
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &FileName) -> Result<bool, Failure> {
        Ok(self.statx(name)?.is_some())
    }

    /// The metadata of a file; None if it is gone.
    pub fn look(&self, name: &FileName) -> Result<Option<Look>, Failure> {
        Ok(self.statx(name)?.map(|stat| Look::from(&stat)))
    }

    /// Removes a file; one that is gone counts as done. The directory is not synced: a file that comes back is met again.
    pub fn unlink(&self, name: &FileName) -> Result<bool, Failure> {
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => self.absent(false),
            Err(errno) => Err(self.failure("unlink", name.as_os_str(), errno)),
        }
    }

    /// Removes a file or an empty directory; gone counts as done.
    pub fn remove(&self, name: &FileName) -> Result<(), Failure> {
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => return self.absent(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(self.failure("unlink", name.as_os_str(), errno)),
        }
        match rustix::fs::unlinkat(&self.fd, name.as_os_str(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.absent(()),
            Err(errno) => Err(self.failure("remove directory", name.as_os_str(), errno)),
        }
    }
}

/// Reads a file of the size that was seen, or more when it grows meanwhile. Mostly one read(2): there is room for one
/// byte more, and it stays free.
fn read_whole(file: File, size_seen: usize, size_bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; size_seen + 1];
    let mut filled = 0;
    while filled <= size_seen {
        match (&file).read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if filled == size_seen {
            break;
        }
    }
    bytes.truncate(filled);
    if filled > size_seen {
        file.take(size_bytes_max.saturating_sub(filled as u64) + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn refuse<T>(text: String) -> Result<T, Failure> {
    Err(Failure::Refuse(text))
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
