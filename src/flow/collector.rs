//! collector: every `freq`, what nobody else does.
//!
//! - ends commands whose action ran out: they go to command/returned as expired, and from there like any answer;
//! - takes away copies in inflight of commands that have their answer (a crash may leave them), or whose answer another
//!   scheduler of the same store got;
//! - ends as expired what the store still waits for and what has no file any more;
//! - ends actions whose commands have all ended (a crash may leave them in flight);
//! - deletes done and invalid files by `deleteafter` since they came there, and what the relay put aside.
//!
//! What notifications missed is picked up by the workers themselves, who look at their stages every `freq` too.
//! Everything here is safe to do twice and beside the other workers: a command has one final file, and the first counts.

use super::command_returned::{ended_events, final_texts};
use super::{Failure, Pass, Worker, earlier};
use crate::action::Action;
use crate::command::{Command, CommandStatus};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::parallel;
use crate::relay::Relay;
use crate::spool::stages::{
    ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED,
};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{Entry, FileName, ReadError, Spool, Stage};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// See the module docs.
pub struct Collector {
    spool: Spool,
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    delete_after: Duration,
    /// When the actions in flight run out; read from their files once.
    expiry: HashMap<ActionId, Timestamp>,
    /// The actions in flight, as of this pass.
    inflight: HashSet<ActionId>,
    /// When everything was cleaned last: that looks at every file, so it is not done in every sweep.
    cleaned: Option<Timestamp>,
}

/// What a file is whose time has come.
enum Overdue {
    /// Left over: its answer is here.
    Answered(FileName),
    /// A command that is waited for, and the bytes of its file.
    Waiting(Box<Command>, u64),
    /// Not there any more, or not readable.
    Gone,
}

impl Collector {
    /// Collects in this spool.
    pub fn new(spool: Spool, store: Box<dyn Store>, relay: Box<dyn Relay>, delete_after: Duration) -> Collector {
        Collector { spool, store, relay, delete_after, expiry: HashMap::new(), inflight: HashSet::new(), cleaned: None }
    }

    /// When a command's answer is not waited for any longer.
    fn deadline(&mut self, stage: Stage, name: &FileName, reference: CommandRef) -> Result<Option<Timestamp>, Failure> {
        if let Some(deadline) = self.expiry.get(&reference.action) {
            return Ok(Some(*deadline));
        }
        let inflight = FileName::from(reference.action);
        let action = match self.spool.read(ACTION_INFLIGHT, &inflight, limits::ACTION_SIZE_BYTES_MAX * 2) {
            Ok(entry) => Action::parse(&entry.bytes).ok(),
            Err(ReadError::Io(error)) => return Err(error.into()),
            // A command that was replayed after its action was done.
            Err(ReadError::Gone | ReadError::Denied(_) | ReadError::Refused(_)) => {
                read_command(&self.spool, stage, name)?.map(|command| command.action)
            }
        };
        let deadline = action.map(|action| time::after(action.expire_after, limits::EXPIRY_GRACE));
        self.expiry.extend(deadline.map(|deadline| (reference.action, deadline)));
        Ok(deadline)
    }

    /// Expires commands and clears answered ones in one stage. Gives how many, and when the next one is due.
    fn sweep(&mut self, stage: Stage, answered: &HashSet<FileName>, now: Timestamp) -> Result<Pass, Failure> {
        let (mut overdue, mut elsewhere, mut handled, mut again) = (Vec::new(), Vec::new(), 0, None);
        for name in self.spool.list(stage)? {
            let Some(reference) = name.as_str().and_then(|name| CommandRef::from_file_name(name).ok()) else {
                continue;
            };
            // A copy in ready is a replay. One in inflight is left over, unless it was replayed since the list was made.
            if stage == COMMAND_INFLIGHT && answered.contains(&name) && is_answered(&self.spool, &name)? {
                self.spool.clear(&[(stage, name)])?;
                handled += 1;
                continue;
            }
            match self.deadline(stage, &name, reference)? {
                Some(deadline) if deadline <= now => overdue.push(name),
                // Its action is not waited for here any more: its last answer may have come to another scheduler.
                Some(_) if stage == COMMAND_INFLIGHT && !self.inflight.contains(&reference.action) => {
                    elsewhere.push(reference)
                }
                Some(deadline) => again = earlier(again, deadline),
                None => {}
            }
        }
        handled += self.end_overdue(stage, &overdue, now)?;
        for batch in elsewhere.chunks(limits::BATCH_ENTRIES_MAX) {
            handled += self.clear_ended_elsewhere(stage, batch)?.len();
        }
        Ok(Pass { handled, again })
    }

