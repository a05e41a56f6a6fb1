//! What the threads find, collected within limits, and its form as a result.

use super::format;
use super::hashes;
use super::limits;
use super::open::Metadata;
use super::parameters::{Plan, Search};
use crate::modules::ModuleResult;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared by the threads of a run.
pub(super) struct Collector<'a> {
    plan: &'a Plan,
    found: Mutex<Found>,
    /// Per search: it has all the files it may report.
    closed: Vec<AtomicBool>,
    /// Searches that are not closed.
    open_count: AtomicUsize,
    errors: Mutex<Vec<String>>,
    errors_max: usize,
    files: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Found {
    /// Per search.
    matches: Vec<Vec<Match>>,
    /// Limits that were met; few, and never left out.
    notes: Vec<String>,
    entries: usize,
    bytes: usize,
}

/// A file that matched.
struct Match {
    path: String,
    info: Value,
    /// The checks that it passed, by number; empty when the search wants all.
    checks: Vec<usize>,
}

impl<'a> Collector<'a> {
    /// For a run of `plan`.
    pub(super) fn new(plan: &'a Plan) -> Self {
        let errors_max = plan.searches.iter().map(|search| match search.options.maxerrors {
            None => limits::ERRORS_DEFAULT,
            Some(0) => limits::ERRORS_MAX,
            Some(count) => count.min(limits::ERRORS_MAX),
        });
        let matches = plan.searches.iter().map(|_| Vec::new()).collect();
        Collector {
            plan,
            found: Mutex::new(Found { matches, ..Found::default() }),
            closed: plan.searches.iter().map(|_| AtomicBool::new(false)).collect(),
            open_count: AtomicUsize::new(plan.searches.len()),
            errors: Mutex::default(),
            errors_max: errors_max.max().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX)),
            files: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// The search needs no more files.
    pub(super) fn is_closed(&self, search: usize) -> bool {
        self.closed[search].load(Relaxed)
    }

    /// No search needs more files.
    pub(super) fn is_done(&self) -> bool {
        self.open_count.load(Relaxed) == 0
    }

    /// Counts files that were looked at.
    pub(super) fn add_files(&self, count: u64) {
        self.files.fetch_add(count, Relaxed);
    }

    /// Notes that `path` could not be opened or read.
    pub(super) fn failed(&self, what: &str, path: &Path, error: &dyn Display) {
        self.failed.fetch_add(1, Relaxed);
        self.error(what, path, error);
    }

    /// Notes an error that is no failure to open.
    pub(super) fn error(&self, what: &str, path: &Path, error: &dyn Display) {
        let mut errors = lock(&self.errors);
        if errors.len() < self.errors_max {
            errors.push(format!("{what} {}: {error}", path.display()));
        }
    }

    /// Notes a matching file of a search; `checks` are those it passed, or none when it passed all.
    pub(super) fn add(&self, number: usize, checks: &[usize], path: &Path, of: &Metadata, sha256: Option<&[u8]>) {
        let search = &self.plan.searches[number];
        let path = path.to_string_lossy().into_owned();
        let entries = checks.len().max(1);
        let bytes = entries * (path.len() + search.entry_bytes);
        let mut found = lock(&self.found);
        if self.is_closed(number) {
            return;
        }
        if found.matches[number].len() as u64 >= search.matchlimit() {
            let note = format!("search {}: stopped at the matchlimit of {} files", search.label, search.matchlimit());
            found.notes.push(note);
            self.close(number);
            return;
        }
        if found.entries + entries > limits::RESULT_ENTRIES_MAX || found.bytes + bytes > limits::RESULT_BYTES_MAX {
            let (entries, bytes) = (limits::RESULT_ENTRIES_MAX, limits::RESULT_BYTES_MAX);
            found.notes.push(format!("all searches: stopped at {entries} entries or {bytes} bytes of results"));
            (0..self.closed.len()).for_each(|number| self.close(number));
            return;
        }
        found.entries += entries;
        found.bytes += bytes;
        let info = file_info(of, sha256, search.options.returnsha256);
        found.matches[number].push(Match { path, info, checks: checks.to_vec() });
    }

    fn close(&self, number: usize) {
        if !self.closed[number].swap(true, Relaxed) {
            self.open_count.fetch_sub(1, Relaxed);
        }
    }

    /// The result of the run, files and errors in order of their text.
    pub(super) fn finish(self, exectime: Duration) -> ModuleResult {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut elements = Map::new();
        let mut hits = 0_usize;
        for (search, matches) in self.plan.searches.iter().zip(&mut found.matches) {
            matches.sort_by(|one, other| one.path.cmp(&other.path));
            let (entries, of_search) = search_elements(search, matches);
            hits += of_search;
            elements.insert(search.label.clone(), Value::Array(entries));
        }
        let mut errors = self.errors.into_inner().unwrap_or_else(PoisonError::into_inner);
        errors.sort();
        errors.splice(0..0, found.notes);
        ModuleResult {
            foundanything: hits > 0,
            success: true,
            elements: Value::Object(elements),
            statistics: json!({
                "filescount": self.files.into_inner(),
                "openfailed": self.failed.into_inner(),
                "totalhits": hits,
                "exectime": format::duration(exectime),
            }),
            errors: if errors.is_empty() { None } else { Some(errors) },
        }
    }
}

impl Search {
    fn matchlimit(&self) -> u64 {
        if self.options.matchlimit == 0 { limits::MATCHLIMIT_FILES_DEFAULT } else { self.options.matchlimit }
    }
}

/// The entries of one search, and how many of them name a file.
fn search_elements(search: &Search, matches: &[Match]) -> (Vec<Value>, usize) {
    let empty = json!({"size": 0, "mode": "", "lastmodified": ""});
    let entry = |file: &str, info: &Value, of: &Value| json!({"file": file, "fileinfo": info, "search": of});
    let mut entries = Vec::new();
    let mut hits = 0;
    let mut report = |files: &mut dyn Iterator<Item = &Match>, of: &Value| {
        let before = hits;
        for found in files {
            entries.push(entry(&found.path, &found.info, of));
            hits += 1;
        }
        if hits == before {
            entries.push(entry("", &empty, of));
        }
    };
    if search.all {
        report(&mut matches.iter(), &search.echo);
        return (entries, hits);
    }
    for (number, check) in search.checks.iter().enumerate() {
        let mut of = Map::new();
        of.insert(check.field.name().to_owned(), json!([check.value]));
        of.insert("options".to_owned(), search.options_echo.clone());
        report(&mut matches.iter().filter(|found| found.checks.contains(&number)), &Value::Object(of));
    }
    (entries, hits)
}

fn file_info(of: &Metadata, sha256: Option<&[u8]>, with_sha256: bool) -> Value {
    let mut info = json!({
        "size": of.size_bytes,
        "mode": format::mode(of.mode),
        "lastmodified": format::time(of.mtime.0, of.mtime.1),
    });
    if with_sha256 {
        info["sha256"] = json!(sha256.map(hashes::to_hex).unwrap_or_default());
    }
    info
}

/// A thread that panicked leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
