//! command-returned drains command/returned: a final answer is stored, and moves to command/done; an action whose last
//! command has ended moves from action/inflight to action/done.
//!
//! The store's transaction comes first, then the events are published, then the files move. A crash in between leaves
//! commands in command/returned: they are stored again, which changes nothing, and their events are published again.

use super::misnamed;
use crate::action::{Action, ActionStatus};
use crate::command::{Command, KnownActions};
use crate::failure::Failure;
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::relay::{Event, Relay};
use crate::spool::stages::{
    ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED,
};
use crate::spool::{Entry, FileName, Over, Spool, Step};
use crate::store::{Ended, Finished, FinishedBatch, Store};
use crate::time::Timestamp;
use crate::worker::LogLine;
use crate::worker::stage::{FileHandler, Source, Verdict};
use std::collections::BTreeSet;

/// See the module docs.
pub struct CommandReturned {
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
}

impl CommandReturned {
    /// Stores into this store, and publishes events over this relay.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>) -> CommandReturned {
        CommandReturned { store, relay }
    }
}

/// The event of a command that has ended: what it is about, without the results.
fn finished_event(answer: &Command) -> (Event, Vec<u8>) {
    let CommandRef { action, command } = answer.reference();
    let (agent, status) = (answer.agent.queueloc.as_str(), answer.status);
    let body = serde_json::json!({"id": command, "actionid": action, "agent": agent, "status": status});
    (Event::CommandFinished, body.to_string().into_bytes())
}

/// What became of answers in the store.
pub(super) struct Stored {
    /// Of the commands.
    pub(super) events: Vec<(Event, Vec<u8>)>,
    /// For each answer.
    pub(super) finished: Vec<Finished>,
    /// The actions that have ended.
    pub(super) ended: Vec<Ended>,
}

/// Stores answers.
pub(super) fn finish(store: &mut dyn Store, answers: &[Command], now: Timestamp) -> Result<Stored, Failure> {
    let FinishedBatch { finished, ended } = store.finish_commands(answers, now)?;
    // One that was stored before was perhaps not published.
    let is_news = |finished: &Finished, answer: &Command| match finished {
        Finished::Now => true,
        Finished::Before(status) => *status == answer.status,
    };
    let news = answers.iter().zip(&finished).filter(|(answer, finished)| is_news(finished, answer));
    Ok(Stored { events: news.map(|(answer, _)| finished_event(answer)).collect(), finished, ended })
}

/// What is logged of an answer that changed nothing, because its command had another status before.
pub(super) fn too_late(answer: &Command, finished: Finished) -> Option<LogLine> {
    match finished {
        Finished::Before(status) if status != answer.status => Some(LogLine::Command(
            answer.reference(),
            format!("has ended as {status} before, '{}' changes nothing", answer.status),
        )),
        Finished::Now | Finished::Before(_) => None,
    }
}

/// What ends actions: steps for those in flight here, events for all of them.
#[derive(Default)]
pub(super) struct Endings {
    pub(super) steps: Vec<Step>,
    pub(super) events: Vec<(Event, Vec<u8>)>,
    pub(super) log: Vec<LogLine>,
}

impl Endings {
    /// Of the actions whose every command has ended.
    pub(super) fn new(spool: &Spool, ended: Vec<Ended>, now: Timestamp) -> Result<Endings, Failure> {
        let mut endings = Endings::default();
        for one in ended {
            let (id, name) = (one.id, FileName::from(one.id));
            let read = match spool.read(ACTION_INFLIGHT, &name, limits::ACTION_SIZE_BYTES_MAX * 2) {
                Ok(None) => {
                    endings.events.push(ended_event(id));
                    continue;
                }
                Ok(Some(entry)) => Action::parse(&entry.bytes).map_err(|error| error.to_string()),
                Err(Failure::Skip(reason) | Failure::Refuse(reason)) => Err(reason),
                Err(failure) => return Err(failure),
            };
            match read {
                Ok(action) => endings.add(name, action, one, now),
                // Answers of other actions must not wait for this one.
                Err(reason) => {
                    log::error!(action:% = id; "{ACTION_INFLIGHT}/{name} has ended and cannot be moved on: {reason}")
                }
            }
        }
        Ok(endings)
    }

