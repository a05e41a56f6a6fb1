//! answer drains answered: an answer is sent to the relay's results, and moves to done.
//!
//! A crash between the relay's promise and the move sends an answer twice; the scheduler knows it by its ids.

use super::{check_kept, commands_of, read_command};
use crate::command::Command;
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE};
use crate::spool::{Entry, Spool, Step};
use crate::time::{self, Timestamp};
use crate::worker::stage::{FileHandler, Source, Verdict};
use std::time::Duration;

/// See the module docs.
pub struct Answer {
    relay: Box<dyn Relay>,
    /// How long an answer may wait on the relay, also when its action has expired.
    lifetime: Duration,
}

impl Answer {
    /// Sends over this relay; an answer may wait there for `lifetime`.
    pub fn new(relay: Box<dyn Relay>, lifetime: Duration) -> Answer {
        Answer { relay, lifetime }
    }

    fn message(&self, command: &Command, now: Timestamp) -> Message {
        // At least as long as the scheduler waits for it: this machine's clock may be behind.
        let awaited = time::after(command.action.expire_after, limits::EXPIRY_GRACE);
        let expires = time::after(now, self.lifetime).max(awaited);
        Message { queue: Queue::results(), body: command.to_json(), expires }
    }
}

impl FileHandler for Answer {
    type Checked = Command;

    fn name(&self) -> &'static str {
        "answer"
    }

    fn source(&self) -> Source {
        commands_of(AGENT_ANSWERED, limits::AGENT_DELIVERIES_MAX)
    }

    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<Command, Verdict> + Send + Sync + use<> {
        read_command
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        batch: Vec<(&Entry, Command)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        let messages: Vec<Message> = batch.iter().map(|(_, command)| self.message(command, now)).collect();
        let outcomes = self.relay.send(&messages, now)?;
        if !outcomes.contains(&Sent::Kept) {
            outcomes.iter().try_for_each(|sent| check_kept("send answers", &Queue::results(), sent))?;
        }
        // If an answer is in done already, it was the first, and stays. Those that are not kept follow at once: the next
        // failure is theirs alone.
        let verdict = |((entry, _), sent): (&(&Entry, Command), Sent)| match sent {
            Sent::Kept => Verdict::done(vec![Step::forward(AGENT_ANSWERED, &entry.name, AGENT_DONE)]),
            _ => Verdict::NotYet(time::after(now, limits::RETRY_PAUSE_MIN)),
        };
        Ok(batch.iter().zip(outcomes).map(verdict).collect())
    }
}
