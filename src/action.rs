//! An action: what an investigator wrote and signed, and its progress.
//!
//! [`Action::parse`] is the only parser of action bytes; its errors name the field. [`Action::signed_text`] is what the
//! signatures cover. Everything else in the file (id, status, counters, times of the run) is unsigned: the scheduler
//! changes it, and no program trusts it.

use crate::id::ActionId;
use crate::json::{self, Fields, JsonError};
use crate::limits;
use crate::time::{self, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One call of a module on an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operation {
    /// The module to run.
    pub module: String,
    /// The module's parameters.
    pub parameters: Value,
}

/// Progress of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionStatus {
    /// Some of its commands have not ended.
    Inflight,
    /// Every command has ended.
    Completed,
}

impl ActionStatus {
    /// The word in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ActionStatus::Inflight => "inflight",
            ActionStatus::Completed => "completed",
        }
    }

    /// Reads [`ActionStatus::as_str`] back.
    pub fn parse(text: &str) -> Option<ActionStatus> {
        [ActionStatus::Inflight, ActionStatus::Completed].into_iter().find(|status| status.as_str() == text)
    }
}

/// An action's commands, counted by status. Zero counters are omitted.
pub type Counters = BTreeMap<String, u64>;

/// An action. Field names on disk and on the wire are the lower-case ones of `spool-layout/FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// None (0 in JSON) until the scheduler or the API assigns one.
    #[serde(serialize_with = "id_or_zero")]
    pub id: Option<ActionId>,
    /// Free text.
    pub name: String,
    /// The condition that selects agents; see [`crate::targets`].
    pub target: String,
    /// Author, email, url, revision.
    pub description: Map<String, Value>,
    /// Ref, level, family, type.
    pub threat: Map<String, Value>,
    /// Agents may run it from this time on.
    #[serde(rename = "validfrom")]
    pub valid_from: Timestamp,
    /// Agents may not run it from this time on.
    #[serde(rename = "expireafter")]
    pub expire_after: Timestamp,
    /// The operations, in order.
    pub operations: Vec<Operation>,
    /// Stripped detached OpenPGP signatures over [`Action::signed_text`].
    #[serde(rename = "pgpsignatures")]
    pub signatures: Vec<String>,
    /// Its progress; None until a scheduler accepts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ActionStatus>,
    /// When a scheduler accepted it.
    #[serde(rename = "starttime")]
    pub start_time: Timestamp,
    /// When its last command ended.
    #[serde(rename = "finishtime")]
    pub finish_time: Timestamp,
    /// When this file was last written.
    #[serde(rename = "lastupdatetime")]
    pub last_update_time: Timestamp,
    /// Its commands, counted by status.
    pub counters: Counters,
    /// 2.
    #[serde(rename = "syntaxversion")]
    pub syntax_version: i64,
}

fn id_or_zero<S: serde::Serializer>(id: &Option<ActionId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(id.map_or(0, ActionId::get))
}

/// Separators of the fields of the signed text; one within a field would make the text ambiguous.
const SEPARATORS: [&str; 4] = [";target=", ";validfrom=", ";expireafter=", ";operations="];
/// The only supported syntax version.
const SYNTAX_VERSION: i64 = 2;

impl Action {
    /// Whether it can end the process of the agent that runs it, or of another one beside it.
    pub fn ends_agents(&self) -> bool {
        self.operations.iter().any(|operation| ["upgrade", "agentdestroy"].contains(&operation.module.as_str()))
    }

    /// Parses a signed action. Its signatures must be present; [`crate::signature`] verifies them.
    pub fn parse(bytes: &[u8]) -> Result<Action, JsonError> {
        let action = Action::parse_dated(bytes)?;
        action.check_signed().map(|()| action)
    }

    /// Parses an action whose signatures may be in files of their own.
    pub fn parse_dated(bytes: &[u8]) -> Result<Action, JsonError> {
        let action = Action::parse_draft(bytes)?;
        for (field, time) in [("validfrom", action.valid_from), ("expireafter", action.expire_after)] {
            if time == time::not_set() {
                return Err(JsonError::field(field, "is missing"));
            }
        }
        if action.valid_from >= action.expire_after {
            let reason = format!("{} is not after validfrom, {}", action.expire_after, action.valid_from);
            return Err(JsonError::field("expireafter", reason));
        }
        Ok(action)
    }

    /// Refuses an action without any signature.
    pub fn check_signed(&self) -> Result<(), JsonError> {
        if self.signatures.is_empty() {
            let reason = "is missing: the action is not signed; sign it with mig-action-generator";
            return Err(JsonError::field("pgpsignatures", reason));
        }
        Ok(())
    }

    /// Parses an action that may lack dates and signatures.
    pub fn parse_draft(bytes: &[u8]) -> Result<Action, JsonError> {
        Action::from_fields(&Fields::parse(bytes)?)
    }

