//! The agent's program as a file: where it is, and how another version takes its place.
//!
//! | step | at the path | beside it |
//! |---|---|---|
//! | [`draft`], [`finish`] | old | `.mig-agent.next-…`, new |
//! | [`install`]: a second name for the old one | old | `.mig-agent.previous`, old |
//! | [`install`]: rename | new | `.mig-agent.previous`, old |
//! | [`prove`]: the new one works | new | |
//! | [`restore`], [`undo`]: it does not | old | |
//!
//! So a whole program is at the path at any moment, and both names are known beforehand: neither program ever runs under the
//! name of a draft. A draft that a killed run left behind is removed by the next one.
//!
//! The upgrade is *on probation* as long as the previous program is there: the new one, which removes it, has not proven yet
//! that it works. No other record of that is kept, so that a cut at any moment leaves no contradiction.

use crate::limits;
use rustix::fs::{FlockOperation, flock};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

const DRAFT_PREFIX: &str = ".mig-agent.next-";
const PREVIOUS: &str = ".previous";
/// The program that runs, whatever became of its file.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The agent's path: where the program that runs was started from. Another one may be there by now.
pub fn path() -> io::Result<PathBuf> {
    let path = std::fs::read_link(OWN_PROGRAM).map(without_mark)?;
    // The previous program, which was started to undo an upgrade.
    let name = path.file_name().unwrap_or_default().as_bytes();
    let upgraded = name.strip_prefix(b".").and_then(|name| name.strip_suffix(PREVIOUS.as_bytes()));
    Ok(upgraded.map_or_else(|| path.clone(), |name| path.with_file_name(OsStr::from_bytes(name))))
}

/// What another start of the agent is to run: the program at its path, by which an upgrade or a package may have replaced the one
/// that runs; while that is on probation the previous one, which undoes the upgrade.
pub fn next_start() -> io::Result<PathBuf> {
    let path = path()?;
    Ok(if is_on_probation(&path) { previous(&path) } else { path })
}

/// The path in a link of /proc, without the kernel's mark of a name that was taken away.
pub fn without_mark(link: PathBuf) -> PathBuf {
    match link.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) if !link.exists() => PathBuf::from(OsString::from_vec(path.to_vec())),
        _ => link,
    }
}

/// The name of the program that was at the path before, while the one there is on probation. No backup by hand is called so.
pub fn previous(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PREVIOUS);
    path.with_file_name(name)
}

/// Whether the program at the path has not proven yet that it works.
pub fn is_on_probation(path: &Path) -> bool {
    previous(path).symlink_metadata().is_ok()
}

/// Whether two paths lead to one file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// A new file beside the program, for its owner alone. It is removed unless it is installed.
pub fn draft(path: &Path) -> io::Result<NamedTempFile> {
    let directory = directory(path)?;
    remove_litter(directory);
    let draft = tempfile::Builder::new().prefix(DRAFT_PREFIX).rand_bytes(12).tempfile_in(directory)?;
    // Says that it is no litter.
    flock(&draft, FlockOperation::NonBlockingLockExclusive)?;
    Ok(draft)
}

/// The mode of a program that replaces the one at the path.
pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0o755, |m| m.mode() & 0o777) | 0o500
}

/// Puts a draft on the disk, with this mode. It can be started when this returns, as no descriptor can write to it.
pub fn finish(draft: NamedTempFile, mode: u32) -> io::Result<TempPath> {
    draft.as_file().set_permissions(Permissions::from_mode(mode))?;
    draft.as_file().sync_all()?;
    Ok(draft.into_temp_path())
}

/// Puts a finished draft at the path, durably, whatever is there.
pub fn put(draft: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(draft, path)?;
    File::open(directory(path)?)?.sync_all()
}

/// Puts a finished program at the path, durably; what was there is kept as the previous one. The program that runs stays the
/// previous one when there is another at the path by now: that one has not proven that it works.
pub fn install(draft: &Path, path: &Path) -> io::Result<()> {
    let previous = previous(path);
    if !is_own(&previous) {
        remove(&previous)?;
        match std::fs::hard_link(path, &previous) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    put(draft, path)
}

/// Puts the program that runs back to the path. It must be the previous one.
pub fn restore(path: &Path) -> io::Result<()> {
    let previous = previous(path);
    if !is_own(&previous) {
        let reason = format!("{} is missing, or is not the program that runs", previous.display());
        return Err(io::Error::new(ErrorKind::NotFound, reason));
    }
    put(&previous, path)
}

/// Restores the program that runs, if an upgrade of it was cut short before the new one had proven that it works. Returns the
/// path if it was.
pub fn undo() -> io::Result<Option<PathBuf>> {
    let path = path()?;
    if !is_own(&previous(&path)) {
        return Ok(None);
    }
    restore(&path).map(|()| Some(path))
}

/// Ends the probation of the program that runs: it works. Returns whether it was on probation.
pub fn prove() -> io::Result<bool> {
    let path = path()?;
    if !is_own(&path) || !is_on_probation(&path) {
        return Ok(false);
    }
    settle(&path).map(|()| true)
}

/// Ends the probation of what is at the path, durably.
pub fn settle(path: &Path) -> io::Result<()> {
    remove(&previous(path))?;
    File::open(directory(path)?)?.sync_all()
}

fn is_own(path: &Path) -> bool {
    is_same_file(path, Path::new(OWN_PROGRAM))
}

fn directory(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(ErrorKind::NotFound, "it is in no directory"))
}

