//! What the API returns as records: which columns each kind has.

use crate::client::output::Output;
use crate::error::ProgramError;
use serde_json::Value;
use serde_json::value::RawValue;

/// A kind of object, and its columns for people: a name, and where its value is.
pub struct View {
    names: &'static [&'static str],
    pointers: &'static [&'static str],
}

/// Actions.
pub const ACTION: View = View {
    names: &["id", "status", "sent", "done", "success", "expireafter", "name", "target"],
    pointers: &[
        "/id",
        "/status",
        "/counters/sent",
        "/counters/done",
        "/counters/success",
        "/expireafter",
        "/name",
        "/target",
    ],
};
/// Commands.
pub const COMMAND: View = View {
    names: &["id", "status", "agent", "queueloc", "action", "finishtime"],
    pointers: &["/id", "/status", "/agent/name", "/agent/queueloc", "/action/id", "/finishtime"],
};
/// Agents.
pub const AGENT: View = View {
    names: &["name", "status", "version", "heartbeat", "queueloc", "id"],
    pointers: &["/name", "/status", "/version", "/heartbeatts", "/queueloc", "/id"],
};
/// Investigators.
pub const INVESTIGATOR: View =
    View { names: &["id", "status", "name", "fingerprint"], pointers: &["/id", "/status", "/name", "/pgpfingerprint"] };
/// Compliance items.
pub const COMPLIANCE: View = View {
    names: &["target", "compliance", "location", "check", "time"],
    pointers: &["/target", "/compliance", "/check/location", "/check/name", "/utctimestamp"],
};

impl View {
    /// The columns.
    pub fn columns(&self) -> &'static [&'static str] {
        self.names
    }

    /// Writes one object.
    pub fn write(&self, raw: &RawValue, output: &mut Output) -> Result<(), ProgramError> {
        // It was parsed before, as a part of the answer.
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let cells: Vec<String> = self.pointers.iter().map(|pointer| cell(value.pointer(pointer))).collect();
        output.record(self.names, &cells, &value)
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
