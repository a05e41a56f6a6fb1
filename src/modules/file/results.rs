//! Collects the matches of all threads within limits, and builds the result.
//!
//! The size of a result as JSON is limited ([`Budget`]). When a limit is reached, the matches so far are returned, and
//! the limit is among the errors, which begin with "partial" then; a search that is not complete reports its matches
//! only, never an empty entry.

use super::accounts::Accounts;
use super::budget::{Budget, json_bytes};
use super::echo::Form;
use super::entry::Active;
use super::errors::Errors;
use super::limits;
use super::open::Metadata;
use super::parameters::{Plan, Search};
use crate::modules::{ModuleResult, notation};
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared by the threads of a run.
pub(super) struct Findings<'a> {
    plan: &'a Plan,
    accounts: &'a Accounts,
    found: Mutex<Found>,
    /// Per search: no more files are wanted.
    closed: Vec<AtomicBool>,
    /// Searches that are not closed.
    open_count: AtomicUsize,
    /// The walk was stopped before its end.
    stopped: AtomicBool,
    /// Per search: one of its paths, or something below, was skipped.
    skipped: Vec<AtomicBool>,
    /// At least one search is run.
    is_run: bool,
    /// Never locked together with `found`.
    errors: Mutex<Errors>,
    files: AtomicU64,
    failed: AtomicU64,
}

struct Found {
    /// Per search.
    matches: Vec<Vec<Match>>,
    /// Searches that were not run, and limits that were reached.
    notes: Vec<String>,
    is_partial: bool,
    entries: usize,
    budget: Budget,
}

/// What is known of a file that matched.
pub(super) struct Facts<'f> {
    /// What stat(2) says.
    pub(super) metadata: &'f Metadata,
    /// Where it leads, of a link that is looked at itself.
    pub(super) target: Option<&'f Path>,
    /// The digest that is asked for.
    pub(super) sha256: Option<&'f [u8]>,
}

/// A file that matched.
struct Match {
    path: String,
    info: Value,
    /// Numbers of the checks that it passed; with `matchall`, only the hash checks that equal its sums.
    checks: Vec<usize>,
}

