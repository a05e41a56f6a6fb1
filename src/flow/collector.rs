//! collector makes a round every `freq` and ends what no other worker does:
//!
//! - actions in action/inflight whose commands have all ended (a crash may leave them) move to action/done;
//! - commands in command/ready and command/inflight whose action expired go to command/returned as expired, and from there
//!   like any answer;
//! - files in command/inflight that are no commands go to action/invalid;
//! - copies in command/inflight of commands that have their answer (a crash may leave them), or whose answer another
//!   scheduler of the same store got, are removed;
//! - commands that the store waits for and that have no file of use go to command/returned as expired;
//! - files in action/done, action/invalid and command/done are deleted `deleteafter` after they came there, and so is what
//!   the relay put aside.
//!
//! Everything here is safe to do twice and beside the other workers: a command has one final file, and the first counts.

use super::command_returned::Endings;
use crate::action::Action;
use crate::command::{Command, CommandStatus, KnownActions};
use crate::failure::Failure;
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::relay::Relay;
use crate::spool::stages::{
    ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED,
};
use crate::spool::{FileName, Over, Spool, Stage, Step};
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::worker::clock::ClockHandler;
use crate::worker::{Apply, Pass, apply_all, earlier};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// See the module docs.
pub struct Collector {
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    delete_after: Duration,
    /// When the actions in flight expire; read from their files once.
    expiry: HashMap<ActionId, Timestamp>,
    /// When everything was cleaned last: that looks at every file, so it is not done in every round.
    cleaned: Option<Timestamp>,
    unusable: Unusable,
}

/// Commands whose files are of no use.
#[derive(Default)]
struct Unusable {
    /// Those that cannot be read at the moment: each is logged once, and not read again. The store knows when it ends.
    unreadable: HashSet<(Stage, FileName)>,
    /// Those that are no commands, and why: they are put aside.
    broken: Vec<(FileName, String)>,
}

