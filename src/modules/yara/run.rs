//! Scans all files and processes that are selected.
//!
//! One thread scans, and says what it does; the other keeps the time and makes the report. A scan that cannot be interrupted (an
//! expression that takes a minute for a file, a file system that hangs) is left alone: the report is finished without it, and
//! its thread ends with the process. One scan at a time: its memory is what an operation may have, and a machine that is looked
//! into has other work.

use super::parameters::Search;
use super::rules::Rules;
use super::scan::{Found, SCAN_TIME_MAX, Scans};
use crate::modules::expressions::Pattern;
use crate::modules::processes::{Ids, Process, Processes, has_ended};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult, file};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The field of elements, as in the original.
pub(super) const MATCHES: &str = "Matches";
/// How often the time is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for a scan beyond its own: the engine looks at the clock now and then.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a process is scanned that replaces its program meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What the scanning thread says.
enum Said {
    /// It begins with this file or process.
    Begun(String),
    /// It is done with it.
    File(Found),
    /// It is done with it.
    Process(Found, i32),
    /// It ended, or has no memory.
    Gone,
    /// It could not be scanned.
    Failed(String),
    /// Something else was not looked at.
    Unseen(String),
    /// The search for files is over.
    Searched(Box<ModuleResult>),
    /// Everything was scanned, or named.
    Done,
}

/// The receiver is gone: the run is over.
struct IsOver;

/// Runs a search.
pub(super) fn run(rules: Rules, search: Search, context: Context) -> ModuleResult {
    let mut report = Report::new(context, [MATCHES]);
    // What is said is heard at once: nothing that was found waits when the time is over.
    let (say, said) = sync_channel(0);
    // One thread walks, as one scans.
    let Context { deadline, result_bytes_max, agent, .. } = context;
    let own = Context { threads: 1, deadline, result_bytes_max, progress: None, network: None, agent };
    let work = move || {
        let worker = Worker { scans: Mutex::new(Scans::new(rules, own.deadline)), say };
        // If the run is over, nothing listens any more.
        let _ = worker.run(&search, own).and_then(|()| worker.say(Said::Done));
    };
    if let Err(error) = std::thread::Builder::new().name("yara".into()).spawn(work) {
        return ModuleResult::failed(format!("start a thread: {error}"));
    }
    let counts = listen(&said, &mut report);
    report.finish(&json!({"files": counts.files, "processes": counts.processes}))
}

/// What was scanned.
#[derive(Default)]
struct Counts {
    files: u64,
    processes: u64,
}

