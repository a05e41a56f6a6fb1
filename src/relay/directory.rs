//! A relay in a directory: one sub-directory per queue, one file per message, acknowledged by unlink.
//!
//! Works over a local disk, NFS, or anything that copies files (rsync, a USB stick); the file system needs renames that do
//! not replace, or hard links. Its files follow the spool's rules:
//! written in `tmp/`, synced, renamed into the queue. `dead/` holds what was rejected, each with its `.reason`;
//! `events/<key>/<queue>/` says which queue gets the events of that key.
//!
//! A message of ours is called `<sent>.<expires>.<sender>.json`, both times in microseconds since 1970, so that a listing
//! is in order of sending and an expired message is known without opening it. It holds the body as a broker would send it,
//! without a line end. A file with another name, brought by hand, never expires. After a crash a message may be there that
//! was not counted as sent: it is sent again, and received twice.

use super::refusing::Refusing;
use super::{Delivery, Event, Message, Queue, Relay, Sent, Tag, on_the_wire};
use crate::failure::{Failure, log_skipped};
use crate::limits;
use crate::spool::dir::Content;
use crate::spool::watch::{Watch, WatchError};
use crate::spool::{Batch, Dir, FileName, Over, all_done, is_settling};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A directory relay.
pub struct DirectoryRelay {
    top: Dir,
    /// Distinguishes this sender's messages and staged files from those of others.
    sender: String,
    sequence: u64,
    /// The rest of the last listing: a long queue is not listed for every batch.
    listed: Option<(Queue, BTreeSet<FileName>)>,
    /// Subscribers whose queues cannot be written to.
    refusing: Refusing,
}

/// Queues may belong to several users of one group.
const QUEUE_MODE: u32 = 0o770;

/// Where subscriptions are kept.
const EVENTS: &str = "events";

/// The times in the name of a message file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageName {
    /// When it was sent.
    pub sent: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
}

impl MessageName {
    /// The file's name; `sender` and `sequence` make it unique.
    pub fn format(self, sender: &str, sequence: u64) -> String {
        let micros = |time: Timestamp| time.as_microsecond().max(0);
        format!("{:016}.{:016}.{sender}-{sequence:012}.json", micros(self.sent), micros(self.expires))
    }