impl Unusable {
    /// Reads a command.
    fn read(&mut self, spool: &Spool, stage: Stage, name: &FileName) -> Result<Option<Command>, Failure> {
        let broken = match spool.read(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
            Ok(None) => return Ok(None),
            Ok(Some(entry)) => match Command::parse(&entry.bytes) {
                Ok(command) => return Ok(Some(command)),
                Err(error) => error.to_string(),
            },
            Err(Failure::Refuse(reason)) => reason,
            Err(Failure::Skip(reason)) => {
                if self.unreadable.insert((stage, name.clone())) {
                    log::error!("collector: {stage}/{name}: {reason}; it stays until its action expires");
                }
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        // command-ready refuses what is in its stage.
        if stage == COMMAND_INFLIGHT {
            log::warn!("collector: {stage}/{name} is refused: {broken}");
            self.broken.push((name.clone(), broken));
        }
        Ok(None)
    }

    /// Moves what is no command to action/invalid, with its reason.
    fn put_aside(&mut self, apply: Apply, now: Timestamp) -> Result<usize, Failure> {
        let broken = std::mem::take(&mut self.broken);
        let steps = broken.iter().flat_map(|(name, reason)| {
            let text = format!("{now}\n{reason}\n").into_bytes();
            let put = |name| Step::Put { to: ACTION_INVALID, name, bytes: text, over: Over::Anything };
            name.partner().map(put).into_iter().chain([Step::forward(COMMAND_INFLIGHT, name, ACTION_INVALID)])
        });
        apply_all(apply, steps.collect())?;
        Ok(broken.len())
    }
}

impl Collector {
    /// Collects what is in this store and relay, and in the spool of its rounds.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>, delete_after: Duration) -> Collector {
        let (expiry, unusable) = (HashMap::new(), Unusable::default());
        Collector { store, relay, delete_after, expiry, cleaned: None, unusable }
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
        Ok(endings.events.len())
    }

    /// Deletes files that came to their end long enough ago. A refused file and its reason go together.
    fn delete_old(&self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<usize, Failure> {
        let mut steps = Vec::new();
        for stage in [ACTION_DONE, ACTION_INVALID, COMMAND_DONE] {
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

    /// Looks at the commands of one stage that have not ended. `inflight` are the actions in flight; `answered` commands
    /// with an answer, as of a moment ago, or empty when copies are not looked for.
    fn sweep(
        &mut self,
        spool: &Spool,
        stage: Stage,
        (inflight, answered): (&HashSet<ActionId>, &HashSet<FileName>),
        apply: Apply,
        now: Timestamp,
    ) -> Result<Pass, Failure> {
        let (mut overdue, mut elsewhere, mut clears, mut again) = (Vec::new(), Vec::new(), Vec::new(), None);
        let names = spool.list(stage)?;
        self.unusable.unreadable.retain(|(of, name)| *of != stage || names.binary_search(name).is_ok());
        for name in names {
            if self.unusable.unreadable.contains(&(stage, name.clone())) {
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
                Some(deadline) if deadline <= now => overdue.push(name),
                // Its action is not in flight here any more: its last answer may have come to another scheduler.
                Some(_) if stage == COMMAND_INFLIGHT && !inflight.contains(&reference.action) => {
                    elsewhere.push(reference)
                }
                Some(deadline) => again = earlier(again, deadline),
                None => {}
            }
        }
        for batch in elsewhere.chunks(limits::BATCH_ENTRIES_MAX) {
            let ended = self.ended_elsewhere(spool, stage, batch)?;
            clears.extend(ended.into_iter().map(|reference| Step::clear(stage, &reference.into())));
        }
        let mut handled = clears.len();
        apply_all(apply, clears)?;
        handled += self.unusable.put_aside(apply, now)?;
        let mut names = overdue.as_slice();
        while !names.is_empty() {
            let (batch, rest) = read_overdue(spool, stage, names)?;
            handled += batch.answered.len() + batch.waiting.len();
            names = rest;
            apply_all(apply, self.expire(spool, stage, batch, now)?)?;
        }
        Ok(Pass { handled, again })
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

    /// The steps that end commands whose action expired, unless they have ended before.
    fn expire(&mut self, spool: &Spool, stage: Stage, overdue: Overdue, now: Timestamp) -> Result<Vec<Step>, Failure> {
        let references: Vec<CommandRef> = overdue.waiting.iter().map(Command::reference).collect();
        let ended =
            if references.is_empty() { HashSet::new() } else { self.ended_elsewhere(spool, stage, &references)? };
        let mut steps: Vec<Step> = overdue.answered.iter().map(|name| Step::clear(stage, name)).collect();
        for command in overdue.waiting {
            match ended.contains(&command.reference()) {
                true => steps.push(Step::clear(stage, &command.reference().into())),
                false => steps.extend(expired(command, now)),
            }
        }
        Ok(steps)
    }

    /// Ends commands that the store waits for and that have no file of use any more: refused as unreadable, removed by hand, or
    /// never written because the action was withdrawn in the middle. So every command ends, whatever happened.
    fn end_forgotten(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<usize, Failure> {
        let mut ended = 0;
        let before = time::before(now, limits::EXPIRY_GRACE);
        for command in self.store.overdue_commands(before, limits::BATCH_ENTRIES_MAX)? {
            let name = FileName::from(command.reference());
            let is_waiting = self.unusable.read(spool, COMMAND_READY, &name)?.is_some()
                || self.unusable.read(spool, COMMAND_INFLIGHT, &name)?.is_some();
            self.unusable.put_aside(apply, now)?;
            if !is_waiting && !is_answered(spool, &name)? {
                // One at a time: their actions may be large, and they are few.
                apply_all(apply, expired(command, now).collect())?;
                ended += 1;
            }
        }
        Ok(ended)
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
        // What makes room on a full disk comes first. No part depends on the success of another: the failures come last.
        let (mut tidied, mut deleted, mut answered) = (Ok(()), Ok(0), HashSet::new());
        if cleans {
            tidied = self.relay.tidy(self.delete_after, now);
            deleted = self.delete_old(spool, apply, now);
            answered.extend(spool.list(COMMAND_RETURNED)?);
            answered.extend(spool.list(COMMAND_DONE)?);
        }
        let names = spool.list(ACTION_INFLIGHT)?;
        let inflight = names.iter().filter_map(|name| ActionId::from_file_name(name.as_str()?).ok()).collect();
        let ended = self.end_actions(spool, &inflight, apply, now);
        let known = (&inflight, &answered);
        let ready = self.sweep(spool, COMMAND_READY, known, apply, now);
        let sent = self.sweep(spool, COMMAND_INFLIGHT, known, apply, now);
        let forgotten = self.end_forgotten(spool, apply, now);
        tidied?;
        let (ready, sent) = (ready?, sent?);
        let handled = deleted? + ended? + ready.handled + sent.handled + forgotten?;
        if cleans {
            self.cleaned = Some(now);
        }
        Ok(Pass { handled, again: ready.again.map_or(sent.again, |again| earlier(sent.again, again)) })
    }
}

fn warn(failure: Failure) {
    log::warn!("collector: {failure}; delete it by hand");
}

/// Commands of expired actions.
#[derive(Default)]
struct Overdue {
    /// Left over copies: their answers are here.
    answered: Vec<FileName>,
    /// Those without an answer.
    waiting: Vec<Command>,
}

/// Reads a batch; returns the rest of the names too. Those that are gone or cannot be read are left out.
fn read_overdue<'a>(spool: &Spool, stage: Stage, names: &'a [FileName]) -> Result<(Overdue, &'a [FileName]), Failure> {
    let (mut overdue, mut size_bytes, mut rest) = (Overdue::default(), 0, names.iter());
    let known = KnownActions::default();
    while overdue.waiting.len() < limits::BATCH_ENTRIES_MAX && size_bytes < limits::BATCH_SIZE_BYTES_MAX {
        let Some(name) = rest.next() else { break };
        if stage == COMMAND_INFLIGHT && is_answered(spool, name)? {
            overdue.answered.push(name.clone());
        } else if let Some(entry) = spool.read_if_readable(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX)? {
            size_bytes += entry.bytes.len() as u64;
            overdue.waiting.extend(Command::parse_with(&entry.bytes, &known).ok());
        }
    }
    Ok((overdue, rest.as_slice()))
}

fn is_answered(spool: &Spool, name: &FileName) -> Result<bool, Failure> {
    Ok(spool.has(COMMAND_RETURNED, name)? || spool.has(COMMAND_DONE, name)?)
}

/// The steps that end a command. One that was replayed has its answer and keeps it.
fn expired(mut command: Command, now: Timestamp) -> impl Iterator<Item = Step> {
    let reference = command.reference();
    let name = FileName::from(reference);
    if !command.status.is_final() {
        log::info!(action:% = reference.action, command:% = reference.command; "{} did not answer in time", command.agent.queueloc);
        command.finish_unrun(CommandStatus::Expired, "no answer before the action expired", now);
    }
    let clears = [COMMAND_READY, COMMAND_INFLIGHT].map(|stage| Step::clear(stage, &name));
    [Step::put(COMMAND_RETURNED, name, command.to_json())].into_iter().chain(clears)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::directory::{DirectoryRelay, MessageName};
    use crate::spool::{Mover, stages};
    use crate::store::sqlite::SqliteStore;
    use crate::worker::Worker;
    use crate::worker::clock::ClockWorker;

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
        let store = SqliteStore::open(&path("mig.db")).unwrap();
        rusqlite::Connection::open(path("mig.db")).unwrap().execute("DROP TABLE commands", ()).unwrap();
        let mover = Mover::open(directory.path(), &stages::SCHEDULER, "collector").unwrap();
        let relay = DirectoryRelay::open(&path("relay")).unwrap();
        let collector = Collector::new(Box::new(store), Box::new(relay), Duration::from_secs(60));
        let mut collector = ClockWorker::new(mover, collector);
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
        let mover = Mover::open(directory.path(), &stages::SCHEDULER, "collector").unwrap();
        let store = Box::new(SqliteStore::open(&path("mig.db")).unwrap());
        let relay = Box::new(DirectoryRelay::open(&path("relay")).unwrap());
        let mut collector = ClockWorker::new(mover, Collector::new(store, relay, Duration::from_secs(60)));
        let handled: Vec<usize> = (0..2).map(|_| collector.pass(time::now()).unwrap().handled).collect();
        assert_eq!(handled, [3, 0]);
        for (name, cause) in [("5-1", "is missing"), ("6-1", "empty or half-written"), ("7-1", "is a directory")] {
            let reason = std::fs::read_to_string(path(&format!("action/invalid/{name}.json.reason"))).unwrap();
            assert!(reason.contains(cause) && path(&format!("action/invalid/{name}.json")).exists(), "{reason}");
        }
        assert_eq!(std::fs::read_dir(path("command/inflight")).unwrap().count(), 0);
    }
}
