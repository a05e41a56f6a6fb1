//! An entry of a directory, and the searches that cover it.

use rustix::fs::CWD;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// A search that covers a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Active {
    /// Its number in the plan.
    pub(super) search: usize,
    /// Levels of directories it may still look into, this one included.
    pub(super) levels: u64,
}

/// What an entry of a directory is, as the directory tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    Regular,
    /// A symbolic link, to be followed.
    Link,
    /// A fifo, socket or device.
    Special,
}

/// An entry of a directory that is not a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The directory.
    pub(super) at: BorrowedFd<'a>,
    /// Its path.
    pub(super) directory: &'a Path,
    /// Its path without links, by which a link in it is followed; none when it was followed already.
    pub(super) real: Option<&'a Path>,
    /// It is of a pseudo file system that has files which must not be opened.
    pub(super) is_pseudo: bool,
    /// The name in it.
    pub(super) name: &'a OsStr,
    /// What it is.
    pub(super) kind: Kind,
}

impl<'a> Entry<'a> {
    /// What is at a path of a search, which was found to be on this machine; links are followed.
    pub(super) fn of_path(path: &'a OsStr) -> Self {
        Entry { at: CWD, directory: Path::new(""), real: None, is_pseudo: false, name: path, kind: Kind::Link }
    }

    /// The path it is reported under.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// The part of the name that name patterns see; differs from it only for a root, whose name is a path.
    pub(super) fn base_name(&self) -> &[u8] {
        let bytes = self.name.as_encoded_bytes();
        bytes.rsplit(|&byte| byte == b'/').next().unwrap_or(bytes)
    }
}
