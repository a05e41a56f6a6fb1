//! The spool: directories as stages, files as units of work, rename(2) as the step from one to the next.
//!
//! This module and its children are the only code that renames, unlinks or syncs files in stages. A [`Spool`] reads; a
//! [`Mover`] changes, and only workers have one, and the agent's claims. What they promise:
//!
//! - **A file appears whole.** It is written in `tmp/`, synced, renamed into its stage, and the directory is synced. A
//!   crash at any point leaves either nothing or the whole file in the stage; leftovers in `tmp/` are removed by the
//!   worker that wrote them when it starts again ([`Mover::recover`]).
//! - **A move is one rename.** Afterwards the destination directory is synced; a power cut may show the file in both or in
//!   one, never in none.
//! - **Nothing is overwritten** unless it is asked for ([`Over`]). A name that is taken by the same content counts as done;
//!   by other content it is [`Placed::Taken`].
//! - **A directory that was removed and made again is noticed**, and opened again. Only a directory that is where its path
//!   leads can say that a file is gone.
//! - **An fsync that fails is fatal** ([`Failure::End`]): the kernel has dropped what it could not write, and only a
//!   restart that reads the disk again knows what is there.
//!
//! The legal pictures of the directories, and what a restart does about each, are in `spool-layout/STATES.md`.

pub mod batch;
pub mod dir;
#[cfg(not(feature = "mutants"))]
mod disk;
#[cfg(feature = "mutants")]
#[path = "mutants/disk.rs"]
mod disk;
pub mod drafts;
mod failures;
pub mod lock;
pub mod name;
pub mod notes;
mod place;
pub mod stages;
pub mod steps;
pub mod watch;

pub use batch::{Batch, Over, Placed, all_done};
pub use dir::{Dir, Look};
pub use drafts::Drafts;
pub use name::FileName;
pub use notes::Notes;
pub use stages::Stage;
pub use steps::{Mover, Step};

use crate::failure::Failure;
use crate::limits;
use crate::time::Timestamp;
use crate::wake::Waker;
use place::Opened;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A file of a stage, read once.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub stage: Stage,
    /// Its name there.
    pub name: FileName,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its metadata when it was opened, with the size that was read.
    pub look: Look,
}

/// The stages, to be read.
pub struct Spool {
    root: PathBuf,
    stages: Vec<Stage>,
    opened: RwLock<Opened>,
}

impl Spool {
    fn open(root: &Path, stages: &[Stage], owner: &str) -> Result<Spool, Failure> {
        let opened = RwLock::new(place::open(root, stages, owner)?);
        Ok(Spool { root: root.to_owned(), stages: stages.to_vec(), opened })
    }

