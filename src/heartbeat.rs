//! Heartbeats, by which agents register periodically. The same object is the `agent` of a command.

use crate::id::AgentId;
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::time::{self, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// `<os>.<hostname>.<random id in base 36>`: the name of an agent's queue, which identifies the agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct QueueLoc(String);

impl QueueLoc {
    /// Checks the syntax; the text is then safe in file names, queue names and log lines.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = |reason: &str| {
            Err(format!(
                "'{}' is not a queueloc such as linux.host.example.net.58b3mndjmbb00: {reason}",
                text.escape_default().take(80).collect::<String>()
            ))
        };
        if text.len() > limits::QUEUELOC_BYTES_MAX {
            return error("it is too long");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) || text.contains("..") {
            return error("it may hold letters, digits, '_', '-' and single dots only");
        }
        let Some((os, rest)) = text.split_once('.') else { return error("it has no dots") };
        if !["linux", "windows", "darwin"].contains(&os) {
            return error("it does not begin with linux, windows or darwin");
        }
        if rest.is_empty() || rest.ends_with('.') || !rest.contains('.') {
            return error("it lacks a host name or an id");
        }
        Ok(QueueLoc(text.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueLoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An agent as described by its heartbeat; `id` and `status` are set by the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// Its row in the store; not in heartbeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<AgentId>,
    /// Host name.
    pub name: String,
    /// Its queue.
    pub queueloc: QueueLoc,
    /// Empty, `daemon` or `checkin`.
    pub mode: String,
    /// Version of the agent program.
    pub version: String,
    /// Process id.
    pub pid: i64,
    /// When the process started.
    #[serde(rename = "starttime")]
    pub start_time: Timestamp,
    /// When it was destroyed by agentdestroy.
    #[serde(rename = "destructiontime")]
    pub destruction_time: Timestamp,
    /// When the heartbeat was sent.
    #[serde(rename = "heartbeatts")]
    pub heartbeat_time: Timestamp,
    /// online, idle, offline, upgraded or destroyed, in commands only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// init, ident, os, arch, isproxied, proxy, addresses, publicip; of agents of ours also machine and addressesleftout.
    pub environment: Map<String, Value>,
    /// Tags set by the operator.
    pub tags: Map<String, Value>,
}

impl Agent {
    /// Parses a heartbeat; one that is older than `timeout` or in the future is refused like a malformed one.
    pub fn parse_heartbeat(bytes: &[u8], now: Timestamp, timeout: Duration) -> Result<Agent, JsonError> {
        if bytes.len() as u64 > limits::HEARTBEAT_SIZE_BYTES_MAX {
            let reason = format!("has {} bytes, the limit is {}", bytes.len(), limits::HEARTBEAT_SIZE_BYTES_MAX);
            return Err(JsonError::field("heartbeat", reason));
        }
        let agent = Agent::from_fields(&Fields::parse(bytes)?)?;
        if agent.heartbeat_time < time::before(now, timeout) {
            let reason = format!("{} is older than the agent timeout", agent.heartbeat_time);
            return Err(JsonError::field("heartbeatts", reason));
        }
        if agent.heartbeat_time > time::after(now, timeout) {
            return Err(JsonError::field("heartbeatts", format!("{} is in the future", agent.heartbeat_time)));
        }
        Ok(agent)
    }

    pub(crate) fn from_fields(fields: &Fields) -> Result<Agent, JsonError> {
        let queueloc = fields.text_required("queueloc", usize::MAX)?;
        let mode = fields.text("mode", limits::AGENT_NAME_BYTES_MAX)?;
        if !["", "daemon", "checkin"].contains(&mode.as_str()) {
            return Err(fields.error("mode", "is none of '', 'daemon' and 'checkin'"));
        }
        Ok(Agent {
            id: fields.id("id", AgentId::from_json_number).unwrap_or_default(),
            name: fields.text_required("name", limits::AGENT_NAME_BYTES_MAX)?,
            queueloc: QueueLoc::parse(&queueloc).map_err(|reason| fields.error("queueloc", reason))?,
            mode,
            version: fields.text("version", limits::AGENT_VERSION_BYTES_MAX)?,
            pid: fields.integer("pid")?.unwrap_or_default(),
            start_time: fields.time("starttime")?,
            destruction_time: fields.time("destructiontime")?,
            heartbeat_time: fields.time("heartbeatts")?,
            status: Some(fields.text("status", limits::AGENT_NAME_BYTES_MAX)?).filter(|status| !status.is_empty()),
            environment: fields.object_of("environment", limits::JSON_ENVIRONMENT_PARTS_MAX)?,
            tags: fields.object("tags")?,
        })
    }

    /// What its machine is called until its next boot: processes that say the same are on one. Agents of the original do
    /// not say it.
    pub fn machine(&self) -> Option<&str> {
        self.environment.get("machine").and_then(Value::as_str)
    }

    /// Serializes the heartbeat.
    pub fn to_json(&self) -> Vec<u8> {
        crate::json::to_line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn heartbeat() -> Value {
        let messages = include_str!("../tests/samples/amqp.jsonl");
        let first: Value = serde_json::from_str(messages.lines().next().unwrap()).unwrap();
        serde_json::from_str(first["body"].as_str().unwrap()).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T08:18:20Z".parse().unwrap()
    }

    const TIMEOUT: Duration = Duration::from_secs(3600);

    #[test]
    fn the_originals_heartbeat_is_read_and_written_alike() {
        let sample = heartbeat();
        let agent = Agent::parse_heartbeat(sample.to_string().as_bytes(), now(), TIMEOUT).unwrap();
        assert_eq!(agent.queueloc.as_str(), "linux.vm.dn1lbhvz2lfk");
        assert_eq!(serde_json::from_slice::<Value>(&agent.to_json()).unwrap(), sample);
    }

    #[test]
    fn a_machine_of_two_thousand_addresses_registers() {
        let mut sample = heartbeat();
        let addresses: Vec<String> = (0..2000).map(|n| format!("fe80::fc:ff:fe00:{n:x}/64")).collect();
        sample["environment"]["addresses"] = json!(addresses);
        let agent = Agent::parse_heartbeat(sample.to_string().as_bytes(), now(), TIMEOUT).unwrap();
        assert_eq!(agent.environment["addresses"].as_array().unwrap().len(), 2000);
    }

    #[test]
    fn heartbeats_out_of_bounds_are_refused_by_field() {
        for (field, value, reason) in [
            ("name", json!("x".repeat(1025)), "field 'name': has 1025 bytes"),
            ("name", json!(""), "field 'name': is empty"),
            ("version", json!("x".repeat(129)), "field 'version': has 129 bytes"),
            ("mode", json!("lazy"), "field 'mode'"),
            ("heartbeatts", json!("2026-11-22T07:18:19Z"), "older than the agent timeout"),
            ("heartbeatts", json!("2026-11-22T10:18:19Z"), "in the future"),
            ("heartbeatts", json!(null), "older than the agent timeout"),
            ("tags", json!([1]), "field 'tags': is not an object"),
            ("tags", json!({"x": "y".repeat(100_000)}), "field 'heartbeat': has"),
            ("pid", json!("1"), "field 'pid': is not a number"),
        ] {
            let mut sample = heartbeat();
            sample[field] = value;
            let error = Agent::parse_heartbeat(sample.to_string().as_bytes(), now(), TIMEOUT).unwrap_err().to_string();
            assert!(error.contains(reason), "{field}: {error}");
        }
    }

    #[test]
    fn queuelocs_cannot_leave_a_directory() {
        for good in ["linux.vm.dn1lbhvz2lfk", "windows.db4.sub.example.com.56b2andxmyb00", "darwin.a_b-c.1"] {
            assert_eq!(QueueLoc::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "linux",
            "linux.",
            "linux.x",
            "linux.x.",
            "bsd.x.y",
            "linux.../../etc.x",
            "linux.a/b.c",
            "linux.a b.c",
            "linux.a\n.c",
            "Linux.a.b",
            "linux.*.#",
            &format!("linux.{}.x", "a".repeat(250)),
        ] {
            assert!(QueueLoc::parse(bad).is_err(), "{bad}");
        }
    }
}
