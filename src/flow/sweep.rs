//! What the collector does with commands: those that nobody waits for any longer end, older copies are taken away.

use super::{Failure, Pass, earlier};
use crate::action::Action;
use crate::command::{Command, CommandStatus, KnownActions};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::parallel;
use crate::spool::stages::{ACTION_INFLIGHT, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::{FileName, Spool, Stage};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};

/// One look at the commands that have not ended.
pub(super) struct Sweep<'a> {
    pub(super) spool: &'a Spool,
    pub(super) store: &'a mut dyn Store,
    /// When the actions in flight run out; read from their files once.
    pub(super) expiry: &'a mut HashMap<ActionId, Timestamp>,
    /// The actions in flight.
    pub(super) actions: &'a HashSet<ActionId>,
    /// Commands that have their answer, as of a moment ago; empty when left over copies are not looked for.
    pub(super) answered: &'a HashSet<FileName>,
}

/// Commands whose time has come.
#[derive(Default)]
struct Overdue {
    /// Left over: their answers are here.
    answered: Vec<(Stage, FileName)>,
    /// Those that are waited for.
    waiting: Vec<Command>,
}

impl Sweep<'_> {
    /// Looks at what was in ready and in inflight, and at what has no file.
    pub(super) fn run(
        &mut self,
        ready: Vec<FileName>,
        inflight: Vec<FileName>,
        now: Timestamp,
    ) -> Result<Pass, Failure> {
        let ready = self.stage(COMMAND_READY, ready, now)?;
        let inflight = self.stage(COMMAND_INFLIGHT, inflight, now)?;
        let forgotten = self.end_forgotten(now)?;
        let again = ready.again.map_or(inflight.again, |again| earlier(inflight.again, again));
        Ok(Pass { handled: ready.handled + inflight.handled + forgotten, again })
    }

    /// Expires commands and clears answered ones in one stage. Gives how many, and when the next one is due.
    fn stage(&mut self, stage: Stage, names: Vec<FileName>, now: Timestamp) -> Result<Pass, Failure> {
        let (mut overdue, mut elsewhere, mut handled, mut again) = (Vec::new(), Vec::new(), 0, None);
        for name in names {
            let Some(reference) = name.as_str().and_then(|name| CommandRef::from_file_name(name).ok()) else {
                continue;
            };
            // A copy in ready is a replay. One in inflight is left over, unless it was replayed since the list was made.
            if stage == COMMAND_INFLIGHT && self.answered.contains(&name) && is_answered(self.spool, &name)? {
                self.spool.clear(&[(stage, name)])?;
                handled += 1;
                continue;
            }
            match self.deadline(stage, &name, reference)? {
                Some(deadline) if deadline <= now => overdue.push(name),
                // Its action is not waited for here any more: its last answer may have come to another scheduler.
                Some(_) if stage == COMMAND_INFLIGHT && !self.actions.contains(&reference.action) => {
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

    /// When a command's answer is not waited for any longer.
    fn deadline(&mut self, stage: Stage, name: &FileName, reference: CommandRef) -> Result<Option<Timestamp>, Failure> {
        if let Some(deadline) = self.expiry.get(&reference.action) {
            return Ok(Some(*deadline));
        }
        let inflight = FileName::from(reference.action);
        let expires =
            match self.spool.read_if_readable(ACTION_INFLIGHT, &inflight, limits::ACTION_SIZE_BYTES_MAX * 2)? {
                Some(entry) => Action::parse(&entry.bytes).ok().map(|action| action.expire_after),
                // A command that was replayed after its action was done, for one.
                None => read_command(self.spool, stage, name)?.map(|command| command.action.expire_after),
            };
        let deadline = expires.map(|expires| time::after(expires, limits::EXPIRY_GRACE));
        self.expiry.extend(deadline.map(|deadline| (reference.action, deadline)));
        Ok(deadline)
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
                && !is_answered(self.spool, &name)?
                && read_command(self.spool, stage, &name)?.is_some_and(|command| !command.status.is_final())
            {
                cleared.insert(*reference);
                files.push((stage, name));
            }
        }
        self.spool.clear(&files)?;
        Ok(cleared)
    }

    /// Ends commands of actions that ran out. While a batch is brought to the disk the next one is read. Gives how many were
    /// here.
    fn end_overdue(&mut self, stage: Stage, names: &[FileName], now: Timestamp) -> Result<usize, Failure> {
        let (spool, mut handled) = (self.spool, 0);
        let (mut batch, mut rest) = read_overdue(spool, stage, names)?;
        loop {
            let entries = batch.answered.len() + batch.waiting.len();
            if entries == 0 && rest.is_empty() {
                return Ok(handled);
            }
            handled += entries;
            let (next, ended) =
                parallel::both(entries, || read_overdue(spool, stage, rest), || self.end(stage, batch, now));
            ended?;
            (batch, rest) = next?;
        }
    }

    /// Ends commands that are still waited for, unless they have ended elsewhere.
    fn end(&mut self, stage: Stage, overdue: Overdue, now: Timestamp) -> Result<(), Failure> {
        let Overdue { answered, mut waiting } = overdue;
        self.spool.clear(&answered)?;
        let references: Vec<CommandRef> = waiting.iter().map(Command::reference).collect();
        if references.is_empty() {
            return Ok(());
        }
        let ended = self.clear_ended_elsewhere(stage, &references)?;
        waiting.retain(|command| !ended.contains(&command.reference()));
        self.put_expired(&waiting, now)
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
            if !ready_or_inflight && !is_answered(self.spool, &name)? {
                ended.push(command);
            }
        }
        // A few at a time: their actions may be large.
        ended.chunks(limits::PARALLEL_ENTRIES_MIN).try_for_each(|few| self.put_expired(few, now))?;
        Ok(ended.len())
    }
}

/// Reads a batch; gives the names that are left too. Those that are gone or cannot be read are passed over.
fn read_overdue<'a>(spool: &Spool, stage: Stage, names: &'a [FileName]) -> Result<(Overdue, &'a [FileName]), Failure> {
    let (mut overdue, mut size_bytes, mut rest) = (Overdue::default(), 0, names.iter());
    let known = KnownActions::default();
    while overdue.waiting.len() < limits::BATCH_ENTRIES_MAX && size_bytes < limits::BATCH_SIZE_BYTES_MAX {
        let Some(name) = rest.next() else { break };
        if stage == COMMAND_INFLIGHT && is_answered(spool, name)? {
            overdue.answered.push((stage, name.clone()));
        } else if let Some(entry) = spool.read_if_readable(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX)? {
            size_bytes += entry.bytes.len() as u64;
            overdue.waiting.extend(Command::parse_with(&entry.bytes, &known).ok());
        }
    }
    Ok((overdue, rest.as_slice()))
}

fn read_command(spool: &Spool, stage: Stage, name: &FileName) -> Result<Option<Command>, Failure> {
    let entry = spool.read_if_readable(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX)?;
    Ok(entry.and_then(|entry| Command::parse(&entry.bytes).ok()))
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
