//! Draining a stage: list, read in batches, judge, ask the worker, carry its answers out.
//!
//! Reading and judging have no effect, so they run ahead: the next batch is read and judged while one is worked on. What
//! changes in between is what may change at any time, and is met as such.
//!
//! Effects come first: a worker has stored or sent what it must before it answers. Then, in this order: actions end,
//! files move, refused ones go to action/invalid. A crash anywhere leaves files that the next pass meets again: those of
//! two batches, where effects run ahead of the files ([`StageWorker::runs_ahead`]).

mod files;

use super::{Failure, Pass, Worker, earlier};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::parallel;
use crate::spool::watch::{Waker, Watch};
use crate::spool::{Entry, FileName, Spool, Stage};
use crate::time::Timestamp;
use files::{Files, Names, Read};
use std::sync::Arc;

/// What shall become of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Its work here is done: on to the next stage. Older copies in `clear` are taken away.
    Next {
        /// Where to.
        to: Stage,
        /// Where an older copy of the same command may be left.
        clear: &'static [Stage],
    },
    /// An action whose commands are prepared: it moves to action/inflight, then they are released.
    Release {
        /// Its id.
        action: ActionId,
        /// The commands.
        commands: Vec<CommandRef>,
    },
    /// It can never be handled; the text is for whoever dropped it.
    Reject(String),
    /// It stays, and is looked at again then, or when it changes.
    NotYet(Timestamp),
    /// It was taken away meanwhile.
    Gone,
}

/// What a worker says of a batch.
#[derive(Debug, Default)]
pub struct Work {
    /// One per entry, in order.
    pub verdicts: Vec<Verdict>,
    /// Actions whose every command has ended, with their final text.
    pub ended: Vec<(FileName, Vec<u8>)>,
}

