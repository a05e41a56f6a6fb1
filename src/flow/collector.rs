//! collector makes a round every `freq` and ends what no other worker does:
//!
//! - actions in action/inflight whose commands have all ended (a crash may leave them) move to action/done;
//! - commands in command/ready and command/inflight whose action expired go to command/returned as expired, and from there
//!   like any answer;
//! - files in command/inflight that are no commands go to action/invalid;
//! - copies in command/inflight of commands that have their answer (a crash may leave them), or whose answer another
//!   scheduler of the same store got, are removed;
//! - commands that the store waits for and that have no file of use go to command/returned as expired: those of this
//!   scheduler's actions, and a while later those of other schedulers that do not run;
//! - files in action/done, action/invalid, command/done and event/new are deleted `deleteafter` after they came there, and so is what
//!   the relay put aside, and what the store knows of processes of agents that ended then and had no commands.
//!
//! A command expires only when every answer that was sent before its end is taken in, which the relay knows, or results. So
//! a scheduler that starts after an action expired takes in first what waits there.
//!
//! Everything here is safe to do twice and beside the other workers: a command has one final file, and the first counts.

mod forgotten;
mod overdue;
mod unusable;
mod waiting;

use super::command_returned::Endings;
use super::{FindOwner, results};
use crate::action::Action;
use crate::command::Command;
use crate::failure::Failure;
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::relay::{Queue, Relay};
use crate::spool::stages::{
    ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED,
    EVENT_NEW,
};
use crate::spool::{FileName, Notes, Spool, Stage, Step};
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::worker::clock::ClockHandler;
use crate::worker::{Apply, LogLine, Pass, apply_all, earlier};
use overdue::{Expiring, Overdue, read_overdue};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use unusable::Unusable;
use waiting::Waiting;

/// See the module docs.
pub struct Collector {
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    notes: Notes,
    find_owner: FindOwner,
    delete_after: Duration,
    /// When the actions in flight expire; read from their files once.
    expiry: HashMap<ActionId, Timestamp>,
    /// When everything was cleaned last: that looks at every file, so it is not done in every round.
    cleaned: Option<Timestamp>,
    waiting: Waiting,
    unusable: Unusable,
    /// Where files come to their end.
    ends: Vec<Stage>,
}

impl Collector {
    /// Collects what is in this store and relay, and in the spool of its rounds, whose notes these are.
    pub fn new(
        store: Box<dyn Store>,
        relay: Box<dyn Relay>,
        notes: Notes,
        find_owner: FindOwner,
        delete_after: Duration,
    ) -> Collector {
        Collector {
            store,
            relay,
            notes,
            find_owner,
            delete_after,
            expiry: HashMap::new(),
            cleaned: None,
            waiting: Waiting::default(),
            unusable: Unusable::default(),
            ends: vec![ACTION_DONE, ACTION_INVALID, COMMAND_DONE],
        }
    }

    /// The same, which deletes events that nothing takes away, too.
    pub fn with_events(mut self) -> Collector {
        self.ends.push(EVENT_NEW);
        self
    }

    /// The time before which every answer that was sent is taken in; None if it is not known.
    fn taken_in(&mut self, now: Timestamp) -> Option<Timestamp> {
        let settled = self.relay.settled_before(&Queue::results(), now);
        let settled = settled.inspect_err(|error| log::debug!("collector: {error}")).ok().flatten();
        settled.or_else(|| self.notes.marked(results::TAKEN_IN)).map(|time| time.min(now))
    }

    /// Ends the actions in flight that have no command left. Returns how many ended.
    fn end_actions(
        &mut self,
        spool: &Spool,
        inflight: &HashSet<ActionId>,
        apply: Apply,
        now: Timestamp,
    ) -> Result<usize, Failure> {
        self.expiry.retain(|id, _| inflight.contains(id));
        let ids: Vec<ActionId> = inflight.iter().copied().collect();
        // One whose commands are not released yet has unfinished ones in the store.
        let ended = if ids.is_empty() { Vec::new() } else { self.store.ended_actions(&ids, now)? };
        let endings = Endings::new(spool, ended, now)?;
        self.relay.publish(&endings.events, now)?;
        apply_all(apply, endings.steps)?;
        endings.log.iter().for_each(LogLine::log);
        Ok(endings.events.len())
    }

