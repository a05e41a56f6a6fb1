//! The spool: directories as stages, files as units of work, rename(2) as the step from one to the next.
//!
//! This module and its children are the only code that renames, unlinks or syncs files in stages. What they promise:
//!
//! - **A file appears whole.** It is written in `tmp/`, synced, renamed into its stage, and the directory is synced. A
//!   crash at any point leaves either nothing or the whole file in the stage; what is left in `tmp/` is removed by the
//!   worker that wrote it when it starts again ([`Spool::clean`]).
//! - **A move is one rename.** Afterwards the destination directory is synced; a power cut may show the
//!   file in both or in one, never in none. Only [`Spool::advance_unsynced`] leaves that to the kernel.
//! - **Nothing is overwritten.** A name that is taken by the same content counts as done; by other content it is
//!   [`Placed::Taken`], and the caller decides.
//! - **An fsync that fails is fatal** ([`Error::Sync`]): the kernel has dropped what it could not write, and only a
//!   restart that reads the disk again knows what is there.
//!
//! The legal pictures of the directories, and what a restart does about each, are in `spool-layout/STATES.md`.

pub mod commit;
pub mod dir;
pub mod error;
pub mod lock;
pub mod name;
mod prepared;
mod reject;
pub mod stages;
pub mod watch;

pub use commit::Placed;
use commit::{Commit, Staged};
pub use dir::{Dir, Look};
pub use error::{Error, ReadError};
pub use name::FileName;
pub use prepared::Preparation;
pub use stages::Stage;

use crate::limits;
use crate::parallel;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A file that was read: its content and what the directory said of it.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub stage: Stage,
    /// Its name there.
    pub name: FileName,
    /// Its content, read once.
    pub bytes: Vec<u8>,
    /// What could be told of it when it was opened, with the size that was read.
    pub look: Look,
}

impl Entry {
    /// Whether a look shows the very file that was read.
    fn is(&self, look: &Look) -> bool {
        // Not the time of its last change: exchanging it was one.
        (look.inode, look.size_bytes, look.modified) == (self.look.inode, self.look.size_bytes, self.look.modified)
    }
}

/// An open spool. Each worker opens its own.
pub struct Spool {
    root: Arc<Dir>,
    stages: HashMap<Stage, Arc<Dir>>,
    tmp: Arc<Dir>,
    locks: Arc<Dir>,
    /// What this worker's files in `tmp/` begin with.
    owner: String,
}

impl Spool {
    /// Opens the stages below `root`. They must exist; `tmp` and `lock` are made when missing. `owner` names the worker:
    /// what it leaves in `tmp/` is told apart by it.
    pub fn open(root: &Path, stages: &[Stage], owner: &str) -> Result<Spool, Error> {
        let root = Arc::new(Dir::open(root)?);
        let tmp = Arc::new(root.ensure("tmp", 0o700)?);
        let locks = Arc::new(root.ensure("lock", 0o750)?);
        let mut opened = HashMap::new();
        for stage in stages {
            let dir = Dir::open(&root.path().join(stage.path()))?;
            if dir.device()? != tmp.device()? {
                return Err(Error::OtherFilesystem { stage: dir.path().to_owned(), tmp: tmp.path().to_owned() });
            }
            opened.insert(*stage, Arc::new(dir));
        }
        Ok(Spool { root, stages: opened, tmp, locks, owner: owner.to_owned() })
    }

    /// Takes this worker's lock, so that no second copy works on the same stage.
    pub fn lock(&self) -> Result<lock::Lock, lock::LockError> {
        lock::Lock::take(&self.locks, &self.owner)
    }

    /// The directory of a stage.
    ///
    /// # Panics
    /// When the spool was opened without that stage: a programming error that the first start shows.
    pub fn dir(&self, stage: Stage) -> &Arc<Dir> {
        &self.stages[&stage]
    }

