//! answer drains answered: an answer is sent to the relay's results, and moves to done.
//!
//! A crash between the relay's promise and the move sends an answer twice; the scheduler knows it by its ids.

use super::{commands_of, read_command, send_files, sent_or_later};
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
        let outcomes = send_files(self.relay.as_mut(), "send answers", &messages, &Queue::results(), now)?;
        // If an answer is in done already, it was the first, and stays.
        let verdict = |((entry, _), sent): (&(&Entry, Command), &Sent)| {
            sent_or_later(sent, Step::forward(AGENT_ANSWERED, &entry.name, AGENT_DONE), now)
        };
        Ok(batch.iter().zip(&outcomes).map(verdict).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandStatus;
    use crate::relay::fake::Fake;
    use crate::spool::{Mover, stages};
    use crate::worker::Worker;
    use crate::worker::stage::StageWorker;

    /// An agent's spool with answers to three commands.
    fn answered() -> (tempfile::TempDir, Mover) {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        for number in 1..=3 {
            let text = include_str!("../../tests/fuzz/seeds/command/answered.json");
            let mut command = Command::parse(text.as_bytes()).unwrap();
            command.finish(CommandStatus::Success, &[], time::now());
            std::fs::write(directory.path().join(format!("answered/1-{number}.json")), command.to_json()).unwrap();
        }
        let mover = Mover::open(directory.path(), &stages::AGENT, "answer").unwrap();
        (directory, mover)
    }

    #[test]
    fn an_answer_that_is_refused_does_not_hold_up_the_others_and_is_not_sent_with_them_again() {
        let (directory, mover) = answered();
        let mut calls = Vec::new();
        let send = move |messages: Vec<Message>| {
            calls.push(messages.len());
            let first = Sent::Refused("queue mig.agt.results: too large".into());
            let outcomes: Vec<Sent> = [first, Sent::Kept, Sent::Unconfirmed].into_iter().take(messages.len()).collect();
            assert!(calls == [3] || calls == [3, 2], "{calls:?}");
            Ok(outcomes)
        };
        let answer = Answer::new(Box::new(Fake { send: Box::new(send), ..Fake::default() }), Duration::from_secs(60));
        let mut worker = StageWorker::new(mover, answer);
        let now = time::now();
        let pass = worker.pass(now).unwrap();
        assert!(pass.handled == 1 && pass.again >= Some(time::after(now, limits::RETRY_PAUSE_MIN)), "{pass:?}");
        let names = |stage: &str| std::fs::read_dir(directory.path().join(stage)).unwrap().count();
        assert_eq!((names("answered"), names("done")), (2, 1));
        worker.pass(pass.again.unwrap()).unwrap();
        assert_eq!((names("answered"), names("done")), (1, 2));
    }

    #[test]
    fn when_none_is_kept_the_reason_is_a_failure() {
        for (sent, expected) in [
            (Sent::Unroutable, "the relay has no queue mig.agt.results"),
            (Sent::Refused("queue mig.agt.results: full".into()), "send answers: queue mig.agt.results: full"),
            (Sent::Unconfirmed, "not confirmed"),
        ] {
            let (_directory, mover) = answered();
            let send = move |messages: Vec<Message>| Ok(vec![sent.clone(); messages.len()]);
            let answer = Answer::new(Box::new(Fake { send: Box::new(send), ..Fake::default() }), Duration::ZERO);
            let failure = StageWorker::new(mover, answer).pass(time::now()).unwrap_err();
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }
}