    pub(crate) fn from_fields(fields: &Fields) -> Result<Action, JsonError> {
        let id = fields.id("id", ActionId::from_json_number)?;
        let name = fields.text_required("name", limits::ACTION_NAME_BYTES_MAX)?;
        let target = fields.text_required("target", limits::TARGET_BYTES_MAX)?;
        for (field, text) in [("name", &name), ("target", &target)] {
            if let Some(piece) = SEPARATORS.into_iter().find(|piece| text.contains(piece)) {
                let reason = format!("contains '{piece}', which would make the signed text ambiguous");
                return Err(fields.error(field, reason));
            }
        }
        let syntax_version = fields.integer("syntaxversion")?;
        if syntax_version != Some(SYNTAX_VERSION) {
            let found = syntax_version.map_or("is missing".to_owned(), |other| format!("is {other}"));
            let reason = format!("{found}; this program reads {SYNTAX_VERSION}");
            return Err(fields.error("syntaxversion", reason));
        }
        Ok(Action {
            id,
            name,
            target,
            description: fields.object("description")?,
            threat: fields.object("threat")?,
            valid_from: fields.time("validfrom")?,
            expire_after: fields.time("expireafter")?,
            operations: parse_operations(fields)?,
            signatures: parse_signatures(fields)?,
            status: None,
            start_time: fields.time("starttime")?,
            finish_time: fields.time("finishtime")?,
            last_update_time: fields.time("lastupdatetime")?,
            counters: parse_counters(fields)?,
            syntax_version: SYNTAX_VERSION,
        })
    }

    /// Refuses a description or threat for which each agent of the original would refuse the command. Neither is signed
    /// and nothing depends on them, so only new actions are checked.
    pub fn check_notes(&self) -> Result<(), JsonError> {
        check_types("description", &self.description, &["author", "email", "url"], &["revision"])?;
        check_types("threat", &self.threat, &["ref", "level", "family", "type"], &[])
    }

    /// Returns the text that an investigator signs, without a newline at its end. `%!s(int64=…)` is part of the format.
    pub fn signed_text(&self) -> String {
        let mut text = format!(
            "name={};target={};validfrom={};expireafter=%!s(int64={});operations=[",
            self.name,
            self.target,
            self.valid_from.as_second(),
            self.expire_after.as_second()
        );
        for (index, operation) in self.operations.iter().enumerate() {
            text.push_str(if index == 0 { "{\"module\":" } else { ",{\"module\":" });
            json::canonical_string(&operation.module, &mut text);
            text.push_str(",\"parameters\":");
            json::canonical(&operation.parameters, &mut text);
            text.push('}');
        }
        text.push_str("];");
        text
    }

    /// Returns the action as it is written to disk: one line, for jq, grep and the relay.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_line(self)
    }
}

fn parse_operations(fields: &Fields) -> Result<Vec<Operation>, JsonError> {
    let raw = fields.array("operations", limits::ACTION_OPERATIONS_MAX)?;
    if raw.is_empty() {
        return Err(fields.error("operations", "is missing or empty"));
    }
    let parse = |(index, raw): (usize, &RawValue)| {
        let operation = Fields::at(&fields.path(&format!("operations[{index}]")), raw.get())?;
        let module = operation.text_required("module", limits::MODULE_NAME_BYTES_MAX)?;
        if !module.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(operation.error("module", "may hold letters, digits, '_' and '-' only"));
        }
        let parameters = operation.value("parameters", limits::JSON_PARAMETERS_PARTS_MAX)?.unwrap_or_default();
        Ok(Operation { module, parameters })
    };
    raw.into_iter().enumerate().map(parse).collect()
}

fn parse_signatures(fields: &Fields) -> Result<Vec<String>, JsonError> {
    let signatures = fields.strings("pgpsignatures", limits::ACTION_SIGNATURES_MAX)?;
    for (index, text) in signatures.iter().enumerate() {
        if text.is_empty() || text.len() > limits::SIGNATURE_BYTES_MAX {
            let reason = format!("has {} bytes, expected 1 to {}", text.len(), limits::SIGNATURE_BYTES_MAX);
            return Err(fields.error(&format!("pgpsignatures[{index}]"), reason));
        }
    }
    Ok(signatures)
}

/// Refuses notes with a field whose type the original's programs cannot read.
fn check_types(name: &str, notes: &Map<String, Value>, texts: &[&str], numbers: &[&str]) -> Result<(), JsonError> {
    for (key, value) in notes.iter().filter(|(_, value)| !value.is_null()) {
        let is_one_of = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(key));
        let what = match value {
            _ if is_one_of(texts) && !value.is_string() => "a string",
            _ if is_one_of(numbers) && !value.is_number() => "a number",
            _ => continue,
        };
        let reason = format!("is not {what}, which programs of the original need");
        return Err(JsonError::field(format!("{name}.{key}"), reason));
    }
    Ok(())
}