/// Writes what is said into the report, until all was said or the time is over.
fn listen(said: &Receiver<Said>, report: &mut Report) -> Counts {
    let mut counts = Counts::default();
    let mut current: Option<(String, Instant)> = None;
    loop {
        let next = said.recv_timeout(PAUSE);
        let name = || current.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
        match next {
            Ok(Said::Begun(name)) => current = Some((name, Instant::now())),
            Ok(Said::File(found)) => {
                counts.files += 1;
                add(report, &name(), found, |_| {});
                current = None;
            }
            Ok(Said::Process(found, pid)) => {
                counts.processes += 1;
                add(report, &name(), found, |element| element["pid"] = json!(pid));
                current = None;
            }
            Ok(Said::Gone) => current = None,
            Ok(Said::Failed(reason)) => {
                report.unseen(format_args!("scan {}: {reason}", name()));
                current = None;
            }
            Ok(Said::Unseen(reason)) => report.unseen(reason),
            Ok(Said::Searched(result)) => searched(report, &result),
            Ok(Said::Done) => return counts,
            Err(RecvTimeoutError::Disconnected) => report.stop("by an internal error"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some((name, begun)) = &current
            && begun.elapsed() > SCAN_TIME_MAX + PATIENCE
        {
            report.stop(format_args!("as the scan of {name} does not end"));
        }
        if report.is_over() {
            let last = current.map_or("nothing is scanned any more".to_owned(), |(name, _)| {
                format!("the scan of {name} was not finished")
            });
            report.unseen(format_args!("{last}; what comes behind was not scanned"));
            return counts;
        }
    }
}

/// Adds what was found in a file or process.
fn add(report: &mut Report, object: &str, found: Found, more: impl FnOnce(&mut Value)) {
    for reason in &found.unknown {
        report.unseen(format_args!("scan {object}: {reason}"));
    }
    if found.rules.is_empty() {
        return;
    }
    let left_out = found.rules.len() - found.details.len();
    if left_out > 0 {
        report.note(format_args!("{object}: tags, meta and places of {left_out} of its rules are left out"));
    }
    let mut element = json!({"Object": object, "MatchedRules": found.rules, "Rules": found.details});
    more(&mut element);
    report.add(MATCHES, element);
}

/// What the search for files says: its errors are those of this run.
fn searched(report: &mut Report, result: &ModuleResult) {
    let is_whole =
        result.success && result.statistics["partial"].is_null() && result.statistics["openfailed"] == json!(0);
    for error in result.errors.iter().flatten() {
        if is_whole {
            report.note(error);
        } else {
            report.unseen(error);
        }
    }
}

/// The thread that scans.
struct Worker {
    scans: Mutex<Scans>,
    say: SyncSender<Said>,
}

impl Worker {
    fn run(&self, search: &Search, context: Context) -> Result<(), IsOver> {
        if let Some(files) = &search.files {
            let result = file::visit(files, context, &|path, file| self.file(path, file).is_ok());
            self.say(Said::Searched(Box::new(result)))?;
        }
        if search.processes.is_empty() {
            return Ok(());
        }
        // They hold the rules.
        let without = [std::process::id(), context.agent.unwrap_or_default()].map(u32::cast_signed);
        let listed = Processes::open().and_then(|processes| Ok((Ids::list(&processes, &without)?, processes)));
        let (mut ids, processes) = match listed {
            Ok(listed) => listed,
            Err(error) => return self.say(Said::Unseen(format!("read /proc: {error}"))),
        };
        if let Some(reason) = processes.hidden() {
            self.say(Said::Unseen(reason))?;
        }
        while let Some((pid, _)) = ids.next(&processes) {
            self.process(search, &processes, pid)?;
        }
        match ids.error() {
            Some(error) => self.say(Said::Unseen(format!("list the processes in /proc again: {error}"))),
            None => Ok(()),
        }
    }

    fn say(&self, what: Said) -> Result<(), IsOver> {
        self.say.send(what).map_err(|_| IsOver)
    }

    fn file(&self, path: &Path, file: &File) -> Result<(), IsOver> {
        self.say(Said::Begun(path.to_string_lossy().into_owned()))?;
        let found = self.scans.lock().unwrap_or_else(PoisonError::into_inner).file(path, file);
        self.say(found.map_or_else(|error| Said::Failed(error.to_string()), Said::File))
    }

    fn process(&self, search: &Search, processes: &Processes, pid: i32) -> Result<(), IsOver> {
        let mut earlier: Option<Found> = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let unseen = |error: io::Error| self.say(Said::Unseen(format!("scan process {pid}: {error}")));
            let looked = match look(search, processes, pid) {
                Err(error) if !has_ended(&error) => return unseen(error),
                looked => looked.unwrap_or_default(),
            };
            let Some((process, program)) = looked else {
                // It has ended, or is not meant any more; what was found before counts.
                return earlier.map_or(Ok(()), |found| self.say(Said::Process(found, pid)));
            };
            self.say(Said::Begun(format!("process {pid} {}", program.display())))?;
            let scanned = self.scans.lock().unwrap_or_else(PoisonError::into_inner).process(&process, &program);
            let (mut found, is_gone) = match scanned {
                Ok(scanned) => scanned,
                Err(error) if has_ended(&error) => (Found::default(), true),
                Err(error) => return self.say(Said::Failed(error.to_string())),
            };
            let is_replaced = is_gone && processes.has_memory(&process);
            if let Some(earlier) = earlier.take() {
                found.add_earlier(earlier);
            }
            if is_replaced {
                let count = format!("it replaced its program {ATTEMPTS_MAX} times while it was scanned");
                found.unknown = if attempt == ATTEMPTS_MAX { vec![count] } else { Vec::new() };
            }
            if is_replaced && attempt < ATTEMPTS_MAX {
                earlier = Some(found).filter(|found| !found.rules.is_empty());
            } else if is_gone && !is_replaced && found.rules.is_empty() {
                return self.say(Said::Gone);
            } else {
                return self.say(Said::Process(found, pid));
            }
        }
        Ok(())
    }
}

/// Opens a process, and says which program it runs. None: it is not meant, or has no memory.
fn look(search: &Search, processes: &Processes, pid: i32) -> io::Result<Option<(Process, PathBuf)>> {
    let process = processes.process(pid)?;
    let stat = process.stat()?;
    if stat.is_kernel {
        return Ok(None);
    }
    let is_meant = |program: &Path| search.processes.iter().any(|pattern| is_meant(pattern, &stat.name, program));
    match process.executable() {
        Ok(None) => Ok(None),
        Ok(Some(_)) => {
            let program = process.link("exe")?;
            Ok(is_meant(&program).then_some((process, program)))
        }
        // By its name alone it can be said to be meant, and not that it is not.
        Err(error) => {
            let is_plain = |pattern: &Pattern| !pattern.text.starts_with('!') && pattern.is_met_by(&stat.name);
            let name = String::from_utf8_lossy(&stat.name).into_owned();
            if !has_ended(&error) && search.processes.iter().any(is_plain) {
                return Ok(Some((process, name.into())));
            }
            Err(if has_ended(&error) { error } else { io::Error::new(error.kind(), format!("{name}: {error}")) })
        }
    }
}

/// Whether a process is meant by its name or its program; by a negated expression, if neither is what it describes.
fn is_meant(pattern: &Pattern, name: &[u8], program: &Path) -> bool {
    let [by_name, by_program] = [name, program.as_os_str().as_encoded_bytes()].map(|text| pattern.is_met_by(text));
    if pattern.text.starts_with('!') { by_name && by_program } else { by_name || by_program }
}
