//! Draining a stage: list, read in batches, judge, ask the worker, carry its answers out.
//!
//! Judging has no effect, so it runs ahead: a batch is judged while the one before is worked on. What changes in between
//! is what may change at any time, and is met as such.
//!
//! Effects come first: a worker has stored or sent what it must before it answers. Then, in this order: actions end,
//! files move, refused ones go to action/invalid. A crash anywhere leaves files that the next pass meets again.

use super::{Failure, Pass, Worker, earlier};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::parallel;
use crate::spool::stages::{ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, ACTION_NEW, COMMAND_READY};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{Entry, FileName, Look, Move, Placed, ReadError, Spool, Stage};
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};

type Names = std::vec::IntoIter<FileName>;

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

/// What came of reading a batch.
struct Read {
    batch: Vec<Entry>,
    /// How many drops should not be read and were refused.
    refused: usize,
    /// Why it did not read on.
    failed: Option<Failure>,
}

struct Deferred {
    until: Timestamp,
    look: Option<Look>,
}

/// A [`StageWorker`] as a [`Worker`].
pub struct StageDrain<W> {
    worker: W,
    spool: Spool,
    /// A hint only: after a restart everything is looked at again.
    deferred: HashMap<FileName, Deferred>,
    /// Nothing succeeded since the start or the last failure: the next batch is a small one, which is worked on alone.
    is_trial: bool,
}

impl<W: StageWorker> StageDrain<W> {
    /// Drains the worker's stage of `spool`.
    pub fn new(spool: Spool, worker: W) -> StageDrain<W> {
        StageDrain { worker, spool, deferred: HashMap::new(), is_trial: false }
    }

    /// Only drops are written in place and belong to other users; in the other stages files appear whole, are ours, and
    /// never change.
    fn holds_drops(&self) -> bool {
        self.worker.source() == ACTION_NEW
    }

    /// Whether a file that was left alone is due: its time has come, or somebody changed it, or the clock was set back.
    fn is_due(&self, name: &FileName, now: Timestamp) -> bool {
        let Some(deferred) = self.deferred.get(name) else { return true };
        if deferred.until <= now || deferred.until > time::after(now, limits::UNROUTABLE_PAUSE_MAX) {
            return true;
        }
        self.holds_drops() && self.spool.look(ACTION_NEW, name).is_ok_and(|look| look != deferred.look)
    }

    /// Leaves a file alone until its time has come, or until it looks different from what was judged.
    fn defer(&mut self, name: &FileName, look: Option<Look>, until: Timestamp, now: Timestamp) {
        let until = until.min(time::after(now, limits::UNROUTABLE_PAUSE_MAX));
        self.deferred.insert(name.clone(), Deferred { until, look });
    }

    /// Leaves a file alone that cannot be read or moved, and says so: others may well work.
    fn pass_over(&mut self, name: &FileName, reason: &str, now: Timestamp) {
        let (worker, source) = (self.worker.name(), self.worker.source());
        log::error!("{worker}: {source}/{name}: {reason}; it stays, and is tried again from time to time");
        let look = if self.holds_drops() { self.spool.look(ACTION_NEW, name).ok().flatten() } else { None };
        self.defer(name, look, time::after(now, limits::UNROUTABLE_PAUSE_MAX), now);
    }

    /// Reads files until the batch is full. Drops that should not be read are refused right away.
    fn read_batch(&mut self, names: &mut Names, entries_max: usize, now: Timestamp) -> Read {
        let (mut batch, mut refused, mut size_bytes, mut failed) = (Vec::new(), Vec::new(), 0, None);
        while batch.len() + refused.len() < entries_max && size_bytes < limits::BATCH_SIZE_BYTES_MAX {
            let Some(name) = names.next() else { break };
            if !self.is_due(&name, now) {
                continue;
            }
            match self.spool.read(self.worker.source(), &name, self.worker.size_bytes_max()) {
                Ok(entry) => {
                    size_bytes += entry.bytes.len() as u64;
                    batch.push(entry);
                }
                Err(ReadError::Gone) => {}
                Err(ReadError::Refused(reason) | ReadError::Denied(reason)) if self.holds_drops() => {
                    refused.push((name, reason))
                }
                Err(ReadError::Refused(reason) | ReadError::Denied(reason)) => self.pass_over(&name, &reason, now),
                Err(ReadError::Io(error)) if error.is_of_one_file() => self.pass_over(&name, &error.to_string(), now),
                Err(ReadError::Io(error)) => {
                    failed = Some(error.into());
                    break;
                }
            }
        }
        let rejected = self.reject(&refused, now);
        Read { batch, refused: refused.len(), failed: rejected.err().or(failed) }
    }

