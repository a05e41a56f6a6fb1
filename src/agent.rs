//! The agent: receives commands, verifies them itself, runs their operations, answers.
//!
//! It trusts nobody but its own keys and access list; the relay and the scheduler only bring files. Its run directory is
//! a spool of its own, and a command's place in it says all about its state:
//!
//! | stage | promise | a restart |
//! |---|---|---|
//! | received | on our disk, the relay has let go of it; not begun | goes on with it |
//! | running | claimed: it may have begun | ends it as failed, "interrupted"; it never runs again by itself |
//! | answered | the answer is on our disk; the relay does not have it yet | sends it |
//! | done | the relay has the answer; kept until the action runs out | a second delivery is answered from here |
//!
//! A command is claimed one at a time, right before it runs, so that a crash interrupts one at most.

pub mod environment;
pub mod execute;
pub mod identity;
pub mod local;
pub mod program;
pub mod register;
pub mod stat_socket;

use crate::acl::Acl;
use crate::command::{Command, CommandStatus};
use crate::flow::{Failure, Pass, Worker};
use crate::heartbeat::QueueLoc;
use crate::id::CommandRef;
use crate::limits;
use crate::relay::{Delivery, Message, Queue, Relay, Sent};
use crate::signature::{Keyring, distinct};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_INVALID, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Move, Placed, ReadError, Spool, Stage};
use crate::time::{self, Timestamp};
use execute::Executor;
use std::collections::HashMap;
use std::time::Duration;

/// Why the agent does not run a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It ends with this status and error.
    Final(CommandStatus, String),
    /// Its action is not valid before this time.
    NotBefore(Timestamp),
}

/// What an agent accepts.
pub struct Trust {
    /// Who investigators are.
    pub keyring: Keyring,
    /// What they may do.
    pub acl: Acl,
}

impl Trust {
    /// Whether a command may run now: every signature that counts is weighed against every operation.
    pub fn judge(&self, command: &Command, now: Timestamp) -> Result<(), Refusal> {
        let action = &command.action;
        if action.expire_after <= now {
            return Err(Refusal::Final(
                CommandStatus::Expired,
                format!("the action ran out at {}", action.expire_after),
            ));
        }
        let text = action.signed_text();
        let verified: Vec<_> =
            action.signatures.iter().map(|signature| self.keyring.verify(&text, signature, now)).collect();
        let signers = distinct(&verified);
        if let Err(denied) = self.acl.check(action, &signers) {
            let faults = verified
                .iter()
                .enumerate()
                .filter_map(|(index, one)| Some(format!("; pgpsignatures[{index}] {}", one.as_ref().err()?)));
            let text = format!("permission denied: {denied}{}", faults.collect::<String>());
            return Err(Refusal::Final(CommandStatus::Cancelled, text));
        }
        if action.valid_from >= action.expire_after {
            return Err(Refusal::Final(CommandStatus::Cancelled, "validfrom is not before expireafter".into()));
        }
        if action.valid_from > now {
            return Err(Refusal::NotBefore(action.valid_from));
        }
        Ok(())
    }
}

/// The worker that does all of the agent's work but registering.
pub struct Agent {
    /// Its spool.
    pub spool: Spool,
    /// Where commands come from.
    pub relay: Box<dyn Relay>,
    /// Who it is.
    pub queueloc: QueueLoc,
    /// Whom it obeys.
    pub trust: Trust,
    /// How operations are run.
    pub executor: Executor,
    /// How long an answer may wait on the relay.
    pub answer_lifetime: Duration,
    /// Commands of actions that are not valid yet; a hint only.
    pub waiting: HashMap<FileName, Timestamp>,
    /// When kept answers may be deleted; a hint only.
    pub kept: HashMap<FileName, Timestamp>,
    /// An answer that could not be written to the disk yet; without it the command would end as interrupted.
    pub unsaved: Option<(FileName, Vec<u8>)>,
}

impl Agent {
    fn queue(&self) -> Queue {
        Queue::agent(&self.queueloc)
    }

