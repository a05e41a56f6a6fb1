//! A command: an action for one agent, later with that agent's answer.

use crate::action::Action;
use crate::heartbeat::Agent;
use crate::id::{ActionId, CommandId, CommandRef};
use crate::json::{self, Fields, JsonError};
use crate::limits;
use crate::modules::ModuleResult;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Progress or outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandStatus {
    /// Stored, not yet sent.
    Prepared,
    /// The relay has it.
    Sent,
    /// Every operation succeeded.
    Success,
    /// An operation failed, or was interrupted ("interrupted").
    Failed,
    /// An operation exceeded its time limit.
    Timeout,
    /// The agent refused it: signatures, permissions or validity.
    Cancelled,
    /// Its action expired before an answer arrived.
    Expired,
}

impl CommandStatus {
    /// Every status, in the order of a command's life.
    pub const ALL: [CommandStatus; 7] = [
        CommandStatus::Prepared,
        CommandStatus::Sent,
        CommandStatus::Success,
        CommandStatus::Failed,
        CommandStatus::Timeout,
        CommandStatus::Cancelled,
        CommandStatus::Expired,
    ];

    /// The word in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandStatus::Prepared => "prepared",
            CommandStatus::Sent => "sent",
            CommandStatus::Success => "success",
            CommandStatus::Failed => "failed",
            CommandStatus::Timeout => "timeout",
            CommandStatus::Cancelled => "cancelled",
            CommandStatus::Expired => "expired",
        }
    }

    /// Reads [`CommandStatus::as_str`] back.
    pub fn parse(text: &str) -> Option<CommandStatus> {
        CommandStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether no other status can follow.
    pub fn is_final(self) -> bool {
        !matches!(self, CommandStatus::Prepared | CommandStatus::Sent)
    }
}

impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command, as its file and its messages hold it.
#[derive(Debug, Clone, Serialize)]
pub struct Command {
    /// Its own id.
    pub id: CommandId,
    /// What to do, with the signatures that allow it. Commands of one action share it where they are read together.
    pub action: Arc<Action>,
    /// The agent that runs it.
    pub agent: Agent,
    /// Its progress or outcome.
    pub status: CommandStatus,
    /// One result per operation, kept as the agent wrote them.
    pub results: Box<RawValue>,
    /// When it was created.
    #[serde(rename = "starttime")]
    pub start_time: Timestamp,
    /// When it ended.
    #[serde(rename = "finishtime")]
    pub finish_time: Timestamp,
    #[serde(skip)]
    action_id: ActionId,
}

/// Size limit of the action within a command: agents may write numbers in a longer form than we do.
const ACTION_WITHIN_BYTES_MAX: usize = 2 * limits::ACTION_SIZE_BYTES_MAX as usize;

impl Command {
    /// Creates a command; None if the action has no id.
    pub fn new(id: CommandId, action: Arc<Action>, agent: Agent, now: Timestamp) -> Option<Command> {
        let results = vec![ModuleResult::default(); action.operations.len()];
        Some(Command {
            id,
            action_id: action.id?,
            action,
            agent,
            status: CommandStatus::Sent,
            results: raw_results(&results),
            start_time: now,
            finish_time: crate::time::not_set(),
        })
    }

    /// Parses a command: sent, or with an agent's answer. Signatures are not verified here.
    pub fn parse(bytes: &[u8]) -> Result<Command, JsonError> {
        Command::parse_by(bytes, |fields| Ok(Arc::new(parse_action(fields)?)))
    }

    /// Parses one of many commands: an action with a known text is not parsed again.
    pub fn parse_with(bytes: &[u8], known: &KnownActions) -> Result<Command, JsonError> {
        Command::parse_by(bytes, |fields| known.parse(fields))
    }

