//! Follows an action: prints answers as they come, until all agents that are online have answered, the action expires, or
//! Ctrl-C.
//!
//! Answers come as server-sent events; a lost connection is resumed after the last one that was received. An API without
//! events (of the original) is asked again and again, and the answers are read at the end.

use super::answer::Answer;
use super::follow_source::{self, Message};
use super::http::Api;
use super::output::Output;
use super::progress::Progress;
use super::results::{self, Wanted};
use super::rows::Show;
use crate::action::Action;
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::time::{self, Timestamp};
use std::collections::HashSet;
use std::fmt;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// The commands of an action, by where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// All.
    pub sent: u64,
    /// Ended.
    pub done: u64,
    /// Not sent yet.
    pub prepared: u64,
    /// Sent, to an agent that is online.
    pub online: u64,
    /// Sent, to one that was not heard of lately.
    pub idle: u64,
    /// Sent, to one that is offline.
    pub offline: u64,
    /// Whether the API says where the waiting ones are.
    pub is_split: bool,
}

impl Waiting {
    /// Reads the data of a `counters` event, or an action.
    pub fn parse(text: &str) -> Result<Waiting, JsonError> {
        let fields = Fields::at("counters", text)?;
        let number = |fields: &Option<Fields>, name| {
            fields.as_ref().map_or(Ok(0), |fields| Ok(fields.integer::<u64>(name)?.unwrap_or(0)))
        };
        let (counters, waiting) = (fields.inner("counters")?, fields.inner("waiting")?);
        Ok(Waiting {
            sent: number(&counters, "sent")?,
            done: number(&counters, "done")?,
            prepared: number(&waiting, "prepared")?,
            online: number(&waiting, "online")?,
            idle: number(&waiting, "idle")?,
            offline: number(&waiting, "offline")?,
            is_split: waiting.is_some(),
        })
    }

    /// Whether no answer is expected soon: the agents that have not answered are idle or offline.
    pub fn is_settled(&self) -> bool {
        self.sent > 0 && (self.done >= self.sent || (self.is_split && self.prepared == 0 && self.online == 0))
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sent == 0 {
            return f.write_str("waiting for the scheduler");
        }
        write!(f, "{} of {} answered", self.done, self.sent)?;
        if !self.is_split {
            return Ok(());
        }
        let parts = [
            (self.prepared, "not sent yet"),
            (self.online, "running"),
            (self.idle, "not yet seen"),
            (self.offline, "offline"),
        ];
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, word)| write!(f, ", {count} {word}"))
    }
}

/// What is followed, and how it is shown.
pub struct Following<'a> {
    /// The action.
    pub id: ActionId,
    /// Its operations' modules.
    pub modules: Vec<String>,
    /// When it expires.
    pub until: Timestamp,
    /// Which results are shown.
    pub show: Show,
    /// The API.
    pub api: &'a Api,
    /// The program's name, for messages.
    pub program: &'static str,
}

/// What came of an action.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Agents that found something.
    pub found: u64,
    /// Agents that answered.
    pub answered: u64,
    /// Of these, agents that did not run everything to its end.
    pub failed: u64,
    /// The last counters.
    pub waiting: Waiting,
    /// Why it was not followed to its end.
    pub stopped: Option<&'static str>,
}

