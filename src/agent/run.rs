//! run: from `received` over `running` to `answered`, one command after the other.
//!
//! Verify, claim, run, answer. The move to `running` is the claim and is on the disk before the first operation begins;
//! what a crash leaves there may have begun, so it ends as "interrupted". The answer is on the disk before `running` lets
//! go of the command.

use super::execute::Executor;
use super::forgotten::Forgotten;
use super::spare::Spare;
use super::{Refusal, Trust, read_command};
use crate::command::{Command, CommandStatus};
use crate::flow::{Failure, Pass, Worker};
use crate::id::CommandRef;
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Move, Placed, Spool};
use crate::time::{self, Timestamp};
use std::collections::HashMap;

/// See the module docs.
pub struct Run {
    spool: Spool,
    trust: Trust,
    executor: Executor,
    /// For the next command, while there is one.
    spare: Spare,
    /// Commands of actions that are not valid yet; a hint only.
    waiting: HashMap<FileName, Timestamp>,
    /// An answer that could not be written to the disk yet; without it the command would end as interrupted.
    unsaved: Option<(FileName, Vec<u8>)>,
}

impl Run {
    /// Runs, on the agent's spool, what `trust` allows.
    pub fn new(spool: Spool, trust: Trust, executor: Executor) -> Run {
        Run { spool, trust, executor, spare: Spare::default(), waiting: HashMap::new(), unsaved: None }
    }

    /// Runs the oldest command that may run. Gives how many left `received`.
    fn run_one(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let names = self.spool.list(AGENT_RECEIVED)?;
        let more = names.len() > 1;
        for name in names {
            if self.waiting.get(&name).is_some_and(|until| *until > now) {
                continue;
            }
            let Some(mut command) = read_command(&self.spool, AGENT_RECEIVED, &name, now)? else { continue };
            let CommandRef { action, command: id } = command.reference();
            match self.judge(&command, now)? {
                Err(Refusal::NotBefore(time)) => {
                    log::info!(action:% = action, command:% = id; "waits until {time}");
                    self.waiting.insert(name, time);
                    continue;
                }
                Err(Refusal::Final(status, error)) => {
                    log::warn!(action:% = action, command:% = id; "{status}: {error}");
                    command.finish_unrun(status, &error, now);
                    self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RECEIVED], &[(name, command.to_json())])?;
                }
                Ok(()) => {
                    #[cfg(feature = "mutants")]
                    if crate::mutants::Mutant::RunBeforeClaim.is_on() {
                        self.execute(&mut command, more, now);
                        self.spool.advance(&[Move::new(AGENT_RECEIVED, &name, AGENT_RUNNING)])?;
                        self.unsaved = Some((name, command.to_json()));
                        self.save()?;
                        return Ok(1);
                    }
                    // The claim: who does not find it where it was, or finds it claimed, does not run it.
                    if self.spool.advance(&[Move::new(AGENT_RECEIVED, &name, AGENT_RUNNING)])? != [Placed::New] {
                        continue;
                    }
                    self.execute(&mut command, more, now);
                    self.unsaved = Some((name, command.to_json()));
                    self.save()?;
                }
            }
            return Ok(1);
        }
        Ok(0)
    }

    /// Whether a command may run now, and is new for certain.
    fn judge(&self, command: &Command, now: Timestamp) -> Result<Result<(), Refusal>, Failure> {
        let trusted = self.trust.judge(command, now);
        let forgotten = Forgotten::read(&self.spool).map_err(Failure::Away)?;
        Ok(trusted.and_then(|()| forgotten.judge(&command.action)))
    }

    /// Runs a command's operations and puts their results into it.
    fn execute(&mut self, command: &mut Command, more: bool, now: Timestamp) {
        let CommandRef { action, command: id } = command.reference();
        log::info!(action:% = action, command:% = id; "running '{}'", command.action.name);
        let (status, results) = self.executor.run(&command.action, more, &mut self.spare, now);
        log::info!(action:% = action, command:% = id; "{status}");
        command.finish(status, &results, time::now());
    }

    fn is_answered(&self, name: &FileName) -> Result<bool, Failure> {
        Ok(self.spool.has(AGENT_ANSWERED, name)? || self.spool.has(AGENT_DONE, name)?)
    }

    /// Brings the answer of the command that ran to the disk.
    fn save(&mut self) -> Result<(), Failure> {
        if let Some(answer) = &self.unsaved {
            self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RUNNING], std::slice::from_ref(answer))?;
            self.unsaved = None;
        }
        Ok(())
    }
}

impl Worker for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn recover(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.spool.clean()?;
        self.save()?;
        for name in self.spool.list(AGENT_RUNNING)? {
            // Cut short between writing the answer and taking the command away.
            if self.is_answered(&name)? {
                self.spool.clear(&[(AGENT_RUNNING, name)])?;
                continue;
            }
            let Some(mut command) = read_command(&self.spool, AGENT_RUNNING, &name, now)? else { continue };
            log::warn!("command {} was interrupted, it does not run again by itself", command.reference());
            command.finish_unrun(CommandStatus::Failed, "interrupted", now);
            self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RUNNING], &[(name, command.to_json())])?;
        }
        for name in self.spool.list(AGENT_RECEIVED)? {
            if self.is_answered(&name)? {
                self.spool.clear(&[(AGENT_RECEIVED, name)])?;
            }
        }
        Ok(())
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(Some(self.spool.watch(AGENT_RECEIVED, waker)?))
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let handled = self.run_one(now)?;
        if handled == 0 {
            self.spare = Spare::default();
        }
        self.waiting.retain(|_, until| *until > now);
        let again = if handled > 0 { Some(now) } else { self.waiting.values().min().copied() };
        Ok(Pass { handled, again })
    }
}
