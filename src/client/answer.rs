//! An agent's answer to a command, as the API returns it: read leniently, because agents are hostile and programs of the
//! original leave fields out.

use crate::command::CommandStatus;
use crate::id::CommandId;
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::modules::ModuleResult;
use crate::time::Timestamp;
use serde_json::value::RawValue;

/// A command of the API, without its action.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The command's id; 0 on this machine.
    pub id: u64,
    /// The agent's name.
    pub agent: String,
    /// The agent's queue, which identifies it.
    pub queueloc: String,
    /// The agent's status, where the API says it.
    pub agent_status: String,
    /// Progress or outcome.
    pub status: CommandStatus,
    /// One per operation.
    pub results: Vec<ModuleResult>,
    /// When it ended.
    pub finish_time: Timestamp,
}

impl Answer {
    /// Parses a command.
    pub fn parse(text: &str) -> Result<Answer, JsonError> {
        let fields = Fields::at("command", text)?;
        let id = fields.id("id", CommandId::from_json_number)?.ok_or_else(|| fields.missing("id"))?;
        let agent = fields.inner("agent")?.ok_or_else(|| fields.missing("agent"))?;
        let status = fields.text_required("status", limits::AGENT_NAME_BYTES_MAX)?;
        let results = fields.array("results", limits::ACTION_OPERATIONS_MAX)?;
        Ok(Answer {
            id: id.get(),
            agent: agent.text("name", limits::AGENT_NAME_BYTES_MAX)?,
            queueloc: agent.text("queueloc", limits::AGENT_NAME_BYTES_MAX)?,
            agent_status: agent.text("status", limits::AGENT_NAME_BYTES_MAX)?,
            status: CommandStatus::parse(&status).ok_or_else(|| fields.error("status", "is not a command's status"))?,
            results: results.into_iter().map(parse_result).collect(),
            finish_time: fields.time("finishtime")?,
        })
    }

    /// Whether all of so many operations ran to their end: only then has an agent that found nothing looked.
    pub fn is_complete(&self, operations: usize) -> bool {
        let all_ran = self.results.len() == operations && self.results.iter().all(|result| result.success);
        self.status == CommandStatus::Success && all_ran
    }

    /// Whether an operation found something.
    pub fn found_anything(&self) -> bool {
        self.results.iter().any(|result| result.foundanything)
    }
}

/// A result that cannot be read is one with an error, so that the others of the command are shown. That it found something
/// is kept where that can be read.
fn parse_result(raw: &RawValue) -> ModuleResult {
    let parse = || -> Result<ModuleResult, JsonError> {
        let fields = Fields::at("result", raw.get())?;
        let value = |name| Ok(fields.value(name, limits::CLIENT_RESULT_PARTS_MAX)?.unwrap_or_default());
        let errors = fields.strings("errors", limits::CLIENT_RESULT_PARTS_MAX)?;
        Ok(ModuleResult {
            foundanything: fields.boolean("foundanything")?,
            success: fields.boolean("success")?,
            elements: value("elements")?,
            statistics: value("statistics")?,
            errors: Some(errors).filter(|errors| !errors.is_empty()),
        })
    };
    parse().unwrap_or_else(|e| {
        let found = Fields::at("result", raw.get()).and_then(|fields| fields.boolean("foundanything"));
        let failed = ModuleResult::failed(format!("the agent's result cannot be read: {e}"));
        ModuleResult { foundanything: found.unwrap_or(false), ..failed }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_cannot_be_read_does_not_hide_the_others() {
        let text = r#"{"id": 7, "agent": {"name": "a"}, "status": "success", "results": [5, {"foundanything": true}]}"#;
        let answer = Answer::parse(text).unwrap();
        assert!(answer.found_anything());
        assert!(answer.results[0].errors.as_ref().unwrap()[0].contains("cannot be read"), "{answer:?}");
        assert!(Answer::parse(r#"{"id": 7, "agent": {}, "status": "done"}"#).is_err());
        let text = text.replace("5, ", r#"{"foundanything": true, "success": true, "errors": [7]}, "#);
        let partly = Answer::parse(&text.replace(r#", {"foundanything": true}"#, "")).unwrap();
        assert!(partly.found_anything() && !partly.is_complete(1), "{partly:?}");
    }

    #[test]
    fn only_who_ran_everything_to_its_end_has_looked() {
        let answer = |status: &str, results: &str| {
            let text = format!(r#"{{"id": 7, "agent": {{"name": "a"}}, "status": "{status}", "results": {results}}}"#);
            Answer::parse(&text).unwrap()
        };
        let good = r#"[{"success": true}, {"success": true}]"#;
        assert!(answer("success", good).is_complete(2));
        for (status, results) in [
            ("success", "[]"),
            ("success", r#"[{"success": true}]"#),
            ("success", r#"[{"success": true}, {"success": false}]"#),
            ("success", r#"[{"success": true}, 5]"#),
            ("failed", good),
            ("timeout", good),
            ("cancelled", good),
        ] {
            assert!(!answer(status, results).is_complete(2), "{status} {results}");
        }
    }
}
