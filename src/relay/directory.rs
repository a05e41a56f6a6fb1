//! A relay in a directory: one sub-directory per queue, one file per message, acknowledged by unlink.
//!
//! Works over a local disk, NFS, or anything that copies files (rsync, a USB stick). Its files follow the spool's rules:
//! written in `tmp/`, synced, renamed into the queue. `dead/` holds what was rejected, each with its `.reason`.
//!
//! A message of ours is called `<sent>.<expires>.<sender>.json`, both times in microseconds since 1970, so that a listing
//! is in order of sending and an expired message is known without opening it. A file with another name, brought by
//! hand, never expires. After a crash a message may be there that nobody counted as sent: it is sent again, and the
//! receiver meets it twice.

use super::{Delivery, Message, Queue, Relay, RelayError, Sent, Tag};
use crate::limits;
use crate::spool::files::{Commit, Dir, FileName, ReadError};
use crate::spool::is_settling;
use crate::spool::watch::{Waker, Watch};
use crate::time::{self, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A directory relay.
pub struct DirectoryRelay {
    top: Dir,
    tmp: Arc<Dir>,
    dead: Arc<Dir>,
    /// Tells this sender's messages and staged files from everybody else's.
    sender: String,
    sequence: u64,
}

/// The name of a message file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MessageName {
    sent: Timestamp,
    expires: Timestamp,
}

impl MessageName {
    fn format(self, sender: &str, sequence: u64) -> String {
        let micros = |time: Timestamp| time.as_microsecond().max(0);
        format!("{:016}.{:016}.{sender}-{sequence:012}.json", micros(self.sent), micros(self.expires))
    }

    /// Reads the times back; none when the name is not one of ours.
    fn parse(name: &str) -> Option<MessageName> {
        let mut parts = name.strip_suffix(".json")?.splitn(3, '.');
        let mut micros = || {
            let digits = parts.next()?;
            let plain = (16..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            Timestamp::from_microsecond(digits.parse().ok().filter(|_| plain)?).ok()
        };
        let name = MessageName { sent: micros()?, expires: micros()? };
        parts.next().map(|_| name)
    }
}

fn is_expired(name: &FileName, now: Timestamp) -> bool {
    name.as_str().and_then(MessageName::parse).is_some_and(|name| name.expires <= now)
}

impl DirectoryRelay {
    /// Opens the directory, which must exist.
    pub fn open(path: &Path) -> Result<DirectoryRelay, RelayError> {
        let top = Dir::open(path)?;
        let (tmp, dead) = (Arc::new(top.ensure("tmp")?), Arc::new(top.ensure("dead")?));
        let random = getrandom::u64().map_err(|e| RelayError::Fatal(format!("no random numbers: {e}")))?;
        Ok(DirectoryRelay { top, tmp, dead, sender: format!("{random:016x}"), sequence: 0 })
    }

    fn queue(&self, queue: &Queue) -> Result<Option<Dir>, RelayError> {
        Ok(self.top.sub(queue.as_str())?)
    }

    fn queue_declared(&self, queue: &Queue) -> Result<Arc<Dir>, RelayError> {
        let missing = || RelayError::Away {
            what: format!("open queue {queue}"),
            cause: "it is gone; restart to have it made".into(),
        };
        self.queue(queue)?.map(Arc::new).ok_or_else(missing)
    }