    fn parse_by(
        bytes: &[u8],
        action: impl Fn(&Fields) -> Result<Arc<Action>, JsonError>,
    ) -> Result<Command, JsonError> {
        let fields = Fields::parse(bytes)?;
        let id = fields.id("id", CommandId::from_json_number)?.ok_or_else(|| fields.missing("id"))?;
        let size_bytes = fields.raw("action").map_or(0, |raw| raw.get().len());
        if size_bytes > ACTION_WITHIN_BYTES_MAX {
            let reason = format!("has {size_bytes} bytes, the limit is {ACTION_WITHIN_BYTES_MAX}");
            return Err(fields.error("action", reason));
        }
        let action = action(&fields)?;
        let action_id = action.id.ok_or_else(|| JsonError::field("action.id", "is missing"))?;
        let agent = fields.inner("agent")?.ok_or_else(|| fields.missing("agent"))?;
        let status = fields.text_required("status", limits::AGENT_NAME_BYTES_MAX)?;
        // Its readers parse the elements; here it must only be an array that every store can read.
        let results = fields.array("results", limits::ACTION_OPERATIONS_MAX)?;
        let levels = fields.raw("results").map_or(0, |raw| json::depth(raw.get()));
        if levels > limits::RESULTS_LEVELS_MAX {
            let reason = format!("is nested more than {} levels deep", limits::RESULTS_LEVELS_MAX);
            return Err(fields.error("results", reason));
        }
        let results = match fields.raw("results") {
            Some(raw) if !results.is_empty() => on_one_line(raw),
            _ => raw_results(&[]),
        };
        Ok(Command {
            id,
            action_id,
            action,
            agent: Agent::from_fields(&agent)?,
            status: CommandStatus::parse(&status).ok_or_else(|| fields.error("status", "is not a command's status"))?,
            results,
            start_time: fields.time("starttime")?,
            finish_time: fields.time("finishtime")?,
        })
    }

    /// Whether both belong to the same signed action.
    pub fn is_of_same_action(&self, other: &Command) -> bool {
        Arc::ptr_eq(&self.action, &other.action) || self.action.signed_text() == other.action.signed_text()
    }

    /// Replaces the ids with those known here: a program of the original may have written them in another form.
    pub fn renamed(mut self, reference: CommandRef) -> Command {
        if self.reference() != reference {
            (self.id, self.action_id) = (reference.command, reference.action);
            Arc::make_mut(&mut self.action).id = Some(reference.action);
        }
        self
    }

    /// Returns its ids.
    pub fn reference(&self) -> CommandRef {
        CommandRef { action: self.action_id, command: self.id }
    }

    /// Ends it with results of this program.
    pub fn finish(&mut self, status: CommandStatus, results: &[ModuleResult], now: Timestamp) {
        self.status = status;
        self.results = raw_results(results);
        self.finish_time = now;
    }

    /// Ends it without running it: every operation has the same error.
    pub fn finish_unrun(&mut self, status: CommandStatus, error: &str, now: Timestamp) {
        let results = vec![ModuleResult::failed(error); self.action.operations.len()];
        self.finish(status, &results, now);
    }

    /// Returns the command as a line of JSON.
    pub fn to_json(&self) -> Vec<u8> {
        crate::json::to_line(self)
    }
}

/// Cache of the actions parsed last. A batch of commands has few: as we write them, and as agents return them.
#[derive(Default)]
pub struct KnownActions(Mutex<VecDeque<(Box<str>, Arc<Action>)>>);

impl KnownActions {
    fn parse(&self, command: &Fields) -> Result<Arc<Action>, JsonError> {
        let raw = command.raw("action").map_or("", RawValue::get);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, action)) = known().iter().find(|(text, _)| **text == *raw) {
            return Ok(Arc::clone(action));
        }
        let action = Arc::new(parse_action(command)?);
        let mut known = known();
        known.push_front((raw.into(), Arc::clone(&action)));
        known.truncate(limits::KNOWN_ACTIONS_MAX);
        Ok(action)
    }
}

/// Parses the action within a command.
fn parse_action(command: &Fields) -> Result<Action, JsonError> {
    Action::from_fields(&command.inner("action")?.ok_or_else(|| command.missing("action"))?)
}

/// Commands are written as one line. JSON strings cannot contain line ends, so these are white space.
fn on_one_line(raw: &RawValue) -> Box<RawValue> {
    if !raw.get().contains(['\n', '\r']) {
        return raw.to_owned();
    }
    let line = raw.get().replace(['\n', '\r'], " ");
    RawValue::from_string(line).expect("replacing white space keeps JSON valid")
}

