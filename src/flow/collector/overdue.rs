//! Commands whose action has expired: reading them, and the steps that end them.

use super::is_answered;
use crate::command::{Command, CommandStatus, KnownActions};
use crate::failure::Failure;
use crate::limits;
use crate::spool::stages::{COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::{FileName, Placed, Spool, Stage, Step, all_done};
use crate::time::Timestamp;
use crate::worker::{Apply, LogLine};
use std::collections::HashMap;

/// Commands of expired actions.
#[derive(Default)]
pub(super) struct Overdue {
    /// Left over copies: their answers are here.
    pub(super) answered: Vec<FileName>,
    /// Those without an answer.
    pub(super) waiting: Vec<Command>,
}

/// Reads a batch; returns the rest of the names too. Those that are gone or cannot be read are left out.
pub(super) fn read_overdue<'a>(
    spool: &Spool,
    stage: Stage,
    names: &'a [FileName],
) -> Result<(Overdue, &'a [FileName]), Failure> {
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

/// Steps that end commands without an answer, and what is logged when they are applied.
#[derive(Default)]
pub(super) struct Expiring {
    steps: Vec<Step>,
    log: HashMap<FileName, LogLine>,
    size_bytes: usize,
}

impl Expiring {
    /// Ends a command. One that was replayed has its answer and keeps it.
    pub(super) fn add(&mut self, mut command: Command, is_sent: bool, now: Timestamp) {
        let reference = command.reference();
        let name = FileName::from(reference);
        if !command.status.is_final() {
            let (error, text) = match is_sent {
                true => ("no answer before the action expired", "did not answer in time"),
                // It may have been, if the scheduler ended between the relay's promise and the note of it.
                false => ("never sent, as far as is known, before the action expired", "was never sent its command"),
            };
            self.log.insert(name.clone(), LogLine::Command(reference, format!("{} {text}", command.agent.queueloc)));
            command.finish_unrun(CommandStatus::Expired, error, now);
        }
        let text = command.to_json();
        self.size_bytes += text.len();
        let clears = [COMMAND_READY, COMMAND_INFLIGHT].map(|stage| Step::clear(stage, &name));
        self.steps.push(Step::put(COMMAND_RETURNED, name, text));
        self.steps.extend(clears);
    }

    /// Removes an older copy of a command that has ended.
    pub(super) fn clear(&mut self, stage: Stage, name: &FileName) {
        self.steps.push(Step::clear(stage, name));
    }

    /// Whether it is time to apply: actions may be large.
    pub(super) fn is_large(&self) -> bool {
        self.size_bytes as u64 > limits::BATCH_SIZE_BYTES_MAX
    }

    /// Applies the steps. An answer that came meanwhile is the first, and stays.
    pub(super) fn apply(self, apply: Apply) -> Result<(), Failure> {
        let placed = apply(self.steps.clone())?;
        for (step, placed) in self.steps.iter().zip(&placed) {
            if let (Step::Put { name, .. }, Ok(Placed::New)) = (step, placed)
                && let Some(line) = self.log.get(name)
            {
                line.log();
            }
        }
        all_done(placed)
    }
}
