use super::*;
use crate::spool::stages::{self, ACTION_INVALID, ACTION_NEW, COMMAND_INFLIGHT, COMMAND_READY};
use crate::time;
use crate::worker::run;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn source(stage: Stage) -> Source {
    let (size_bytes_max, batch_entries_max) = (100, limits::BATCH_ENTRIES_MAX);
    Source { stage, invalid: ACTION_INVALID, size_bytes_max, batch_entries_max }
}

/// Defers every file, and completes it after it was read: like a writer that is a moment later than the worker.
struct LateWriter {
    file: PathBuf,
    seen: Vec<Vec<u8>>,
}

impl FileHandler for LateWriter {
    type Checked = ();
    fn name(&self) -> &'static str {
        "late-writer"
    }
    fn source(&self) -> Source {
        source(ACTION_NEW)
    }
    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |_| Ok(())
    }
    fn handle(&mut self, _: &Spool, batch: Vec<(&Entry, ())>, now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        self.seen.extend(batch.iter().map(|(entry, ())| entry.bytes.clone()));
        if self.seen.len() == 1 {
            std::fs::write(&self.file, "complete").unwrap();
        }
        let hour = time::after(now, Duration::from_secs(3600));
        Ok(vec![Verdict::NotYet(hour); batch.len()])
    }
}

/// Leaves every file, and remembers what it was asked.
#[derive(Default)]
struct Reader {
    /// Every batch with this file is refused.
    culprit: Option<FileName>,
    checked: Arc<Mutex<Vec<FileName>>>,
    handled: Vec<FileName>,
    batches: usize,
    /// Files of the first batch.
    first: usize,
}

impl FileHandler for Reader {
    type Checked = FileName;
    fn name(&self) -> &'static str {
        "reader"
    }
    fn source(&self) -> Source {
        source(COMMAND_READY)
    }
    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<FileName, Verdict> + Send + Sync + use<> {
        let checked = Arc::clone(&self.checked);
        move |entry| {
            checked.lock().unwrap().push(entry.name.clone());
            Ok(entry.name.clone())
        }
    }
    fn handle(&mut self, _: &Spool, batch: Vec<(&Entry, FileName)>, now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        assert!(batch.iter().all(|(entry, checked)| *checked == entry.name));
        if batch.iter().any(|(entry, _)| Some(&entry.name) == self.culprit.as_ref()) {
            return Err(Failure::Refuse("is the culprit".into()));
        }
        if self.batches == 0 {
            self.first = batch.len();
        }
        self.batches += 1;
        let hour = time::after(now, Duration::from_secs(3600));
        let verdicts = vec![Verdict::NotYet(hour); batch.len()];
        self.handled.extend(batch.into_iter().map(|(_, checked)| checked));
        Ok(verdicts)
    }
}

/// A spool with so many files in command/ready, and their names.
fn with_commands(count: usize) -> (tempfile::TempDir, Vec<String>, Mover) {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let names: Vec<String> = (0..count).map(|n| format!("{n:05}.json")).collect();
    names.iter().for_each(|name| std::fs::write(directory.path().join("command/ready").join(name), "{}").unwrap());
    let mover = Mover::open(directory.path(), &stages::SCHEDULER, "drain").unwrap();
    (directory, names, mover)
}

#[test]
fn each_file_of_many_batches_is_checked_once_and_handled_in_order() {
    let (_directory, names, mover) = with_commands(2 * limits::BATCH_ENTRIES_MAX + 1);
    let mut worker = StageWorker::new(mover, Reader::default());
    while worker.handler.handled.len() < names.len() {
        assert_eq!(worker.pass(time::now()).unwrap().handled, 0, "all were left");
    }
    let texts = |found: &[FileName]| found.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(&worker.handler.handled), names);
    let mut checked = texts(&worker.handler.checked.lock().unwrap());
    checked.sort();
    assert_eq!((checked, worker.handler.batches), (names, 3));
}

#[test]
fn files_that_are_left_hide_none_behind_them() {
    const FILES: usize = 9 * limits::BATCH_ENTRIES_MAX + 1;
    let (_directory, _names, mover) = with_commands(FILES);
    let reader = Reader::default();
    let checked = Arc::clone(&reader.checked);
    run::once(&mut [Box::new(StageWorker::new(mover, reader))]).unwrap();
    assert_eq!(checked.lock().unwrap().len(), FILES);
}

#[test]
fn of_a_batch_that_is_refused_only_the_culprit_is_and_a_trial_is_small() {
    let (directory, names, mover) = with_commands(100);
    let culprit = FileName::new(names[70].clone());
    let mut worker = StageWorker::new(mover, Reader { culprit, ..Reader::default() });
    let now = time::now();
    worker.recover(now).unwrap();
    assert_eq!(worker.pass(now).unwrap().handled, 1, "the culprit");
    assert_eq!(worker.handler.first, limits::TRIAL_ENTRIES_MAX);
    let handled: Vec<&str> = worker.handler.handled.iter().map(|name| name.as_str().unwrap()).collect();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != names[70]).collect();
    assert_eq!(handled, others);
    assert!(directory.path().join("action/invalid").join(&names[70]).exists());
}