impl<'a> Following<'a> {
    /// Follows an action that the API accepted.
    pub fn of_action(api: &'a Api, program: &'static str, id: ActionId, action: &Action, show: Show) -> Following<'a> {
        let modules = action.operations.iter().map(|operation| operation.module.clone()).collect();
        // The answers to an action that has expired are there, and its stream ends.
        let (now, end) = (time::now(), action.expire_after);
        let until = if end > now { end } else { time::after(now, limits::CLIENT_SILENCE_MAX) };
        Following { id, modules, until, show, api, program }
    }

    /// Follows to the end; prints answers as they come.
    pub fn run(&self, output: &mut Output) -> Result<Outcome, ProgramError> {
        let (messages, source) = follow_source::start(self.api, self.id)?;
        let mut state = State { outcome: Outcome::default(), seen: HashSet::new(), progress: Progress::new() };
        let (mut is_polled, mut last_answer) = (false, Instant::now());
        while state.outcome.stopped.is_none() {
            let left = time::until(time::now(), self.until);
            let is_over = left == Duration::ZERO && last_answer.elapsed() >= limits::CLIENT_LAST_ANSWERS_PAUSE;
            if is_over {
                state.outcome.stopped = Some("the action has expired");
                break;
            }
            state.progress.update(&state.outcome.waiting);
            // After the end, what has arrived is taken for as long as it comes.
            let wait = if left == Duration::ZERO { limits::CLIENT_LAST_ANSWERS_PAUSE } else { left };
            match messages.recv_timeout(wait.min(limits::CLIENT_PROGRESS_AFTER)) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => {
                    if matches!(message, Message::Answer(_)) {
                        last_answer = Instant::now();
                    }
                    is_polled |= matches!(message, Message::Polled(_));
                    if self.handle(message, &mut state, output)? {
                        break;
                    }
                }
            }
            if state.outcome.waiting.is_settled() && (is_polled || state.has_all()) {
                break;
            }
        }
        state.progress.end();
        drop(source);
        if is_polled {
            self.read_answers(&mut state, output)?;
        }
        Ok(state.outcome)
    }

    /// Handles one message; true at the end.
    fn handle(&self, message: Message, state: &mut State, output: &mut Output) -> Result<bool, ProgramError> {
        match message {
            Message::Counters(waiting) | Message::Polled(waiting) => state.outcome.waiting = waiting,
            Message::Answer(answer) => self.take(&answer, state, output)?,
            Message::Unreadable(reason) => {
                state.outcome.answered += 1;
                state.outcome.failed += 1;
                let reason = super::printable(&reason);
                state.progress.above(|| eprintln!("{}: an answer cannot be read: {reason}", self.program));
            }
            Message::Lost(reason) => {
                state.progress.above(|| eprintln!("{}: {reason}; trying again", self.program));
            }
            Message::Refused(reason) => {
                let text = format!("the scheduler refused action {}: {}", self.id, super::printable(&reason));
                return Err(ProgramError::new(ExitClass::Data, text));
            }
            Message::Failed(error) => return Err(error.into()),
            Message::Interrupted => state.outcome.stopped = Some("stopped by Ctrl-C"),
            Message::End => return Ok(true),
        }
        Ok(false)
    }

    /// Counts and prints an answer, once.
    fn take(&self, answer: &Answer, state: &mut State, output: &mut Output) -> Result<(), ProgramError> {
        if !answer.status.is_final() || state.seen.len() >= limits::CLIENT_COMMANDS_MAX || !state.seen.insert(answer.id)
        {
            return Ok(());
        }
        let outcome = &mut state.outcome;
        outcome.answered += 1;
        outcome.found += u64::from(answer.found_anything());
        outcome.failed += u64::from(!answer.is_complete(self.modules.len()));
        state.progress.above(|| {
            report_errors(self.program, answer, self.modules.len());
            output.answer(self.id.get(), answer, &self.modules, self.show)
        })
    }

    /// Reads the answers of an API without events.
    fn read_answers(&self, state: &mut State, output: &mut Output) -> Result<(), ProgramError> {
        results::each(self.api, self.id, Wanted::Ended, |answer| self.take(&answer, state, output))
    }
}

struct State {
    outcome: Outcome,
    seen: HashSet<u64>,
    progress: Progress,
}

impl State {
    /// Whether every answer that is counted was received: the counters may come first.
    fn has_all(&self) -> bool {
        self.outcome.answered >= self.outcome.waiting.done
    }
}

/// Writes to standard error what an agent could not do of so many operations.
pub fn report_errors(program: &str, answer: &Answer, operations: usize) {
    let errors = answer.results.iter().flat_map(|result| result.errors.iter().flatten());
    let mut count = 0;
    for error in errors {
        count += 1;
        eprintln!("{program}: {}: {}", super::printable(&answer.agent), super::printable(error));
    }
    if count == 0 && !answer.is_complete(operations) {
        let (agent, status, results) = (super::printable(&answer.agent), answer.status, answer.results.len());
        eprintln!("{program}: {agent}: {status}, with {results} of {operations} results");
    }
}

