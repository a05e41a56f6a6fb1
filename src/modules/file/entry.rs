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
    /// Remaining levels of directories, this one included.
    pub(super) levels: u64,
}

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    Regular,
    /// A symbolic link, which is followed.
    Link,
    /// A symbolic link, which is looked at itself.
    LinkItself,
    /// What a path of a search was when it was no link; it is followed all the same.
    Named,
    /// A fifo, socket or device.
    Special,
}

impl Kind {
    /// Whether what it leads to is looked at.
    pub(super) fn is_followed(self) -> bool {
        matches!(self, Kind::Link | Kind::Named)
    }

    /// Whether it is for a search; `links` is its option: whether it looks at links themselves.
    pub(super) fn is_for(self, links: bool) -> bool {
        match self {
            Kind::Link => !links,
            Kind::LinkItself => links,
            Kind::Regular | Kind::Special | Kind::Named => true,
        }
    }
}

/// An entry of a directory that is not a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileEntry<'a> {
    /// The directory.
    pub(super) at: BorrowedFd<'a>,
    /// Its path.
    pub(super) directory: &'a Path,
    /// Its path without links, from which a link in it is followed; `None` if the link was followed already.
    pub(super) real: Option<&'a Path>,
    /// It is on a pseudo file system with files that must not be opened.
    pub(super) is_pseudo: bool,
    /// The name of the entry.
    pub(super) name: &'a OsStr,
    /// The type of the entry.
    pub(super) kind: Kind,
}

impl<'a> FileEntry<'a> {
    /// The entry at a search path that is known to be local.
    pub(super) fn of_path(path: &'a OsStr, kind: Kind) -> Self {
        FileEntry { at: CWD, directory: Path::new(""), real: None, is_pseudo: false, name: path, kind }
    }

    /// Returns the path that is reported.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// Returns the part of the name that name patterns match; differs only for a root, whose name is a path.
    pub(super) fn base_name(&self) -> &[u8] {
        let bytes = self.name.as_encoded_bytes();
        bytes.rsplit(|&byte| byte == b'/').next().unwrap_or(bytes)
    }
}
