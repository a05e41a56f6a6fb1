//! A directory that is held open: files are looked at and removed in it, whatever its path leads to meanwhile.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, lstat, openat, statat, unlinkat};
use rustix::process::geteuid;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Which file it is, under whatever name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// That of a path, which is no link to it.
    pub(super) fn at(path: &Path) -> Option<FileId> {
        let stat = lstat(path).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| FileId::from(&stat))
    }

    /// That of an open file.
    pub(super) fn of(file: impl AsFd) -> rustix::io::Result<FileId> {
        fstat(file).map(|stat| FileId::from(&stat))
    }
}

impl From<&Stat> for FileId {
    fn from(stat: &Stat) -> FileId {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// See the module docs.
pub(super) struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Directory {
    /// One in which only root and this user can rename anything.
    pub(super) fn open(path: &Path) -> Result<Directory, String> {
        let error = |errno| format!("open the directory {}: {errno}", path.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Not open(2): the filter of system calls sees arguments of openat(2) alone.
        let descriptor = openat(CWD, path, flags, Mode::empty()).map_err(error)?;
        let stat = fstat(&descriptor).map_err(error)?;
        if ![0, geteuid().as_raw()].contains(&stat.st_uid) || stat.st_mode & 0o022 != 0 {
            return Err(format!("others may write to {}", path.display()));
        }
        Ok(Directory { path: path.to_owned(), descriptor })
    }

    /// Removes the name, if it is that file.
    pub(super) fn remove(&self, name: &OsStr, id: FileId) -> Result<(), String> {
        let found = statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
        if !found.is_ok_and(|stat| FileId::from(&stat) == id) {
            return Err(format!("it was replaced in {} meanwhile", self.path.display()));
        }
        unlinkat(&self.descriptor, name, AtFlags::empty()).map_err(|errno| errno.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, Permissions, create_dir, rename, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_the_file_that_was_looked_at_is_removed_whatever_is_renamed_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let [directory, other] = ["bin", "etc"].map(|name| place.path().join(name));
        for directory in [&directory, &other] {
            create_dir(directory).unwrap();
            std::fs::write(directory.join("agent"), "").unwrap();
        }
        let path = directory.join("agent");
        let id = FileId::of(File::open(&path).unwrap()).unwrap();
        let held = Directory::open(&directory).unwrap();
        rename(&directory, place.path().join("moved")).unwrap();
        symlink(&other, &directory).unwrap();
        held.remove("agent".as_ref(), id).unwrap();
        assert!(other.join("agent").exists() && !place.path().join("moved/agent").exists());
        assert!(Directory::open(&directory).is_err(), "a link is no directory");

        let held = Directory::open(&other).unwrap();
        let path = other.join("agent");
        let id = FileId::of(File::open(&path).unwrap()).unwrap();
        std::fs::write(other.join("new"), "").unwrap();
        rename(other.join("new"), &path).unwrap();
        assert!(held.remove("agent".as_ref(), id).unwrap_err().contains("replaced"));
        rename(&path, other.join("program")).unwrap();
        let id = FileId::of(File::open(other.join("program")).unwrap()).unwrap();
        symlink("program", &path).unwrap();
        assert!(held.remove("agent".as_ref(), id).unwrap_err().contains("replaced"), "a link to it is not it");
        assert_eq!((FileId::at(&path), FileId::at(&other.join("program"))), (None, Some(id)));
    }

    #[test]
    fn in_a_directory_of_others_nothing_is_removed() {
        let place = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o775, 0o1777] {
            set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            let refused = Directory::open(place.path()).err().unwrap();
            assert!(refused.starts_with("others may write to "), "{mode:o}: {refused}");
        }
    }
}
