//! Handlers with planted bugs.

use super::Mutant;
use crate::failure::Failure;
use crate::spool::{Entry, Spool};
use crate::time::Timestamp;
use crate::worker::Apply;
use crate::worker::stage::{FileHandler, Source, Verdict};
use std::path::PathBuf;

/// A layer around a handler that takes files away before their effect.
pub struct MovesFirst<H> {
    /// What it is around.
    pub inner: H,
    /// When it does so.
    pub mutant: Mutant,
    /// Where the files are.
    pub from: PathBuf,
    /// Where they belong after their effect; none: they are deleted.
    pub to: Option<PathBuf>,
}

impl<H: FileHandler> FileHandler for MovesFirst<H> {
    type Checked = H::Checked;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn source(&self) -> Source {
        self.inner.source()
    }

    fn recover(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        self.inner.recover(spool, apply, now)
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.inner.prepare()
    }

    fn check(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<H::Checked, Verdict> + Send + Sync + use<H> {
        self.inner.check(now)
    }

    fn handle(
        &mut self,
        spool: &Spool,
        batch: Vec<(&Entry, H::Checked)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        for (entry, _) in batch.iter().filter(|_| self.mutant.is_on()) {
            let name = entry.name.as_os_str();
            let _ = match &self.to {
                Some(to) => std::fs::rename(self.from.join(name), to.join(name)),
                None => std::fs::remove_file(self.from.join(name)),
            };
        }
        self.inner.handle(spool, batch, now)
    }
}
