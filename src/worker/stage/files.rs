//! The files of a stage: which of them are due, reading them, and applying the verdicts.

use super::{Source, Verdict};
use crate::failure::Failure;
use crate::limits;
use crate::spool::{Entry, FileName, Look, Mover, Placed, Spool, Step};
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub(super) type Names = std::vec::IntoIter<FileName>;

/// A batch that was read.
pub(super) struct Read {
    pub batch: Vec<Entry>,
    /// Drops that must not be read, and why, for [`Files::reject`].
    pub refused: Vec<(FileName, String)>,
    /// Why reading ended early.
    pub failed: Option<Failure>,
}

/// A file that was left where it is.
struct Deferred {
    /// When it was looked at.
    since: Timestamp,
    until: Timestamp,
    look: Option<Look>,
}

/// See the module docs.
pub(super) struct Files {
    /// For the log.
    worker: &'static str,
    source: Source,
    mover: Mover,
    /// A hint only: after a restart everything is looked at again.
    deferred: HashMap<FileName, Deferred>,
    /// Since when a file cannot be read or moved.
    failing: HashMap<FileName, Timestamp>,
}

impl Files {
    /// The files of a handler's source.
    pub(super) fn new(worker: &'static str, source: Source, mover: Mover) -> Files {
        Files { worker, source, mover, deferred: HashMap::new(), failing: HashMap::new() }
    }

    pub(super) fn spool(&self) -> &Spool {
        self.mover.spool()
    }

    pub(super) fn clean(&self) -> Result<(), Failure> {
        self.mover.clean()
    }

    /// Applies steps of the handler's own.
    pub(super) fn apply_steps(&self, steps: &[Step]) -> Result<Vec<Result<Placed, Failure>>, Failure> {
        self.mover.apply(steps)
    }

    /// All names that are there, due or not.
    pub(super) fn list(&mut self) -> Result<Names, Failure> {
        let names = self.spool().list(self.source.stage)?;
        if !self.deferred.is_empty() || !self.failing.is_empty() {
            let present: HashSet<&FileName> = names.iter().collect();
            self.deferred.retain(|name, _| present.contains(name));
            self.failing.retain(|name, _| present.contains(name));
        }
        Ok(names.into_iter())
    }