/// Removes a file that may be missing.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Removes drafts that no process holds. One that cannot be removed is no reason not to make another.
fn remove_litter(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_draft = |name: &OsStr| name.as_bytes().starts_with(DRAFT_PREFIX.as_bytes());
    for entry in entries.filter(|entry| is_draft(&entry.file_name())).take(limits::PROGRAM_DRAFTS_REMOVED_MAX) {
        let path = entry.path();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(file) = is_file.then(|| File::open(&path).ok()).flatten() else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn program(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("mig-agent");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        path
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_program_takes_the_place_of_the_one_before_which_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = program(directory.path(), "one");
        for (text, before) in [("two", "one"), ("three", "two")] {
            let mut draft = draft(&path).unwrap();
            draft.write_all(text.as_bytes()).unwrap();
            assert_eq!(draft.path().metadata().unwrap().mode() & 0o777, 0o600);
            install(&finish(draft, mode(&path)).unwrap(), &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o750);
            assert_eq!(std::fs::read_to_string(previous(&path)).unwrap(), before);
            assert_eq!(names(directory.path()), [".mig-agent.previous", "mig-agent"]);
            assert!(is_on_probation(&path));
        }
        let refused = restore(&path).unwrap_err().to_string();
        assert!(refused.contains(".mig-agent.previous is missing, or is not the program that runs"), "{refused}");
        settle(&path).unwrap();
        settle(&path).unwrap();
        assert_eq!((names(directory.path()), is_on_probation(&path)), (vec!["mig-agent".to_owned()], false));
        std::fs::remove_file(&path).unwrap();
        let lost = draft(&path).unwrap();
        install(&finish(lost, mode(&path)).unwrap(), &path).unwrap();
        assert_eq!(names(directory.path()), ["mig-agent"], "also where nothing was");
    }

    #[test]
    fn the_program_that_runs_is_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = program(directory.path(), "broken");
        std::fs::copy(OWN_PROGRAM, previous(&path)).unwrap();
        assert!(restore(&path).is_err(), "a copy is another file");
        std::fs::remove_file(previous(&path)).unwrap();
        let own = std::fs::read_link(OWN_PROGRAM).unwrap();
        let beside = tempfile::tempdir_in(own.parent().unwrap()).unwrap();
        let path = program(beside.path(), "broken");
        std::fs::hard_link(&own, previous(&path)).unwrap();
        for text in ["broken too", "broken again"] {
            let mut draft = draft(&path).unwrap();
            draft.write_all(text.as_bytes()).unwrap();
            install(&finish(draft, mode(&path)).unwrap(), &path).unwrap();
            assert!(is_own(&previous(&path)), "what runs is kept, not what never ran");
        }
        restore(&path).unwrap();
        assert!(is_own(&path) && restore(&path).is_err());
        assert_eq!(names(beside.path()), ["mig-agent"]);
    }

    #[test]
    fn litter_of_a_run_that_was_killed_is_removed_and_a_draft_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = program(directory.path(), "one");
        let in_use = draft(&path).unwrap();
        let litter = directory.path().join(format!("{DRAFT_PREFIX}abc"));
        std::fs::write(&litter, "half").unwrap();
        let link = directory.path().join(format!("{DRAFT_PREFIX}link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        drop(draft(&path).unwrap());
        assert!(!litter.exists() && in_use.path().exists() && link.is_symlink() && path.exists());
    }

    #[test]
    fn a_path_of_proc_is_known_after_its_file_was_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mig-agent");
        let marked = directory.path().join("mig-agent (deleted)");
        assert_eq!(without_mark(marked.clone()), path);
        std::fs::write(&marked, "").unwrap();
        assert_eq!(without_mark(marked.clone()), marked, "a file may be called so");
        assert_eq!(without_mark(path.clone()), path);
    }
}