    /// Reads a command of ours. One that is no command is put aside, where an operator can look at it; one that cannot be
    /// read now stays where it is.
    fn read(&self, stage: Stage, name: &FileName, now: Timestamp) -> Result<Option<Command>, Failure> {
        let reason = match self.spool.read(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
            Ok(entry) => match Command::parse(&entry.bytes) {
                Ok(command) => return Ok(Some(command)),
                Err(error) => error.to_string(),
            },
            Err(ReadError::Gone) => return Ok(None),
            Err(ReadError::Io(error)) if !error.is_of_one_file() => return Err(error.into()),
            Err(error) => {
                log::error!("{stage}/{name}: {error}; it stays, and is tried again");
                return Ok(None);
            }
        };
        log::error!("{stage}/{name} is put aside: {reason}");
        for outcome in self.spool.reject(stage, &[(name.clone(), reason)], AGENT_INVALID, now)? {
            outcome?;
        }
        Ok(None)
    }

    /// Puts what the relay has on our disk, then lets go of it there.
    fn receive(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let queue = self.queue();
        let deliveries = self.relay.receive(&queue, limits::AGENT_DELIVERIES_MAX, now)?;
        let (mut taken, mut done): (Vec<(FileName, Vec<u8>)>, Vec<Delivery>) = (Vec::new(), Vec::new());
        for delivery in &deliveries {
            match self.accept(&delivery.body) {
                Ok(name) => {
                    if self.is_unknown(&name, &taken)? {
                        taken.push((name, delivery.body.clone()));
                    }
                    done.push(delivery.clone());
                }
                Err(reason) => {
                    log::warn!("a message is refused: {reason}");
                    self.relay.reject(&queue, delivery, &reason, now)?;
                }
            }
        }
        self.spool.put_replacing(AGENT_RECEIVED, &[], &taken)?;
        self.relay.done(&queue, &done)?;
        Ok(deliveries.len())
    }

    fn accept(&self, body: &[u8]) -> Result<FileName, String> {
        let command = Command::parse(body).map_err(|e| e.to_string())?;
        if command.agent.queueloc != self.queueloc {
            return Err(format!("command {} is for {}", command.reference(), command.agent.queueloc));
        }
        Ok(command.reference().into())
    }