impl Outcome {
    /// Agents that have not answered.
    pub fn missing(&self) -> u64 {
        self.waiting.sent.saturating_sub(self.answered)
    }

    /// Says in words what came of it, and returns the error with the exit code.
    pub fn report(&self, id: ActionId, program: &str, exit_status: bool) -> Result<(), ProgramError> {
        let partial = |text: String| Err(ProgramError::new(ExitClass::TemporaryFailure, text));
        let again = format!("mig results {id} prints the answers, --show missing names who has not answered");
        let missing = self.missing();
        if self.waiting.sent == 0 && self.answered == 0 {
            let why = self.stopped.unwrap_or("the stream ended");
            return partial(format!("no agent has answered, {why}; {again}"));
        }
        let found = format!("{} of {} agents found something", self.found, self.waiting.sent.max(self.answered));
        if missing > 0 || self.stopped.is_some() {
            let stopped = self.stopped.map_or(String::new(), |reason| format!("{reason}; "));
            let Waiting { idle, offline, .. } = self.waiting;
            let away =
                if idle + offline > 0 { format!(" ({idle} not yet seen, {offline} offline)") } else { String::new() };
            return partial(format!("{stopped}{found}, {missing} have not answered{away}; {again}"));
        }
        if self.failed > 0 {
            return partial(format!(
                "{found}, {} could not run it to its end; mig action {id} counts why",
                self.failed
            ));
        }
        if self.found == 0 {
            eprintln!("{program}: found nothing: {found}");
            return if exit_status { Err(ProgramError::new(ExitClass::Negative, "")) } else { Ok(()) };
        }
        eprintln!("{program}: {found}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(sent: u64, answered: u64, found: u64) -> Outcome {
        let waiting = Waiting { sent, done: answered, offline: sent - answered, is_split: true, ..Waiting::default() };
        Outcome { found, answered, failed: 0, waiting, stopped: None }
    }

    #[test]
    fn each_ending_has_its_words_and_its_code() {
        let id = ActionId::new(7).unwrap();
        let end = |outcome: Outcome, exit_status| outcome.report(id, "mig", exit_status).map_err(|e| (e.class, e.text));
        assert_eq!(end(outcome(3, 3, 1), true), Ok(()));
        assert_eq!(end(outcome(3, 3, 0), false), Ok(()));
        assert_eq!(end(outcome(3, 3, 0), true), Err((ExitClass::Negative, String::new())));
        let (class, text) = end(outcome(3, 1, 1), false).unwrap_err();
        assert_eq!(class, ExitClass::TemporaryFailure);
        assert!(
            text.contains("1 of 3 agents found something, 2 have not answered (0 not yet seen, 2 offline)"),
            "{text}"
        );
        let (class, text) = end(Outcome { failed: 1, ..outcome(3, 3, 0) }, false).unwrap_err();
        assert!(class == ExitClass::TemporaryFailure && text.contains("1 could not run it"), "{text}");
    }

    #[test]
    fn an_action_is_settled_when_nobody_who_is_online_is_missing() {
        let waiting = |text: &str| Waiting::parse(text).unwrap();
        let text = r#"{"counters":{"sent":4,"done":1},"waiting":{"prepared":0,"online":0,"idle":2,"offline":1}}"#;
        assert!(waiting(text).is_settled());
        assert_eq!(waiting(text).to_string(), "1 of 4 answered, 2 not yet seen, 1 offline");
        assert!(!waiting(&text.replace("\"online\":0", "\"online\":1")).is_settled());
        assert!(!waiting(r#"{"status":"pending","counters":{},"waiting":{"online":0}}"#).is_settled());
        assert!(!waiting(r#"{"counters":{"sent":4,"done":1}}"#).is_settled(), "an API of the original does not say");
    }
}
