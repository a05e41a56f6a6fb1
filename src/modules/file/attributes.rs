//! What takes system calls of its own per file: the time of birth, extended attributes, capabilities. Read only for searches
//! that ask for them. Attributes are compared and never returned: their values can be private.
//!
//! No system call finds an attribute by a directory and a name, so the path goes through `/proc/self/fd`: it is short for any
//! depth, and stays with the directory that is being walked.

use super::entry::FileEntry;
use super::limits;
use crate::modules::files::by_descriptor;
use crate::modules::notation::capabilities;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// The attribute that holds the capabilities of a program, capabilities(7).
const CAPABILITY: &str = "security.capability";

/// Returns when a file was created, in nanoseconds since 1970; `None` if its file system does not tell.
pub(super) fn birth(entry: &FileEntry) -> Result<Option<i128>, Errno> {
    let follow = if entry.kind.is_followed() { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let found = rustix::fs::statx(entry.at, entry.name, follow | AtFlags::NO_AUTOMOUNT, StatxFlags::BTIME)?;
    let time = found.stx_btime;
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    Ok((found.stx_mask & StatxFlags::BTIME.bits() != 0).then_some(nanoseconds))
}

/// Returns the extended attributes that this process may see, each as `name=value`. A file system without attributes has none.
pub(super) fn extended(entry: &FileEntry) -> io::Result<Vec<Vec<u8>>> {
    let path = path(entry);
    let mut names = vec![0; limits::ATTRIBUTE_BYTES_MAX];
    let count = match list(entry, &path, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut value = vec![0; limits::ATTRIBUTE_BYTES_MAX];
    for name in names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = match get(entry, &path, name, &mut value) {
            // It was removed meanwhile.
            Err(Errno::NODATA) => continue,
            length => length?,
        };
        bytes += name.len() + length;
        if bytes > limits::ATTRIBUTES_BYTES_MAX {
            let reason = format!("its attributes have more than {} bytes", limits::ATTRIBUTES_BYTES_MAX);
            return Err(io::Error::other(reason));
        }
        all.push([name, b"=", &value[..length]].concat());
    }
    Ok(all)
}

/// Returns the capabilities of a file, in the form of getcap(8); `None` if it has none.
pub(super) fn file_capabilities(entry: &FileEntry) -> io::Result<Option<String>> {
    let mut value = [0; 64];
    match get(entry, &path(entry), CAPABILITY.as_bytes(), &mut value) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(length) => {
            let text = capabilities(&value[..length]);
            text.map(Some).ok_or_else(|| io::Error::other("its capabilities are in an unknown form"))
        }
    }
}

fn path(entry: &FileEntry) -> PathBuf {
    // The name of a search path is the path.
    if entry.real.is_none() {
        return PathBuf::from(entry.name);
    }
    by_descriptor(entry.at).join(entry.name)
}

fn list(entry: &FileEntry, path: &Path, names: &mut [u8]) -> Result<usize, Errno> {
    if entry.kind.is_followed() { rustix::fs::listxattr(path, names) } else { rustix::fs::llistxattr(path, names) }
}

fn get(entry: &FileEntry, path: &Path, name: &[u8], value: &mut [u8]) -> Result<usize, Errno> {
    if entry.kind.is_followed() {
        rustix::fs::getxattr(path, name, value)
    } else {
        rustix::fs::lgetxattr(path, name, value)
    }
}
