//! What action-new writes before its verdicts: the adopted text of a drop, and prepared commands. Neither moves a file
//! between stages, and a restart begins again with both.

use super::stages::PREPARED;
use super::{Batch, Entry, FileName, Over, Placed, Spool, all_done};
use crate::failure::Failure;
use crate::id::CommandRef;
use std::sync::Arc;

/// See the module docs.
#[derive(Clone)]
pub struct Drafts {
    spool: Arc<Spool>,
    owner: String,
}

impl Drafts {
    pub(super) fn new(spool: Arc<Spool>, owner: &str) -> Drafts {
        Drafts { spool, owner: owner.to_owned() }
    }

    fn batch(&self) -> Batch {
        Batch::new(self.spool.dir(PREPARED), &self.owner)
    }

    /// Replaces files by newer content under the same name, atomically. Returns [`Placed::Gone`] for one that was taken
    /// away. A file that got the name since the entry was read is put back under a name of its own.
    pub fn adopt(&self, entries: &[(&Entry, Vec<u8>)]) -> Result<Vec<Result<Placed, Failure>>, Failure> {
        let mut batch = self.batch();
        for (entry, bytes) in entries {
            batch.put(&self.spool.dir(entry.stage), &entry.name, bytes, Over::Read(entry.look))?;
        }
        Ok(batch.commit()?.changes)
    }

    /// Begins to write commands, for several actions that share one sync.
    pub fn prepare(&self) -> Preparation<'_> {
        Preparation { drafts: self, batch: self.batch() }
    }
}

/// Commands on their way to `tmp/`. They do not count before their action's move to action/inflight.
pub struct Preparation<'a> {
    drafts: &'a Drafts,
    batch: Batch,
}

impl Preparation<'_> {
    /// Writes a command, over what a run that was cut short left of it.
    pub fn add(&mut self, command: CommandRef, bytes: &[u8]) -> Result<(), Failure> {
        let prepared = self.drafts.spool.dir(PREPARED);
        self.batch.put(&prepared, &FileName::from(command), bytes, Over::Anything)
    }

    /// Makes all of them durable.
    pub fn finish(self) -> Result<(), Failure> {
        all_done(self.batch.commit()?.changes)
    }
}