    /// Deletes files that came to their end long enough ago. A refused file and its reason go together.
    fn delete_old(&self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<usize, Failure> {
        let mut steps = Vec::new();
        for stage in self.ends.iter().copied() {
            let old: HashSet<FileName> = spool.older_than(stage, self.delete_after, now)?.into_iter().collect();
            for name in &old {
                let has_young_partner =
                    |partner| Ok::<_, Failure>(!old.contains(&partner) && spool.has(stage, &partner)?);
                if stage == ACTION_INVALID && name.partner().map_or(Ok(false), has_young_partner)? {
                    continue;
                }
                steps.push(Step::clear(stage, name));
            }
        }
        let deleted = apply(steps)?.into_iter().filter_map(|cleared| cleared.map_err(warn).ok()).count();
        if deleted > 0 {
            let age = self.delete_after;
            log::info!("collector: deleted {deleted} files that came to their end {age:?} ago or earlier");
        }
        Ok(deleted)
    }

    /// Looks at the commands of one stage that have not ended.
    fn sweep(
        &mut self,
        spool: &Spool,
        stage: Stage,
        Known { inflight, answered, taken_in }: &Known,
        apply: Apply,
        now: Timestamp,
    ) -> Result<Swept, Failure> {
        let (mut overdue, mut elsewhere, mut clears) = (Vec::new(), Vec::new(), Vec::new());
        let mut swept = Swept::default();
        let names = spool.list(stage)?;
        self.unusable.keep(stage, &names);
        for name in names {
            if self.unusable.is_unreadable(stage, &name) {
                continue;
            }
            let Some(reference) = name.as_str().and_then(|name| CommandRef::from_file_name(name).ok()) else {
                continue;
            };
            // A copy in ready is a replay. One in inflight is left over, unless it was replayed since the list was made.
            if stage == COMMAND_INFLIGHT && answered.contains(&name) && is_answered(spool, &name)? {
                clears.push(Step::clear(stage, &name));
                continue;
            }
            match self.deadline(spool, stage, &name, reference)? {
                Some(deadline) if taken_in.is_some_and(|taken_in| deadline <= taken_in) => overdue.push(name),
                // Its action is not in flight here any more: its last answer may have come to another scheduler.
                Some(_) if stage == COMMAND_INFLIGHT && !inflight.contains(&reference.action) => {
                    elsewhere.push(reference)
                }
                Some(deadline) if deadline <= now => {
                    swept.waiting += 1;
                    swept.again = earlier(swept.again, time::after(now, limits::EXPIRY_GRACE));
                }
                Some(deadline) => swept.again = earlier(swept.again, deadline),
                None => {}
            }
        }
        for batch in elsewhere.chunks(limits::BATCH_ENTRIES_MAX) {
            let ended = self.ended_elsewhere(spool, stage, batch)?;
            clears.extend(ended.into_iter().map(|reference| Step::clear(stage, &reference.into())));
        }
        swept.handled = clears.len();
        apply_all(apply, clears)?;
        swept.handled += self.unusable.put_aside(apply, now)?;
        let mut names = overdue.as_slice();
        while !names.is_empty() {
            let (batch, rest) = read_overdue(spool, stage, names)?;
            swept.handled += batch.answered.len() + batch.waiting.len();
            names = rest;
            self.expire(spool, stage, batch, apply, now)?;
        }
        Ok(swept)
    }

    /// When a command's answer is not waited for any longer.
    fn deadline(
        &mut self,
        spool: &Spool,
        stage: Stage,
        name: &FileName,
        reference: CommandRef,
    ) -> Result<Option<Timestamp>, Failure> {
        if let Some(deadline) = self.expiry.get(&reference.action) {
            return Ok(Some(*deadline));
        }
        let inflight = FileName::from(reference.action);
        let expires = match spool.read_if_readable(ACTION_INFLIGHT, &inflight, limits::ACTION_SIZE_BYTES_MAX * 2)? {
            Some(entry) => Action::parse(&entry.bytes).ok().map(|action| action.expire_after),
            // A command that was replayed after its action was done, for one.
            None => self.unusable.read(spool, stage, name)?.map(|command| command.action.expire_after),
        };
        let deadline = expires.map(|expires| time::after(expires, limits::EXPIRY_GRACE));
        self.expiry.extend(deadline.map(|deadline| (reference.action, deadline)));
        Ok(deadline)
    }

    /// Those of the commands that have ended in the store and have no answer here: another scheduler got it. One that was
    /// replayed has its answer in its file, and is not among them.
    fn ended_elsewhere(
        &mut self,
        spool: &Spool,
        stage: Stage,
        references: &[CommandRef],
    ) -> Result<HashSet<CommandRef>, Failure> {
        let (known, mut ended) = (self.store.find_commands(references)?, HashSet::new());
        for (reference, known) in references.iter().zip(known) {
            let name = FileName::from(*reference);
            if known.is_some_and(|known| known.status.is_final())
                && !is_answered(spool, &name)?
                && self.unusable.read(spool, stage, &name)?.is_some_and(|command| !command.status.is_final())
            {
                ended.insert(*reference);
            }
        }
        Ok(ended)
    }

    /// Ends commands whose action expired, unless they have ended before.
    fn expire(
        &mut self,
        spool: &Spool,
        stage: Stage,
        overdue: Overdue,
        apply: Apply,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let references: Vec<CommandRef> = overdue.waiting.iter().map(Command::reference).collect();
        let ended =
            if references.is_empty() { HashSet::new() } else { self.ended_elsewhere(spool, stage, &references)? };
        let is_sent = stage == COMMAND_INFLIGHT;
        let mut expiring = Expiring::default();
        overdue.answered.iter().for_each(|name| expiring.clear(stage, name));
        for command in overdue.waiting {
            match ended.contains(&command.reference()) {
                true => expiring.clear(stage, &command.reference().into()),
                false => expiring.add(command, is_sent, now),
            }
        }
        expiring.apply(apply)
    }
}

impl ClockHandler for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn recover(&mut self) {
        // After a failure too: what is deleted now may be the room that was missing.
        self.cleaned = None;
    }