fn raw_results(results: &[ModuleResult]) -> Box<RawValue> {
    serde_json::value::to_raw_value(results).expect("results are plain JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The bodies of the original's messages on `key`.
    fn bodies(key: &str) -> Vec<String> {
        let messages = include_str!("../tests/samples/amqp.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        messages.filter(|m| m["key"] == key).map(|m| m["body"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_originals_commands_and_results_are_read() {
        for key in ["mig.agt.linux.vm.dn1lbhvz2lfk", "mig.agt.results"] {
            let found = bodies(key);
            assert_eq!(found.len(), 2);
            for body in found {
                let command = Command::parse(body.as_bytes()).unwrap();
                let again: Value = serde_json::from_slice(&command.to_json()).unwrap();
                let sample: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(again["results"], sample["results"]);
                assert_eq!(again["id"], sample["id"]);
                assert_eq!(again["action"]["pgpsignatures"], sample["action"]["pgpsignatures"]);
                assert_eq!(Command::parse(&command.to_json()).unwrap().reference(), command.reference());
            }
        }
    }

    #[test]
    fn actions_that_are_alike_letter_by_letter_are_parsed_once() {
        let known = KnownActions::default();
        let bodies = bodies("mig.agt.results");
        let (one, other) = (bodies[0].as_bytes(), bodies[1].as_bytes());
        let parse = |body| Command::parse_with(body, &known).unwrap();
        let (first, again) = (parse(one), parse(one));
        assert!(Arc::ptr_eq(&first.action, &again.action) && first.is_of_same_action(&again));
        assert_eq!(*first.action, *Command::parse(one).unwrap().action);
        let third = parse(other);
        assert!(!Arc::ptr_eq(&first.action, &third.action) && !first.is_of_same_action(&third));
        // Spaces make it another text of the same action.
        let text = String::from_utf8(one.to_vec()).unwrap().replacen("\"action\":{", "\"action\":{ ", 1);
        let spaced = parse(text.as_bytes());
        assert!(!Arc::ptr_eq(&first.action, &spaced.action) && first.is_of_same_action(&spaced));
        assert!(Command::parse_with(text.replacen("\"name\":", "\"nam\":", 1).as_bytes(), &known).is_err());
    }

    #[test]
    fn results_that_no_string_type_can_hold_survive_as_sent() {
        let body = bodies("mig.agt.results").remove(0).replace("/etc/passwd", "\\u0000\\ud800");
        let command = Command::parse(body.as_bytes()).unwrap();
        assert!(command.results.get().contains("\\u0000\\ud800"));
        assert!(String::from_utf8(command.to_json()).unwrap().contains("\\u0000\\ud800"));
    }

    #[test]
    fn what_is_written_is_one_line_however_the_results_came() {
        let body = bodies("mig.agt.results").remove(0);
        let folded = body.replace("\"results\":[{", "\"results\":[\n\t{\r\n");
        assert_ne!(folded, body);
        let written = Command::parse(folded.as_bytes()).unwrap().to_json();
        assert_eq!(String::from_utf8(written.clone()).unwrap().lines().count(), 1);
        let results = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["results"].clone();
        assert_eq!(results(&written), results(body.as_bytes()));
    }

    #[test]
    fn errors_name_the_field_and_its_object() {
        let body = bodies("mig.agt.results").remove(0);
        for (from, to, error) in [
            ("\"status\":\"success\"", "\"status\":\"great\"", "field 'status': is not a command's status"),
            ("\"queueloc\":\"linux.vm", "\"queueloc\":\"../vm", "field 'agent.queueloc'"),
            ("\"syntaxversion\":2", "\"syntaxversion\":3", "field 'action.syntaxversion'"),
            ("{\"id\":1795335525519004700,", "{\"id\":0,", "field 'id': is missing"),
            ("\"action\":{\"id\":1795335524723826200", "\"action\":{\"id\":-1", "field 'action.id'"),
        ] {
            let broken = body.replace(from, to);
            assert_ne!(broken, body);
            let found = Command::parse(broken.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{found}");
        }
    }
}
