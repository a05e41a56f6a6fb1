//! What a spool needs of the place it is in: every directory on one mount, and renames that do not replace.

use super::stages::{LOCKS, PREPARED, ROOT};
use super::{Dir, FileName, Stage, disk};
use crate::failure::Failure;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The directories of a spool, held open.
pub(super) type Opened = HashMap<Stage, Arc<Dir>>;

/// Opens the root, `tmp`, `lock` and the stages, which must exist. A place that no restart makes fit is a
/// [`Failure::Refuse`]. `owner` names the worker.
pub(super) fn open(root: &Path, stages: &[Stage], owner: &str) -> Result<Opened, Failure> {
    let root = Dir::open(root)?;
    let (tmp, locks) = (root.ensure(PREPARED.path(), 0o700)?, root.ensure(LOCKS.path(), 0o750)?);
    check_renames(&tmp, owner)?;
    let mut opened = Opened::new();
    for stage in stages {
        if stage.is_made_when_missing() {
            make(&root, *stage)?;
        }
        let dir = Dir::open(&root.path().join(stage.path()))?;
        if dir.mount()? != tmp.mount()? {
            let (stage, tmp) = (dir.path().display(), tmp.path().display());
            return Err(Failure::Refuse(format!(
                "{stage} is not on the mount of {tmp}, so that no file can be renamed into it; unmount it, and mount the whole spool instead"
            )));
        }
        opened.insert(*stage, Arc::new(dir));
    }
    opened.extend([(ROOT, root), (PREPARED, tmp), (LOCKS, locks)].map(|(stage, dir)| (stage, Arc::new(dir))));
    Ok(opened)
}

/// Makes a stage of two levels.
fn make(root: &Dir, stage: Stage) -> Result<(), Failure> {
    let (parent, name) = stage.path().split_once('/').unwrap_or((".", stage.path()));
    root.ensure(parent, 0o750)?.ensure(name, 0o750).map(drop)
}

/// Renames a file in `tmp` as stages need it: what a program that was killed left of it, the next one removes.
fn check_renames(tmp: &Dir, owner: &str) -> Result<(), Failure> {
    let name = |end: &str| FileName::new(format!("{owner}.{end}")).ok_or_else(|| Failure::retry("an empty name"));
    let (probe, renamed) = (name("probe")?, name("renamed")?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = rustix::fs::openat(tmp, probe.as_os_str(), flags, Mode::from_raw_mode(0o640));
    created.map_err(|errno| tmp.failure("create", probe.as_os_str(), errno))?;
    let outcome = disk::rename_exclusively(tmp, &probe, tmp, &renamed);
    tmp.remove(&probe)?;
    tmp.remove(&renamed)?;
    match outcome {
        Err(Errno::INVAL | Errno::NOSYS) => Err(Failure::Refuse(format!(
            "the file system of {} cannot rename without replacing (renameat2 with RENAME_NOREPLACE), as NFS and most of FUSE; put the spool on a local one such as ext4, xfs or btrfs",
            tmp.path().display()
        ))),
        // Taken or gone: another copy of the program does the same at this moment.
        _ => Ok(()),
    }
}
