//! Runs a persistent module in a process of its own, starts it again when it ends, and keeps what it notices in the stage
//! `events`, from where [`super::dispatch`] sends it.
//!
//! | what | then |
//! |---|---|
//! | the module prints a line | it waits here for at most [`limits::EVENTS_PAUSE`], then a batch is in `events`, durable |
//! | `events` has no room, or an event is longer than [`limits::EVENT_BYTES_MAX`] | events are counted, not kept; the count is durable in the note `dropped-MODULE`, and goes with the next batch, which has no events if none come |
//! | the module prints faster than batches are written | it waits; what it then misses it says itself |
//! | the module ends | it is started again, at once and then with growing pauses |
//! | the agent ends or is killed | so does the module's process; events that were not in a batch yet are lost |

mod process;

use super::room::Room;
use crate::event::{BatchId, EventBatch};
use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::modules::persistent::{Event, Wanted};
use crate::spool::stages::AGENT_EVENTS;
use crate::spool::watch::Watch;
use crate::spool::{FileName, Mover, Step};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use crate::worker::{Pass, Worker};
use process::{Running, Said};
use std::path::PathBuf;
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of a note with a number.
const NOTE_BYTES_MAX: u64 = 32;

/// See the module docs.
pub struct Persistent {
    wanted: Wanted,
    program: PathBuf,
    queueloc: QueueLoc,
    mover: Mover,
    room: Room,
    waker: Arc<Mutex<Option<Waker>>>,
    running: Option<Running>,
    /// When it is started again.
    next_start: Timestamp,
    pause: Duration,
    pending: Vec<Event>,
    pending_bytes: u64,
    /// Events that were not kept, of which no batch says so yet.
    dropped: u64,
    /// How many of these are in the note.
    noted: u64,
    /// Before this time no batch is written.
    next_batch: Timestamp,
}

impl Persistent {
    /// Runs `wanted` by this program, and keeps its events in the spool of `mover`.
    pub fn new(wanted: Wanted, program: PathBuf, queueloc: QueueLoc, mover: Mover) -> Persistent {
        let room = Room::new(wanted.module, "events are not kept");
        Persistent {
            wanted,
            program,
            queueloc,
            mover,
            room,
            waker: Arc::default(),
            running: None,
            next_start: time::not_set(),
            pause: limits::RETRY_PAUSE_MIN,
            pending: Vec::new(),
            pending_bytes: 0,
            dropped: 0,
            noted: 0,
            next_batch: time::not_set(),
        }
    }

    /// Starts the module if it does not run and its time has come.
    fn tend(&mut self, now: Timestamp) {
        if self.running.is_some() || now < self.next_start {
            return;
        }
        match Running::start(&self.wanted, &self.program, Arc::clone(&self.waker), now) {
            Ok(running) => {
                log::info!("{}: watching", self.wanted.module);
                self.running = Some(running);
            }
            Err(error) => self.ended(&format!("start its process: {error}"), now),
        }
    }

    fn ended(&mut self, why: &str, now: Timestamp) {
        let was_long = self.running.take().is_some_and(|running| {
            let long = time::after(running.started, limits::AGENT_RETRY_PAUSE_MAX);
            running.end();
            long <= now
        });
        if was_long {
            self.pause = limits::RETRY_PAUSE_MIN;
        }
        log::warn!("{}: {why}; it is started again in {:?}", self.wanted.module, self.pause);
        self.next_start = time::after(now, self.pause);
        self.pause = (self.pause * 2).min(limits::AGENT_RETRY_PAUSE_MAX);
    }

    /// Takes what the module printed, as much as a batch may hold.
    fn take(&mut self, now: Timestamp) {
        while let Some(running) = &mut self.running {
            let is_large = self.pending_bytes >= limits::EVENT_BATCH_BYTES_MAX / 2;
            if is_large || self.pending.len() >= limits::EVENTS_PER_BATCH_MAX {
                return;
            }
            match running.events.try_recv() {
                Ok(Said::Event(event, bytes)) => {
                    self.pending_bytes += bytes as u64;
                    self.pending.push(event);
                }
                Ok(Said::TooLong) => self.dropped += 1,
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    let why = running.why();
                    self.ended(&why, now);
                }
            }
        }
    }

    /// Puts a batch into `events`.
    fn keep(&mut self, now: Timestamp) -> Result<(), Failure> {
        if self.room.is_used_up(self.mover.spool(), AGENT_EVENTS)? {
            self.dropped += self.pending.len() as u64;
            self.pending.clear();
            self.pending_bytes = 0;
            return self.note();
        }
        let random = |e| Failure::retry(format!("name a batch of events: {e}"));
        let batch = EventBatch {
            id: BatchId::new(now).map_err(random)?,
            queueloc: self.queueloc.clone(),
            module: self.wanted.module.to_owned(),
            dropped: self.dropped,
            events: std::mem::take(&mut self.pending),
        };
        let put = Step::put(AGENT_EVENTS, FileName::from(&batch.id), batch.to_json());
        if let Err(failure) = self.mover.apply_all(&[put]) {
            self.pending = batch.events;
            return Err(failure);
        }
        (self.dropped, self.pending_bytes) = (0, 0);
        self.note()
    }

    fn note_name(&self) -> String {
        format!("dropped-{}", self.wanted.module)
    }

    /// Makes the count of dropped events durable. If the agent ends between a batch and this, the count is sent twice: never not at
    /// all.
    fn note(&mut self) -> Result<(), Failure> {
        if self.noted != self.dropped {
            self.mover.notes().write(&self.note_name(), format!("{}\n", self.dropped).as_bytes())?;
            self.noted = self.dropped;
        }
        Ok(())
    }
}