    /// Takes commands away that have ended in the store and were not told of here: another scheduler got their answers. One
    /// that was replayed has its answer in its file, and stays. Gives which.
    fn clear_ended_elsewhere(
        &mut self,
        stage: Stage,
        references: &[CommandRef],
    ) -> Result<HashSet<CommandRef>, Failure> {
        let known = self.store.find_commands(references)?;
        let (mut cleared, mut files) = (HashSet::new(), Vec::new());
        for (reference, known) in references.iter().zip(known) {
            let name = FileName::from(*reference);
            if known.is_some_and(|known| known.status.is_final())
                && !is_answered(&self.spool, &name)?
                && read_command(&self.spool, stage, &name)?.is_some_and(|command| !command.status.is_final())
            {
                cleared.insert(*reference);
                files.push((stage, name));
            }
        }
        self.spool.clear(&files)?;
        Ok(cleared)
    }

    /// Ends commands of actions that ran out, a batch at a time. Gives how many were here.
    fn end_overdue(&mut self, stage: Stage, names: &[FileName], now: Timestamp) -> Result<usize, Failure> {
        let (mut answered, mut waiting, mut size_bytes, mut handled) = (Vec::new(), Vec::new(), 0, 0);
        for names in names.chunks(2 * limits::PARALLEL_ENTRIES_MIN) {
            for one in parallel::try_map(names, |name| overdue(&self.spool, stage, name))? {
                match one {
                    Overdue::Answered(name) => answered.push((stage, name)),
                    Overdue::Waiting(command, bytes) => {
                        waiting.push(*command);
                        size_bytes += bytes;
                    }
                    Overdue::Gone => {}
                }
            }
            if waiting.len() >= limits::BATCH_ENTRIES_MAX || size_bytes >= limits::BATCH_SIZE_BYTES_MAX {
                handled += waiting.len();
                self.end_waiting(stage, std::mem::take(&mut waiting), now)?;
                size_bytes = 0;
            }
        }
        handled += answered.len() + waiting.len();
        self.spool.clear(&answered)?;
        self.end_waiting(stage, waiting, now)?;
        Ok(handled)
    }

    /// Ends commands that are still waited for, unless they have ended elsewhere.
    fn end_waiting(&mut self, stage: Stage, mut commands: Vec<Command>, now: Timestamp) -> Result<(), Failure> {
        let references: Vec<CommandRef> = commands.iter().map(Command::reference).collect();
        if references.is_empty() {
            return Ok(());
        }
        let ended = self.clear_ended_elsewhere(stage, &references)?;
        commands.retain(|command| !ended.contains(&command.reference()));
        self.put_expired(&commands, now)
    }

    /// Puts commands into command/returned that are not waited for any longer.
    fn put_expired(&self, commands: &[Command], now: Timestamp) -> Result<(), Failure> {
        let files = parallel::map(commands, |command| (FileName::from(command.reference()), expire(command, now)));
        self.spool.put_replacing(COMMAND_RETURNED, &[COMMAND_READY, COMMAND_INFLIGHT], &files)?;
        Ok(())
    }

    /// Ends commands that the store waits for and that have no file any more: refused as unreadable, removed by hand, or
    /// never written because the action was withdrawn in the middle. So that every command ends, whatever happened.
    fn end_forgotten(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let mut ended = Vec::new();
        let before = time::before(now, limits::EXPIRY_GRACE);
        for command in self.store.overdue_commands(before, limits::BATCH_ENTRIES_MAX)? {
            let name = FileName::from(command.reference());
            let ready_or_inflight = self.spool.has(COMMAND_READY, &name)? || self.spool.has(COMMAND_INFLIGHT, &name)?;
            if !ready_or_inflight && !is_answered(&self.spool, &name)? {
                ended.push(command);
            }
        }
        self.put_expired(&ended, now)?;
        Ok(ended.len())
    }

    /// Ends the actions in flight that have no command left.
    fn end_actions(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let names = self.spool.list(ACTION_INFLIGHT)?;
        let ids = names.iter().filter_map(|name| ActionId::from_file_name(name.as_str()?).ok());
        let ids: Vec<ActionId> = ids.collect();
        self.inflight = ids.iter().copied().collect();
        let known = &self.inflight;
        self.expiry.retain(|id, _| known.contains(id));
        // One whose commands are not released yet has unfinished ones in the store.
        let ended = if ids.is_empty() { Vec::new() } else { self.store.ended_actions(&ids, now)? };
        let texts = final_texts(&self.spool, ended, now)?;
        self.relay.publish(&ended_events(&texts), now)?;
        self.spool.rewrite_and_advance(ACTION_INFLIGHT, ACTION_DONE, &texts)?;
        Ok(texts.len())
    }