    fn round(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<Pass, Failure> {
        let cleans = time::is_due(self.cleaned, self.delete_after.min(limits::CLEANING_PERIOD_MAX), now);
        // First: what arrives later is looked at later.
        let taken_in = self.taken_in(now);
        // What makes room on a full disk comes next. No part depends on the success of another: the failures come last.
        let (mut tidied, mut deleted, mut removed, mut answered) = (Ok(()), Ok(0), Ok(0), HashSet::new());
        if cleans {
            tidied = unless_end(self.relay.tidy(self.delete_after, now))?;
            removed = self.store.remove_registrations(time::before(now, self.delete_after));
            deleted = unless_end(self.delete_old(spool, apply, now))?;
            answered.extend(spool.list(COMMAND_RETURNED)?);
            answered.extend(spool.list(COMMAND_DONE)?);
        }
        let names = spool.list(ACTION_INFLIGHT)?;
        let inflight = names.iter().filter_map(|name| ActionId::from_file_name(name.as_str()?).ok()).collect();
        let ended = unless_end(self.end_actions(spool, &inflight, apply, now))?;
        let known = Known { inflight, answered, taken_in };
        let ready = unless_end(self.sweep(spool, COMMAND_READY, &known, apply, now))?;
        let sent = unless_end(self.sweep(spool, COMMAND_INFLIGHT, &known, apply, now))?;
        let forgotten = self.end_forgotten(spool, taken_in, apply, now);
        tidied?;
        removed?;
        let (ready, sent) = (ready?, sent?);
        self.waiting.log(ready.waiting + sent.waiting, taken_in, now);
        let handled = deleted? + ended? + ready.handled + sent.handled + forgotten?;
        if cleans {
            self.cleaned = Some(now);
        }
        Ok(Pass { handled, again: ready.again.map_or(sent.again, |again| earlier(sent.again, again)) })
    }
}

/// A failure for later, unless nothing may be done after it.
fn unless_end<T>(result: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match result {
        Err(Failure::End(reason)) => Err(Failure::End(reason)),
        other => Ok(other),
    }
}

fn warn(failure: Failure) {
    log::warn!("collector: {failure}; delete it by hand");
}

/// What a sweep knows.
struct Known {
    /// The actions in flight.
    inflight: HashSet<ActionId>,
    /// Commands with an answer, as of a moment ago; empty when copies are not looked for.
    answered: HashSet<FileName>,
    /// Every answer that was sent before is taken in; None if it is not known.
    taken_in: Option<Timestamp>,
}

/// What a sweep did.
#[derive(Default)]
struct Swept {
    handled: usize,
    /// When the first of the others expires.
    again: Option<Timestamp>,
    /// Commands whose answers may be on the relay.
    waiting: usize,
}

fn is_answered(spool: &Spool, name: &FileName) -> Result<bool, Failure> {
    Ok(spool.has(COMMAND_RETURNED, name)? || spool.has(COMMAND_DONE, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::directory::{DirectoryRelay, MessageName};
    use crate::spool::{Mover, stages};
    use crate::store::sqlite::SqliteStore;
    use crate::worker::Worker;
    use crate::worker::clock::ClockWorker;
    use std::path::Path;

    /// One of the spool, store and relay in a directory.
    fn collector(directory: &Path) -> ClockWorker<Collector> {
        let mover = Mover::open(directory, &stages::SCHEDULER, "collector").unwrap();
        let store = Box::new(SqliteStore::open(&directory.join("mig.db")).unwrap());
        let relay = Box::new(DirectoryRelay::open(&directory.join("relay")).unwrap());
        let find_owner = Box::new(|| Ok("0".into()));
        let collector = Collector::new(store, relay, mover.notes(), find_owner, Duration::from_secs(60));
        ClockWorker::new(mover, collector)
    }

    #[test]
    fn the_relay_is_tidied_while_the_store_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        stages::make(directory.path(), &stages::SCHEDULER).unwrap();
        std::fs::write(path("action/inflight/1.json"), "{}").unwrap();
        std::fs::create_dir_all(path("relay/mig.agt.linux.a.b")).unwrap();
        let now = time::now();
        let expired = MessageName { sent: now, expires: time::before(now, Duration::from_secs(1)) };
        let message = path("relay/mig.agt.linux.a.b").join(expired.format("x", 1));
        std::fs::write(&message, "{}").unwrap();
        let mut collector = collector(directory.path());
        rusqlite::Connection::open(path("mig.db")).unwrap().execute("DROP TABLE commands", ()).unwrap();
        assert!(collector.pass(now).is_err());
        assert!(!message.exists());
    }

    #[test]
    fn what_is_no_command_in_flight_is_put_aside_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        stages::make(directory.path(), &stages::SCHEDULER).unwrap();
        std::fs::create_dir(path("relay")).unwrap();
        for (name, text) in [("5-1.json", "{\"id\":1,\"action\":{\"id\":5}}"), ("6-1.json", "")] {
            std::fs::write(path("command/inflight").join(name), text).unwrap();
        }
        std::fs::create_dir(path("command/inflight/7-1.json")).unwrap();
        let mut collector = collector(directory.path());
        let handled: Vec<usize> = (0..2).map(|_| collector.pass(time::now()).unwrap().handled).collect();
        assert_eq!(handled, [3, 0]);
        for (name, cause) in [("5-1", "is missing"), ("6-1", "empty or half-written"), ("7-1", "is a directory")] {
            let reason = std::fs::read_to_string(path(&format!("action/invalid/{name}.json.reason"))).unwrap();
            assert!(reason.contains(cause) && path(&format!("action/invalid/{name}.json")).exists(), "{reason}");
        }
        assert_eq!(std::fs::read_dir(path("command/inflight")).unwrap().count(), 0);
    }
}
