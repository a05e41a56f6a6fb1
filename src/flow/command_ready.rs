//! command-ready drains command/ready: a command is sent to its agent's queue, and moves to command/inflight once the relay
//! has promised to keep it.
//!
//! A crash between the promise and the move sends the command again; the agent knows it by its id. A command whose queue
//! does not exist, or refuses it, stays, and is tried again with a growing pause until the collector expires it; the others
//! go on.

use super::misnamed;
use crate::command::{Command, KnownActions};
use crate::failure::Failure;
use crate::id::CommandRef;
use crate::limits;
use crate::relay::refusing::Refusing;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::spool::stages::{ACTION_INVALID, COMMAND_INFLIGHT, COMMAND_READY};
use crate::spool::{Entry, Spool, Step};
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::worker::stage::{FileHandler, Source, Verdict};
use std::collections::HashMap;
use std::time::Duration;

/// See the module docs.
pub struct CommandReady {
    relay: Box<dyn Relay>,
    store: Box<dyn Store>,
    refusing: Refusing,
    /// Commands whose agent has no queue, each logged once, and when they expire.
    waiting: HashMap<CommandRef, Timestamp>,
}

impl CommandReady {
    /// Sends through this relay.
    pub fn new(relay: Box<dyn Relay>, store: Box<dyn Store>) -> CommandReady {
        let refusing = Refusing::new("command-ready", "its commands wait");
        CommandReady { relay, store, refusing, waiting: HashMap::new() }
    }
}

/// Half of the time that the command has waited so far, within limits: kept in no memory, so a restart changes nothing.
fn pause(entry: &Entry, now: Timestamp) -> Duration {
    (time::until(entry.look.modified, now) / 2).clamp(limits::RETRY_PAUSE_MIN, limits::UNROUTABLE_PAUSE_MAX)
}

impl FileHandler for CommandReady {
    type Checked = (CommandRef, Message);

    fn name(&self) -> &'static str {
        "command-ready"
    }

    fn source(&self) -> Source {
        Source {
            stage: COMMAND_READY,
            invalid: ACTION_INVALID,
            size_bytes_max: limits::COMMAND_FILE_SIZE_BYTES_MAX,
            batch_entries_max: limits::BATCH_ENTRIES_MAX,
        }
    }

    fn check(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Self::Checked, Verdict> + Send + Sync + use<> {
        let known = KnownActions::default();
        move |entry| match Command::parse_with(&entry.bytes, &known) {
            Err(error) => Err(Verdict::Reject(error.to_string())),
            Ok(command) if entry.name != command.reference().into() => {
                Err(Verdict::Reject(misnamed(command.reference(), "sent")))
            }
            // The collector ends it as expired.
            Ok(command) if command.action.expire_after <= now => {
                Err(Verdict::NotYet(time::after(now, limits::UNROUTABLE_PAUSE_MAX)))
            }
            Ok(command) => {
                let queue = Queue::agent(&command.agent.queueloc);
                let message = Message { queue, body: entry.bytes.clone(), expires: command.action.expire_after };
                Ok((command.reference(), message))
            }
        }
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        batch: Vec<(&Entry, Self::Checked)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        self.waiting.retain(|_, expires| *expires > now);
        let (mut entries, mut messages) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (entry, (command, message)) in batch {
            entries.push((entry, command));
            messages.push(message);
        }
        let (mut sent, mut verdicts) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let outcomes = self.relay.send(&messages, now)?;
        for (((entry, command), message), outcome) in entries.into_iter().zip(&messages).zip(outcomes) {
            self.refusing.note(&message.queue, &outcome);
            let pause = match outcome {
                Sent::Kept => {
                    sent.push(command);
                    verdicts.push(Verdict::done(vec![Step::forward(COMMAND_READY, &entry.name, COMMAND_INFLIGHT)]));
                    continue;
                }
                Sent::Unconfirmed => limits::RETRY_PAUSE_MIN,
                Sent::Refused(_) => pause(entry, now),
                Sent::Unroutable => {
                    let pause = pause(entry, now);
                    let (queue, expires) = (&message.queue, message.expires);
                    let is_news = self.waiting.insert(command, expires).is_none();
                    let level = if is_news { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, action:% = command.action, command:% = command.command; "waits in {COMMAND_READY}: the relay has no queue {queue}, which its agent makes when it starts");
                    pause
                }
            };
            verdicts.push(Verdict::NotYet(time::after(now, pause)));
        }
        // The stage shows that the relay has them; the store may learn it later.
        if !sent.is_empty()
            && let Err(error) = self.store.mark_sent(&sent)
        {
            log::warn!("command-ready: {error}");
        }
        Ok(verdicts)
    }
}
