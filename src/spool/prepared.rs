//! Commands in `tmp/` that are written before their action's move to action/inflight, the commit point, and released after
//! it.

use super::commit::{Commit, Placed};
use super::{Error, FileName, Spool, Stage};
use crate::id::CommandRef;
use std::io::ErrorKind;
use std::sync::Arc;

impl Spool {
    /// Begins to write commands into `tmp/`, for several actions that share one sync.
    pub fn preparation(&self) -> Preparation<'_> {
        Preparation { spool: self, commit: self.commit() }
    }

    /// Syncs what was written so far, so that the sync that counts has less to wait for.
    pub fn sync_ahead(&self) -> Result<(), Error> {
        self.commit().sync_all()
    }

    /// Moves prepared commands to `stage`. Those that are not in `tmp/` were released before.
    pub fn release(&self, commands: &[CommandRef], stage: Stage) -> Result<(), Error> {
        let mut commit = self.commit();
        for command in commands {
            let name = FileName::from(*command);
            // A name that is taken is the same command, released before: the one that is there stays.
            if commit.rename(&self.tmp, &name, self.dir(stage), &name)? == Placed::Taken {
                self.tmp.unlink(&name)?;
            }
        }
        commit.finish()
    }

    /// The commands that are prepared and not released.
    pub fn prepared(&self) -> Result<Vec<CommandRef>, Error> {
        let command = |name: &FileName| CommandRef::from_file_name(name.as_str()?).ok();
        Ok(self.tmp.list(|name| command(name).is_some())?.iter().filter_map(command).collect())
    }

    /// Takes prepared commands away: their action's commit point was never reached.
    pub fn discard_prepared(&self, commands: &[CommandRef]) -> Result<(), Error> {
        commands.iter().try_for_each(|command| self.tmp.unlink(&FileName::from(*command)).map(drop))
    }
}

/// Commands on their way to `tmp/`. Nothing of it counts before their action's move to action/inflight.
pub struct Preparation<'a> {
    spool: &'a Spool,
    commit: Commit,
}

impl Preparation<'_> {
    /// Adds a command, in place of what a run that was cut short left of it.
    pub fn add(&mut self, command: CommandRef, bytes: &[u8]) -> Result<(), Error> {
        let (tmp, name) = (&self.spool.tmp, FileName::from(command));
        match self.commit.write(tmp, &name, bytes) {
            Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::AlreadyExists => {
                tmp.unlink(&name)?;
                self.commit.write(tmp, &name, bytes)
            }
            written => written,
        }
    }

    /// Brings everything to the disk.
    pub fn finish(mut self) -> Result<(), Error> {
        self.commit.touch(Arc::clone(&self.spool.tmp));
        self.commit.finish_uncounted()
    }
}
