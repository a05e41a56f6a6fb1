//! run: from `received` over `running` to `answered`, one command after the other.
//!
//! Verify, claim, run, answer. The move to `running` is the claim and is on the disk before the first operation begins;
//! what a crash leaves there may have begun, so it ends as "interrupted". The answer is on the disk before `running` lets
//! go of the command. While commands wait, an answer and the claim of the next one share a sync.

use super::execute::Executor;
use super::forgotten::Forgotten;
use super::spare::Spare;
use super::{Refusal, Trust, read_command};
use crate::command::{Command, CommandStatus};
use crate::flow::{Failure, Pass, Worker};
use crate::id::CommandRef;
use crate::limits;
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Move, Placed, Spool};
use crate::time::{self, Timestamp};
use std::collections::HashMap;
use std::time::Instant;

/// See the module docs.
pub struct Run {
    spool: Spool,
    trust: Trust,
    executor: Executor,
    /// For the next command, while there is one.
    spare: Spare,
    /// Commands of actions that are not valid yet; a hint only.
    waiting: HashMap<FileName, Timestamp>,
    /// The answer of the command that ran last, until it is on the disk; without it the command would end as interrupted.
    unsaved: Option<(FileName, Vec<u8>)>,
}

impl Run {
    /// Runs, on the agent's spool, what `trust` allows.
    pub fn new(spool: Spool, trust: Trust, executor: Executor) -> Run {
        Run { spool, trust, executor, spare: Spare::default(), waiting: HashMap::new(), unsaved: None }
    }

    /// Runs what may run, for a while. The last answer is left unsaved. Gives how many were handled.
    fn handle_waiting(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let started = Instant::now();
        let mut handled = 0;
        let names = self.spool.list(AGENT_RECEIVED)?;
        for (index, name) in names.iter().enumerate() {
            let more = index + 1 < names.len();
            if self.handle(name, more, time::after(now, started.elapsed()))? {
                handled += 1;
            } else {
                // There is no claim to share a sync with.
                self.save()?;
            }
            if handled > 0 && started.elapsed() > limits::RUN_PASS_MAX {
                break;
            }
        }
        Ok(handled)
    }

    /// Runs a command if it may run; `more` may follow it. Gives whether it was there to be handled.
    fn handle(&mut self, name: &FileName, more: bool, now: Timestamp) -> Result<bool, Failure> {
        if self.waiting.get(name).is_some_and(|until| *until > now) {
            return Ok(false);
        }
        let Some(mut command) = read_command(&self.spool, AGENT_RECEIVED, name, now)? else { return Ok(false) };
        let CommandRef { action, command: id } = command.reference();
        match self.judge(&command, now)? {
            Ok(()) => self.claim_and_execute(name, command, more, now),
            Err(Refusal::NotBefore(time)) => {
                log::info!(action:% = action, command:% = id; "waits until {time}");
                self.waiting.insert(name.clone(), time);
                Ok(false)
            }
            Err(Refusal::Final(status, error)) => {
                log::warn!(action:% = action, command:% = id; "{status}: {error}");
                command.finish_unrun(status, &error, now);
                self.save()?;
                self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RECEIVED], &[(name.clone(), command.to_json())])?;
                Ok(true)
            }
        }
    }

    /// Claims a command and runs it. The claim shares its sync with the answer of the command before. Gives whether it
    /// ran: who does not find it where it was, or finds it claimed, does not run it.
    fn claim_and_execute(
        &mut self,
        name: &FileName,
        mut command: Command,
        more: bool,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let claim = [Move::new(AGENT_RECEIVED, name, AGENT_RUNNING)];
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::RunBeforeClaim.is_on() {
            self.save()?;
            self.execute(&mut command, more, now);
            self.spool.advance(&claim)?;
            self.unsaved = Some((name.clone(), command.to_json()));
            return Ok(true);
        }
        let claimed = self.spool.put_and_advance(AGENT_ANSWERED, self.unsaved.as_slice(), &claim)? == [Placed::New];
        // What is claimed runs, also when the copy of the command before cannot be taken away now: that can wait.
        let cleared = match self.unsaved.take() {
            Some((before, _)) => self.spool.clear(&[(AGENT_RUNNING, before)]),
            None => Ok(()),
        };
        if claimed {
            self.execute(&mut command, more, now);
            self.unsaved = Some((name.clone(), command.to_json()));
        }
        cleared?;
        Ok(claimed)
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
        let handled = match self.handle_waiting(now) {
            // What is on the disk is not known: nothing more goes there.
            Err(Failure::Fatal(reason)) => return Err(Failure::Fatal(reason)),
            handled => self.save().and(handled)?,
        };
        if handled == 0 {
            self.spare = Spare::default();
        }
        self.waiting.retain(|_, until| *until > now);
        let again = if handled > 0 { Some(now) } else { self.waiting.values().min().copied() };
        Ok(Pass { handled, again })
    }
}
