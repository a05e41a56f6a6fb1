//! A handler with a planted bug.

use super::Mutant;
use crate::failure::Failure;
use crate::spool::{Entry, Spool};
use crate::time::Timestamp;
use crate::worker::Apply;
use crate::worker::stage::{FileHandler, Source, Verdict};
use std::path::PathBuf;

/// A layer around a handler that moves answers on before their effect.
pub struct MovesFirst<H> {
    /// What it is around.
    pub inner: H,
    /// The spool that it handles.
    pub spool: PathBuf,
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
        for (entry, _) in batch.iter().filter(|_| Mutant::MoveBeforeEffect.is_on()) {
            let [from, to] = ["returned", "done"].map(|stage| self.spool.join("command").join(stage));
            let _ = std::fs::rename(from.join(entry.name.as_os_str()), to.join(entry.name.as_os_str()));
        }
        self.inner.handle(spool, batch, now)
    }
}