fn parse_counters(fields: &Fields) -> Result<Counters, JsonError> {
    let counters = fields.object("counters")?;
    Ok(counters.into_iter().filter_map(|(name, value)| Some((name, value.as_u64().filter(|n| *n > 0)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../tests/samples/action-signed-by-one.json");

    fn with(field: &str, value: Value) -> Result<Action, JsonError> {
        let mut action: Value = serde_json::from_str(SAMPLE).unwrap();
        action[field] = value;
        let action = Action::parse(action.to_string().as_bytes())?;
        action.check_notes().map(|()| action)
    }

    #[test]
    fn the_originals_sample_gives_the_text_it_signed() {
        let action = Action::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(action.id, None);
        assert_eq!(
            action.signed_text(),
            "name=find <root> & co;target=queueloc like 'linux.%';validfrom=1795334400;expireafter=%!s(int64=2110694400);operations=[{\"module\":\"file\",\"parameters\":{\"searches\":{\"z\":{\"contents\":[\"^root:\\u003c\\u0026\\u003e\"],\"names\":[\"^passwd$\"],\"options\":{\"matchall\":true,\"maxdepth\":1},\"paths\":[\"/etc\"]}}}}];"
        );
    }

    #[test]
    fn what_we_write_we_read_and_the_signed_text_stays() {
        let mut action = Action::parse(SAMPLE.as_bytes()).unwrap();
        action.id = ActionId::new(7);
        action.counters.insert("sent".into(), 3);
        let again = Action::parse(&action.to_json()).unwrap();
        assert_eq!(again, action);
        assert_eq!(again.signed_text(), action.signed_text());
    }

    #[test]
    fn what_was_escaped_is_read_again_when_it_is_written_plain() {
        let commas = SAMPLE.replace("\"T\"", &format!("\"{}\"", "\\u002c".repeat(limits::JSON_OBJECT_PARTS_MAX)));
        assert_ne!(commas, SAMPLE);
        let action = Action::parse(commas.as_bytes()).unwrap();
        assert_eq!(Action::parse(&action.to_json()), Ok(action));
    }

    #[test]
    fn field_names_are_read_in_any_case() {
        let upper = SAMPLE.replace("\"name\":", "\"Name\":").replace("\"operations\":", "\"OPERATIONS\":");
        assert_eq!(Action::parse(upper.as_bytes()).unwrap(), Action::parse(SAMPLE.as_bytes()).unwrap());
    }

    #[test]
    fn each_bad_field_is_named() {
        for (field, value, reason) in [
            ("name", Value::Null, "field 'name': is missing"),
            ("name", "a;target=b".into(), "field 'name': contains ';target='"),
            ("target", "1=1;operations=".into(), "field 'target': contains ';operations='"),
            ("target", "".into(), "field 'target': is empty"),
            ("operations", serde_json::json!([]), "field 'operations': is missing or empty"),
            ("operations", serde_json::json!([{"module": "a b"}]), "field 'operations[0].module': may hold"),
            ("operations", serde_json::json!([{"module": "file"}, 3]), "field 'operations[1]': "),
            ("pgpsignatures", serde_json::json!([]), "field 'pgpsignatures': is missing: the action is not signed"),
            ("pgpsignatures", serde_json::json!([1]), "field 'pgpsignatures[0]': is not a string"),
            ("pgpsignatures", serde_json::json!(vec!["x"; 1000]), "field 'pgpsignatures': has 1000 elements"),
            ("validfrom", "0001-01-01T00:00:00Z".into(), "field 'validfrom': is missing"),
            ("expireafter", "2020-01-01T00:00:00Z".into(), "is not after validfrom"),
            ("expireafter", "soon".into(), "field 'expireafter': is not a time"),
            ("syntaxversion", 1.into(), "field 'syntaxversion': is 1"),
            ("id", (-4).into(), "field 'id': '-4' is not an id"),
            ("description", "text".into(), "field 'description': is not an object"),
            ("description", serde_json::json!({"Revision": "1.2"}), "field 'description.Revision': is not a number"),
            ("description", serde_json::json!({"revision": [1]}), "field 'description.revision': is not a number"),
            ("description", serde_json::json!({"author": 7}), "field 'description.author': is not a string"),
            ("threat", serde_json::json!({"level": {}}), "field 'threat.level': is not a string"),
        ] {
            let error = with(field, value).unwrap_err().to_string();
            assert!(error.contains(reason), "{field}: {error}");
        }
    }

    #[test]
    fn notes_are_free_but_for_what_the_original_knows() {
        let description = r#"{"author": null, "revision": 2.01408261e+11, "reviewers": ["a"], "ticket": 7, "url": ""}"#;
        let value: Value = serde_json::from_str(description).unwrap();
        let action = with("description", value.clone()).unwrap();
        assert_eq!(Value::from(action.description), value);
        assert!(with("threat", serde_json::json!({"level": "high", "score": 9.5, "type": null})).is_ok());
    }

    #[test]
    fn actions_that_came_with_the_original_are_drafts() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/actions")).unwrap() {
            let path = file.unwrap().path();
            let draft = Action::parse_draft(&std::fs::read(&path).unwrap());
            assert!(draft.is_ok(), "{}: {:?}", path.display(), draft.err());
        }
    }
}
