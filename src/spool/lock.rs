//! A lock per worker and spool: flock(2) on a file that holds the owner's process id. The kernel releases it when the
//! process ends, however it ends; the file stays.

use super::failures::io_failure;
use super::{Dir, disk};
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

/// How long a lock that is held is tried again: an owner that was killed while it started a process leaves a copy of its
/// descriptor behind for a moment.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process works on this spool.
    #[error("{path} is locked by process {pid}: another {owner} works on this spool; stop it first")]
    Held {
        /// The lock file.
        path: String,
        /// What is in it.
        pid: String,
        /// The worker.
        owner: String,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Io(#[from] Failure),
}

impl LockError {
    /// Why a program cannot start, with the key of the configuration.
    pub fn at_start(&self, key: &str) -> ProgramError {
        match self {
            LockError::Held { .. } => ProgramError::new(ExitClass::Unavailable, self),
            LockError::Io(failure) => failure.at_start(key),
        }
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(dir: &Dir, owner: &str, patience: Duration) -> Result<Lock, LockError> {
        let path = dir.path().join(owner);
        let error = |errno: Errno| io_failure("lock", &path, errno);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(dir, owner, flags, Mode::from_raw_mode(0o640)).map_err(error)?);
        let started = Instant::now();
        let locked = loop {
            match disk::lock(&file) {
                Err(Errno::WOULDBLOCK) if started.elapsed() < patience => std::thread::sleep(PATIENCE / 20),
                outcome => break outcome,
            }
        };
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = written_owner(&file).unwrap_or_else(|| "unknown".into());
                return Err(LockError::Held { path: path.display().to_string(), pid, owner: owner.to_owned() });
            }
            Err(errno) => return Err(error(errno).into()),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // It is the lock that counts. On a full disk the message of a second copy will not name us, that is all.
        if let Err(error) = write(&mut file) {
            log::warn!("write {}: {error}", path.display());
        }
        Ok(Lock { _file: file })
    }
}

/// The process that took a lock last, by what it wrote; it may have ended.
pub(super) fn last_owner(dir: &Dir, owner: &str) -> Option<u32> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(dir, owner, flags, Mode::empty()).ok()?);
    written_owner(&file)?.parse().ok()
}

fn written_owner(file: &File) -> Option<String> {
    let mut pid = String::new();
    let _ = file.take(32).read_to_string(&mut pid);
    Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty())
}