    fn reject(&mut self, files: &[(FileName, String)], now: Timestamp) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let source = self.worker.source();
        for (name, reason) in files {
            log::warn!("{}: {source}/{name} is refused: {reason}", self.worker.name());
        }
        let outcomes = self.spool.reject(source, files, ACTION_INVALID, now)?;
        for ((name, _), outcome) in files.iter().zip(outcomes) {
            match outcome {
                Err(error) if error.is_of_one_file() => self.pass_over(name, &error.to_string(), now),
                other => other?,
            }
        }
        Ok(())
    }

    /// Hands a batch to the worker. When it refuses the whole, each half is read again and handed over alone, until only the
    /// culprit is refused.
    fn work(&mut self, Judged { batch, judged }: Judged<W>, now: Timestamp) -> Result<usize, Failure> {
        if batch.is_empty() {
            return Ok(0);
        }
        match self.worker.work(&self.spool, &batch, judged, now) {
            Ok(work) => self.carry_out(&batch, work, now),
            Err(Failure::Refused(reason)) if batch.len() == 1 => {
                self.reject(&[(batch[0].name.clone(), reason)], now)?;
                Ok(1)
            }
            Err(Failure::Refused(_)) => {
                let mut first: Vec<FileName> = batch.into_iter().map(|entry| entry.name).collect();
                let second = first.split_off(first.len() / 2);
                let mut handled = 0;
                for half in [first, second] {
                    let Read { batch, refused, failed } =
                        self.read_batch(&mut half.into_iter(), limits::BATCH_ENTRIES_MAX, now);
                    if let Some(failure) = failed {
                        return Err(failure);
                    }
                    let judged = parallel::map(&batch, self.worker.judge(now));
                    handled += refused + self.work(Judged { batch, judged }, now)?;
                }
                Ok(handled)
            }
            Err(failure) => Err(failure),
        }
    }

    fn carry_out(&mut self, batch: &[Entry], work: Work, now: Timestamp) -> Result<usize, Failure> {
        self.spool.rewrite_and_advance(ACTION_INFLIGHT, ACTION_DONE, &work.ended)?;
        let source = self.worker.source();
        let (mut moves, mut releases, mut refused, mut left) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (entry, verdict) in batch.iter().zip(work.verdicts) {
            self.deferred.remove(&entry.name);
            match verdict {
                Verdict::Next { to, clear } => moves.push(Move { clear, ..Move::new(source, &entry.name, to) }),
                Verdict::Release { action, commands } => releases.push((action, commands, entry)),
                Verdict::Reject(reason) => refused.push((entry.name.clone(), reason)),
                Verdict::NotYet(until) => {
                    self.defer(&entry.name, Some(entry.look), until, now);
                    left += 1;
                }
                Verdict::Gone => left += 1,
            }
        }
        self.advance_commands(moves)?;
        self.release(&releases, now)?;
        self.reject(&refused, now)?;
        Ok(batch.len() - left)
    }

    /// A command whose name is taken in the next stage is there already: the first answer stays.
    fn advance_commands(&self, moves: Vec<Move>) -> Result<(), Failure> {
        let placed = self.spool.advance(&moves)?;
        let taken = placed.iter().zip(moves).filter(|(placed, _)| **placed == Placed::Taken);
        let duplicates: Vec<_> = taken.map(|(_, step)| (step.from, step.name)).collect();
        Ok(self.spool.clear(&duplicates)?)
    }

    /// The move to action/inflight is the commit point; only then are the commands released.
    fn release(&mut self, releases: &[(ActionId, Vec<CommandRef>, &Entry)], now: Timestamp) -> Result<(), Failure> {
        let step = |(id, _, entry): &(ActionId, Vec<CommandRef>, &Entry)| {
            let to_name = FileName::from(*id);
            Move { to_name, ..Move::new(entry.stage, &entry.name, ACTION_INFLIGHT) }
        };
        let moves: Vec<Move> = releases.iter().map(step).collect();
        let placed = self.spool.advance(&moves)?;
        let (mut committed, mut refused) = (Vec::new(), Vec::new());
        for ((id, commands, entry), placed) in releases.iter().zip(placed) {
            match placed {
                Placed::New | Placed::Same => {
                    committed.extend_from_slice(commands);
                    log::info!(action:% = id; "{} is in flight", entry.name);
                }
                // It came there since the worker looked. What was prepared are commands of that very action: the store
                // has them, and they go out with it.
                Placed::Taken => {
                    committed.extend_from_slice(commands);
                    refused.push((entry.name.clone(), in_flight_already(*id)));
                }
                // Withdrawn in the last moment: the collector ends what the store knows of it when it runs out.
                Placed::Gone => self.spool.discard_prepared(commands)?,
            }
        }
        self.spool.release(&committed, COMMAND_READY)?;
        self.reject(&refused, now)
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
        let names = self.spool.list(self.worker.source())?;
        if !self.deferred.is_empty() {
            let present: HashSet<&FileName> = names.iter().collect();
            self.deferred.retain(|name, _| present.contains(name));
        }
        let mut names = names.into_iter();
        let (mut handled, mut ahead) = (0, Judged::default());
        for _ in 0..limits::PASS_BATCHES_MAX {
            let entries_max = if self.is_trial { limits::TRIAL_ENTRIES_MAX } else { limits::BATCH_ENTRIES_MAX };
            let Read { batch, refused, failed } = self.read_batch(&mut names, entries_max, now);
            if let Some(Failure::Fatal(reason)) = failed {
                return Err(Failure::Fatal(reason));
            }
            let judge = self.worker.judge(now);
            let (judged, worked) =
                parallel::both(batch.len(), || parallel::map(&batch, judge), || self.work(ahead, now));
            handled += refused + worked?;
            let is_end = batch.is_empty() && refused == 0;
            ahead = Judged { batch, judged };
            if self.is_trial {
                handled += self.work(std::mem::take(&mut ahead), now)?;
                self.is_trial = failed.is_some();
            }
            if let Some(failure) = failed {
                // What was read is worked on first: the failure may be the same every time.
                self.work(ahead, now)?;
                return Err(failure);
            }
            if is_end {
                break;
            }
        }
        handled += self.work(ahead, now)?;
        // More is there: the loop looks whether it shall stop, and comes back at once.
        let more = (names.len() > 0).then_some(now);
        let again = self.deferred.values().fold(more, |again, deferred| earlier(again, deferred.until));
        Ok(Pass { handled, again })
    }
}

#[cfg(test)]
mod tests;
