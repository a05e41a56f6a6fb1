//! Changes of a spool by the names of stages: what workers ask for, and the one type that carries it out.

use super::lock::{self, Lock, LockError};
use super::stages::{LOCKS, PREPARED};
use super::{Batch, Drafts, FileName, Notes, Over, Placed, Spool, Stage, all_done};
use crate::failure::Failure;
use crate::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One change of the spool. The steps of a batch are committed together, see [`super::batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new file; [`Over::Nothing`] keeps what has the name.
    Put {
        /// Where.
        to: Stage,
        /// Its name.
        name: FileName,
        /// Its content.
        bytes: Vec<u8>,
        /// What it may replace.
        over: Over,
    },
    /// A file moves to another stage. If its name is taken there by other content, that one was first and stays, and this
    /// one is removed; see [`Stage::keeps_taken`].
    Move {
        /// Where it is.
        from: Stage,
        /// Its name there.
        name: FileName,
        /// Where it goes.
        to: Stage,
        /// Its name there.
        to_name: FileName,
    },
    /// A file is removed, after the other steps are durable, and only if the put or move before it was done.
    Clear {
        /// Where it is.
        from: Stage,
        /// Its name.
        name: FileName,
    },
}

impl Step {
    /// A new file that replaces nothing.
    pub fn put(to: Stage, name: FileName, bytes: Vec<u8>) -> Step {
        Step::Put { to, name, bytes, over: Over::Nothing }
    }

    /// A move under the same name.
    pub fn forward(from: Stage, name: &FileName, to: Stage) -> Step {
        Step::Move { from, name: name.clone(), to, to_name: name.clone() }
    }

    /// Instead of this step, when what it belongs to is gone: a file that would have moved is removed.
    pub fn undone(self) -> Step {
        match self {
            Step::Move { from, name, .. } => Step::Clear { from, name },
            step => step,
        }
    }

    /// A removal.
    pub fn clear(from: Stage, name: &FileName) -> Step {
        Step::Clear { from, name: name.clone() }
    }
}

/// A spool that can be changed. Each worker opens its own; a clone changes the same one for the same worker.
#[derive(Clone)]
pub struct Mover {
    spool: Arc<Spool>,
    /// What this worker's files in `tmp/` begin with.
    owner: String,
}

impl Mover {
    /// Opens the stages below `root`. They must exist; `tmp` and `lock` are made when missing. `owner` names the worker:
    /// its lock, and the beginning of its names in `tmp/`.
    pub fn open(root: &Path, stages: &[Stage], owner: &str) -> Result<Mover, Failure> {
        Ok(Mover { spool: Arc::new(Spool::open(root, stages, owner)?), owner: owner.to_owned() })
    }

    /// The spool, to be read.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Takes this worker's lock, so that no second copy works on the same stage.
    pub fn lock(&self) -> Result<Lock, LockError> {
        self.lock_within(lock::PATIENCE)
    }

    /// The same; one that another process holds is tried for so long.
    pub fn lock_within(&self, patience: Duration) -> Result<Lock, LockError> {
        Lock::take(&self.spool.dir(LOCKS), &self.owner, patience)
    }

    /// The process that has this worker's lock, or had it last.
    pub fn lock_owner(&self) -> Option<u32> {
        lock::last_owner(&self.spool.dir(LOCKS), &self.owner)
    }

    /// The notes beside the stages.
    pub fn notes(&self) -> Notes {
        Notes::new(Arc::clone(&self.spool), &self.owner)
    }

    /// What action-new may write before its verdicts.
    pub fn drafts(&self) -> Drafts {
        Drafts::new(Arc::clone(&self.spool), &self.owner)
    }

    /// Commits steps together. Returns what became of each; an error is a [`Failure::Skip`], and the other steps are done.
    pub fn apply(&self, steps: &[Step]) -> Result<Vec<Result<Placed, Failure>>, Failure> {
        let mut batch = Batch::new(self.spool.dir(PREPARED), &self.owner);
        for step in steps {
            match step {
                Step::Put { to, name, bytes, over } => batch.put(&self.spool.dir(*to), name, bytes, *over)?,
                Step::Move { from, name, to, to_name } => {
                    batch.rename(&self.spool.dir(*from), name, &self.spool.dir(*to), to_name)
                }
                Step::Clear { from, name } => batch.clear(&self.spool.dir(*from), name),
            }
        }
        let placed = batch.commit()?.changes;
        for (step, placed) in steps.iter().zip(&placed) {
            if let (Step::Move { from, name, .. }, Ok(Placed::Taken)) = (step, placed)
                && !from.keeps_taken()
            {
                self.spool.dir(*from).unlink(name)?;
            }
        }
        Ok(placed)
    }

    /// Commits steps together; a failure of one is the result, and the others are done.
    pub fn apply_all(&self, steps: &[Step]) -> Result<(), Failure> {
        all_done(self.apply(steps)?)
    }

    /// Moves files of a stage into `invalid`, each with its reason beside it. Returns what became of each: one that cannot
    /// be moved does not hold up the others.
    pub fn reject(
        &self,
        from: Stage,
        files: &[(FileName, String)],
        invalid: Stage,
        now: Timestamp,
    ) -> Result<Vec<Result<Placed, Failure>>, Failure> {
        let mut batch = Batch::new(self.spool.dir(PREPARED), &self.owner);
        for (name, reason) in files {
            batch.reject(&self.spool.dir(from), name, reason, &self.spool.dir(invalid), now)?;
        }
        Ok(batch.commit()?.rejects)
    }

    /// Opens the directories again that were removed and made anew, and removes what this worker left in `tmp/` when it was
    /// killed. Needs its lock: only then is nothing being written there. A user's directory that was exchanged for a drop
    /// stays unless it is empty.
    pub fn recover(&self) -> Result<(), Failure> {
        self.spool.open_again(&self.owner)?;
        let (tmp, mine) = (self.spool.dir(PREPARED), format!("{}.", self.owner));
        for name in tmp.list(|name| name.as_str().is_some_and(|name| name.starts_with(&mine)))? {
            match tmp.remove(&name) {
                Err(Failure::Skip(reason)) => log::error!("{}: {reason}; move it away by hand", self.owner),
                removed => removed?,
            }
        }
        Ok(())
    }
}