    fn opened(&self) -> Opened {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens all directories as at the start if the path of one leads elsewhere by now.
    fn open_again(&self, owner: &str) -> Result<(), Failure> {
        let opened = self.opened();
        if opened.values().all(|dir| dir.check_place().is_ok()) {
            return Ok(());
        }
        if let Err(failure) = self.dir(stages::LOCKS).check_place() {
            let why = "ending, because another process may have taken the lock that was in it";
            return Err(Failure::End(format!("{failure}; {why}")));
        }
        let again = place::open(&self.root, &self.stages, owner)?;
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = again;
        log::info!("{owner}: opened the directories of {} again", self.root.display());
        Ok(())
    }

    /// The directory of a stage.
    ///
    /// # Panics
    /// When the spool was opened without that stage: a programming error that the first start shows.
    fn dir(&self, stage: Stage) -> Arc<Dir> {
        Arc::clone(&self.opened.read().unwrap_or_else(PoisonError::into_inner)[&stage])
    }

    /// Wakes `waker` when a file arrives in a stage, for as long as the result lives.
    pub fn watch(&self, stage: Stage, waker: Waker) -> Result<watch::Watch, Failure> {
        let dir = self.dir(stage);
        let path = dir.path();
        watch::Watch::new(path, waker).map_err(|e| Failure::retry(format!("watch {}: {e}", path.display())))
    }

    /// The names in a stage, sorted: `*.json` that do not begin with a dot. Anything else there is not ours.
    pub fn list(&self, stage: Stage) -> Result<Vec<FileName>, Failure> {
        self.dir(stage).list(|name| name.is_drop())
    }

    /// The same, and the first names of those in action/new that are not hidden and no drops either: somebody waits for them
    /// in vain.
    pub fn list_with_others(&self, stage: Stage) -> Result<(Vec<FileName>, Vec<FileName>), Failure> {
        let mut others = Vec::new();
        let names = self.dir(stage).list(|name| {
            let is_other = !name.is_drop() && !name.is_hidden() && name.signed_by_detached().is_none();
            if stage.holds_drops() && is_other && others.len() < limits::OTHERS_LOGGED_MAX {
                others.push(name.clone());
            }
            name.is_drop()
        })?;
        Ok((names, others))
    }

    /// The names of detached signatures in action/new, sorted.
    pub fn list_signatures(&self) -> Result<Vec<FileName>, Failure> {
        self.dir(stages::ACTION_NEW).list(|name| name.signed_by_detached().is_some())
    }

    /// Reads one file of a stage without following links and without waiting; see [`Dir::read`].
    pub fn read(&self, stage: Stage, name: &FileName, size_bytes_max: u64) -> Result<Option<Entry>, Failure> {
        let content = self.dir(stage).read(name, size_bytes_max)?;
        Ok(content.map(|content| Entry { stage, name: name.clone(), bytes: content.bytes, look: content.look }))
    }

    /// Reads a file if it is there and can be read. A failure that concerns this file alone is logged.
    pub fn read_if_readable(
        &self,
        stage: Stage,
        name: &FileName,
        size_bytes_max: u64,
    ) -> Result<Option<Entry>, Failure> {
        match self.read(stage, name, size_bytes_max) {
            Err(Failure::Skip(reason)) => {
                log::warn!("{stage}/{name}: {reason}");
                Ok(None)
            }
            Err(Failure::Refuse(_)) => Ok(None),
            read => read,
        }
    }

    /// Whether a stage has a file of that name.
    pub fn has(&self, stage: Stage, name: &FileName) -> Result<bool, Failure> {
        self.dir(stage).has(name)
    }

    /// Whether our user has the right to read a file.
    pub fn may_read(&self, stage: Stage, name: &FileName) -> bool {
        self.dir(stage).may_read(name)
    }

    /// The metadata of a file; None if it is gone.
    pub fn look(&self, stage: Stage, name: &FileName) -> Result<Option<Look>, Failure> {
        self.dir(stage).look(name)
    }

    /// The names in a stage, `.reason` files included, whose last move is older than `age`.
    pub fn older_than(&self, stage: Stage, age: Duration, now: Timestamp) -> Result<Vec<FileName>, Failure> {
        self.dir(stage).changed_before(crate::time::before(now, age))
    }
}

/// Drops a file into a directory from outside: written under a hidden name, synced, then renamed to `name`. This is what
/// `cp` to a hidden name and `mv` do, for programs; it needs no right beyond that of the directory.
pub fn drop_file(directory: &Path, name: &FileName, bytes: &[u8]) -> Result<Placed, Failure> {
    let dir = Arc::new(Dir::open(directory)?);
    let mut batch = Batch::new(Arc::clone(&dir), ".drop");
    batch.put(&dir, name, bytes, Over::Nothing)?;
    batch.commit()?.changes.remove(0)
}

/// Whether a file may still be in the middle of being written: too young for its end to be judged.
pub fn is_settling(modified: Timestamp, now: Timestamp) -> bool {
    // A date far in the future (touch -d, a wrong clock) does not tell whether it is still being written.
    let grace = limits::HALF_WRITTEN_GRACE;
    crate::time::after(modified, grace) > now && modified < crate::time::after(now, grace)
}

#[cfg(test)]
mod tests;