    fn put_aside(&self, queue: &Arc<Dir>, name: &FileName, reason: &str, now: Timestamp) -> Result<(), RelayError> {
        Ok(queue.reject_into(&self.tmp, &self.sender, name, &self.dead, reason, now)?)
    }
}

impl Relay for DirectoryRelay {
    fn declare(&mut self, queue: &Queue) -> Result<(), RelayError> {
        self.top.ensure(queue.as_str())?;
        Ok(())
    }

    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, RelayError> {
        let mut commit = Commit::new(Arc::clone(&self.tmp), &self.sender);
        let mut staged = Vec::with_capacity(messages.len());
        for message in messages {
            staged.push(match self.queue(&message.queue)? {
                Some(dir) => Some((Arc::new(dir), commit.stage(&message.body)?)),
                None => None,
            });
        }
        commit.sync_files()?;
        let mut sent = Vec::with_capacity(messages.len());
        for (staged, message) in staged.into_iter().zip(messages) {
            let Some((dir, staged)) = staged else {
                sent.push(Sent::Unroutable);
                continue;
            };
            self.sequence += 1;
            let name = MessageName { sent: now, expires: message.expires }.format(&self.sender, self.sequence);
            let name = FileName::new(name).ok_or_else(|| RelayError::Fatal("a message name is empty".into()))?;
            commit.place(staged, &dir, &name)?;
            sent.push(Sent::Kept);
        }
        commit.finish()?;
        Ok(sent)
    }

    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, RelayError> {
        let dir = self.queue_declared(queue)?;
        let mut deliveries = Vec::new();
        let mut size_bytes = 0;
        for name in dir.list(FileName::is_drop)? {
            if deliveries.len() == max || size_bytes > limits::BATCH_SIZE_BYTES_MAX {
                break;
            }
            if is_expired(&name, now) {
                dir.unlink(&name)?;
                continue;
            }
            let content = match dir.read(&name, limits::RESULT_SIZE_BYTES_MAX) {
                Ok(content) => content,
                Err(ReadError::Gone) => continue,
                Err(ReadError::Refused(reason)) => {
                    self.put_aside(&dir, &name, &reason, now)?;
                    continue;
                }
                Err(ReadError::Io(error)) => return Err(error.into()),
            };
            // Copied here by hand, and the copy is not complete: every message is one JSON object.
            if content.bytes.trim_ascii_end().last() != Some(&b'}') && is_settling(content.modified, now) {
                continue;
            }
            size_bytes += content.bytes.len() as u64;
            deliveries.push(Delivery { body: content.bytes, tag: Tag::File(name) });
        }
        Ok(deliveries)
    }

    fn done(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), RelayError> {
        let dir = self.queue_declared(queue)?;
        for delivery in deliveries {
            let Tag::File(name) = &delivery.tag;
            // Not synced: a message that comes back after a power cut is a message delivered twice.
            dir.unlink(name)?;
        }
        Ok(())
    }

    fn reject(&mut self, queue: &Queue, delivery: &Delivery, reason: &str, now: Timestamp) -> Result<(), RelayError> {
        let Tag::File(name) = &delivery.tag;
        self.put_aside(&self.queue_declared(queue)?, name, reason, now)
    }

    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Watch, RelayError> {
        let path = self.top.path().join(queue.as_str());
        let away =
            |e: notify::Error| RelayError::Away { what: format!("watch {}", path.display()), cause: e.to_string() };
        Watch::new(&path, waker).map_err(away)
    }

    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), RelayError> {
        for queue in self.top.list(|name| name.as_str().is_some_and(|name| name.starts_with("mig")))? {
            let Some(dir) = queue.as_str().map(|name| self.top.sub(name)).transpose()?.flatten() else { continue };
            for name in dir.list(|name| is_expired(name, now))? {
                dir.unlink(&name)?;
            }
        }
        let limit = time::before(now, age);
        for dir in [&self.dead, &self.tmp] {
            for name in dir.list(|name| !name.is_hidden())? {
                if dir.look(&name)?.is_some_and(|look| look.changed < limit) {
                    dir.unlink(&name)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_are_read_back_and_others_never_expire() {
        let name = MessageName { sent: Timestamp::constant(1_700_000_000, 0), expires: time::never() };
        assert_eq!(MessageName::parse(&name.format("abc", 7)), Some(name));
        for other in [
            "",
            ".json",
            "x.json",
            "1.2.3.json",
            "0000000000000001.x.y.json",
            "0000000000000001.0000000000000002.json",
            "-000000000000001.0000000000000002.z.json",
            "9999999999999999999.9999999999999999999.z.json",
        ] {
            assert_eq!(MessageName::parse(other), None, "{other}");
        }
    }
}
