//! Opens files without side effects, and reads them within limits.
//!
//! Only regular files are opened: opening a fifo waits for its other end, opening a device may start it. Between stat
//! and open the name can be reused, so the descriptor never blocks (`O_NONBLOCK`), and is used only if it is a regular
//! file. The access time stays unchanged where the kernel allows it (`O_NOATIME`: for root and the owner). Files whose
//! data reading would consume are not even opened.

use super::entry::Kind;
use super::gzip::Members;
use super::limits;
use super::sparse::Sparse;
use crate::modules::files::{by_descriptor, open_quietly};
use crate::modules::limits::PATH_BYTES_MAX;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The fields of stat(2) that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Metadata {
    /// Device and inode: two names with the same are the same file.
    pub(super) id: (u64, u64),
    /// `st_mode`: kind and permissions.
    pub(super) mode: u32,
    /// Size.
    pub(super) size_bytes: u64,
    /// Allocated bytes; less than the size if there are holes.
    pub(super) stored_bytes: u64,
    /// Last change of the contents: whole seconds since 1970 and the nanoseconds after them.
    pub(super) mtime: (i64, u32),
    /// Last change of the contents, the mode, the owner or the number of names, in the same form.
    pub(super) ctime: (i64, u32),
    /// The number of its owner.
    pub(super) uid: u32,
    /// The number of its group.
    pub(super) gid: u32,
}

impl Metadata {
    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether it is a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.mode & 0o170_000 == 0o120_000
    }

    /// Whether it is a regular file.
    pub(super) fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// Returns the type of the entry; `None` for a directory.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.mode & 0o170_000 {
            0o040_000 => None,
            0o100_000 => Some(Kind::Regular),
            0o120_000 => Some(Kind::Link),
            _ => Some(Kind::Special),
        }
    }
}

/// A time of [`Metadata`] in nanoseconds since 1970.
pub(super) fn nanoseconds((seconds, nanoseconds): (i64, u32)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

impl From<Stat> for Metadata {
    fn from(stat: Stat) -> Self {
        Metadata {
            id: (stat.st_dev, stat.st_ino),
            mode: stat.st_mode,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            stored_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            ctime: (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// Returns the metadata of `name` in the directory `at`, following symbolic links if `follow`.
pub(super) fn stat(at: BorrowedFd, name: &OsStr, follow: bool) -> Result<Metadata, Errno> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(rustix::fs::statat(at, name, flags | AtFlags::NO_AUTOMOUNT)?.into())
}

/// Returns the text of the symbolic link `name` in the directory `at`.
pub(super) fn text_of_link(at: BorrowedFd, name: &OsStr) -> io::Result<PathBuf> {
    Ok(OsString::from_vec(rustix::fs::readlinkat(at, name, Vec::new())?.into_bytes()).into())
}

/// Opens the regular file `name` in the directory `at`; `None` if it is something else. `EAGAIN`: another process has a
/// lease on the file, which the kernel is breaking now (fcntl(2)).
pub(super) fn open(at: BorrowedFd, name: &OsStr, follow: bool) -> Result<Option<(File, Metadata)>, Errno> {
    let flags = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let descriptor = match open_quietly(at, Path::new(name), flags) {
        // A fifo, a socket or a link has replaced the file since the stat.
        Err(Errno::NXIO | Errno::LOOP) => return Ok(None),
        opened => opened?,
    };
    let metadata = Metadata::from(rustix::fs::fstat(&descriptor)?);
    Ok(metadata.is_regular().then(|| (File::from(descriptor), metadata)))
}

/// Opens the directory `path`, which may be longer than a system call accepts; a relative one is in the directory `at`.
pub(super) fn open_directory(at: BorrowedFd, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let flags = if follow { OFlags::DIRECTORY } else { OFlags::DIRECTORY | OFlags::NOFOLLOW };
    match open_quietly(at, path, flags) {
        Err(Errno::NAMETOOLONG) => {}
        opened => return opened,
    }
    let (mut last, mut step) = (None::<OwnedFd>, PathBuf::new());
    let open = |last: &Option<OwnedFd>, step: &Path, flags| {
        open_quietly(last.as_ref().map_or(at, AsFd::as_fd), step, OFlags::DIRECTORY | flags)
    };
    for component in path.components() {
        if step.as_os_str().len() + component.as_os_str().len() + 2 > PATH_BYTES_MAX {
            last = Some(open(&last, &step, OFlags::PATH)?);
            step.clear();
        }
        step.push(component);
    }
    open(&last, &step, flags)
}

/// Magic numbers of statfs(2).
const PROC: i64 = 0x9fa0;
const SYSFS: i64 = 0x6265_6572;
const TRACEFS: i64 = 0x7472_6163;
const DEBUGFS: i64 = 0x6462_6720;

/// Whether a directory is on a file system with files that [`must_not_open`] refuses.
pub(super) fn is_pseudo(directory: impl AsFd) -> Result<bool, Errno> {
    Ok(matches!(rustix::fs::fstatfs(directory)?.f_type, PROC | SYSFS | TRACEFS | DEBUGFS))
}

/// Returns why the file `name` in the directory `at` must not be opened; `None` if it may. Links are resolved.
pub(super) fn must_not_open(at: BorrowedFd, name: &OsStr, follow: bool) -> Option<&'static str> {
    let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    let file = rustix::fs::openat(at, name, flags | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let kind = rustix::fs::fstatfs(&file).ok()?.f_type;
    let path = std::fs::read_link(by_descriptor(&file)).ok()?;
    let name = path.file_name()?.to_str()?;
    let is_readable = rustix::fs::fstat(&file).ok()?.st_mode & 0o444 != 0;
    match (kind, name) {
        (TRACEFS | DEBUGFS, _) | (SYSFS, "hot_add") => Some("opening or reading it can change what the kernel does"),
        (PROC | SYSFS, _) if !is_readable => Some("it is write-only"),
        (PROC, "kmsg" | "event" | "xenbus") => Some("reading it would consume data of other processes"),
        (PROC, "kcore" | "vmcore") => Some("an image of the machine's memory, which contains the search patterns"),
        (PROC, "pagemap" | "kpagecount" | "kpageflags" | "kpagecgroup") => Some("a table of memory pages, not text"),
        _ => None,
    }
}

/// Whether an error only says that the file is gone or a link dangles: not a failure of the search.
pub(super) fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::SRCH | Errno::NOTDIR | Errno::LOOP)
}

/// [`is_gone`] for an error that may not come from a system call.
pub(super) fn leads_nowhere(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(is_gone)
}

/// How to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Every byte.
    Whole,
    /// As text: long holes are shortened.
    Text,
    /// The unpacked data of a gzip file.
    Unpacked,
}

/// An open file that can be read several times.
pub(super) struct Source<'a> {
    file: &'a File,
    metadata: &'a Metadata,
    /// Reading ends with an error when this is true.
    is_unwanted: &'a dyn Fn() -> bool,
    fresh: bool,
    /// There is other data after the last gzip member.
    pub(super) has_tail: bool,
}

