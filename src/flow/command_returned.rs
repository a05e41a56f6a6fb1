//! command-returned: stores final answers, and ends an action when its last command has ended.
//!
//! The store's transaction comes first, then whoever subscribed is told, then the ended actions move to action/done, then
//! the commands to command/done. A crash in between leaves commands in command/returned: they are stored again, which
//! changes nothing, and tell again what has ended.

use super::Failure;
use super::stage::{StageWorker, Verdict, Work, misnamed};
use crate::action::{Action, ActionStatus};
use crate::command::{Command, KnownActions};
use crate::id::{ActionId, CommandRef};
use crate::limits;
use crate::relay::{Event, Relay};
use crate::spool::stages::{ACTION_INFLIGHT, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::{Entry, FileName, ReadError, Spool, Stage};
use crate::store::{Ended, Finished, Store};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// See the module docs.
pub struct CommandReturned {
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
}

impl CommandReturned {
    /// Stores into this store, and tells of it over this relay.
    pub fn new(store: Box<dyn Store>, relay: Box<dyn Relay>) -> CommandReturned {
        CommandReturned { store, relay }
    }
}

/// The events of actions that have ended.
pub(super) fn ended_events(texts: &[(FileName, Vec<u8>)]) -> Vec<(Event, Vec<u8>)> {
    texts.iter().map(|(_, text)| (Event::ActionFinished, text.clone())).collect()
}

/// The event of a command that has ended: what it is about, without the results.
fn finished_event(answer: &Command) -> (Event, Vec<u8>) {
    let CommandRef { action, command } = answer.reference();
    let (agent, status) = (answer.agent.queueloc.as_str(), answer.status);
    let body = serde_json::json!({"id": command, "actionid": action, "agent": agent, "status": status});
    (Event::CommandFinished, body.to_string().into_bytes())
}

/// The final text of actions that ended, for those that are still in flight here.
pub(super) fn final_texts(
    spool: &Spool,
    ended: Vec<Ended>,
    now: Timestamp,
) -> Result<Vec<(FileName, Vec<u8>)>, Failure> {
    let mut texts = Vec::with_capacity(ended.len());
    for one in ended {
        let name = FileName::from(one.id);
        let reason = match spool.read(ACTION_INFLIGHT, &name, limits::ACTION_SIZE_BYTES_MAX * 2) {
            Ok(entry) => match Action::parse(&entry.bytes) {
                Ok(action) => {
                    texts.push((name, final_text(action, one, now)));
                    continue;
                }
                Err(error) => error.to_string(),
            },
            Err(ReadError::Gone) => continue,
            Err(ReadError::Refused(reason) | ReadError::Denied(reason)) => reason,
            Err(ReadError::Io(error)) if error.is_of_one_file() => error.to_string(),
            Err(ReadError::Io(error)) => return Err(error.into()),
        };
        // Answers of other actions must not wait for this one.
        log::error!(action:% = one.id; "{ACTION_INFLIGHT}/{name} has ended and cannot be moved on: {reason}");
    }
    Ok(texts)
}

fn final_text(mut action: Action, ended: Ended, now: Timestamp) -> Vec<u8> {
    let counters: Vec<String> = ended.counters.iter().map(|(name, n)| format!("{n} {name}")).collect();
    log::info!(action:% = ended.id; "'{}' is complete: {}", action.name, counters.join(", "));
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
                Ok(entry) => commands.extend(Command::parse_with(&entry.bytes, &known)),
                Err(ReadError::Gone | ReadError::Denied(_) | ReadError::Refused(_)) => {}
                Err(ReadError::Io(error)) => return Err(error.into()),
            }
        }
    }
    Ok(commands)
}

impl StageWorker for CommandReturned {
    type Judged = Command;

    fn name(&self) -> &'static str {
        "command-returned"
    }

    fn source(&self) -> Stage {
        COMMAND_RETURNED
    }

    fn size_bytes_max(&self) -> u64 {
        limits::COMMAND_FILE_SIZE_BYTES_MAX
    }

    fn judge(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<Command, Verdict> + Send + Sync + use<> {
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

    fn work(
        &mut self,
        spool: &Spool,
        batch: &[Entry],
        judged: Vec<Result<Command, Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut verdict = |judged| match judged {
            Ok(answer) => {
                answers.push(answer);
                Verdict::Next { to: COMMAND_DONE, clear: &[COMMAND_READY, COMMAND_INFLIGHT] }
            }
            Err(verdict) => verdict,
        };
        let verdicts: Vec<Verdict> = judged.into_iter().map(&mut verdict).collect();
        let actions: BTreeSet<ActionId> = answers.iter().map(|answer| answer.reference().action).collect();
        for action in actions {
            // The store was made anew since: it must know of all commands before the first answer looks like the last.
            if !self.store.has_commands(action)? {
                self.store.restore_commands(&commands_in_spool(spool, action)?, now)?;
            }
        }
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::MoveBeforeEffect.is_on() {
            let step = |entry: &Entry| crate::spool::Move::new(COMMAND_RETURNED, &entry.name, COMMAND_DONE);
            spool.advance(&batch.iter().map(step).collect::<Vec<_>>())?;
        }
        let stored = self.store.finish_commands(&answers, now)?;
        let mut events = Vec::with_capacity(answers.len());
        for (answer, finished) in answers.iter().zip(&stored.finished) {
            match finished {
                Finished::Before(status) if *status != answer.status => {
                    let CommandRef { action, command } = answer.reference();
                    log::info!(action:% = action, command:% = command; "has ended as {status} before, '{}' changes nothing", answer.status);
                }
                // Stored before, and perhaps not told of any more.
                Finished::Now | Finished::Before(_) => events.push(finished_event(answer)),
            }
        }
        let ended = final_texts(spool, stored.ended, now)?;
        events.extend(ended_events(&ended));
        self.relay.publish(&events, now)?;
        Ok(Work { verdicts, ended })
    }
}
