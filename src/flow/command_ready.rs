//! command-ready: sends each command to its agent's queue, and moves it to command/inflight once the relay has promised
//! to keep it.
//!
//! A crash between the promise and the move sends the command again; the agent knows it by its id. A command whose queue
//! does not exist stays, and is tried again with a growing pause until the collector expires it.

use super::Failure;
use super::stage::{StageWorker, Verdict, Work, misnamed};
use crate::command::{Command, KnownActions};
use crate::id::CommandRef;
use crate::limits;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::spool::stages::{COMMAND_INFLIGHT, COMMAND_READY};
use crate::spool::{Entry, Spool, Stage};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::time::Duration;

/// See the module docs.
pub struct CommandReady {
    relay: Box<dyn Relay>,
    store: Box<dyn Store>,
}

impl CommandReady {
    /// Sends through this relay.
    pub fn new(relay: Box<dyn Relay>, store: Box<dyn Store>) -> CommandReady {
        CommandReady { relay, store }
    }
}

/// Half of the time that the command has waited so far, within limits: kept in no memory, so a restart changes nothing.
fn pause(entry: &Entry, now: Timestamp) -> Duration {
    (time::until(entry.look.modified, now) / 2).clamp(limits::RETRY_PAUSE_MIN, limits::UNROUTABLE_PAUSE_MAX)
}

impl StageWorker for CommandReady {
    type Judged = (CommandRef, Message);

    fn name(&self) -> &'static str {
        "command-ready"
    }

    fn source(&self) -> Stage {
        COMMAND_READY
    }

    fn size_bytes_max(&self) -> u64 {
        limits::COMMAND_FILE_SIZE_BYTES_MAX
    }

    /// The relay shall not wait for our disk.
    fn runs_ahead(&self) -> bool {
        true
    }

    fn judge(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Self::Judged, Verdict> + Send + Sync + use<> {
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

    fn work(
        &mut self,
        _spool: &Spool,
        batch: &[Entry],
        judged: Vec<Result<Self::Judged, Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure> {
        let (mut messages, mut commands) = (Vec::new(), Vec::new());
        let mut verdict = |(index, judged): (usize, Result<Self::Judged, Verdict>)| match judged {
            Ok((command, message)) => {
                messages.push(message);
                commands.push((index, command));
                Verdict::Next { to: COMMAND_INFLIGHT, clear: &[] }
            }
            Err(verdict) => verdict,
        };
        let mut verdicts: Vec<Verdict> = judged.into_iter().enumerate().map(&mut verdict).collect();
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::NoWaitForConfirm.is_on() {
            let step = |entry: &Entry| crate::spool::Move::new(COMMAND_READY, &entry.name, COMMAND_INFLIGHT);
            _spool.advance(&batch.iter().map(step).collect::<Vec<_>>())?;
        }
        let mut sent = Vec::with_capacity(commands.len());
        for ((index, command), outcome) in commands.iter().zip(self.relay.send(&messages, now)?) {
            match outcome {
                Sent::Kept => sent.push(*command),
                Sent::Unroutable => {
                    let pause = pause(&batch[*index], now);
                    log::debug!(action:% = command.action, command:% = command.command; "no queue of its agent, trying again in {pause:?}");
                    verdicts[*index] = Verdict::NotYet(time::after(now, pause));
                }
            }
        }
        // That the relay has them is told by the stage; the store's word for it may come late.
        if let Err(error) = self.store.mark_sent(&sent) {
            log::warn!("command-ready: {error}");
        }
        Ok(Work { verdicts, ended: Vec::new() })
    }
}
