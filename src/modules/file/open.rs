//! Opening files without side effects, and reading them within limits.
//!
//! Only regular files are opened: opening a fifo waits for its other end, opening a device may start it. Between the
//! look and the opening the name can be given to something else, so the descriptor never waits (`O_NONBLOCK`), and is
//! used only if it turns out to be a regular file. `O_NONBLOCK` also makes files like `/proc/kmsg` an error, not a wait.

use super::entry::Kind;
use super::limits;
use flate2::bufread::MultiGzDecoder;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// What stat(2) tells of a file, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Metadata {
    /// Device and inode: two names with the same are the same file.
    pub(super) id: (u64, u64),
    /// `st_mode`: kind and permissions.
    pub(super) mode: u32,
    /// Size.
    pub(super) size_bytes: u64,
    /// Last change of the contents: whole seconds since 1970 and the nanoseconds after them.
    pub(super) mtime: (i64, u32),
}

impl Metadata {
    /// A directory.
    pub(super) fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// A regular file.
    pub(super) fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    /// What a directory would say that it is; `None` for a directory.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.mode & 0o170_000 {
            0o040_000 => None,
            0o100_000 => Some(Kind::Regular),
            0o120_000 => Some(Kind::Link),
            _ => Some(Kind::Special),
        }
    }

    /// Last change of the contents, in nanoseconds since 1970.
    pub(super) fn mtime_nanoseconds(&self) -> i128 {
        i128::from(self.mtime.0) * 1_000_000_000 + i128::from(self.mtime.1)
    }
}

impl From<Stat> for Metadata {
    fn from(stat: Stat) -> Self {
        Metadata {
            id: (stat.st_dev, stat.st_ino),
            mode: stat.st_mode,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        }
    }
}

/// Looks at `name` in the directory `at`, through symbolic links if `follow`.
pub(super) fn stat(at: BorrowedFd, name: &OsStr, follow: bool) -> Result<Metadata, Errno> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(rustix::fs::statat(at, name, flags | AtFlags::NO_AUTOMOUNT)?.into())
}

/// Opens the regular file `name` in the directory `at`; `None` if it is something else.
pub(super) fn open(at: BorrowedFd, name: &OsStr, follow: bool) -> Result<Option<(File, Metadata)>, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let descriptor = match rustix::fs::openat(at, name, flags, Mode::empty()) {
        // A fifo, a socket or a link came in place of the file that was seen.
        Err(Errno::NXIO | Errno::LOOP) => return Ok(None),
        opened => opened?,
    };
    let metadata = Metadata::from(rustix::fs::fstat(&descriptor)?);
    Ok(metadata.is_regular().then(|| (File::from(descriptor), metadata)))
}

/// Whether an error only says that the file is gone, or leads nowhere: no failure of the search.
pub(super) fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::SRCH | Errno::NOTDIR | Errno::LOOP)
}

/// An open file, to be read as often as needed.
pub(super) struct Source<'a> {
    file: &'a File,
    size_bytes: u64,
    fresh: bool,
}

impl<'a> Source<'a> {
    /// Refuses a file that is larger than any can be.
    pub(super) fn new(file: &'a File, metadata: &Metadata) -> io::Result<Self> {
        if metadata.size_bytes > limits::FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it claims to have {} bytes", metadata.size_bytes)));
        }
        Ok(Source { file, size_bytes: metadata.size_bytes, fresh: true })
    }

    /// Whether the file begins like a gzip file, RFC 1952.
    pub(super) fn is_gzip(&self) -> bool {
        let mut magic = [0; 2];
        self.file.read_exact_at(&mut magic, 0).is_ok() && magic == [0x1f, 0x8b]
    }

    /// Reads from the beginning; `unpack` gives what is packed in a gzip file.
    pub(super) fn read_with<T>(
        &mut self,
        unpack: bool,
        use_reader: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> io::Result<T> {
        if !std::mem::replace(&mut self.fresh, false) {
            self.file.rewind()?;
        }
        if unpack {
            let packed = BufReader::with_capacity(limits::READ_BYTES, self.file);
            let limit = limits::UNPACKED_BYTES_MAX;
            return use_reader(&mut Bounded { inner: MultiGzDecoder::new(packed), left: limit, limit });
        }
        let pseudo = self.size_bytes == 0;
        let limit = if pseudo { limits::PSEUDO_FILE_BYTES_MAX } else { limits::FILE_BYTES_MAX };
        use_reader(&mut Bounded { inner: self.file, left: limit, limit })
    }
}

/// A reader that fails when there is more than a limit allows.
pub(super) struct Bounded<R> {
    /// What is read.
    pub(super) inner: R,
    /// Bytes that may still come.
    pub(super) left: u64,
    /// The limit, for the message.
    pub(super) limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("it gives more than {} bytes", self.limit))),
        }
        Ok(count)
    }
}