#[test]
fn a_file_that_is_completed_while_it_is_checked_is_looked_at_again() {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let file = directory.path().join("action/new/a.json");
    std::fs::write(&file, "half").unwrap();
    let mover = Mover::open(directory.path(), &stages::SCHEDULER, "late-writer").unwrap();
    let mut worker = StageWorker::new(mover, LateWriter { file, seen: Vec::new() });
    let now = time::now();
    assert_eq!(worker.pass(now).unwrap().handled, 0);
    let later = time::after(now, Duration::from_secs(1));
    worker.pass(later).unwrap();
    assert_eq!(worker.handler.seen, [b"half".to_vec(), b"complete".to_vec()]);
    let later = time::after(later, Duration::from_secs(1));
    let again = worker.pass(later).unwrap().again.unwrap();
    assert!(again > time::after(now, Duration::from_secs(3600)), "left as it is, it waits");
    worker.pass(time::before(now, Duration::from_secs(86400))).unwrap();
    assert_eq!(worker.handler.seen.len(), 3, "a clock that was set back keeps nothing waiting");
}

/// Moves every file, after which another one moves.
struct Sender {
    /// The batch that fails.
    fails_at: Option<usize>,
    sent: Vec<Vec<FileName>>,
}

impl FileHandler for Sender {
    type Checked = ();
    fn name(&self) -> &'static str {
        "sender"
    }
    fn source(&self) -> Source {
        source(COMMAND_READY)
    }
    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |_| Ok(())
    }
    fn handle(&mut self, spool: &Spool, batch: Vec<(&Entry, ())>, _now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        if self.fails_at == Some(self.sent.len()) {
            return Err(Failure::retry("the relay is unavailable"));
        }
        assert!(
            self.sent.iter().flatten().all(|name| !spool.has(COMMAND_READY, name).unwrap()),
            "moved before the next"
        );
        self.sent.push(batch.iter().map(|(entry, ())| entry.name.clone()).collect());
        let forward = |entry: &Entry| vec![Step::forward(COMMAND_READY, &entry.name, COMMAND_INFLIGHT)];
        Ok(batch.iter().map(|(entry, ())| Verdict::done(forward(entry))).collect())
    }
}

#[test]
fn a_batch_moves_before_the_next_is_handled_and_a_failure_leaves_the_rest() {
    for fails_at in [None, Some(0), Some(1), Some(2)] {
        let count = 2 * limits::BATCH_ENTRIES_MAX + 1;
        let (_directory, _, mover) = with_commands(count);
        let spool = Arc::clone(mover.spool());
        let mut worker = StageWorker::new(mover, Sender { fails_at, sent: Vec::new() });
        let mut outcome = worker.pass(time::now());
        while outcome.as_ref().is_ok_and(|pass| pass.has_more(time::now())) {
            outcome = worker.pass(time::now());
        }
        let sent: Vec<FileName> = worker.handler.sent.iter().flatten().cloned().collect();
        assert_eq!(worker.handler.sent.len(), fails_at.unwrap_or(3), "batches");
        assert_eq!(spool.list(COMMAND_INFLIGHT).unwrap(), sent, "fails at {fails_at:?}");
        assert_eq!(spool.list(COMMAND_READY).unwrap().len(), count - sent.len());
        assert_eq!(outcome.is_ok(), fails_at.is_none());
    }
}

#[test]
fn a_file_that_cannot_move_does_not_hold_up_the_others() {
    let (directory, names, mover) = with_commands(40);
    let spool = Arc::clone(mover.spool());
    let taken = directory.path().join("command/inflight").join(&names[7]);
    std::fs::write(&taken, "another").unwrap();
    let mut worker = StageWorker::new(mover, Sender { fails_at: None, sent: Vec::new() });
    assert_eq!(worker.pass(time::now()).unwrap().handled, 40);
    assert_eq!(spool.list(COMMAND_READY).unwrap().len(), 0);
    assert_eq!(std::fs::read(taken).unwrap(), b"another", "the first stays");
}

/// Moves every file to a name that is too long.
struct Impossible {
    tries: usize,
}

impl FileHandler for Impossible {
    type Checked = ();
    fn name(&self) -> &'static str {
        "impossible"
    }
    fn source(&self) -> Source {
        source(COMMAND_READY)
    }
    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |_| Ok(())
    }
    fn handle(&mut self, _: &Spool, batch: Vec<(&Entry, ())>, _now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        self.tries += 1;
        let to_name = FileName::new("x".repeat(300)).unwrap();
        let step = |entry: &Entry| Step::Move {
            from: COMMAND_READY,
            name: entry.name.clone(),
            to: COMMAND_INFLIGHT,
            to_name: to_name.clone(),
        };
        Ok(batch.iter().map(|(entry, ())| Verdict::done(vec![step(entry)])).collect())
    }
}

#[test]
fn a_file_that_cannot_be_moved_is_tried_again_soon_and_then_rarely() {
    let (_directory, _names, mover) = with_commands(1);
    let mut worker = StageWorker::new(mover, Impossible { tries: 0 });
    let start = time::now();
    let mut now = start;
    let after = |duration| time::after(start, duration);
    while now < after(Duration::from_secs(3600)) {
        now = worker.pass(now).unwrap().again.unwrap();
        assert!(worker.has_tried());
        if now < after(Duration::from_secs(20)) {
            assert!(time::until(start, now) < Duration::from_secs(30), "soon: {now}");
        }
    }
    assert!((20..60).contains(&worker.handler.tries), "{} tries in an hour", worker.handler.tries);
    worker.pass(now).unwrap();
    worker.pass(now).unwrap();
    assert!(!worker.has_tried(), "nothing was due");
}
