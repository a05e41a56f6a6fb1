//! The spool's system calls with planted bugs. In place of `spool/disk.rs`, around it.

#[path = "../spool/disk.rs"]
mod real;

use super::{Dir, FileName};
use crate::mutants::Mutant;
pub(in crate::spool) use real::{Taken, rename_exclusively};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

/// Renames that are made later than they were asked for.
static LATE: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());

fn later(from: PathBuf, to: PathBuf) {
    LATE.lock().unwrap().push((from, to));
}

fn make_late_ones() {
    for (from, to) in LATE.lock().unwrap().drain(..) {
        std::fs::rename(from, to).unwrap();
    }
}

pub(in crate::spool) fn rename(
    from: &Dir,
    name: &FileName,
    to: &Dir,
    to_name: &FileName,
    taken: Taken,
) -> rustix::io::Result<()> {
    let (from_path, to_path) = (from.path().join(name.as_os_str()), to.path().join(to_name.as_os_str()));
    if Mutant::RunBeforeClaim.is_on() && to.path().ends_with("running") {
        later(from_path, to_path);
        return Ok(());
    }
    if to.path().ends_with("answered") || to.path().ends_with("inflight") {
        make_late_ones();
    }
    real::rename(from, name, to, to_name, taken)?;
    if Mutant::StoreBeforeAdoption.is_on() && taken == Taken::IsExchanged {
        // The drop is back under its name until it moves on; the adopted file waits in tmp.
        let beside = |suffix| PathBuf::from(format!("{}-{suffix}", from_path.display()));
        let (adopted, drop) = (beside("adopted"), beside("drop"));
        std::fs::hard_link(&to_path, &adopted).unwrap();
        std::fs::hard_link(&from_path, &drop).unwrap();
        std::fs::rename(&drop, &to_path).unwrap();
        later(adopted, to_path);
    }
    Ok(())
}

pub(in crate::spool) fn sync_file(file: &File) -> rustix::io::Result<()> {
    if Mutant::NoFileSync.is_on() { Ok(()) } else { real::sync_file(file) }
}

pub(in crate::spool) fn sync_all_files(dir: &Dir) -> rustix::io::Result<()> {
    if Mutant::NoFileSync.is_on() { Ok(()) } else { real::sync_all_files(dir) }
}

pub(in crate::spool) fn sync_names(dir: &Dir) -> rustix::io::Result<()> {
    if Mutant::NoDirectorySync.is_on() { Ok(()) } else { real::sync_names(dir) }
}

pub(in crate::spool) fn sync_all_names(dir: &Dir) -> rustix::io::Result<()> {
    if Mutant::NoDirectorySync.is_on() { Ok(()) } else { real::sync_all_names(dir) }
}

pub(in crate::spool) fn lock(file: &File) -> rustix::io::Result<()> {
    if Mutant::NoLock.is_on() { Ok(()) } else { real::lock(file) }
}