impl<'a> Findings<'a> {
    /// The findings of a run of `plan`. `doubts` holds, per search, why it is not run.
    pub(super) fn new(
        plan: &'a Plan,
        doubts: &[Option<String>],
        accounts: &'a Accounts,
        result_bytes_max: usize,
    ) -> Self {
        let errors_max = plan.searches.iter().map(|search| match search.options.maxerrors {
            None => limits::ERRORS_DEFAULT,
            Some(0) => limits::ERRORS_MAX,
            Some(count) => count.min(limits::ERRORS_MAX),
        });
        let closed: Vec<AtomicBool> = doubts.iter().map(|doubt| AtomicBool::new(doubt.is_some())).collect();
        let open_count = doubts.iter().filter(|doubt| doubt.is_none()).count();
        let errors_max = errors_max.max().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut found = Found {
            matches: plan.searches.iter().map(|_| Vec::new()).collect(),
            notes: Vec::new(),
            is_partial: false,
            entries: 0,
            budget: Budget::new(plan, result_bytes_max),
        };
        for doubt in doubts.iter().flatten() {
            found.note(doubt.clone());
        }
        let errors_bytes_max = found.budget.errors_bytes_max;
        Findings {
            plan,
            accounts,
            found: Mutex::new(found),
            closed,
            open_count: AtomicUsize::new(open_count),
            stopped: AtomicBool::new(false),
            skipped: doubts.iter().map(|_| AtomicBool::new(false)).collect(),
            is_run: open_count > 0,
            errors: Mutex::new(Errors::new(errors_max, errors_bytes_max)),
            files: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether the search needs no more files.
    pub(super) fn is_closed(&self, search: usize) -> bool {
        self.closed[search].load(Relaxed)
    }

    /// Whether no search needs more files.
    pub(super) fn is_done(&self) -> bool {
        self.open_count.load(Relaxed) == 0 || self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether none of these searches needs more files.
    pub(super) fn is_unwanted(&self, searches: &[usize]) -> bool {
        self.is_stopped() || searches.iter().all(|search| self.is_closed(*search))
    }

    /// Stops the walk; reading of the current files is aborted.
    pub(super) fn stop(&self, reason: &str) {
        if !self.stopped.swap(true, Relaxed) {
            lock(&self.found).limit(format!("stopped {reason}, before everything was searched"));
        }
    }

    /// Counts examined files.
    pub(super) fn add_files(&self, count: u64) {
        self.files.fetch_add(count, Relaxed);
    }

    /// Reports that `path` could not be opened or read, and counts it.
    pub(super) fn unreadable(&self, what: &str, path: &Path, error: &dyn Display) {
        // A stopped reader fails with an error of its own; `stop` has reported the reason.
        if !self.is_stopped() {
            self.failed.fetch_add(1, Relaxed);
            self.error(what, path, error);
        }
    }

    /// Reports an error.
    pub(super) fn error(&self, what: &str, path: &Path, error: &dyn Display) {
        lock(&self.errors).add(what, path, error);
    }

    /// Reports a file that is not read, for a reason that may apply to many.
    pub(super) fn unread(&self, reason: &str, path: &Path) {
        lock(&self.errors).add_unread(reason, path);
    }

    /// Marks these searches as incomplete, because a path of them was skipped: they report no empty entries.
    pub(super) fn skip(&self, active: &[Active]) {
        active.iter().for_each(|active| self.skip_search(active.search));
    }

    /// Marks one search as incomplete.
    pub(super) fn skip_search(&self, search: usize) {
        self.skipped[search].store(true, Relaxed);
    }

    /// Adds a matching file of a search; for `checks` see [`Match`]. False: it has no room.
    pub(super) fn add(&self, number: usize, checks: &[usize], path: &Path, facts: &Facts) -> bool {
        let search = &self.plan.searches[number];
        let path = path.to_string_lossy().into_owned();
        let info = self.file_info(search, facts);
        let of_checks = || checks.iter().map(|check| &search.checks[*check]);
        let own_bytes = |search: Value| json_bytes(&path) + info.to_string().len() + search.to_string().len();
        let (entries, bytes) = if search.all {
            (1, own_bytes(search.echo.of_all(Form::Short, of_checks())))
        } else {
            (checks.len(), of_checks().map(|check| own_bytes(search.echo.of_check(Form::Short, check))).sum())
        };
        let mut found = lock(&self.found);
        if self.is_closed(number) {
            return false;
        }
        let label = &search.label;
        if found.matches[number].len() as u64 >= search.matchlimit() {
            found.limit(format!("search {label}: stopped at the matchlimit of {} files", search.matchlimit()));
            self.close(number);
        } else if found.entries + entries > limits::RESULT_ENTRIES_MAX || !found.budget.take(number, entries, bytes) {
            let count = found.matches[number].len();
            found.limit(format!("search {label}: stopped after {count} files, the result has no space for more"));
            self.close(number);
        } else {
            found.entries += entries;
            found.matches[number].push(Match { path, info, checks: checks.to_vec() });
            return true;
        }
        false
    }

    /// Ends a search at its own time. With the last one, reading of the current files is aborted.
    pub(super) fn expire(&self, number: usize) {
        let search = &self.plan.searches[number];
        let mut found = lock(&self.found);
        if self.is_closed(number) {
            return;
        }
        let maxtime = notation::duration(search.options.maxtime.unwrap_or_default());
        found.limit(format!("search {}: stopped at its maxtime of {maxtime}", search.label));
        self.close(number);
        if self.open_count.load(Relaxed) == 0 {
            self.stopped.store(true, Relaxed);
        }
    }

    /// What is said of a file: as the original has it, and what the search asks for.
    fn file_info(&self, search: &Search, facts: &Facts) -> Value {
        let of = facts.metadata;
        let mut info = json!({
            "size": of.size_bytes,
            "mode": notation::mode(of.mode),
            "lastmodified": notation::time(of.mtime.0, of.mtime.1),
        });
        if let Some(target) = facts.target {
            info["linkto"] = json!(target.to_string_lossy());
        }
        let options = &search.options;
        if options.returnsha256 {
            info["sha256"] = json!(facts.sha256.map(crate::hex::encode).unwrap_or_default());
        }
        if options.returninode {
            let (device, inode) = of.id;
            info["device"] = json!(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)));
            info["inode"] = json!(inode);
        }
        if options.returnowner {
            info["uid"] = json!(of.uid);
            info["gid"] = json!(of.gid);
            for (name, known) in
                [("owner", self.accounts.users.name(of.uid)), ("group", self.accounts.groups.name(of.gid))]
            {
                if let Some(known) = known {
                    info[name] = json!(known);
                }
            }
        }
        info
    }

    fn close(&self, number: usize) {
        if !self.closed[number].swap(true, Relaxed) {
            self.open_count.fetch_sub(1, Relaxed);
        }
    }

    /// Returns the result, files and errors in order of their text. If the run is not over, it is partial.
    pub(super) fn result(&self, exectime: Duration, is_over: bool) -> ModuleResult {
        let error_lines = lock(&self.errors).lines();
        let mut found = lock(&self.found);
        let form = found.budget.form();
        let is_brief = found.budget.is_brief();
        let mut elements = Map::new();
        let mut hits = 0_usize;
        for (number, search) in self.plan.searches.iter().enumerate() {
            let matches = &mut found.matches[number];
            matches.sort_by(|one, other| one.path.cmp(&other.path));
            let is_cut = self.is_closed(number) || self.skipped[number].load(Relaxed);
            let is_complete = is_over && !self.is_stopped() && !is_cut;
            let unmatched = match (is_complete, is_brief) {
                (false, _) => Unmatched::Omit,
                (true, true) => Unmatched::Once,
                (true, false) => Unmatched::Each,
            };
            let (entries, of_search) = search_elements(search, matches, form, unmatched);
            hits += of_search;
            // An empty list would mean that there is nothing.
            if unmatched != Unmatched::Omit || !entries.is_empty() {
                elements.insert(search.label.clone(), Value::Array(entries));
            }
        }
        let mut errors = found.notes.clone();
        if !is_over && !self.is_stopped() {
            errors.push(format!("partial: matches after {:.0}s", exectime.as_secs_f64()));
        }
        errors.extend(error_lines);
        let mut statistics = json!({
            "filescount": self.files.load(Relaxed),
            "openfailed": self.failed.load(Relaxed),
            "totalhits": hits,
            "exectime": notation::duration(exectime),
        });
        if found.is_partial || !is_over || self.skipped.iter().any(|skipped| skipped.load(Relaxed)) {
            statistics["partial"] = json!(true);
        }
        ModuleResult {
            foundanything: hits > 0,
            success: self.is_run,
            elements: Value::Object(elements),
            statistics,
            errors: if errors.is_empty() { None } else { Some(errors) },
        }
    }
}

impl Found {
    fn note(&mut self, text: String) {
        if self.budget.take_note(&text) {
            self.notes.push(text);
        }
    }

