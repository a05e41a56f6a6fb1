//! Server-sent events (WHATWG HTML, "Server-sent events"), read from a stream with a limit for each.

use crate::limits;
use std::io::{self, BufRead, BufReader, Read};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event`; `message` if the stream does not name it.
    pub kind: String,
    /// The last `id` of the stream.
    pub id: Option<String>,
    /// The `data` lines, joined by line ends.
    pub data: String,
}

/// Reads events.
pub struct Events<R: Read> {
    reader: BufReader<R>,
    last_id: Option<String>,
}

impl<R: Read> Events<R> {
    /// From a stream; `last_id` is that of the stream before.
    pub fn new(stream: R, last_id: Option<String>) -> Events<R> {
        Events { reader: BufReader::new(stream), last_id }
    }

    /// The id to resume with.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns the next event; none at the end of the stream. An event that is cut by the end is not returned.
    pub fn read(&mut self) -> io::Result<Option<Event>> {
        let (mut event, mut has_data) = (Event { kind: "message".into(), ..Event::default() }, false);
        let mut id = None;
        loop {
            let Some(line) = self.line(limits::CLIENT_EVENT_BYTES_MAX - event.data.len())? else { return Ok(None) };
            if line.is_empty() {
                if id.is_some() {
                    self.last_id = id.take();
                }
                if has_data {
                    event.id.clone_from(&self.last_id);
                    return Ok(Some(event));
                }
                event.kind = "message".into();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.kind = value.to_owned(),
                "id" if !value.contains('\0') => id = Some(value.to_owned()),
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    has_data = true;
                    event.data.push_str(value);
                }
                // Comments and unknown fields.
                _ => {}
            }
        }
    }

    fn line(&mut self, bytes_max: usize) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let limit = bytes_max as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            if line.len() > bytes_max {
                let text = format!("an event has more than {} bytes", limits::CLIENT_EVENT_BYTES_MAX);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            return Ok(None);
        }
        line.pop_if(|byte| *byte == b'\r');
        String::from_utf8(line)
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an event is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_their_ids_and_comments_are_not() {
        let text = ": hello\n\nevent: counters\ndata: {}\n\nid: 7\r\nevent: command\r\ndata: a\r\ndata:b\r\n\r\n:\n\ndata: cut";
        let mut events = Events::new(text.as_bytes(), None);
        let event = |kind: &str, id: Option<&str>, data: &str| {
            Some(Event { kind: kind.into(), id: id.map(str::to_owned), data: data.into() })
        };
        assert_eq!(events.read().unwrap(), event("counters", None, "{}"));
        assert_eq!(events.read().unwrap(), event("command", Some("7"), "a\nb"));
        assert_eq!(events.read().unwrap(), None);
        assert_eq!(events.last_id(), Some("7"));
    }

    #[test]
    fn an_endless_event_is_an_error() {
        let endless = io::Cursor::new(b"data: ").chain(io::repeat(b'x'));
        assert!(Events::new(endless, None).read().unwrap_err().to_string().contains("more than"));
    }
}