    /// When the first of the deferred files is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.deferred.values().map(|deferred| deferred.until).min()
    }

    fn look(&self, name: &FileName) -> Option<Look> {
        self.spool().look(self.source.stage, name).ok().flatten()
    }

    /// Whether a file is to be read: its time has come, its owner changed it, or the clock was set back.
    fn is_due(&self, name: &FileName, now: Timestamp) -> bool {
        let Some(deferred) = self.deferred.get(name) else { return true };
        if deferred.until <= now || now < deferred.since {
            return true;
        }
        self.source.stage.holds_drops() && self.look(name) != deferred.look
    }

    /// Leaves a file alone that cannot be read or moved: the others go on. It is tried again after half of the time for which
    /// it has failed so far, within limits.
    fn skip(&mut self, name: &FileName, reason: &str, now: Timestamp) {
        let (worker, stage) = (self.worker, self.source.stage);
        match self.failing.get(name) {
            None => {
                log::error!("{worker}: {stage}/{name}: {reason}; it stays, and is tried again from time to time");
                self.failing.insert(name.clone(), now);
            }
            Some(_) => log::debug!("{worker}: {stage}/{name}: {reason}"),
        }
        let failing_for = self.failing.get(name).map_or(Duration::ZERO, |since| time::until(*since, now));
        let pause = (failing_for / 2).clamp(limits::RETRY_PAUSE_MIN, limits::UNROUTABLE_PAUSE_MAX);
        let look = self.look(name);
        self.deferred.insert(name.clone(), Deferred { since: now, until: time::after(now, pause), look });
    }

    /// Reads files until the batch is full; has no effect.
    pub(super) fn read_batch(&mut self, names: &mut Names, entries_max: usize, now: Timestamp) -> Read {
        let Source { stage, size_bytes_max, .. } = self.source;
        let (mut batch, mut refused, mut size_bytes) = (Vec::new(), Vec::new(), 0);
        while batch.len() + refused.len() < entries_max && size_bytes < limits::BATCH_SIZE_BYTES_MAX {
            let Some(name) = names.next() else { break };
            if !self.is_due(&name, now) {
                continue;
            }
            match self.spool().read(stage, &name, size_bytes_max) {
                Ok(Some(entry)) => {
                    size_bytes += entry.bytes.len() as u64;
                    batch.push(entry);
                }
                Ok(None) => {}
                Err(Failure::Refuse(reason)) if stage.holds_drops() => refused.push((name, reason)),
                Err(Failure::Skip(reason)) if stage.holds_drops() && !self.spool().may_read(stage, &name) => {
                    refused.push((name, reason));
                }
                Err(Failure::Refuse(reason) | Failure::Skip(reason)) => self.skip(&name, &reason, now),
                Err(failure) => return Read { batch, refused, failed: Some(failure) },
            }
        }
        Read { batch, refused, failed: None }
    }

    /// Moves files to the stage of refused ones, with the reasons.
    pub(super) fn reject(&mut self, files: &[(FileName, String)], now: Timestamp) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let Source { stage, invalid, .. } = self.source;
        for (name, reason) in files {
            log::warn!("{}: {stage}/{name} is refused: {reason}", self.worker);
        }
        let outcomes = self.mover.reject(stage, files, invalid, now)?;
        for ((name, _), outcome) in files.iter().zip(outcomes) {
            if let Err(failure) = outcome {
                self.skip(name, &failure.to_string(), now);
            }
        }
        Ok(())
    }

    /// Applies the verdicts on a batch. Returns how many files were handled.
    pub(super) fn apply(&mut self, judged: Vec<(&Entry, Verdict)>, now: Timestamp) -> Result<usize, Failure> {
        let (mut steps, mut done, mut refused, mut handled) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (entry, verdict) in judged {
            self.deferred.remove(&entry.name);
            if !matches!(verdict, Verdict::Done { .. }) {
                self.failing.remove(&entry.name);
            }
            match verdict {
                Verdict::Done { steps: mut own, then } => {
                    done.push((entry, own.len(), then));
                    steps.append(&mut own);
                }
                Verdict::Reject(reason) => refused.push((entry.name.clone(), reason)),
                Verdict::NotYet(until) => {
                    let deferred = Deferred { since: now, until, look: Some(entry.look) };
                    self.deferred.insert(entry.name.clone(), deferred);
                }
                Verdict::Gone => {}
            }
        }
        let placed = self.mover.apply(&steps)?;
        let mut outcomes = steps.iter().zip(placed);
        let (mut after, mut unknown) = (Vec::new(), None);
        for (entry, count, then) in done {
            let (mut is_gone, mut is_done) = (false, true);
            for (step, outcome) in outcomes.by_ref().take(count) {
                let is_own =
                    matches!(step, Step::Move { from, name, .. } if (*from, name) == (entry.stage, &entry.name));
                match outcome {
                    Ok(Placed::Taken) if is_own && entry.stage.holds_drops() => {
                        refused.push((entry.name.clone(), "its name is taken in the next stage".into()));
                    }
                    Ok(Placed::Gone) if is_own => is_gone = true,
                    Ok(_) => {}
                    Err(failure) => {
                        is_done = false;
                        self.skip(&entry.name, &failure.to_string(), now);
                        unknown = unknown.or(Some(failure).filter(|_| !then.is_empty()));
                    }
                }
            }
            if is_done {
                self.failing.remove(&entry.name);
            }
            handled += usize::from(is_done);
            after.extend(then.into_iter().filter(|_| is_done).map(|step| if is_gone { step.undone() } else { step }));
        }
        self.mover.apply_all(&after)?;
        handled += refused.len();
        self.reject(&refused, now)?;
        // Whether what depends on the step is to be done is known by looking again, as after a restart.
        unknown.map_or(Ok(handled), Err)
    }
}
