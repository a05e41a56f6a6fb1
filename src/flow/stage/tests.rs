use super::*;
use crate::flow::run;
use crate::spool::stages::{self, ACTION_NEW, COMMAND_INFLIGHT, COMMAND_READY};
use crate::time;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Says of every file that it is not complete yet, and completes it itself after it was read: as a writer does who
/// is a moment later than the worker.
struct LateWriter {
    file: PathBuf,
    seen: Vec<Vec<u8>>,
}

impl StageWorker for LateWriter {
    type Judged = ();
    fn name(&self) -> &'static str {
        "late-writer"
    }
    fn source(&self) -> Stage {
        ACTION_NEW
    }
    fn size_bytes_max(&self) -> u64 {
        100
    }
    fn judge(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |_| Ok(())
    }
    fn work(
        &mut self,
        _spool: &Spool,
        batch: &[Entry],
        _judged: Vec<Result<(), Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure> {
        self.seen.extend(batch.iter().map(|entry| entry.bytes.clone()));
        if self.seen.len() == 1 {
            std::fs::write(&self.file, "complete").unwrap();
        }
        let hour = time::after(now, Duration::from_secs(3600));
        Ok(Work { verdicts: vec![Verdict::NotYet(hour); batch.len()], ended: Vec::new() })
    }
}

/// Leaves every file, and remembers what it was asked.
#[derive(Default)]
struct Reader {
    /// No batch with this file is worked on.
    culprit: Option<FileName>,
    judged: Arc<Mutex<Vec<FileName>>>,
    worked: Vec<FileName>,
    batches: usize,
    /// Files of the first batch.
    first: usize,
}

impl StageWorker for Reader {
    type Judged = FileName;
    fn name(&self) -> &'static str {
        "reader"
    }
    fn source(&self) -> Stage {
        COMMAND_READY
    }
    fn size_bytes_max(&self) -> u64 {
        100
    }
    fn judge(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<FileName, Verdict> + Send + Sync + use<> {
        let judged = Arc::clone(&self.judged);
        move |entry| {
            judged.lock().unwrap().push(entry.name.clone());
            Ok(entry.name.clone())
        }
    }
    fn work(
        &mut self,
        _spool: &Spool,
        batch: &[Entry],
        judged: Vec<Result<FileName, Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure> {
        assert!(batch.iter().zip(&judged).all(|(entry, judged)| judged.as_ref() == Ok(&entry.name)));
        if batch.iter().any(|entry| Some(&entry.name) == self.culprit.as_ref()) {
            return Err(Failure::Refused("is the culprit".into()));
        }
        self.worked.extend(judged.into_iter().flatten());
        if self.batches == 0 {
            self.first = batch.len();
        }
        self.batches += 1;
        let hour = time::after(now, Duration::from_secs(3600));
        Ok(Work { verdicts: vec![Verdict::NotYet(hour); batch.len()], ended: Vec::new() })
    }
}

/// A spool with so many files in command/ready, and their names.
fn with_commands(count: usize) -> (tempfile::TempDir, Vec<String>, Spool) {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let names: Vec<String> = (0..count).map(|n| format!("{n:05}.json")).collect();
    names.iter().for_each(|name| std::fs::write(directory.path().join("command/ready").join(name), "{}").unwrap());
    let spool = Spool::open(directory.path(), &stages::SCHEDULER, "drain").unwrap();
    (directory, names, spool)
}

#[test]
fn each_file_of_many_batches_is_judged_once_and_worked_on_in_order() {
    let (_directory, names, spool) = with_commands(2 * limits::BATCH_ENTRIES_MAX + 1);
    let mut drain = StageDrain::new(spool, Reader::default());
    assert_eq!(drain.pass(time::now()).unwrap().handled, 0, "all were left");
    let texts = |found: &[FileName]| found.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(&drain.worker.worked), names);
    let mut judged = texts(&drain.worker.judged.lock().unwrap());
    judged.sort();
    assert_eq!((judged, drain.worker.batches), (names, 3));
}

#[test]
fn files_that_are_left_hide_none_behind_them() {
    const FILES: usize = limits::PASS_BATCHES_MAX * limits::BATCH_ENTRIES_MAX + limits::BATCH_ENTRIES_MAX + 1;
    let (_directory, _names, spool) = with_commands(FILES);
    let reader = Reader::default();
    let judged = Arc::clone(&reader.judged);
    run::once(&mut [Box::new(StageDrain::new(spool, reader))]).unwrap();
    assert_eq!(judged.lock().unwrap().len(), FILES);
}

#[test]
fn of_a_batch_that_is_refused_only_the_culprit_is_and_a_trial_is_small() {
    let (directory, names, spool) = with_commands(100);
    let culprit = FileName::new(names[70].clone());
    let mut drain = StageDrain::new(spool, Reader { culprit, ..Reader::default() });
    let now = time::now();
    drain.recover(now).unwrap();
    assert_eq!(drain.pass(now).unwrap().handled, 1, "the culprit");
    assert_eq!(drain.worker.first, limits::TRIAL_ENTRIES_MAX);
    let worked: Vec<&str> = drain.worker.worked.iter().map(|name| name.as_str().unwrap()).collect();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != names[70]).collect();
    assert_eq!(worked, others);
    assert!(directory.path().join("action/invalid").join(&names[70]).exists());
}