impl Worker for Persistent {
    fn name(&self) -> &'static str {
        self.wanted.module
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        self.mover.recover()?;
        let note = self.mover.notes().read(&self.note_name(), NOTE_BYTES_MAX)?.unwrap_or_default();
        self.noted = std::str::from_utf8(&note).ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(0);
        self.dropped = self.dropped.max(self.noted);
        Ok(())
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        self.tend(now);
        if now >= self.next_batch {
            self.take(now);
        }
        if now >= self.next_batch && (!self.pending.is_empty() || self.dropped > 0) {
            self.keep(now)?;
            let waiting = self.mover.spool().list(AGENT_EVENTS)?.len();
            let is_soon = waiting < limits::EVENT_BATCHES_SOON_MAX;
            let pause = if is_soon { limits::EVENTS_PAUSE } else { limits::EVENTS_PAUSE_WAITING };
            self.next_batch = time::after(now, pause);
        }
        let again = match &self.running {
            Some(_) => self.next_batch,
            None if self.dropped > 0 => self.next_start.min(self.next_batch),
            None => self.next_start,
        };
        Ok(Pass { handled: 0, again: (again > now).then_some(again) })
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::stages;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Instant;

    /// A run directory, and a module whose program is this shell script.
    fn persistent(script: &str) -> (tempfile::TempDir, Persistent) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        let persistent = again(directory.path());
        (directory, persistent)
    }

    /// The same, in another life of the agent.
    fn again(directory: &Path) -> Persistent {
        let mover = Mover::open(directory, &stages::AGENT, "fswatch").unwrap();
        let wanted = Wanted { module: "fswatch", parameters: serde_json::json!({"paths": ["/etc"]}) };
        let queueloc = QueueLoc::parse("linux.web.x1").unwrap();
        Persistent::new(wanted, directory.join("program"), queueloc, mover)
    }

    fn batches(directory: &Path) -> Vec<EventBatch> {
        let files = std::fs::read_dir(directory.join("events")).unwrap().map(|entry| entry.unwrap().path());
        let mut batches: Vec<_> = files.map(|path| EventBatch::parse(&std::fs::read(path).unwrap()).unwrap()).collect();
        batches.sort_by_key(|batch| batch.id.to_string());
        batches
    }

    /// Passes, each a minute after the other by its clock, until something is so.
    fn pass_until(persistent: &mut Persistent, mut is_so: impl FnMut(&mut Persistent) -> bool) {
        let (began, mut now) = (Instant::now(), time::now());
        while !is_so(persistent) {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
            persistent.pass(now).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            now = time::after(now, Duration::from_secs(60));
        }
    }

    #[test]
    fn what_a_module_prints_is_kept_and_one_that_ends_is_started_again() {
        let script =
            r#"read -r parameters; printf '{"n": 1, "got": %s}\n{"n": 2}\n' "$parameters"; echo why >&2; exit 3"#;
        // The parameters have no line end: `read` fails, and has read them.
        let (directory, mut persistent) = persistent(script);
        let count = |directory: &Path| batches(directory).iter().map(|batch| batch.events.len()).sum::<usize>();
        pass_until(&mut persistent, |_| count(directory.path()) >= 4);
        let batches = batches(directory.path());
        let first = &batches[0];
        assert_eq!((first.module.as_str(), first.queueloc.as_str(), first.dropped), ("fswatch", "linux.web.x1", 0));
        assert_eq!(first.events[0]["got"], persistent.wanted.parameters);
        let numbers: Vec<_> = batches.iter().flat_map(|batch| &batch.events).map(|event| event["n"].clone()).collect();
        assert_eq!(numbers[..4], [1, 2, 1, 2].map(|n| serde_json::json!(n)), "{numbers:?}");
    }

    #[test]
    fn pauses_between_starts_grow() {
        let (_directory, mut persistent) = persistent("exit 1");
        let mut starts = Vec::new();
        let mut now = time::now();
        while starts.len() < 5 {
            persistent.pass(now).unwrap();
            match persistent.running {
                Some(_) => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    starts.push(time::until(now, persistent.next_start));
                    now = persistent.next_start;
                }
            }
        }
        assert!(starts.is_sorted() && starts[4] >= 8 * starts[0] && starts[0] > Duration::ZERO, "{starts:?}");
    }

    #[test]
    fn events_without_room_are_counted() {
        let (directory, mut persistent) = persistent(r#"read -r x; echo '{"n": 1}'; sleep 1000"#);
        let events = directory.path().join("events");
        let waiting = |n: usize| events.join(format!("{n:016}-0123456789abcdef.json"));
        (0..limits::WAITING_FILES_MAX).for_each(|n| std::fs::write(waiting(n), "{}").unwrap());
        pass_until(&mut persistent, |persistent| persistent.dropped == 1);
        // It is not forgotten when the agent ends, and is sent although nothing else happens.
        drop(persistent);
        let mut persistent = again(directory.path());
        persistent.recover(time::now()).unwrap();
        persistent.next_start = time::never();
        pass_until(&mut persistent, |persistent| persistent.dropped == 1);
        (0..limits::WAITING_FILES_MAX).for_each(|n| std::fs::remove_file(waiting(n)).unwrap());
        pass_until(&mut persistent, |_| !batches(directory.path()).is_empty());
        let sent =
            || batches(directory.path()).iter().map(|batch| (batch.dropped, batch.events.len())).collect::<Vec<_>>();
        assert_eq!((sent(), persistent.dropped), (vec![(1, 0)], 0));
        // It is sent once.
        drop(persistent);
        let mut persistent = again(directory.path());
        persistent.recover(time::now()).unwrap();
        persistent.next_start = time::never();
        let now = time::now();
        for n in 0..3 {
            persistent.pass(time::after(now, Duration::from_secs(60 * n))).unwrap();
        }
        assert_eq!(sent(), [(1, 0)]);
    }

    #[test]
    fn its_process_ends_with_it() {
        let (directory, mut persistent) = persistent(r#"read -r x; echo $$ >&2; echo '{"n": 1}'; sleep 1000 & wait"#);
        pass_until(&mut persistent, |_| !batches(directory.path()).is_empty());
        let pid = persistent.running.as_ref().unwrap().child.id();
        drop(persistent);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn an_event_that_is_too_long_is_counted_and_ends_nothing() {
        let script =
            r#"read -r x; printf '{"n": "'; head -c 100000 /dev/zero | tr '\0' x; printf '"}\n{"n": 2}\n'; sleep 1000"#;
        let (directory, mut persistent) = persistent(script);
        pass_until(&mut persistent, |_| !batches(directory.path()).is_empty());
        let batch = batches(directory.path()).remove(0);
        assert_eq!((batch.dropped, batch.events.len(), &batch.events[0]["n"]), (1, 1, &serde_json::json!(2)));
    }

    #[test]
    fn a_batch_that_cannot_be_written_grows_no_further_than_one_that_can_be_sent() {
        let script =
            r#"read -r x; i=0; while [ $i -lt 900 ]; do printf '{"n": "%02000d"}\n' $i; i=$((i+1)); done; sleep 1000"#;
        let (directory, mut persistent) = persistent(script);
        let events = directory.path().join("events");
        std::fs::remove_dir(&events).unwrap();
        std::fs::write(&events, "").unwrap();
        let (began, mut now) = (Instant::now(), time::now());
        while persistent.pending_bytes < limits::EVENT_BATCH_BYTES_MAX / 2 {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
            assert!(persistent.pass(now).is_err() || persistent.pending.is_empty());
            std::thread::sleep(Duration::from_millis(5));
            now = time::after(now, Duration::from_secs(60));
        }
        (0..5).for_each(|_| assert!(persistent.pass(now).is_err()));
        assert!(persistent.pending_bytes < limits::EVENT_BATCH_BYTES_MAX / 2 + limits::EVENT_BYTES_MAX);
        std::fs::remove_file(&events).unwrap();
        std::fs::create_dir(&events).unwrap();
        persistent.recover(now).unwrap();
        pass_until(&mut persistent, |_| {
            batches(directory.path()).iter().map(|batch| batch.events.len()).sum::<usize>() == 900
        });
    }
}