    /// Deletes what came to its end long enough ago. A refused file and its reason go together.
    fn delete_old(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let mut deleted = 0;
        for stage in [ACTION_DONE, ACTION_INVALID, COMMAND_DONE] {
            let old: HashSet<FileName> = self.spool.older_than(stage, self.delete_after, now)?.into_iter().collect();
            for name in &old {
                let young_partner =
                    |partner: FileName| Ok::<_, Failure>(!old.contains(&partner) && self.spool.has(stage, &partner)?);
                if stage == ACTION_INVALID && name.partner().map_or(Ok(false), young_partner)? {
                    continue;
                }
                match self.spool.delete(stage, name) {
                    Ok(()) => deleted += 1,
                    Err(error) if error.is_of_one_file() => log::warn!("collector: {error}; delete it by hand"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if deleted > 0 {
            log::info!(
                "collector: deleted {deleted} files that came to their end {:?} ago or earlier",
                self.delete_after
            );
        }
        self.relay.tidy(self.delete_after, now)?;
        Ok(deleted)
    }
}

/// What an overdue command's file is now.
fn overdue(spool: &Spool, stage: Stage, name: &FileName) -> Result<Overdue, Failure> {
    if stage == COMMAND_INFLIGHT && is_answered(spool, name)? {
        return Ok(Overdue::Answered(name.clone()));
    }
    let Some(entry) = read_file(spool, stage, name)? else { return Ok(Overdue::Gone) };
    let waiting = |command| Overdue::Waiting(Box::new(command), entry.bytes.len() as u64);
    Ok(Command::parse(&entry.bytes).map_or(Overdue::Gone, waiting))
}

fn read_command(spool: &Spool, stage: Stage, name: &FileName) -> Result<Option<Command>, Failure> {
    Ok(read_file(spool, stage, name)?.and_then(|entry| Command::parse(&entry.bytes).ok()))
}

fn read_file(spool: &Spool, stage: Stage, name: &FileName) -> Result<Option<Entry>, Failure> {
    match spool.read(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
        Ok(entry) => Ok(Some(entry)),
        Err(ReadError::Gone | ReadError::Denied(_) | ReadError::Refused(_)) => Ok(None),
        Err(ReadError::Io(error)) if error.is_of_one_file() => {
            log::warn!("collector: {error}");
            Ok(None)
        }
        Err(ReadError::Io(error)) => Err(error.into()),
    }
}

fn is_answered(spool: &Spool, name: &FileName) -> Result<bool, Failure> {
    Ok(spool.has(COMMAND_RETURNED, name)? || spool.has(COMMAND_DONE, name)?)
}

/// The last text of a command that is not waited for any longer. One that was replayed has its answer and keeps it.
fn expire(command: &Command, now: Timestamp) -> Vec<u8> {
    if command.status.is_final() {
        return command.to_json();
    }
    let (reference, mut command) = (command.reference(), command.clone());
    log::info!(action:% = reference.action, command:% = reference.command; "{} did not answer in time", command.agent.queueloc);
    command.finish_unrun(CommandStatus::Expired, "no answer before the action ran out", now);
    command.to_json()
}

impl Worker for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        // After a failure too: what is deleted now may be the room that was missing.
        self.cleaned = None;
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let period = self.delete_after.min(limits::CLEANING_PERIOD_MAX);
        let cleans = time::is_due(self.cleaned, period, now);
        // First, and whatever became of it the rest is done too: on a full disk this makes the room that the rest needs.
        let deleted = if cleans { self.delete_old(now) } else { Ok(0) };
        let mut answered = HashSet::new();
        if cleans {
            answered.extend(self.spool.list(COMMAND_RETURNED)?);
            answered.extend(self.spool.list(COMMAND_DONE)?);
        }
        let ended = self.end_actions(now)?;
        let ready = self.sweep(COMMAND_READY, &answered, now)?;
        let inflight = self.sweep(COMMAND_INFLIGHT, &answered, now)?;
        let forgotten = self.end_forgotten(now)?;
        let deleted = deleted?;
        if cleans {
            self.cleaned = Some(now);
        }
        let again = match (ready.again, inflight.again) {
            (Some(one), other) => earlier(other, one),
            (None, other) => other,
        };
        Ok(Pass { handled: ready.handled + inflight.handled + forgotten + ended + deleted, again })
    }
}
