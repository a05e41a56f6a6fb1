//! The life of a command on the agent, as types: a [`Received`] one is claimed, a [`Claimed`] one runs, a [`Finished`] one is
//! saved. None of them can be copied, so a command runs at most once, after its claim is durable, and its answer is durable
//! before the claim ends.
//!
//! | step | files | a crash after it |
//! |---|---|---|
//! | [`Received::claim`] | received to running, synced | "interrupted" |
//! | [`Claimed::run`] | none | "interrupted" |
//! | [`Finished::save`] | answer put into answered, synced; then running cleared | the answer is sent |

use super::execute::Executor;
use super::status::Status;
use crate::action::Operation;
use crate::command::Command;
use crate::failure::Failure;
use crate::id::CommandRef;
use crate::modules::{ModuleResult, upgrade};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::{Entry, FileName, Mover, Placed, Stage, Step};
use crate::time::{self, Timestamp};

/// A command in received that is trusted, inside its window, and never ran before.
pub struct Received {
    name: FileName,
    command: Command,
}

/// A command that is ours to run, once.
pub struct Claimed(Received);

/// A command that ran. It is kept until its answer is saved: without it the command would end as "interrupted".
#[must_use]
pub struct Finished(Received);

impl Received {
    /// The command of this entry.
    pub fn new(entry: &Entry, command: Command) -> Received {
        Received { name: entry.name.clone(), command }
    }

    /// Claims it. None if it is gone, or was claimed before.
    pub fn claim(self, mover: &Mover) -> Result<Option<Claimed>, Failure> {
        let claim = [Step::forward(AGENT_RECEIVED, &self.name, AGENT_RUNNING)];
        let placed = mover.apply(&claim)?.into_iter().collect::<Result<Vec<_>, Failure>>()?;
        Ok((placed == [Placed::New]).then_some(Claimed(self)))
    }
}

impl Claimed {
    /// Runs its operations.
    pub fn run(self, executor: &Executor, agent: &Status, now: Timestamp) -> Finished {
        let Claimed(mut received) = self;
        let command = &mut received.command;
        let CommandRef { action, command: id } = command.reference();
        log::info!(action:% = action, command:% = id; "running '{}'", command.action.name);
        agent.command(command.reference(), "running");
        let (status, results) = executor.run(&command.action, now);
        log::info!(action:% = action, command:% = id; "{status}");
        agent.command(command.reference(), status);
        command.finish(status, &results, time::now());
        Finished(received)
    }
}

impl Finished {
    /// Whether it has installed another version of the agent.
    pub fn has_upgraded(&self) -> bool {
        let Finished(Received { command, .. }) = self;
        let is_upgrade = |operation: &Operation| operation.module == upgrade::NAME;
        if !command.action.operations.iter().any(is_upgrade) {
            return false;
        }
        let results: Vec<ModuleResult> = serde_json::from_str(command.results.get()).unwrap_or_default();
        let mut both = command.action.operations.iter().zip(&results);
        both.any(|(operation, result)| is_upgrade(operation) && result.success)
    }

    /// Saves its answer.
    pub fn save(&self, mover: &Mover) -> Result<(), Failure> {
        let Finished(Received { name, command }) = self;
        mover.apply_all(&answered(name, command, AGENT_RUNNING))
    }
}

/// The steps from a command's stage to answered.
pub(super) fn answered(name: &FileName, answer: &Command, from: Stage) -> Vec<Step> {
    vec![Step::put(AGENT_ANSWERED, name.clone(), answer.to_json()), Step::clear(from, name)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandStatus;
    use std::sync::Arc;

    #[test]
    fn an_upgrade_counts_wherever_it_is_among_the_operations() {
        let ok = ModuleResult { success: true, ..ModuleResult::default() };
        let failed = ModuleResult::failed("no");
        for (modules, results, upgraded) in [
            (["upgrade", "file", "upgrade"], [&failed, &ok, &ok], true),
            (["upgrade", "file", "file"], [&ok, &failed, &failed], true),
            (["file", "upgrade", "file"], [&ok, &failed, &ok], false),
            (["file", "file", "file"], [&ok, &ok, &ok], false),
        ] {
            let text = include_str!("../../tests/fuzz/seeds/command/answered.json");
            let mut command = Command::parse(text.as_bytes()).unwrap();
            let operation = |module: &str| Operation { module: module.into(), parameters: serde_json::json!({}) };
            Arc::make_mut(&mut command.action).operations = modules.map(operation).into();
            command.finish(CommandStatus::Failed, &results.map(Clone::clone), time::now());
            let finished = Finished(Received { name: command.reference().into(), command });
            assert_eq!(finished.has_upgraded(), upgraded, "{modules:?}");
        }
    }
}
