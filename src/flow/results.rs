//! results drains the relay's results: an agent's answer goes to command/returned, in place of the command in
//! command/ready or command/inflight.
//!
//! An answer counts when it belongs to a command of ours, to that command's agent and to the action that was sent. The
//! file is the command as it was sent, with the agent's status and results: nothing else of the message is trusted. Its ids
//! may come back from an agent of the original as its floats hold them, so every spelling of them is looked for. Where the
//! command's file is lost or cannot be read, the store and the action's file decide whose answer counts. The file is
//! durable before the message is acknowledged, so a crash brings the message again, and the same content counts as done.
//!
//! All schedulers of one store drain one queue. The answer to a command of another scheduler is stored before it is
//! acknowledged, so that no scheduler waits for another one's disk; if it was the last one of its action, the scheduler
//! that has the action is notified by an event.

use super::command_returned::{Stored, ended_event, finish, too_late};
use crate::action::Action;
use crate::command::{Command, CommandStatus, KnownActions};
use crate::failure::Failure;
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::relay::{Delivery, Queue};
use crate::spool::stages::{ACTION_INFLIGHT, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::{FileName, Notes, Spool, Stage, Step};
use crate::store::{Finished, KnownCommand, Store};
use crate::time::{self, Timestamp};
use crate::worker::LogLine;
use crate::worker::queue::{MessageHandler, Settlement};
use crate::worker::refusal::Kind;
use std::sync::Arc;

/// The note with the time before which every answer that was sent is taken in.
pub(super) const TAKEN_IN: &str = "results-taken-in";

/// See the module docs.
pub struct Results {
    store: Box<dyn Store>,
    notes: Notes,
}

/// The answer to a command that has no file here, and its own name for it.
enum Elsewhere {
    Settled(Settlement),
    /// It is of another scheduler, and to be stored.
    Store(Box<Command>),
}

impl Results {
    /// Asks this store about commands that are not in the spool; `notes` are those of the spool.
    pub fn new(store: Box<dyn Store>, notes: Notes) -> Results {
        Results { store, notes }
    }

    /// The answer to a command that is not waiting here: answered before, its file lost, or sent by another scheduler.
    fn settle_known(
        &mut self,
        spool: &Spool,
        answer: Command,
        known: Option<(CommandRef, KnownCommand)>,
        now: Timestamp,
    ) -> Result<Elsewhere, Failure> {
        let settled = |settlement| Ok(Elsewhere::Settled(settlement));
        let Some((reference, known)) = known else {
            return settled(Settlement::Reject(Kind::Unknown, format!("command {} is not known", answer.reference())));
        };
        if known.status.is_final() && known.status != answer.status {
            return settled(settle_ended(&known.queueloc, known.status, &answer));
        }
        if known.queueloc != answer.agent.queueloc.as_str() {
            return settled(foreign(&answer));
        }
        let is_here = spool.has(ACTION_INFLIGHT, &reference.action.into())?;
        let action = match known_action(spool, reference.action)? {
            None => self.store.find_action(reference.action)?,
            here => here,
        };
        if action.is_some_and(|action| action.signed_text() != answer.action.signed_text()) {
            return settled(other_action(reference));
        }
        let mut answer = answer.renamed(reference);
        if !is_here {
            answer.finish_time = now;
            return Ok(Elsewhere::Store(Box::new(answer)));
        }
        settled(match known.status.is_final() {
            true => settle_ended(&known.queueloc, known.status, &answer),
            false => keep(FileName::from(reference), answer, now),
        })
    }

    /// Stores answers to commands of other schedulers. Returns a settlement for each.
    fn store(&mut self, answers: &[Command], now: Timestamp) -> Result<Vec<Settlement>, Failure> {
        if answers.is_empty() {
            return Ok(Vec::new());
        }
        let Stored { mut events, finished, ended } = finish(self.store.as_mut(), answers, now)?;
        events.extend(ended.into_iter().map(|ended| ended_event(ended.id)));
        // They belong to no single answer; the batch is acknowledged after all of them are published.
        let settlement = |(answer, finished): (&Command, Finished)| {
            let text = format!("{} answers another scheduler's command: {}", answer.agent.queueloc, answer.status);
            let log = match finished {
                Finished::Now => Some(LogLine::Command(answer.reference(), text)),
                Finished::Before(_) => too_late(answer, finished),
            };
            Settlement::publish_others(std::mem::take(&mut events), Vec::new(), log.into_iter().collect())
        };
        Ok(answers.iter().zip(finished).map(settlement).collect())
    }

    /// What the store knows of the commands that these answers may be to.
    fn ask(&mut self, answers: &[CommandRef]) -> Result<Vec<Option<(CommandRef, KnownCommand)>>, Failure> {
        let spellings: Vec<Vec<CommandRef>> = answers.iter().map(|one| one.spellings().collect()).collect();
        let all = spellings.concat();
        let known = if all.is_empty() { Vec::new() } else { self.store.find_commands(&all)? };
        let mut known = all.into_iter().zip(known);
        let mut first = |count: usize| {
            let found = known.by_ref().take(count).filter_map(|(reference, known)| Some((reference, known?)));
            found.collect::<Vec<_>>().into_iter().next()
        };
        Ok(spellings.iter().map(|of_one| first(of_one.len())).collect())
    }
}

/// The action in flight of a command whose own file is lost; None if it is not here or cannot be read.
fn known_action(spool: &Spool, id: ActionId) -> Result<Option<Action>, Failure> {
    let entry = spool.read_if_readable(ACTION_INFLIGHT, &id.into(), 2 * limits::ACTION_SIZE_BYTES_MAX)?;
    Ok(entry.and_then(|entry| Action::parse(&entry.bytes).ok()))
}

/// The result of looking for an answer's command in the spool.
pub enum Checked {
    /// It was found, or the message is none.
    Settled(Settlement),
    /// It was not: the store is asked about it.
    Ask(Box<Command>),
}

fn check(spool: &Spool, delivery: &Delivery, actions: &KnownActions, now: Timestamp) -> Result<Checked, Failure> {
    let answer = match Command::parse_with(&delivery.body, actions) {
        Ok(answer) => answer,
        Err(error) => return Ok(Checked::Settled(Settlement::Reject(Kind::Malformed, error.to_string()))),
    };
    let reference = answer.reference();
    if !answer.status.is_final() {
        let reason = format!("command {reference}: status '{}' is not an answer", answer.status);
        return Ok(Checked::Settled(Settlement::Reject(Kind::Unfinished, reason)));
    }
    let mut is_foreign = false;
    for name in reference.spellings().map(FileName::from) {
        // Another command may have an id that is spelt like this one.
        let is_same = |found: &Command| found.agent.queueloc == answer.agent.queueloc;
        match find(spool, &[COMMAND_READY, COMMAND_INFLIGHT], &name, actions)? {
            Some(sent) if is_same(&sent) => return Ok(Checked::Settled(settle_sent(sent, answer, name, now))),
            found => is_foreign |= found.is_some(),
        }
        match find(spool, &[COMMAND_RETURNED, COMMAND_DONE], &name, actions)? {
            Some(ended) if is_same(&ended) => {
                return Ok(Checked::Settled(settle_ended(ended.agent.queueloc.as_str(), ended.status, &answer)));
            }
            found => is_foreign |= found.is_some(),
        }
    }
    Ok(if is_foreign { Checked::Settled(foreign(&answer)) } else { Checked::Ask(Box::new(answer)) })
}

/// A command in the first of these stages that has it. They are in the order in which it moves, so that one that moves
/// meanwhile is met.
fn find(spool: &Spool, stages: &[Stage], name: &FileName, actions: &KnownActions) -> Result<Option<Command>, Failure> {
    for stage in stages {
        if let Some(entry) = spool.read_if_readable(*stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX)? {
            return Ok(Command::parse_with(&entry.bytes, actions).ok());
        }
    }
    Ok(None)
}

fn other_action(reference: CommandRef) -> Settlement {
    Settlement::Reject(Kind::Altered, format!("command {reference}: its action is not the one that was sent"))
}

fn foreign(answer: &Command) -> Settlement {
    let reason = format!("command {} was not sent to {}", answer.reference(), answer.agent.queueloc);
    Settlement::Reject(Kind::Foreign, reason)
}

/// The answer to a command that has ended.
fn settle_ended(queueloc: &str, status: CommandStatus, answer: &Command) -> Settlement {
    let reference = answer.reference();
    if queueloc != answer.agent.queueloc.as_str() {
        return foreign(answer);
    }
    if status == CommandStatus::Expired && answer.status != status {
        // What an agent found out is kept for operators, though the action waits for it no longer.
        return Settlement::Reject(Kind::Late, format!("command {reference} has expired before its answer came"));
    }
    Settlement::Discard(
        Kind::Duplicate,
        format!("command {reference} has ended as {status} before, the first answer stays"),
    )
}

/// The answer to a command that is waiting.
fn settle_sent(mut sent: Command, answer: Command, name: FileName, now: Timestamp) -> Settlement {
    let reference = sent.reference();
    if sent.agent.queueloc != answer.agent.queueloc {
        return foreign(&answer);
    }
    if !sent.is_of_same_action(&answer) {
        return other_action(reference);
    }
    sent.status = answer.status;
    sent.results = answer.results;
    keep(name, sent, now)
}

fn keep(name: FileName, mut answer: Command, now: Timestamp) -> Settlement {
    answer.finish_time = now;
    let line = LogLine::Command(answer.reference(), format!("{} answers: {}", answer.agent.queueloc, answer.status));
    let put = Step::put(COMMAND_RETURNED, name.clone(), answer.to_json());
    // A command moves from ready to inflight, so a copy that leaves ready meanwhile is met in inflight.
    let steps = vec![put, Step::clear(COMMAND_READY, &name), Step::clear(COMMAND_INFLIGHT, &name)];
    Settlement::Accept { steps, events: Vec::new(), log: vec![line] }
}

impl MessageHandler for Results {
    type Checked = Result<Checked, Failure>;

    fn name(&self) -> &'static str {
        "results"
    }

    fn queue(&self) -> Queue {
        Queue::results()
    }

    fn check(
        &mut self,
        spool: &Arc<Spool>,
        now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Checked + Send + Sync + use<> {
        let (spool, actions) = (Arc::clone(spool), KnownActions::default());
        move |delivery| check(&spool, delivery, &actions, now)
    }

    fn handle(
        &mut self,
        spool: &Spool,
        checked: Vec<Self::Checked>,
        now: Timestamp,
    ) -> Result<Vec<Settlement>, Failure> {
        let checked = checked.into_iter().collect::<Result<Vec<_>, Failure>>()?;
        let asked = |one: &Checked| match one {
            Checked::Ask(answer) => Some(answer.reference()),
            Checked::Settled(_) => None,
        };
        let asked: Vec<CommandRef> = checked.iter().filter_map(asked).collect();
        let mut found = self.ask(&asked)?.into_iter();
        let (mut settled, mut answers) = (Vec::with_capacity(checked.len()), Vec::new());
        for one in checked {
            let one = match one {
                Checked::Settled(settlement) => Elsewhere::Settled(settlement),
                Checked::Ask(answer) => self.settle_known(spool, *answer, found.next().flatten(), now)?,
            };
            settled.push(match one {
                Elsewhere::Settled(settlement) => Some(settlement),
                Elsewhere::Store(answer) => {
                    answers.push(*answer);
                    None
                }
            });
        }
        let mut stored = self.store(&answers, now)?.into_iter();
        Ok(settled.into_iter().filter_map(|one| one.or_else(|| stored.next())).collect())
    }

    fn passed(
        &mut self,
        spool: &Spool,
        settled_before: &mut dyn FnMut() -> Result<Option<Timestamp>, Failure>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        if let Some(time) = settled_before()?
            // Without the note the collector waits longer.
            && let Err(error) = self.notes.mark(TAKEN_IN, time)
        {
            log::debug!("results: {error}");
        }
        // The end of an action does not wait for the next sweep.
        let is_awaited = !spool.list(ACTION_INFLIGHT)?.is_empty();
        Ok(is_awaited.then(|| time::after(now, limits::EXPIRY_GRACE)))
    }
}