    /// Reads the times back; none when the name is not one of ours.
    pub fn parse(name: &str) -> Option<MessageName> {
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
    pub fn open(path: &Path) -> Result<DirectoryRelay, Failure> {
        let top = Dir::open(path)?;
        let random = getrandom::u64().map_err(|e| Failure::retry(format!("no random numbers: {e}")))?;
        let (sender, refusing) = (format!("{random:016x}"), Refusing::new("events", "the subscriber misses them"));
        let relay = DirectoryRelay { top, sender, sequence: 0, listed: None, refusing };
        relay.own("tmp")?;
        relay.own("dead")?;
        Ok(relay)
    }

    /// One of the relay's own directories, made when missing.
    fn own(&self, name: &str) -> Result<Arc<Dir>, Failure> {
        self.top.ensure(name, QUEUE_MODE).map(Arc::new)
    }

    /// Opens the directory again if its path leads elsewhere by now: a stick that was pulled out, a mount that came later.
    /// That is a failure once, so that the caller declares and watches its queue there.
    fn look_again(&mut self) -> Result<(), Failure> {
        let found = self.top.check_place();
        if found.is_err() {
            self.top = Dir::open(self.top.path())?;
            self.listed = None;
        }
        found
    }

    /// Opens a queue to send to. What is wrong with one queue does not hold up the others: an agent that spoils its own
    /// queue harms itself only.
    fn open_queue(&self, queue: &Queue) -> Result<Result<Arc<Dir>, Sent>, Failure> {
        match self.top.sub(queue.as_str()) {
            Ok(Some(dir)) => Ok(Ok(Arc::new(dir))),
            Ok(None) => Ok(Err(Sent::Unroutable)),
            Err(failure) => refused(queue, failure).map(Err),
        }
    }

    fn queue_declared(&self, queue: &Queue) -> Result<Arc<Dir>, Failure> {
        let missing = || Failure::retry(format!("open queue {queue}: it is gone"));
        self.top.sub(queue.as_str())?.map(Arc::new).ok_or_else(missing)
    }

    fn put_aside(&self, queue: &Arc<Dir>, files: &[(FileName, String)], now: Timestamp) -> Result<(), Failure> {
        let (mut batch, dead) = (self.batch()?, self.own("dead")?);
        for (name, reason) in files {
            batch.reject(queue, name, reason, &dead, now)?;
        }
        all_done(batch.commit()?.rejects)
    }

    fn batch(&self) -> Result<Batch, Failure> {
        Ok(Batch::new(self.own("tmp")?, &self.sender))
    }

    /// Reads one message; None if it is none, or not complete yet. A failure of one file does not hold up the others.
    fn read_message(&self, dir: &Arc<Dir>, name: &FileName, now: Timestamp) -> Result<Option<Vec<u8>>, Failure> {
        let place = format!("relay: {}/{name}", dir.path().display());
        if is_expired(name, now) {
            return log_skipped(&place, dir.remove(name)).map(|_| None);
        }
        let content = match dir.read(name, limits::RESULT_SIZE_BYTES_MAX) {
            Err(Failure::Refuse(reason)) => match self.put_aside(dir, &[(name.clone(), reason)], now) {
                Err(Failure::End(reason)) => return Err(Failure::End(reason)),
                // On a full relay it is the others that make room.
                Err(failure) => return log_skipped(&place, Err(Failure::Skip(failure.to_string()))),
                Ok(()) => return Ok(None),
            },
            content => log_skipped(&place, content)?.flatten(),
        };
        // A copy made by hand may not be complete: every message is one JSON object.
        let is_settled = |content: &Content| {
            content.bytes.trim_ascii_end().last() == Some(&b'}') || !is_settling(content.look.modified, now)
        };
        Ok(content.filter(is_settled).map(|content| content.bytes))
    }

    /// Reads the first messages of a queue. Those that are gone by now are left out.
    fn read_messages(
        &self,
        dir: &Arc<Dir>,
        names: &BTreeSet<FileName>,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, Failure> {
        let (mut deliveries, mut size_bytes) = (Vec::new(), 0);
        for name in names {
            if deliveries.len() == max || size_bytes > limits::BATCH_SIZE_BYTES_MAX {
                break;
            }
            let Some(body) = self.read_message(dir, name, now)? else { continue };
            size_bytes += body.len() as u64;
            deliveries.push(Delivery { body, tag: Tag::File(name.clone()) });
        }
        Ok(deliveries)
    }

    /// Does not look for these again.
    fn forget<'a>(&mut self, queue: &Queue, names: impl IntoIterator<Item = &'a FileName>) {
        if let Some((_, listed)) = self.listed.as_mut().filter(|(listed, _)| listed == queue) {
            for name in names {
                listed.remove(name);
            }
        }
    }

    fn subscribers(&self, event: Event) -> Result<Vec<Queue>, Failure> {
        let dir = self.top.sub(EVENTS)?.map(|dir| dir.sub(event.key())).transpose()?.flatten();
        let Some(dir) = dir else { return Ok(Vec::new()) };
        let names = dir.list(|name| name.as_str().is_some_and(|name| name.starts_with("migevent.")))?;
        Ok(names.iter().filter_map(|name| Some(Queue(name.as_str()?.to_owned()))).collect())
    }
}

impl Relay for DirectoryRelay {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    fn declare(&mut self, queue: &Queue) -> Result<(), Failure> {
        self.look_again()?;
        self.top.ensure(queue.as_str(), QUEUE_MODE)?;
        Ok(())
    }

    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure> {
        self.look_again()?;
        let mut batch = self.batch()?;
        let mut queues: HashMap<&Queue, Result<Arc<Dir>, Sent>> = HashMap::new();
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            if !queues.contains_key(&message.queue) {
                queues.insert(&message.queue, self.open_queue(&message.queue)?);
            }
            let dir = match &queues[&message.queue] {
                Ok(dir) => dir,
                Err(sent) => {
                    outcomes.push(Err(sent.clone()));
                    continue;
                }
            };
            self.sequence += 1;
            let name = MessageName { sent: now, expires: message.expires }.format(&self.sender, self.sequence);
            let name = FileName::new(name).ok_or_else(|| Failure::retry("a message has an empty name"))?;
            batch.put(dir, &name, on_the_wire(&message.body), Over::Nothing)?;
            outcomes.push(Ok(&message.queue));
        }
        let mut placed = batch.commit()?.changes.into_iter();
        let outcome = |outcome: Result<&Queue, Sent>| match outcome {
            Err(sent) => Ok(sent),
            Ok(queue) => match placed.next() {
                Some(Err(failure)) => refused(queue, failure),
                _ => Ok(Sent::Kept),
            },
        };
        outcomes.into_iter().map(outcome).collect()
    }

    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, Failure> {
        self.look_again()?;
        let dir = self.queue_declared(queue)?;
        if let Some((_, names)) = self.listed.take().filter(|(listed, _)| listed == queue) {
            let deliveries = self.read_messages(&dir, &names, max, now)?;
            if !deliveries.is_empty() {
                self.listed = Some((queue.clone(), names));
                return Ok(deliveries);
            }
        }
        let names = dir.list(FileName::is_drop)?.into_iter().collect();
        let deliveries = self.read_messages(&dir, &names, max, now)?;
        self.listed = Some((queue.clone(), names));
        Ok(deliveries)
    }

    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        self.look_again()?;
        let mut oldest = now;
        // By the clock of the file system, not of the senders.
        if let Some(dir) = self.top.sub(queue.as_str())? {
            for name in dir.list(|name| name.is_drop() && !is_expired(name, now))? {
                oldest = dir.look(&name)?.map_or(oldest, |look| oldest.min(look.changed));
            }
        }
        Ok(Some(oldest))
    }

    fn has_receiver(&mut self, _queue: &Queue) -> Result<Option<bool>, Failure> {
        Ok(None)
    }

    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        self.look_again()?;
        let dir = self.queue_declared(queue)?;
        let done: Vec<&FileName> = deliveries.iter().filter_map(Delivery::file).collect();
        // Not synced: a message that is there again after a power cut is a message delivered twice.
        done.iter().try_for_each(|name| dir.unlink(name).map(drop))?;
        self.forget(queue, done);
        Ok(())
    }

    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure> {
        let file = |(delivery, reason): &(Delivery, String)| Some((delivery.file()?.clone(), reason.clone()));
        let files: Vec<(FileName, String)> = refused.iter().filter_map(file).collect();
        if files.is_empty() {
            return Ok(());
        }
        self.look_again()?;
        self.put_aside(&self.queue_declared(queue)?, &files, now)?;
        self.forget(queue, files.iter().map(|(name, _)| name));
        Ok(())
    }

    fn remove(&mut self, _queue: &Queue) -> Result<bool, Failure> {
        // It is not known here whether it has a receiver; an empty directory costs nothing.
        Ok(false)
    }

    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure> {
        self.look_again()?;
        let mut subscribers: HashMap<Event, Vec<Queue>> = HashMap::new();
        let mut messages = Vec::new();
        for (event, body) in events {
            if !subscribers.contains_key(event) {
                subscribers.insert(*event, self.subscribers(*event)?);
            }
            for queue in &subscribers[event] {
                let expires = time::after(now, limits::EVENT_LIFETIME);
                messages.push(Message { queue: queue.clone(), body: body.clone(), expires });
            }
        }
        let sent = self.send(&messages, now)?;
        messages.iter().zip(&sent).for_each(|(message, sent)| self.refusing.note(&message.queue, sent));
        Ok(())
    }

    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure> {
        self.declare(queue)?;
        self.top.ensure(EVENTS, QUEUE_MODE)?.ensure(event.key(), QUEUE_MODE)?.ensure(queue.as_str(), QUEUE_MODE)?;
        Ok(())
    }

    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure> {
        let path = self.top.path().join(queue.as_str());
        let failed = |e: WatchError| Failure::retry(format!("watch {}: {e}", path.display()));
        Watch::new(&path, waker).map(Some).map_err(failed)
    }

    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), Failure> {
        self.look_again()?;
        let remove = |dir: &Dir, name: &FileName| log_skipped("relay", dir.remove(name)).map(drop);
        for name in self.top.list(|name| name.as_str().is_some_and(|name| name.starts_with("mig")))? {
            let Some(dir) = name.as_str().and_then(|name| self.top.sub(name).ok().flatten()) else { continue };
            let expired = log_skipped("relay", dir.list(|name| is_expired(name, now)))?.unwrap_or_default();
            expired.iter().try_for_each(|name| remove(&dir, name))?;
        }
        let limit = time::before(now, age);
        for dir in [self.own("dead")?, self.own("tmp")?] {
            dir.changed_before(limit)?.iter().try_for_each(|name| remove(&dir, name))?;
        }
        Ok(())
    }
}