    fn add(&mut self, name: FileName, action: Action, ended: Ended, now: Timestamp) {
        let counters: Vec<String> = ended.counters.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let complete = format!("'{}' is complete: {}", action.name, counters.join(", "));
        self.log.push(LogLine::Action(ended.id, complete));
        let text = final_text(action, ended, now);
        self.events.push((Event::ActionFinished, text.clone()));
        // Over an older run of the same action.
        self.steps.push(Step::Put { to: ACTION_DONE, name: name.clone(), bytes: text, over: Over::Anything });
        self.steps.push(Step::clear(ACTION_INFLIGHT, &name));
    }
}

/// The event of an action that has ended and is not in flight here: another scheduler may have it.
pub(super) fn ended_event(action: ActionId) -> (Event, Vec<u8>) {
    (Event::ActionEnded, serde_json::json!({"id": action}).to_string().into_bytes())
}

/// The text of an action that has ended.
pub(super) fn final_text(mut action: Action, ended: Ended, now: Timestamp) -> Vec<u8> {
    action.status = Some(ActionStatus::Completed);
    action.finish_time = ended.finish_time;
    action.last_update_time = now;
    action.counters = ended.counters;
    action.to_json()
}

/// Every command of an action that is still in the spool.
fn commands_in_spool(spool: &Spool, action: ActionId) -> Result<Vec<Command>, Failure> {
    let (mut commands, known) = (Vec::new(), KnownActions::default());
    for stage in [COMMAND_READY, COMMAND_INFLIGHT, COMMAND_RETURNED] {
        for name in spool.list(stage)? {
            let reference = name.as_str().and_then(|name| CommandRef::from_file_name(name).ok());
            if reference.is_none_or(|reference| reference.action != action) {
                continue;
            }
            match spool.read(stage, &name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
                Ok(entry) => commands.extend(entry.and_then(|entry| Command::parse_with(&entry.bytes, &known).ok())),
                Err(Failure::Refuse(_)) => {}
                // With one missing, an action could end too early.
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(commands)
}

impl FileHandler for CommandReturned {
    type Checked = Command;

    fn name(&self) -> &'static str {
        "command-returned"
    }

    fn source(&self) -> Source {
        Source {
            stage: COMMAND_RETURNED,
            invalid: ACTION_INVALID,
            size_bytes_max: limits::COMMAND_FILE_SIZE_BYTES_MAX,
            batch_entries_max: limits::BATCH_ENTRIES_MAX,
        }
    }

    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<Command, Verdict> + Send + Sync + use<> {
        let known = KnownActions::default();
        move |entry| match Command::parse_with(&entry.bytes, &known) {
            Err(error) => Err(Verdict::Reject(error.to_string())),
            Ok(answer) if entry.name != answer.reference().into() => {
                Err(Verdict::Reject(misnamed(answer.reference(), "stored")))
            }
            Ok(answer) if !answer.status.is_final() => {
                Err(Verdict::Reject(format!("field 'status': '{}' is not an answer", answer.status)))
            }
            Ok(answer) => Ok(answer),
        }
    }

    fn handle(
        &mut self,
        spool: &Spool,
        batch: Vec<(&Entry, Command)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        let (entries, answers): (Vec<&Entry>, Vec<Command>) = batch.into_iter().unzip();
        let actions: BTreeSet<ActionId> = answers.iter().map(|answer| answer.reference().action).collect();
        for action in actions {
            // A new store must know of all commands before the first answer looks like the last.
            if !self.store.has_commands(action)? {
                self.store.restore_commands(&commands_in_spool(spool, action)?, now)?;
            }
        }
        let Stored { mut events, finished, ended } = finish(self.store.as_mut(), &answers, now)?;
        let mut endings = Endings::new(spool, ended, now)?;
        events.append(&mut endings.events);
        self.relay.publish(&events, now)?;
        let done = |((entry, answer), finished): ((&Entry, &Command), Finished)| {
            let mut steps = moved_on(&entry.name);
            // They belong to no single answer; what the batch commits, it commits together.
            steps.append(&mut endings.steps);
            let mut log = std::mem::take(&mut endings.log);
            log.extend(too_late(answer, finished));
            Verdict::Done { steps, then: Vec::new(), log }
        };
        Ok(entries.into_iter().zip(&answers).zip(finished).map(done).collect())
    }
}

/// An answer that is stored; older copies of its command are removed.
fn moved_on(name: &FileName) -> Vec<Step> {
    let older = [COMMAND_READY, COMMAND_INFLIGHT].map(|stage| Step::clear(stage, name));
    [Step::forward(COMMAND_RETURNED, name, COMMAND_DONE)].into_iter().chain(older).collect()
}