/// A worker on a stage.
pub trait StageWorker: Send {
    /// What is found out about an entry without any effect.
    type Judged: Send;
    /// See [`Worker::name`].
    fn name(&self) -> &'static str;
    /// The stage it drains.
    fn source(&self) -> Stage;
    /// Files above this are refused.
    fn size_bytes_max(&self) -> u64;
    /// Whether the effects of a batch may come before the files of the one before have moved: when they do not depend on
    /// where those are.
    fn runs_ahead(&self) -> bool {
        false
    }
    /// See [`Worker::recover`].
    fn recover(&mut self, _spool: &Spool, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
    /// What looks at the entries of a batch, one by one; apart from the worker, who works on another batch meanwhile. Of
    /// an entry that there is nothing to do with it gives what shall become of it.
    fn judge(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Self::Judged, Verdict> + Send + Sync + use<Self>;
    /// Handles a batch: brings its effects about and says what shall become of each entry.
    fn work(
        &mut self,
        spool: &Spool,
        batch: &[Entry],
        judged: Vec<Result<Self::Judged, Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure>;
}

/// A batch, and what was found out about each of its entries.
struct Judged<W: StageWorker> {
    batch: Vec<Entry>,
    judged: Vec<Result<W::Judged, Verdict>>,
}

impl<W: StageWorker> Default for Judged<W> {
    fn default() -> Self {
        Judged { batch: Vec::new(), judged: Vec::new() }
    }
}

/// A batch whose effects are there, and what shall become of its files.
#[derive(Default)]
struct Worked {
    batch: Vec<Entry>,
    work: Work,
}

/// A [`StageWorker`] as a [`Worker`].
pub struct StageDrain<W> {
    worker: W,
    spool: Arc<Spool>,
    files: Files,
    /// Nothing succeeded since the start or the last failure: the next batch is a small one, which is worked on alone.
    is_trial: bool,
}

impl<W: StageWorker> StageDrain<W> {
    /// Drains the worker's stage of `spool`.
    pub fn new(spool: Spool, worker: W) -> StageDrain<W> {
        let spool = Arc::new(spool);
        let files = Files::new(worker.name(), worker.source(), worker.size_bytes_max(), Arc::clone(&spool));
        StageDrain { worker, spool, files, is_trial: false }
    }

    /// Hands a batch to the worker and carries out what it says.
    fn work(&mut self, Judged { batch, judged }: Judged<W>, now: Timestamp) -> Result<usize, Failure> {
        if batch.is_empty() {
            return Ok(0);
        }
        match self.worker.work(&self.spool, &batch, judged, now) {
            Ok(work) => self.files.carry_out(Worked { batch, work }, now),
            Err(failure) => self.refused(batch, failure, now),
        }
    }

    /// When the worker refuses the whole of a batch, each half is read again and handed over alone, until only the culprit
    /// is refused.
    fn refused(&mut self, batch: Vec<Entry>, failure: Failure, now: Timestamp) -> Result<usize, Failure> {
        let Failure::Refused(reason) = failure else { return Err(failure) };
        if batch.len() == 1 {
            self.files.reject(&[(batch[0].name.clone(), reason)], now)?;
            return Ok(1);
        }
        let mut first: Vec<FileName> = batch.into_iter().map(|entry| entry.name).collect();
        let second = first.split_off(first.len() / 2);
        let mut handled = 0;
        for half in [first, second] {
            let Read { batch, refused, failed } =
                self.files.read_batch(&mut half.into_iter(), limits::BATCH_ENTRIES_MAX, now);
            self.files.reject(&refused, now)?;
            if let Some(failure) = failed {
                return Err(failure);
            }
            let judged = parallel::map(&batch, self.worker.judge(now));
            handled += refused.len() + self.work(Judged { batch, judged }, now)?;
        }
        Ok(handled)
    }

    /// Drains what is listed, three batches in hand: while one is worked on, the files of the one before are taken further
    /// and the next is read and judged. A failed sync of those files is met when the worker has come back from the relay.
    fn drain(&mut self, names: &mut Names, now: Timestamp) -> Result<usize, Failure> {
        let (mut handled, mut ahead, mut worked) = (0, Judged::default(), Worked::default());
        for _ in 0..limits::PASS_BATCHES_MAX {
            let entries_max = if self.is_trial { limits::TRIAL_ENTRIES_MAX } else { limits::BATCH_ENTRIES_MAX };
            let Judged { mut batch, judged } = std::mem::take(&mut ahead);
            if batch.len() < limits::PARALLEL_ENTRIES_MIN {
                // One after the other, then: nothing has an effect after a failed sync.
                handled += self.files.carry_out(std::mem::take(&mut worked), now)?;
            }
            let judge = self.worker.judge(now);
            let (worker, files, worked_before) = (&mut self.worker, &mut self.files, std::mem::take(&mut worked));
            let beside = || {
                let carried = files.carry_out(worked_before, now)?;
                let read = files.read_batch(names, entries_max, now);
                let judged = parallel::map(&read.batch, judge);
                Ok::<_, Failure>((carried, read, judged))
            };
            let here =
                || if batch.is_empty() { Ok(Work::default()) } else { worker.work(&self.spool, &batch, judged, now) };
            let (beside, work) = parallel::both(batch.len(), beside, here);
            if let Err(Failure::Fatal(reason)) = work {
                return Err(Failure::Fatal(reason));
            }
            let (carried, Read { batch: next, refused, failed }, judged) = beside?;
            let failed = self.files.reject(&refused, now).err().or(failed);
            if let Some(Failure::Fatal(reason)) = failed {
                return Err(Failure::Fatal(reason));
            }
            handled += carried + refused.len();
            match work {
                Ok(work) if self.worker.runs_ahead() => {
                    // Files move by their names: what is in them is not needed any more.
                    batch.iter_mut().for_each(|entry| entry.bytes = Vec::new());
                    worked = Worked { batch, work };
                }
                Ok(work) => handled += self.files.carry_out(Worked { batch, work }, now)?,
                Err(failure) => handled += self.refused(batch, failure, now)?,
            }
            let is_end = next.is_empty() && refused.is_empty();
            ahead = Judged { batch: next, judged };
            if self.is_trial {
                handled += self.work(std::mem::take(&mut ahead), now)?;
                self.is_trial = failed.is_some();
            }
            if failed.is_some() || is_end {
                // What was read is worked on first: the failure may be the same every time.
                handled += self.files.carry_out(worked, now)? + self.work(ahead, now)?;
                return failed.map_or(Ok(handled), Err);
            }
        }
        Ok(handled + self.files.carry_out(worked, now)? + self.work(ahead, now)?)
    }
}

/// Why an action is refused that is on its way.
pub(super) fn in_flight_already(id: ActionId) -> String {
    format!("action {id} is in flight already; wait until it is done, or drop it without its id to run it anew")
}

/// Why a command is refused whose file has another name than its ids make: nobody would find it again.
pub(super) fn misnamed(command: CommandRef, done: &str) -> String {
    format!("is command {command}; give it that name, {command}.json, to have it {done}")
}

impl<W: StageWorker> Worker for StageDrain<W> {
    fn name(&self) -> &'static str {
        self.worker.name()
    }

    fn recover(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.is_trial = true;
        self.spool.clean()?;
        self.worker.recover(&self.spool, now)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(Some(self.spool.watch(self.worker.source(), waker)?))
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let mut names = self.files.list()?;
        let handled = self.drain(&mut names, now)?;
        // More is there: the loop looks whether it shall stop, and comes back at once.
        let more = (names.len() > 0).then_some(now);
        let again = self.files.next_due().into_iter().fold(more, earlier);
        Ok(Pass { handled, again })
    }
}

#[cfg(test)]
mod tests;
