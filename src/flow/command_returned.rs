//! command-returned: stores final answers, and ends an action when its last command has ended.
//!
//! The store's transaction comes first, then the ended actions move to action/done, then the commands to command/done. A
//! crash in between leaves commands in command/returned: they are stored again, which changes nothing, and tell again
//! which actions have ended.

use super::Failure;
use super::stage::{StageWorker, Verdict, Work};
use crate::action::{Action, ActionStatus};
use crate::command::Command;
use crate::limits;
use crate::spool::stages::{ACTION_INFLIGHT, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::{Entry, FileName, ReadError, Spool, Stage};
use crate::store::{Ended, Finished, Store};
use crate::time::Timestamp;

/// See the module docs.
pub struct CommandReturned {
    store: Box<dyn Store>,
}

impl CommandReturned {
    /// Stores into this store.
    pub fn new(store: Box<dyn Store>) -> CommandReturned {
        CommandReturned { store }
    }
}

/// The final text of actions that ended, for those that are still in flight here.
pub(super) fn final_texts(
    spool: &Spool,
    ended: Vec<Ended>,
    now: Timestamp,
) -> Result<Vec<(FileName, Vec<u8>)>, Failure> {
    let mut texts = Vec::with_capacity(ended.len());
    for one in ended {
        let Some(name) = FileName::new(one.id.file_name()) else { continue };
        let entry = match spool.read(ACTION_INFLIGHT, &name, limits::ACTION_SIZE_BYTES_MAX * 2) {
            Ok(entry) => entry,
            Err(ReadError::Gone) => continue,
            Err(ReadError::Refused(reason)) => {
                return Err(Failure::Away(format!("{ACTION_INFLIGHT}/{name}: {reason}")));
            }
            Err(ReadError::Io(error)) => return Err(error.into()),
        };
        let mut action = match Action::parse(&entry.bytes) {
            Ok(action) => action,
            Err(error) => return Err(Failure::Away(format!("{ACTION_INFLIGHT}/{name}: {error}"))),
        };
        let counters: Vec<String> = one.counters.iter().map(|(name, n)| format!("{n} {name}")).collect();
        log::info!(action:% = one.id; "'{}' is complete: {}", action.name, counters.join(", "));
        action.status = Some(ActionStatus::Completed);
        action.finish_time = one.finish_time;
        action.last_update_time = now;
        action.counters = one.counters;
        texts.push((name, action.to_json()));
    }
    Ok(texts)
}

impl StageWorker for CommandReturned {
    fn name(&self) -> &'static str {
        "command-returned"
    }

    fn source(&self) -> Stage {
        COMMAND_RETURNED
    }

    fn size_bytes_max(&self) -> u64 {
        // The file that was sent, with the agent's results in it.
        limits::RESULT_SIZE_BYTES_MAX + limits::ACTION_SIZE_BYTES_MAX
    }

    fn work(&mut self, spool: &Spool, batch: &[Entry], now: Timestamp) -> Result<Work, Failure> {
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for entry in batch {
            verdicts.push(match Command::parse(&entry.bytes) {
                Err(error) => Verdict::Reject(error.to_string()),
                Ok(answer) if !answer.status.is_final() => {
                    Verdict::Reject(format!("field 'status': '{}' is not an answer", answer.status))
                }
                Ok(answer) => {
                    answers.push(answer);
                    Verdict::Next { to: COMMAND_DONE, clear: &[COMMAND_READY, COMMAND_INFLIGHT] }
                }
            });
        }
        let stored = self.store.finish_commands(&answers, now)?;
        for (answer, finished) in answers.iter().zip(&stored.finished) {
            if let Finished::Before(status) = finished
                && *status != answer.status
            {
                let reference = answer.reference();
                log::info!(action:% = reference.action, command:% = reference.command; "has ended as {status} before, '{}' changes nothing", answer.status);
            }
        }
        Ok(Work { verdicts, ended: final_texts(spool, stored.ended, now)? })
    }
}