impl<'a> Source<'a> {
    /// A source for a file with this metadata.
    pub(super) fn new(file: &'a File, metadata: &'a Metadata, is_unwanted: &'a dyn Fn() -> bool) -> Self {
        Source { file, metadata, is_unwanted, fresh: true, has_tail: false }
    }

    /// Whether no search wants more of the file.
    pub(super) fn is_unwanted(&self) -> bool {
        (self.is_unwanted)()
    }

    /// Whether the file begins with the magic number of gzip, RFC 1952.
    pub(super) fn is_gzip(&self) -> bool {
        let mut magic = [0; 2];
        self.file.read_exact_at(&mut magic, 0).is_ok() && magic == [0x1f, 0x8b]
    }

    /// Reads the file from the beginning.
    pub(super) fn read_with<T>(
        &mut self,
        how: Reading,
        use_reader: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> io::Result<T> {
        if !std::mem::replace(&mut self.fresh, false) {
            self.file.rewind()?;
        }
        let is_unwanted = self.is_unwanted;
        let size_bytes = self.metadata.size_bytes;
        if how == Reading::Unpacked {
            let limit = limits::FILE_BYTES_MAX;
            let packed = Bounded { inner: self.file, left: limit, limit, is_unwanted };
            let mut members = Members::new(BufReader::with_capacity(limits::READ_BYTES, packed));
            let limit = limits::UNPACKED_BYTES_MAX;
            let read = use_reader(&mut Bounded { inner: &mut members, left: limit, limit, is_unwanted });
            self.has_tail = members.has_tail;
            return read;
        }
        let hole_bytes_max = if how == Reading::Text { limits::HOLE_BYTES_MAX } else { u64::MAX };
        let is_sparse = self.metadata.stored_bytes < size_bytes;
        let limit = if size_bytes == 0 { limits::PSEUDO_FILE_BYTES_MAX } else { limits::FILE_BYTES_MAX };
        if let Some(sparse) = is_sparse.then(|| Sparse::new(self.file, size_bytes, hole_bytes_max)).flatten() {
            return use_reader(&mut Bounded { inner: sparse, left: limit, limit, is_unwanted });
        }
        use_reader(&mut Bounded { inner: self.file, left: limit, limit, is_unwanted })
    }
}

/// A reader that fails when its limit is exceeded, or when it is stopped.
pub(super) struct Bounded<'a, R> {
    /// The underlying reader.
    pub(super) inner: R,
    /// Remaining bytes.
    pub(super) left: u64,
    /// The limit, for the message.
    pub(super) limit: u64,
    /// Asked before each read whether to stop.
    pub(super) is_unwanted: &'a dyn Fn() -> bool,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.is_unwanted)() {
            return Err(io::Error::other("the search was stopped"));
        }
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("it has more than {} bytes", self.limit))),
        }
        Ok(count)
    }
}
