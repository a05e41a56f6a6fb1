//! What persistent modules of an agent noticed, as it travels: the agent keeps batches of events, the relay carries them, the
//! scheduler writes them as JSON lines.

use crate::heartbeat::QueueLoc;
use crate::hex;
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// The name of a batch: the time at which it was made, in microseconds since 1970, and 64 random bits. It comes again under the
/// same name, and never another one does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchId(String);

/// Events of one module of one agent, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    /// Its name.
    pub id: BatchId,
    /// The agent.
    pub queueloc: QueueLoc,
    /// The module that noticed them.
    pub module: String,
    /// Events before these that the agent had no room for.
    pub dropped: u64,
    /// What was noticed.
    pub events: Vec<Map<String, Value>>,
}

impl BatchId {
    /// A new one.
    pub fn new(now: Timestamp) -> Result<BatchId, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        Ok(BatchId(format!("{:016}-{}", now.as_microsecond().max(0), hex::encode(&random))))
    }

    fn parse(text: &str) -> Option<BatchId> {
        let (time, random) = text.split_once('-')?;
        let is_time = time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_digit());
        let is_random = random.len() == 16 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_time && is_random).then(|| BatchId(text.to_owned()))
    }
}

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl EventBatch {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        let EventBatch { id, queueloc, module, dropped, events } = self;
        let text = json!({
            "id": id.0, "queueloc": queueloc, "module": module, "dropped": dropped, "events": events,
        });
        text.to_string().into_bytes()
    }

    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<EventBatch, JsonError> {
        if bytes.len() as u64 > limits::EVENT_BATCH_BYTES_MAX {
            let reason = format!("has {} bytes, the limit is {}", bytes.len(), limits::EVENT_BATCH_BYTES_MAX);
            return Err(JsonError::field("events", reason));
        }
        let fields = Fields::parse(bytes)?;
        let id = fields.text_required("id", 33)?;
        let queueloc = fields.text_required("queueloc", usize::MAX)?;
        let module = fields.text_required("module", limits::MODULE_NAME_BYTES_MAX)?;
        let events = match fields.value("events", limits::EVENT_BATCH_PARTS_MAX)? {
            Some(Value::Array(events)) => events,
            _ => return Err(fields.error("events", "is not an array")),
        };
        let event = |(index, event): (usize, Value)| match event {
            Value::Object(event) => Ok(event),
            _ => Err(fields.error(&format!("events[{index}]"), "is not an object")),
        };
        Ok(EventBatch {
            id: BatchId::parse(&id).ok_or_else(|| fields.error("id", "is not the name of a batch"))?,
            queueloc: QueueLoc::parse(&queueloc).map_err(|reason| fields.error("queueloc", reason))?,
            module,
            dropped: fields.integer("dropped")?.unwrap_or(0),
            events: events.into_iter().enumerate().map(event).collect::<Result<_, _>>()?,
        })
    }

    /// As lines: one for each event, with the agent and the module, and before them one for those that the agent had no room for.
    pub fn to_lines(&self) -> Vec<u8> {
        let EventBatch { queueloc, module, dropped, events, .. } = self;
        let mut lines = Vec::new();
        let mut line = |key: &str, value: &Value| {
            // Keys of their own: an event says about itself what it likes.
            lines.extend(json!({"queueloc": queueloc, "module": module, key: value}).to_string().into_bytes());
            lines.push(b'\n');
        };
        if *dropped > 0 {
            line("dropped", &json!(dropped));
        }
        events.iter().for_each(|event| line("event", &Value::Object(event.clone())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written_and_becomes_lines() {
        let event = json!({"event": "created", "path": "/a\nb", "queueloc": "linux.other.x1"});
        let batch = EventBatch {
            id: BatchId::new(crate::time::now()).unwrap(),
            queueloc: QueueLoc::parse("linux.web.x1").unwrap(),
            module: "fswatch".into(),
            dropped: 3,
            events: vec![event.as_object().unwrap().clone(); 2],
        };
        assert_eq!(EventBatch::parse(&batch.to_json()).unwrap(), batch);
        let lines = String::from_utf8(batch.to_lines()).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"queueloc": "linux.web.x1", "module": "fswatch", "dropped": 3}));
        assert_eq!(lines[1], json!({"queueloc": "linux.web.x1", "module": "fswatch", "event": event}));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_is_no_batch_is_refused_and_names_the_field() {
        let good = json!({"id": "0001764167531123-0123456789abcdef", "queueloc": "linux.web.x1", "module": "fswatch", "events": []});
        EventBatch::parse(good.to_string().as_bytes()).unwrap();
        for (field, value, error) in [
            ("id", json!("../../etc/passwd"), "field 'id': is not the name of a batch"),
            ("id", json!("0001764167531123-0123456789ABCDEF"), "field 'id': is not the name of a batch"),
            ("queueloc", json!("web"), "field 'queueloc': 'web' is not a queueloc"),
            ("module", json!(""), "field 'module': is empty"),
            ("events", json!(null), "field 'events': is not an array"),
            ("events", json!([1]), "field 'events[0]': is not an object"),
            ("events", json!([{"x": vec![0; 200_000]}]), "field 'events': has more than"),
            ("dropped", json!(-1), "field 'dropped': is -1"),
        ] {
            let mut text = good.clone();
            text[field] = value;
            let found = EventBatch::parse(text.to_string().as_bytes()).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        let long = vec![b' '; limits::EVENT_BATCH_BYTES_MAX as usize + 1];
        assert!(EventBatch::parse(&long).unwrap_err().to_string().starts_with("field 'events': has 1048577 bytes"));
    }
}
