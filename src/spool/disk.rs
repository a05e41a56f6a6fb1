//! The system calls that move and sync: all of them, so that tests can put a layer with planted bugs in their place.

use super::{Dir, FileName};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;

/// What a rename does about a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spool) enum Taken {
    /// Fails with EEXIST.
    Fails,
    /// Replaces the file.
    IsReplaced,
    /// Exchanges the two files; fails with ENOENT if the name is free.
    IsExchanged,
}

/// renameat2(2). Where the file system cannot rename without replacing (NFS, sshfs, most of FUSE), a link and an unlink do
/// the same in two steps: a crash in between leaves the file under both names. A spool is not in such a place
/// ([`super::place`]); a directory relay may be.
pub(in crate::spool) fn rename(
    from: &Dir,
    name: &FileName,
    to: &Dir,
    to_name: &FileName,
    taken: Taken,
) -> rustix::io::Result<()> {
    let flags = match taken {
        Taken::Fails => {
            return match rename_exclusively(from, name, to, to_name) {
                Err(Errno::INVAL | Errno::NOSYS) => link_and_unlink(from, name, to, to_name),
                renamed => renamed,
            };
        }
        Taken::IsReplaced => RenameFlags::empty(),
        Taken::IsExchanged => RenameFlags::EXCHANGE,
    };
    rustix::fs::renameat_with(from, name.as_os_str(), to, to_name.as_os_str(), flags)
}

/// renameat2(2) with RENAME_NOREPLACE; EINVAL where the file system does not have it.
pub(in crate::spool) fn rename_exclusively(
    from: &Dir,
    name: &FileName,
    to: &Dir,
    to_name: &FileName,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, name.as_os_str(), to, to_name.as_os_str(), RenameFlags::NOREPLACE)
}

fn link_and_unlink(from: &Dir, name: &FileName, to: &Dir, to_name: &FileName) -> rustix::io::Result<()> {
    rustix::fs::linkat(from, name.as_os_str(), to, to_name.as_os_str(), AtFlags::empty())?;
    rustix::fs::unlinkat(from, name.as_os_str(), AtFlags::empty())?;
    // inotify(7) reports a link like a file that is still empty; a watcher wakes when one is closed after writing.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ = rustix::fs::openat(to, to_name.as_os_str(), flags, Mode::empty());
    Ok(())
}

/// fsync(2) of a file.
pub(in crate::spool) fn sync_file(file: &File) -> rustix::io::Result<()> {
    rustix::fs::fsync(file)
}

/// fsync(2) of a directory: its names are durable afterwards.
pub(in crate::spool) fn sync_names(dir: &Dir) -> rustix::io::Result<()> {
    rustix::fs::fsync(dir)
}

/// syncfs(2) of the file system of a directory, for the content of many files.
pub(in crate::spool) fn sync_all_files(dir: &Dir) -> rustix::io::Result<()> {
    rustix::fs::syncfs(dir)
}

/// syncfs(2) of the file system of a directory, for the names in many directories.
pub(in crate::spool) fn sync_all_names(dir: &Dir) -> rustix::io::Result<()> {
    rustix::fs::syncfs(dir)
}

/// flock(2), exclusive, without waiting.
pub(in crate::spool) fn lock(file: &File) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}
