//! answer: from `answered` to the relay, then to `done`, where answers are kept until their actions run out.
//!
//! A crash between the relay's promise and the move sends an answer twice; the scheduler meets it by its ids. So the move
//! need not wait for the disk, which has the answers to come to write.

use super::forgotten::Forgotten;
use super::read_command;
use crate::flow::{Failure, Pass, Worker};
use crate::limits;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Move, Placed, Spool};
use crate::time::{self, Timestamp};
use std::collections::HashMap;
use std::time::Duration;

/// See the module docs.
pub struct Answer {
    spool: Spool,
    relay: Box<dyn Relay>,
    /// How long an answer may wait on the relay, also when its action has run out.
    lifetime: Duration,
    /// When kept answers may be deleted; a hint only.
    kept: HashMap<FileName, Timestamp>,
    /// Which commands are not known any more.
    forgotten: Forgotten,
}

impl Answer {
    /// Sends what is in the agent's spool; an answer may wait on the relay for `lifetime`.
    pub fn new(spool: Spool, relay: Box<dyn Relay>, lifetime: Duration, forgotten: Forgotten) -> Answer {
        Answer { spool, relay, lifetime, kept: HashMap::new(), forgotten }
    }

    fn send(&mut self, names: &[FileName], now: Timestamp) -> Result<usize, Failure> {
        let (mut messages, mut moves) = (Vec::new(), Vec::new());
        for name in names {
            let Some(command) = read_command(&self.spool, AGENT_ANSWERED, name, now)? else { continue };
            // At least as long as the scheduler waits for it: this machine's clock may be behind.
            let awaited = time::after(command.action.expire_after, limits::EXPIRY_GRACE);
            let expires = time::after(now, self.lifetime).max(awaited);
            messages.push(Message { queue: Queue::results(), body: command.to_json(), expires });
            moves.push(Move::new(AGENT_ANSWERED, name, AGENT_DONE));
        }
        if self.relay.send(&messages, now)?.contains(&Sent::Unroutable) {
            return Err(Failure::Away(format!(
                "send answers: the relay has no queue {}; is a scheduler running?",
                Queue::results()
            )));
        }
        let sent = moves.len();
        for (placed, step) in self.spool.advance_unsynced(&moves)?.iter().zip(moves) {
            // An answer is kept already; it was the first, and stays.
            if *placed == Placed::Taken {
                self.spool.clear(&[(step.from, step.name)])?;
            }
        }
        Ok(sent)
    }

    /// Deletes kept answers whose action ran out: a command that comes again would be refused as expired.
    fn tidy(&mut self, now: Timestamp) -> Result<(), Failure> {
        let names = self.spool.list(AGENT_DONE)?;
        let (mut old, mut latest) = (Vec::new(), Timestamp::MIN);
        for name in &names {
            let expires = match self.kept.get(name) {
                Some(expires) => *expires,
                None => match read_command(&self.spool, AGENT_DONE, name, now)? {
                    Some(command) => command.action.expire_after,
                    None => continue,
                },
            };
            if expires <= now {
                old.push((AGENT_DONE, name.clone()));
                latest = latest.max(expires);
            } else {
                self.kept.insert(name.clone(), expires);
            }
        }
        self.forgotten.extend(&self.spool, latest)?;
        self.spool.clear(&old)?;
        self.kept.retain(|_, expires| *expires > now);
        Ok(())
    }
}

impl Worker for Answer {
    fn name(&self) -> &'static str {
        "answer"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(Some(self.spool.watch(AGENT_ANSWERED, waker)?))
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let mut handled = 0;
        for batch in self.spool.list(AGENT_ANSWERED)?.chunks(limits::AGENT_DELIVERIES_MAX) {
            handled += self.send(batch, now)?;
        }
        if handled == 0 {
            self.tidy(now)?;
        }
        Ok(Pass { handled, again: (handled > 0).then_some(now) })
    }
}