    /// Wakes `waker` when something arrives in a stage, for as long as the result lives.
    pub fn watch(&self, stage: Stage, waker: watch::Waker) -> Result<watch::Watch, Error> {
        let path = self.dir(stage).path();
        watch::Watch::new(path, waker).map_err(|e| Error::io("watch", path, std::io::Error::other(e)))
    }

    /// The names in a stage, sorted: `*.json` that do not begin with a dot. Anything else there is not ours.
    pub fn list(&self, stage: Stage) -> Result<Vec<FileName>, Error> {
        self.dir(stage).list(|name| name.is_drop())
    }

    /// Reads one file of a stage without following links or waiting for anybody.
    pub fn read(&self, stage: Stage, name: &FileName, size_bytes_max: u64) -> Result<Entry, ReadError> {
        let file = self.dir(stage).read(name, size_bytes_max)?;
        Ok(Entry { stage, name: name.clone(), bytes: file.bytes, look: file.look })
    }

    /// Reads a file if there is one that can be read. Trouble with this one alone is only told of: others shall not wait for
    /// it.
    pub fn read_if_readable(&self, stage: Stage, name: &FileName, size_bytes_max: u64) -> Result<Option<Entry>, Error> {
        match self.read(stage, name, size_bytes_max) {
            Ok(entry) => Ok(Some(entry)),
            Err(ReadError::Gone | ReadError::Denied(_) | ReadError::Refused(_)) => Ok(None),
            Err(ReadError::Io(error)) if error.is_of_one_file() => {
                log::warn!("{}: {error}", self.owner);
                Ok(None)
            }
            Err(ReadError::Io(error)) => Err(error),
        }
    }

    /// Whether a stage has a file of that name.
    pub fn has(&self, stage: Stage, name: &FileName) -> Result<bool, Error> {
        self.dir(stage).has(name)
    }

    fn commit(&self) -> Commit {
        Commit::new(Arc::clone(&self.tmp), &self.owner)
    }

    /// Puts files into `stage` and then takes the copies that they replace (same name) out of `replaced`, which are
    /// given in the order in which a file moves through them: so a copy that moves on meanwhile is still met.
    ///
    /// A crash in between leaves both; doing it again, or [`Spool::clear`], takes the older copy away.
    pub fn put_replacing(
        &self,
        stage: Stage,
        replaced: &[Stage],
        files: &[(FileName, Vec<u8>)],
    ) -> Result<Vec<Placed>, Error> {
        let mut commit = self.commit();
        let placed = self.place(&mut commit, stage, files)?;
        commit.finish()?;
        let clear = |name: &FileName| replaced.iter().try_for_each(|older| self.dir(*older).unlink(name).map(drop));
        parallel::try_map(files, |(name, _)| clear(name))?;
        Ok(placed)
    }

    /// Puts files into `stage` and moves others, sharing the syncs. Gives what became of the moves. What the files replace
    /// is for [`Spool::clear`].
    pub fn put_and_advance(
        &self,
        stage: Stage,
        files: &[(FileName, Vec<u8>)],
        moves: &[Move],
    ) -> Result<Vec<Placed>, Error> {
        let mut commit = self.commit();
        self.place(&mut commit, stage, files)?;
        let moved = self.rename(&mut commit, moves)?;
        commit.finish()?;
        Ok(moved)
    }

    /// Files under their names, whole, but not for good before the commit is finished.
    fn place(&self, commit: &mut Commit, stage: Stage, files: &[(FileName, Vec<u8>)]) -> Result<Vec<Placed>, Error> {
        let staged = files.iter().map(|(_, bytes)| commit.stage(bytes)).collect::<Result<Vec<Staged>, Error>>()?;
        commit.sync_files()?;
        let place = |(staged, (name, _)): (Staged, &(FileName, _))| commit.place(staged, self.dir(stage), name);
        staged.into_iter().zip(files).map(place).collect()
    }

