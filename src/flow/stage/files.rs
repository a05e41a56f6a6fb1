//! The files of a stage: which of them are due, and the steps that take them further.

use super::{Failure, Verdict, Worked, in_flight_already};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::spool::stages::{ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, ACTION_NEW, COMMAND_READY};
use crate::spool::{Entry, FileName, Look, Move, Placed, ReadError, Spool, Stage};
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) type Names = std::vec::IntoIter<FileName>;

/// What came of reading a batch.
pub(super) struct Read {
    pub batch: Vec<Entry>,
    /// Drops that should not be read, and why, for [`Files::reject`].
    pub refused: Vec<(FileName, String)>,
    /// Why it did not read on.
    pub failed: Option<Failure>,
}

struct Deferred {
    until: Timestamp,
    look: Option<Look>,
}

/// See the module docs.
pub(super) struct Files {
    /// For the log.
    worker: &'static str,
    source: Stage,
    size_bytes_max: u64,
    spool: Arc<Spool>,
    /// A hint only: after a restart everything is looked at again.
    deferred: HashMap<FileName, Deferred>,
}

impl Files {
    /// Those of `source`, none of them above a size.
    pub(super) fn new(worker: &'static str, source: Stage, size_bytes_max: u64, spool: Arc<Spool>) -> Files {
        Files { worker, source, size_bytes_max, spool, deferred: HashMap::new() }
    }

    /// All that are there, due or not.
    pub(super) fn list(&mut self) -> Result<Names, Failure> {
        let names = self.spool.list(self.source)?;
        if !self.deferred.is_empty() {
            let present: HashSet<&FileName> = names.iter().collect();
            self.deferred.retain(|name, _| present.contains(name));
        }
        Ok(names.into_iter())
    }

    /// When the first of those that were left alone is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.deferred.values().map(|deferred| deferred.until).min()
    }

    /// Only drops are written in place and belong to other users; in the other stages files appear whole, are ours, and
    /// never change.
    fn holds_drops(&self) -> bool {
        self.source == ACTION_NEW
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
        let (worker, source) = (self.worker, self.source);
        log::error!("{worker}: {source}/{name}: {reason}; it stays, and is tried again from time to time");
        let look = if self.holds_drops() { self.spool.look(ACTION_NEW, name).ok().flatten() } else { None };
        self.defer(name, look, time::after(now, limits::UNROUTABLE_PAUSE_MAX), now);
    }

    /// Reads files until the batch is full; has no effect.
    pub(super) fn read_batch(&mut self, names: &mut Names, entries_max: usize, now: Timestamp) -> Read {
        let (mut batch, mut refused, mut size_bytes, mut failed) = (Vec::new(), Vec::new(), 0, None);
        while batch.len() + refused.len() < entries_max && size_bytes < limits::BATCH_SIZE_BYTES_MAX {
            let Some(name) = names.next() else { break };
            if !self.is_due(&name, now) {
                continue;
            }
            match self.spool.read(self.source, &name, self.size_bytes_max) {
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
        Read { batch, refused, failed }
    }

    /// Moves files to action/invalid, with the reasons.
    pub(super) fn reject(&mut self, files: &[(FileName, String)], now: Timestamp) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let source = self.source;
        for (name, reason) in files {
            log::warn!("{}: {source}/{name} is refused: {reason}", self.worker);
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

    /// Does with the files of a batch what the worker said. Gives how many were handled.
    pub(super) fn carry_out(&mut self, Worked { batch, work }: Worked, now: Timestamp) -> Result<usize, Failure> {
        self.spool.rewrite_and_advance(ACTION_INFLIGHT, ACTION_DONE, &work.ended)?;
        let source = self.source;
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