#[test]
fn a_file_that_is_completed_while_it_is_judged_is_looked_at_again() {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let file = directory.path().join("action/new/a.json");
    std::fs::write(&file, "half").unwrap();
    let spool = Spool::open(directory.path(), &stages::SCHEDULER, "late-writer").unwrap();
    let mut drain = StageDrain::new(spool, LateWriter { file, seen: Vec::new() });
    let now = time::now();
    assert_eq!(drain.pass(now).unwrap().handled, 0);
    drain.pass(now).unwrap();
    assert_eq!(drain.worker.seen, [b"half".to_vec(), b"complete".to_vec()]);
    // Left as it is, it waits; but never longer than the longest pause, whatever the clock does.
    let again = drain.pass(now).unwrap().again.unwrap();
    assert_eq!(again, time::after(now, limits::UNROUTABLE_PAUSE_MAX));
    drain.pass(time::before(now, Duration::from_secs(86400))).unwrap();
    assert_eq!(drain.worker.seen.len(), 3, "a clock that was set back keeps nothing waiting");
}

/// Has effects that do not depend on the spool, and knows how far the files may be behind them.
struct Sender {
    /// The batch that it fails at.
    away_at: Option<usize>,
    sent: Vec<Vec<FileName>>,
}

impl StageWorker for Sender {
    type Judged = ();
    fn name(&self) -> &'static str {
        "sender"
    }
    fn source(&self) -> Stage {
        COMMAND_READY
    }
    fn size_bytes_max(&self) -> u64 {
        100
    }
    fn runs_ahead(&self) -> bool {
        true
    }
    fn judge(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<(), Verdict> + Send + Sync + use<> {
        |_| Ok(())
    }
    fn work(
        &mut self,
        spool: &Spool,
        batch: &[Entry],
        _judged: Vec<Result<(), Verdict>>,
        _now: Timestamp,
    ) -> Result<Work, Failure> {
        if self.away_at == Some(self.sent.len()) {
            return Err(Failure::Away("the relay is away".into()));
        }
        let moved = self.sent.iter().rev().skip(1).flatten();
        assert!(moved.into_iter().all(|name| !spool.has(COMMAND_READY, name).unwrap()), "two batches behind");
        let ended =
            if self.sent.is_empty() { vec![(FileName::new("7.json").unwrap(), b"{}".to_vec())] } else { vec![] };
        self.sent.push(batch.iter().map(|entry| entry.name.clone()).collect());
        Ok(Work { verdicts: vec![Verdict::Next { to: COMMAND_INFLIGHT, clear: &[] }; batch.len()], ended })
    }
}

#[test]
fn effects_run_one_batch_ahead_of_the_files_and_leave_none_behind() {
    for away_at in [None, Some(0), Some(1), Some(2)] {
        let count = 2 * limits::BATCH_ENTRIES_MAX + 1;
        let (_directory, _, spool) = with_commands(count);
        let mut drain = StageDrain::new(spool, Sender { away_at, sent: Vec::new() });
        let outcome = drain.pass(time::now());
        let sent: Vec<FileName> = drain.worker.sent.iter().flatten().cloned().collect();
        assert_eq!(drain.worker.sent.len(), away_at.unwrap_or(3), "batches");
        assert_eq!(drain.spool.list(COMMAND_INFLIGHT).unwrap(), sent, "away at {away_at:?}");
        assert_eq!(drain.spool.list(COMMAND_READY).unwrap().len(), count - sent.len());
        match away_at {
            None => assert_eq!(outcome.unwrap().handled, count),
            Some(_) => assert!(matches!(outcome, Err(Failure::Away(_)))),
        }
    }
}

#[test]
fn files_that_cannot_move_leave_the_batch_that_ran_ahead_where_it_is() {
    for (count, batches_sent) in
        [(limits::BATCH_ENTRIES_MAX + limits::PARALLEL_ENTRIES_MIN, 2), (limits::BATCH_ENTRIES_MAX + 1, 1)]
    {
        let (directory, _, spool) = with_commands(count);
        std::fs::write(directory.path().join("action/inflight/7.json"), "{}").unwrap();
        let obstacle = directory.path().join("action/done/7.json");
        std::fs::create_dir(&obstacle).unwrap();
        let mut drain = StageDrain::new(spool, Sender { away_at: None, sent: Vec::new() });
        assert!(matches!(drain.pass(time::now()), Err(Failure::Away(_))));
        assert_eq!(drain.worker.sent.len(), batches_sent, "a few are not sent beside files that move");
        assert_eq!(drain.spool.list(COMMAND_READY).unwrap().len(), count);
        std::fs::remove_dir(obstacle).unwrap();
        drain.worker.sent.clear();
        drain.recover(time::now()).unwrap();
        assert_eq!(drain.pass(time::now()).unwrap().handled, count);
        assert_eq!(drain.worker.sent[0].len(), limits::TRIAL_ENTRIES_MAX);
        assert_eq!(drain.spool.list(COMMAND_INFLIGHT).unwrap().len(), count);
    }
}