    fn rename(&self, commit: &mut Commit, moves: &[Move]) -> Result<Vec<Placed>, Error> {
        let mut placed = Vec::with_capacity(moves.len());
        for step in moves {
            placed.push(commit.rename(self.dir(step.from), &step.name, self.dir(step.to), &step.to_name)?);
            for stage in step.clear {
                self.dir(*stage).unlink(&step.to_name)?;
            }
        }
        Ok(placed)
    }

    /// Replaces files by newer content under the same name, atomically. Gives for each whether it is there: one that is
    /// gone is not, and one that cannot be replaced does not hold up the others. A file that somebody put there since it
    /// was read is put back under a name of its own and left alone.
    pub fn rewrite(&self, entries: &[(&Entry, Vec<u8>)]) -> Result<Vec<Result<bool, Error>>, Error> {
        let mut commit = self.commit();
        let staged = entries.iter().map(|(_, bytes)| commit.stage(bytes)).collect::<Result<Vec<Staged>, Error>>()?;
        commit.sync_files()?;
        let mut outcomes = Vec::with_capacity(entries.len());
        for (staged, (entry, _)) in staged.into_iter().zip(entries) {
            outcomes.push(match commit.exchange(staged, self.dir(entry.stage), entry) {
                Err(error) if error.is_of_one_file() => Err(error),
                exchanged => Ok(exchanged?),
            });
        }
        commit.finish()?;
        Ok(outcomes)
    }

    /// Moves files to other stages, sharing the syncs. A source that is gone was moved by somebody else: nothing to do.
    /// One whose name is taken by the same content is taken away; by other content it stays and is reported.
    pub fn advance(&self, moves: &[Move]) -> Result<Vec<Placed>, Error> {
        let mut commit = self.commit();
        let placed = self.rename(&mut commit, moves)?;
        commit.finish()?;
        Ok(placed)
    }

    /// Moves files without waiting for the disk: a power cut may show them where they were. For a step that nobody minds
    /// being done again.
    pub fn advance_unsynced(&self, moves: &[Move]) -> Result<Vec<Placed>, Error> {
        self.rename(&mut self.commit(), moves)
    }