    fn limit(&mut self, text: String) {
        self.is_partial = true;
        self.note(format!("partial: {text}"));
    }
}

impl Search {
    fn matchlimit(&self) -> u64 {
        if self.options.matchlimit == 0 { limits::MATCHLIMIT_FILES_DEFAULT } else { self.options.matchlimit }
    }
}

/// Which empty entries a search without a match has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unmatched {
    /// One for each check.
    Each,
    /// One for the search.
    Once,
    /// None, as the search is not complete.
    Omit,
}

/// Returns the entries of one search, and the number of those with a file.
fn search_elements(search: &Search, matches: &[Match], form: Form, unmatched: Unmatched) -> (Vec<Value>, usize) {
    let entry = |file: &str, info: &Value, of: Value| json!({"file": file, "fileinfo": info, "search": of});
    let empty = |of: Value| entry("", &json!({"size": 0, "mode": "", "lastmodified": ""}), of);
    if search.all {
        let sums = |found: &Match| search.echo.of_all(form, found.checks.iter().map(|check| &search.checks[*check]));
        let mut entries: Vec<Value> =
            matches.iter().map(|found| entry(&found.path, &found.info, sums(found))).collect();
        let hits = entries.len();
        if hits == 0 && unmatched != Unmatched::Omit {
            entries.push(empty(search.echo.of_all(form, std::iter::empty())));
        }
        return (entries, hits);
    }
    let (mut entries, mut hits) = (Vec::new(), 0);
    for (number, check) in search.checks.iter().enumerate() {
        let before = hits;
        for found in matches.iter().filter(|found| found.checks.contains(&number)) {
            entries.push(entry(&found.path, &found.info, search.echo.of_check(form, check)));
            hits += 1;
        }
        if hits == before && unmatched == Unmatched::Each {
            entries.push(empty(search.echo.of_check(form, check)));
        }
    }
    if hits == 0 && unmatched == Unmatched::Once {
        entries.push(empty(search.echo.of_all(Form::Short, std::iter::empty())));
    }
    (entries, hits)
}

/// Ignores poisoning: a panic leaves nothing inconsistent under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
