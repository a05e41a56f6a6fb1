//! Draining a stage: list, read a batch, check it, have it handled, apply the verdicts.
//!
//! Effects come first: a handler has stored or sent what it must before it returns. A crash anywhere leaves files that the
//! next pass meets again.

mod files;

use super::{LogLine, Pass, Worker, check_all, earlier};
use crate::failure::Failure;
use crate::limits;
use crate::spool::watch::Watch;
use crate::spool::{Entry, FileName, Mover, Spool, Stage, Step};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use crate::worker::Apply;
use files::{Files, Names, Read};
use std::time::Instant;

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is handled.
    Done {
        /// Committed together with those of the batch. A move of this file whose name is taken leaves the first.
        steps: Vec<Step>,
        /// Applied after `steps` are durable. If the file was taken away meanwhile, what they would move is removed.
        then: Vec<Step>,
        /// Logged afterwards.
        log: Vec<LogLine>,
    },
    /// It can never be handled; the text is for its author.
    Reject(String),
    /// It stays, and is looked at again at this time, or when it changes.
    NotYet(Timestamp),
    /// It was taken away meanwhile.
    Gone,
}

impl Verdict {
    /// Handled, with these steps.
    pub fn done(steps: Vec<Step>) -> Verdict {
        Verdict::Done { steps, then: Vec::new(), log: Vec::new() }
    }
}

/// Which files a handler gets.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Where they are.
    pub stage: Stage,
    /// Where refused ones go.
    pub invalid: Stage,
    /// Larger ones are refused.
    pub size_bytes_max: u64,
    /// How many at a time.
    pub batch_entries_max: usize,
}

/// What is done with the files of a stage.
pub trait FileHandler: Send {
    /// The result of a check.
    type Checked: Send;
    /// See [`Worker::name`].
    fn name(&self) -> &'static str;
    /// Which files it gets.
    fn source(&self) -> Source;
    /// See [`Worker::recover`].
    fn recover(&mut self, _spool: &Spool, _apply: Apply, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
    /// Brings up to date what the check needs. Called when there are files to be checked.
    fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    /// Returns the function that checks an entry without any effect; it runs on all processors. A file with which there is
    /// nothing to do gets its verdict here.
    fn check(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Self::Checked, Verdict> + Send + Sync + use<Self>;
    /// Handles the files that passed the check: has their effects, and returns one verdict for each. A
    /// [`Failure::Refuse`] is of the whole batch, which is then handled in halves until only its cause is refused.
    fn handle(
        &mut self,
        spool: &Spool,
        batch: Vec<(&Entry, Self::Checked)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure>;
}

/// A [`FileHandler`] as a [`Worker`].
pub struct StageWorker<H> {
    handler: H,
    files: Files,
    /// No pass succeeded since the start or the last failure: the first batch of the next one is small.
    is_trial: bool,
    /// The last pass had something to handle.
    has_tried: bool,
}

impl<H: FileHandler> StageWorker<H> {
    /// Drains the handler's stage of a spool.
    pub fn new(mover: Mover, handler: H) -> StageWorker<H> {
        let files = Files::new(handler.name(), handler.source(), mover);
        StageWorker { handler, files, is_trial: false, has_tried: false }
    }

    /// The handler, for what else its worker does.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Checks and handles a batch. Returns how many files were handled.
    fn handle(&mut self, batch: &[Entry], now: Timestamp) -> Result<usize, Failure> {
        let (mut judged, mut items) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        if !batch.is_empty() {
            self.handler.prepare()?;
        }
        for (entry, checked) in batch.iter().zip(check_all(batch, self.handler.check(now))) {
            match checked {
                Ok(checked) => items.push((entry, checked)),
                Err(verdict) => judged.push((entry, verdict)),
            }
        }
        let entries: Vec<&Entry> = items.iter().map(|(entry, _)| *entry).collect();
        self.has_tried |= !entries.is_empty();
        let verdicts = match entries.is_empty() {
            true => Ok(Vec::new()),
            false => self.handler.handle(self.files.spool(), items, now),
        };
        match verdicts {
            Ok(verdicts) => judged.extend(entries.into_iter().zip(verdicts)),
            Err(Failure::Refuse(reason)) if entries.len() == 1 => judged.push((entries[0], Verdict::Reject(reason))),
            Err(Failure::Refuse(_)) => {
                let (first, second) = entries.split_at(entries.len() / 2);
                let handled = self.files.apply(judged, now)?;
                return Ok(handled + self.handle_again(first, now)? + self.handle_again(second, now)?);
            }
            Err(failure) => return Err(failure),
        }
        self.files.apply(judged, now)
    }

    /// Handles part of a batch that was refused as a whole, read anew.
    fn handle_again(&mut self, entries: &[&Entry], now: Timestamp) -> Result<usize, Failure> {
        let names: Vec<FileName> = entries.iter().map(|entry| entry.name.clone()).collect();
        self.drain_batch(&mut names.into_iter(), limits::BATCH_ENTRIES_MAX, now).map(|batch| batch.handled)
    }

    /// Reads the next batch and handles it.
    fn drain_batch(&mut self, names: &mut Names, entries_max: usize, now: Timestamp) -> Result<Drained, Failure> {
        let Read { batch, refused, failed } = self.files.read_batch(names, entries_max, now);
        self.files.reject(&refused, now)?;
        // What was read is handled first: the failure may be the same every time.
        let handled = self.handle(&batch, now)? + refused.len();
        match failed {
            Some(failure) => Err(failure),
            None => Ok(Drained { handled, is_empty: batch.is_empty() && refused.is_empty() }),
        }
    }
}

/// What one batch did.
struct Drained {
    handled: usize,
    is_empty: bool,
}

impl<H: FileHandler> Worker for StageWorker<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn recover(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.is_trial = true;
        self.files.recover()?;
        let StageWorker { handler, files, .. } = self;
        handler.recover(files.spool(), &mut |steps| files.apply_steps(&steps), now)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(Some(self.files.spool().watch(self.handler.source().stage, waker)?))
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        self.has_tried = false;
        let (started, mut names, mut handled) = (Instant::now(), self.files.list()?, 0);
        loop {
            let entries_max = self.handler.source().batch_entries_max;
            let entries_max = if self.is_trial { entries_max.min(limits::TRIAL_ENTRIES_MAX) } else { entries_max };
            // Later than the pass: a batch may take long.
            let batch = self.drain_batch(&mut names, entries_max, time::after(now, started.elapsed()))?;
            self.is_trial = false;
            handled += batch.handled;
            if batch.is_empty || started.elapsed() > limits::PASS_TIME_MAX {
                break;
            }
        }
        // More is there: the loop looks whether it shall stop, and comes back at once.
        let more = (names.len() > 0).then_some(now);
        let again = self.files.next_due().into_iter().fold(more, earlier);
        Ok(Pass { handled, again })
    }

    fn has_tried(&self) -> bool {
        self.has_tried
    }
}

#[cfg(test)]
mod tests;
