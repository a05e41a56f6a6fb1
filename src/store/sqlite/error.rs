//! Errors of the embedded store: what an operator can do about them.

use crate::failure::Failure;
use rusqlite::{Error, ErrorCode};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside the file while it is in use.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How to go on with a file that is not whole.
const RESTORE: &str = "stop the scheduler, remove the file together with its -wal and -shm, and put a backup back \
    (conf/README.md, Backups) or none: a new one is filled again by heartbeats and from the spool";

pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Converts the error of a call on the store in the file `path`.
pub(super) fn failure(path: &Path, what: &str, cause: Error) -> Failure {
    use ErrorCode::*;
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    let text = format!("{what}: {cause}");
    let Error::SqliteFailure(failure, _) = &cause else { return Failure::Refuse(text) };
    if [SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC].contains(&failure.extended_code) {
        return Failure::End(format!("{text}; ending, because what reached the disk is not known"));
    }
    match failure.code {
        NotADatabase => Failure::End(format!("{text}; name another file in sqlite.file, or: {RESTORE}")),
        DatabaseCorrupt => Failure::End(format!(
            "{text}; the file is damaged, or a copy was put back beside the -wal of another one; {RESTORE}"
        )),
        CannotOpen | ReadOnly | PermissionDenied => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match unusable(files(path).chain([directory.to_owned()])) {
                Some(help) => Failure::retry(format!("{what}: {help}: {cause}")),
                None => Failure::retry(text),
            }
        }
        DatabaseBusy | DatabaseLocked | SystemIoFailure | DiskFull | OutOfMemory | FileLockingProtocolFailed => {
            Failure::retry(text)
        }
        _ => Failure::Refuse(text),
    }
}

/// Converts the error of opening the store. What no later try will cure is refused.
pub(super) fn opening(path: &Path, cause: Error) -> Failure {
    let is_broken = matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    match failure(path, &format!("open store {}", path.display()), cause) {
        Failure::End(reason) if is_broken => Failure::Refuse(reason),
        failure => failure,
    }
}

/// Refuses a store that this user may not use: SQLite would open it, and fail at the first change.
pub(super) fn check_files(path: &Path) -> Result<(), Failure> {
    let refuse = |help| Err(Failure::Refuse(format!("open store {}: {help}", path.display())));
    unusable(files(path)).map_or(Ok(()), refuse)
}

/// A file that SQLite keeps beside the store.
pub(super) fn side_file(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The store's file, and those that SQLite keeps beside it.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(path.to_owned()).chain(SIDE_FILES.iter().map(|end| side_file(path, end)))
}

/// Names the first of these that this user may not use, and whose it is. Files are not opened: closing a descriptor would
/// release SQLite's locks.
fn unusable(mut paths: impl Iterator<Item = PathBuf>) -> Option<String> {
    let is_unusable = |file: &PathBuf| {
        let used = rustix::fs::accessat(CWD, file, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS);
        used.is_err_and(|errno| errno == Errno::ACCESS)
    };
    let file = paths.find(is_unusable)?;
    let stat = file.symlink_metadata().ok()?;
    let (owner, mode, user) = (stat.uid(), stat.mode() & 0o7777, rustix::process::geteuid().as_raw());
    let file = file.display();
    Some(format!(
        "{file} belongs to user {owner} with mode {mode:o}, and this program runs as user {user}; if a program of user \
        {owner} has the store open, end it; then chown {user} {file}"
    ))
}

#[cfg(test)]
mod tests {
    use crate::failure::Failure;
    use crate::heartbeat::{Agent, QueueLoc};
    use crate::store::Store;
    use crate::store::sqlite::SqliteStore;
    use crate::time;
    use std::path::Path;

    fn refused(path: &Path) -> String {
        match SqliteStore::open(path) {
            Err(Failure::Refuse(reason)) => reason,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it opened"),
        }
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mig.db");
        std::fs::write(&path, "[agent]\n".repeat(1000)).unwrap();
        let reason = refused(&path);
        assert!(reason.contains(&format!("open store {}: ", path.display())), "{reason}");
        assert!(reason.contains("name another file in sqlite.file, or: stop the scheduler"), "{reason}");
    }

    fn register(store: &mut SqliteStore, numbers: std::ops::Range<usize>) {
        let agent = |n: usize| Agent {
            id: None,
            name: format!("host{n}"),
            queueloc: QueueLoc::parse(&format!("linux.host{n}.1")).unwrap(),
            mode: "daemon".into(),
            version: "1".into(),
            pid: 1,
            start_time: time::now(),
            destruction_time: time::not_set(),
            heartbeat_time: time::now(),
            status: None,
            environment: Default::default(),
            tags: Default::default(),
        };
        store.register(&numbers.map(agent).collect::<Vec<_>>(), time::now()).unwrap();
    }

    #[test]
    fn a_copy_that_was_put_back_beside_the_log_of_another_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut store = SqliteStore::open(&path("mig.db")).unwrap();
        (0..20).for_each(|n| register(&mut store, 500 * n..500 * (n + 1)));
        std::fs::copy(path("mig.db"), path("copy")).unwrap();
        (20..60).for_each(|n| register(&mut store, 500 * n..500 * (n + 1)));
        std::fs::create_dir(path("killed")).unwrap();
        std::fs::copy(path("copy"), path("killed/mig.db")).unwrap();
        std::fs::copy(path("mig.db-wal"), path("killed/mig.db-wal")).unwrap();
        let reason = refused(&path("killed/mig.db"));
        assert!(reason.contains("a copy was put back beside the -wal of another one; stop the scheduler"), "{reason}");
    }
}