    /// Whether a delivered command is one we have never had. One that was answered is answered again with what was kept.
    fn is_unknown(&self, name: &FileName, taken: &[(FileName, Vec<u8>)]) -> Result<bool, Failure> {
        if taken.iter().any(|(known, _)| known == name) {
            return Ok(false);
        }
        for stage in [AGENT_RECEIVED, AGENT_RUNNING, AGENT_ANSWERED] {
            if self.spool.has(stage, name)? {
                return Ok(false);
            }
        }
        if self.spool.has(AGENT_DONE, name)? {
            log::info!("command {name} came again, the kept answer is sent");
            self.spool.advance(&[Move::new(AGENT_DONE, name, AGENT_ANSWERED)])?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Runs the oldest command that may run.
    fn run_one(&mut self, now: Timestamp) -> Result<usize, Failure> {
        for name in self.spool.list(AGENT_RECEIVED)? {
            if self.waiting.get(&name).is_some_and(|until| *until > now) {
                continue;
            }
            let Some(mut command) = self.read(AGENT_RECEIVED, &name, now)? else { continue };
            let CommandRef { action, command: id } = command.reference();
            match self.trust.judge(&command, now) {
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
                    // The claim: who does not find it where it was, or finds it claimed, does not run it.
                    if self.spool.advance(&[Move::new(AGENT_RECEIVED, &name, AGENT_RUNNING)])? != [Placed::New] {
                        continue;
                    }
                    log::info!(action:% = action, command:% = id; "running '{}'", command.action.name);
                    let (status, results) = self.executor.run(&command.action, now);
                    log::info!(action:% = action, command:% = id; "{status}");
                    command.finish(status, &results, time::now());
                    self.unsaved = Some((name, command.to_json()));
                    self.save()?;
                }
            }
            return Ok(1);
        }
        Ok(0)
    }

    /// Brings the answer of the command that ran to the disk.
    fn save(&mut self) -> Result<(), Failure> {
        if let Some(answer) = &self.unsaved {
            self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RUNNING], std::slice::from_ref(answer))?;
            self.unsaved = None;
        }
        Ok(())
    }

    /// Sends answers, and keeps each until its action runs out.
    fn send(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let mut sent = 0;
        let names = self.spool.list(AGENT_ANSWERED)?;
        for batch in names.chunks(limits::AGENT_DELIVERIES_MAX) {
            let (mut messages, mut moves) = (Vec::new(), Vec::new());
            for name in batch {
                let Some(command) = self.read(AGENT_ANSWERED, name, now)? else { continue };
                let expires = time::after(now, self.answer_lifetime);
                messages.push(Message { queue: Queue::results(), body: command.to_json(), expires });
                moves.push(Move::new(AGENT_ANSWERED, name, AGENT_DONE));
            }
            let outcomes = self.relay.send(&messages, now)?;
            if outcomes.contains(&Sent::Unroutable) {
                return Err(Failure::Away(format!(
                    "send answers: the relay has no queue {}; is a scheduler running?",
                    Queue::results()
                )));
            }
            sent += moves.len();
            for (placed, step) in self.spool.advance(&moves)?.iter().zip(moves) {
                // An answer is kept already; it was the first, and stays.
                if *placed == Placed::Taken {
                    self.spool.clear(&[(step.from, step.name)])?;
                }
            }
        }
        Ok(sent)
    }

    /// Deletes kept answers whose action ran out: a command that comes again would be refused as expired.
    fn tidy(&mut self, now: Timestamp) -> Result<(), Failure> {
        let names = self.spool.list(AGENT_DONE)?;
        let mut old = Vec::new();
        for name in &names {
            let expires = match self.kept.get(name) {
                Some(expires) => *expires,
                None => match self.read(AGENT_DONE, name, now)? {
                    Some(command) => command.action.expire_after,
                    None => continue,
                },
            };
            if expires <= now {
                old.push((AGENT_DONE, name.clone()));
            } else {
                self.kept.insert(name.clone(), expires);
            }
        }
        self.spool.clear(&old)?;
        self.kept.retain(|_, expires| *expires > now);
        self.waiting.retain(|_, until| *until > now);
        Ok(())
    }
}

impl Worker for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn recover(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.spool.clean()?;
        self.save()?;
        for stage in [AGENT_RECEIVED, AGENT_RUNNING] {
            for name in self.spool.list(stage)? {
                // Cut short between writing the answer and taking the command away.
                if self.spool.has(AGENT_ANSWERED, &name)? || self.spool.has(AGENT_DONE, &name)? {
                    self.spool.clear(&[(stage, name)])?;
                }
            }
        }
        for name in self.spool.list(AGENT_RUNNING)? {
            let Some(mut command) = self.read(AGENT_RUNNING, &name, now)? else { continue };
            log::warn!("command {} was interrupted, it does not run again by itself", command.reference());
            command.finish_unrun(CommandStatus::Failed, "interrupted", now);
            self.spool.put_replacing(AGENT_ANSWERED, &[AGENT_RUNNING], &[(name, command.to_json())])?;
        }
        Ok(())
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.relay.declare(&self.queue())?;
        Ok(Some(self.relay.watch(&self.queue(), waker)?))
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        // What is here is run also while the relay is away.
        let received = self.receive(now);
        let ran = self.run_one(now)?;
        let sent = self.send(now);
        if ran > 0 {
            return Ok(Pass { handled: ran, again: Some(now) });
        }
        let handled = received? + sent?;
        if handled == 0 {
            self.tidy(now)?;
        }
        // More may be waiting on the relay; the loop looks whether it shall stop, and comes back at once.
        let again = if handled > 0 { Some(now) } else { self.waiting.values().min().copied() };
        Ok(Pass { handled, again })
    }
}