/// What a failure of one queue is to the sender.
fn refused(queue: &Queue, failure: Failure) -> Result<Sent, Failure> {
    match failure {
        Failure::Skip(reason) => Ok(Sent::Refused(format!("queue {queue}: {reason}"))),
        failure => Err(failure),
    }
}

impl Delivery {
    /// Its file, when it came from a directory.
    fn file(&self) -> Option<&FileName> {
        match &self.tag {
            Tag::File(name) => Some(name),
            _ => None,
        }
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

    #[test]
    fn a_relay_that_was_made_again_is_told_once_and_then_used() {
        let directory = tempfile::tempdir().unwrap();
        let (path, queue, now) = (directory.path().join("relay"), Queue::results(), time::now());
        std::fs::create_dir(&path).unwrap();
        let mut relay = DirectoryRelay::open(&path).unwrap();
        relay.declare(&queue).unwrap();
        for moves in [false, true] {
            match moves {
                true => std::fs::rename(&path, path.with_extension("old")).unwrap(),
                false => std::fs::remove_dir_all(&path).unwrap(),
            }
            for _ in 0..2 {
                let error = relay.receive(&queue, 9, now).unwrap_err().to_string();
                assert!(error.contains("is missing; mount its file system, or make it"), "{error}");
            }
            std::fs::create_dir(&path).unwrap();
            let error = relay.receive(&queue, 9, now).unwrap_err().to_string();
            assert!(error.contains("is another directory by now, opening it again"), "{error}");
            relay.declare(&queue).unwrap();
            let message = Message { queue: queue.clone(), body: b"{}".to_vec(), expires: time::never() };
            assert_eq!(relay.send(&[message], now).unwrap(), [Sent::Kept]);
            assert_eq!(relay.receive(&queue, 9, now).unwrap().len(), 1);
            std::fs::remove_dir(path.join("tmp")).unwrap();
            relay.tidy(Duration::ZERO, now).unwrap();
        }
    }
}
