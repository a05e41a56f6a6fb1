//! Directories that are held open, and files that are read from them without trust.

use super::error::{Error, ReadError};
use super::name::FileName;
use crate::limits;
use crate::time::Timestamp;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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

    pub(super) fn error(&self, what: &'static str, name: impl AsRef<OsStr>, errno: Errno) -> Error {
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
            Err(Errno::NXIO) => {
                let text = "is a socket, or a device that is not there; drop a regular file";
                return Err(ReadError::Refused(text.into()));
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                let uid = rustix::process::geteuid().as_raw();
                let text = format!(
                    "cannot be read by the scheduler (user id {uid}); make it readable, for example with chmod g+r"
                );
                return Err(ReadError::Denied(text));
            }
            Err(errno) => return Err(self.error("open", name.as_os_str(), errno).into()),
        };
        let stat = statx_fd(&fd).map_err(|e| self.error("stat", name.as_os_str(), e))?;
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if kind != FileType::RegularFile {
            return Err(ReadError::Refused(format!("is a {}; drop a regular file", kind_name(kind))));
        }
        if stat.stx_size > size_bytes_max {
            return Err(ReadError::Refused(format!("has {} bytes, the limit is {size_bytes_max}", stat.stx_size)));
        }
        let read = read_whole(File::from(fd), stat.stx_size as usize, size_bytes_max);
        let bytes = read.map_err(|cause| Error::io("read", &self.path.join(name.as_os_str()), cause))?;
        if bytes.len() as u64 > size_bytes_max {
            return Err(ReadError::Refused(format!("grew while it was read, the limit is {size_bytes_max} bytes")));
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
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
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