    /// Gives files of `from` new content and moves them to `to`, over an older file of the same name there. One that is not
    /// in `from` any more was moved before.
    pub fn rewrite_and_advance(&self, from: Stage, to: Stage, files: &[(FileName, Vec<u8>)]) -> Result<(), Error> {
        let mut commit = self.commit();
        let mut staged = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            if self.has(from, name)? {
                staged.push((commit.stage(bytes)?, name));
            }
        }
        commit.sync_files()?;
        let mut names = Vec::with_capacity(staged.len());
        for (file, name) in staged {
            commit.replace(file, self.dir(to), name)?;
            names.push(name);
        }
        commit.finish()?;
        for name in names {
            self.dir(from).unlink(name)?;
        }
        Ok(())
    }

    /// Deletes a file for good, or an empty directory that somebody dropped.
    pub fn delete(&self, stage: Stage, name: &FileName) -> Result<(), Error> {
        self.dir(stage).remove(name)
    }

    /// Takes files out of stages; one that is gone counts as done.
    pub fn clear(&self, files: &[(Stage, FileName)]) -> Result<(), Error> {
        for (stage, name) in files {
            self.dir(*stage).unlink(name)?;
        }
        Ok(())
    }

    /// Moves files into `invalid` under their own names (made unique), each with a `.reason` file that says when and why.
    /// The reasons come first: a crash leaves a reason without its file, which the next try overwrites.
    ///
    /// Gives what became of each file; only what stops all of them is an error of the whole.
    pub fn reject(
        &self,
        from: Stage,
        files: &[(FileName, String)],
        invalid: Stage,
        now: Timestamp,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.dir(from).reject_into((&self.tmp, &self.owner), files, self.dir(invalid), now)
    }

    /// Reads a file that lies beside the stages.
    pub fn read_note(&self, name: &FileName, size_bytes_max: u64) -> Result<Vec<u8>, ReadError> {
        Ok(self.root.read(name, size_bytes_max)?.bytes)
    }

    /// Writes a file that lies beside the stages, over the one that is there; it is on the disk when this returns.
    pub fn write_note(&self, name: &FileName, bytes: &[u8]) -> Result<(), Error> {
        let mut commit = self.commit();
        let staged = commit.stage(bytes)?;
        commit.sync_files()?;
        commit.replace(staged, &self.root, name)?;
        commit.finish()
    }

    /// Removes what this worker left in `tmp/` when it was cut down. Needs its lock: only then is nobody writing there.
    /// Somebody's directory that was exchanged for a drop stays when there is something in it.
    pub fn clean(&self) -> Result<(), Error> {
        let mine = format!("{}.", self.owner);
        for name in self.tmp.list(|name| name.as_str().is_some_and(|name| name.starts_with(&mine)))? {
            match self.tmp.remove(&name) {
                Err(error) if error.is_of_one_file() => log::error!("{}: {error}; move it away by hand", self.owner),
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The names in a stage, `.reason` files included, whose last move is older than `age`.
    pub fn older_than(&self, stage: Stage, age: Duration, now: Timestamp) -> Result<Vec<FileName>, Error> {
        let dir = self.dir(stage);
        let limit = crate::time::before(now, age);
        let names = dir.list(|name| !name.is_hidden())?;
        let is_old = |name: &FileName| Ok::<_, Error>(dir.changed(name)?.is_some_and(|changed| changed < limit));
        let mut old = Vec::new();
        for names in names.chunks(limits::BATCH_ENTRIES_MAX) {
            let are_old = parallel::try_map(names, is_old)?;
            old.extend(names.iter().zip(are_old).filter(|(_, is_old)| *is_old).map(|(name, _)| name.clone()));
        }
        Ok(old)
    }

    /// When a file was last moved or written, and its size; none when it is gone.
    pub fn look(&self, stage: Stage, name: &FileName) -> Result<Option<Look>, Error> {
        self.dir(stage).look(name)
    }
}

/// One step of [`Spool::advance`].
#[derive(Debug, Clone)]
pub struct Move {
    /// Where the file is.
    pub from: Stage,
    /// Its name there.
    pub name: FileName,
    /// Where it goes.
    pub to: Stage,
    /// Its name there.
    pub to_name: FileName,
    /// Stages that may still hold an older copy under the new name, which is taken away.
    pub clear: &'static [Stage],
}

impl Move {
    /// A move under the same name.
    pub fn new(from: Stage, name: &FileName, to: Stage) -> Move {
        Move { from, name: name.clone(), to, to_name: name.clone(), clear: &[] }
    }
}

/// Drops a file into a directory from outside: written under a hidden name, synced, then renamed to `name`. This is what
/// `cp` to a hidden name and `mv` do, for programs; it needs no right beyond that of the directory.
pub fn drop_file(directory: &Path, name: &FileName, bytes: &[u8]) -> Result<Placed, Error> {
    let dir = Arc::new(Dir::open(directory)?);
    // A process id comes back, in a container soon; the time does not.
    let owner = format!(".drop-{}-{}", std::process::id(), crate::time::now().as_microsecond());
    let mut commit = Commit::new(Arc::clone(&dir), &owner);
    let staged = commit.stage(bytes)?;
    commit.sync_files()?;
    let placed = commit.place(staged, &dir, name)?;
    commit.finish()?;
    Ok(placed)
}

/// Whether a file may still be in the middle of being written: too young for its end to be judged.
pub fn is_settling(modified: Timestamp, now: Timestamp) -> bool {
    // A date far in the future (touch -d, a wrong clock) says nothing about who is still writing.
    let grace = limits::HALF_WRITTEN_GRACE;
    crate::time::after(modified, grace) > now && modified < crate::time::after(now, grace)
}

#[cfg(test)]
mod tests;
