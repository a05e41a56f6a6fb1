//! The module `file`: looks for files by name, size, mode, time of change, contents and hash sums.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"paths": [..], "names": [..], …, "options": {..}}}}`; the command-line help describes
//! each field. With `matchall` a file must pass every check of a search (of a list of hash sums: one, as a file has one
//! sum), else every check reports its own files. A search that cannot mean what was intended is not run.
//!
//! # Scope
//!
//! - Files, and everything else that is not a directory: fifos, sockets and devices are compared by name, size, mode
//!   and time, but never opened, so they never pass a check of contents (not even a negated one) or hash sums.
//! - Symbolic links to files, under the link's path, with the target's size, mode and time. Links to directories are
//!   not followed, except when a path of a search is one (`/bin`); dangling links are skipped. Links below `/proc` are
//!   followed by the kernel: to deleted programs, to memory, into containers.
//! - Other processes, through `/proc`, only if a path of the operation is there, above, or a link to it: the agent confines it
//!   otherwise (`src/agent/os/confine.rs`). A link from elsewhere into another process is an error then that says so, and its
//!   searches are incomplete.
//! - Not what takes capabilities that the agent does not leave to an operation, also as root: `/proc/PID/stack`,
//!   `/proc/PID/timerslack_ns`, `/proc/PID/map_files` before Linux 5.9, addresses in `/proc/kallsyms` and `/proc/modules`,
//!   `/sys/bus/pci/devices/*/config` beyond 64 bytes. `mig-agent -m file`, by hand, reads them.
//! - `maxdepth` 1 is the files directly in a path, and the path itself if it is a file.
//! - No network mounts, unless the search has `remotefs`; without it, nothing on them is accessed, so that a hanging
//!   server cannot block the search.
//!
//! # Guarantees
//!
//! - It only reads, waits for nothing but the disk and leases, opens only regular files, and reads nothing that would
//!   consume data of other processes. Access times stay unchanged where the kernel allows it.
//! - A directory is read once for all searches, and so is a file for contents and for hash sums, whatever the number of
//!   patterns. Memory is bounded for every file and every tree, see `limits.rs`.
//! - What could not be examined is listed in `errors` (at most `maxerrors`), counted in `openfailed` if it could not be
//!   opened or read, and does not end the search. A check whose outcome is unknown fails.
//! - A limit that is reached ends the search with a partial result. Partial results are also reported periodically, in
//!   case the process is killed.
//! - Stateless: a run that is killed leaves nothing behind.

mod accounts;
mod attributes;
mod budget;
mod candidate;
mod content;
mod directory;
mod doubts;
mod echo;
mod entry;
mod errors;
mod evaluate;
mod expand;
mod filter;
mod form;
mod gzip;
mod hashes;
mod late;
mod limits;
mod lines;
mod locate;
pub(super) mod mounts;
mod open;
mod options;
mod parameters;
mod patterns;
mod print;
mod readings;
mod results;
mod roots;
mod sparse;
mod tasks;
#[cfg(test)]
mod tests;
mod walk;
mod wildcard;

use super::form::Form;
use super::limits::{PROGRESS_PARTS, PROGRESS_PAUSE_FIRST};
use super::{Context, Module, ModuleResult, Needs, ParameterError};
use accounts::Accounts;
use evaluate::{Shared, To};
pub(super) use locate::{Wanted, leads_to_proc, locate, look};
use mounts::Mounts;
use parameters::{Plan, Search};
use readings::Readings;
use results::Findings;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use walk::Walk;
use wildcard::{is_wild, literal_parent};

/// The module `file`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct File;

impl Module for File {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn needs_for(&self, parameters: &Value) -> Needs {
        Needs { reads_processes: may_enter_proc(parameters, Mounts::read()), ..self.needs() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        let plan = parameters::parse(parameters)?;
        Ok(plan.searches.into_iter().flat_map(|search| search.doubts).map(|doubt| doubt.error).collect())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        let plan = match parameters::parse(parameters) {
            Ok(plan) => plan,
            Err(error) => return ModuleResult::failed(error.to_string()),
        };
        search(&plan, Mounts::read(), context, To::Findings)
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        print::lines(result)
    }
}

/// Whether a search begins at a path from which a walk may come to `/proc`; parameters that cannot be used begin nowhere.
/// It waits for no mount: nothing watches over it yet.
fn may_enter_proc(parameters: &Value, mounts: io::Result<Mounts>) -> bool {
    let Ok(mounts) = mounts else { return true };
    let searches = fields(parameters, "searches").filter_map(Value::as_object).flat_map(|searches| searches.values());
    let paths = searches.flat_map(|search| fields(search, "paths")).filter_map(Value::as_array).flatten();
    // A wildcard may match anything below the directory before it.
    paths
        .filter_map(Value::as_str)
        .map(Path::new)
        .any(|path| mounts.leads_to_proc(path) || (is_wild(path) && mounts.leads_to_proc(&literal_parent(path))))
}

/// The values of a field, whose name may be written in any case.
fn fields<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let named = object.as_object().into_iter().flatten().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value)
}

/// For other modules: shows `visit` the regular files that a search selects, whose parameters this module has found valid. The
/// result has the errors and counters of the search.
pub(super) fn visit(parameters: &Value, context: Context, visit: evaluate::Visit) -> ModuleResult {
    match parameters::parse(parameters) {
        Ok(plan) => search(&plan, Mounts::read(), context, To::Files(visit)),
        Err(error) => ModuleResult::failed(error.to_string()),
    }
}

/// Runs a plan on a machine with these mounts.
fn search(plan: &Plan, mounts: io::Result<Mounts>, context: Context, to: To) -> ModuleResult {
    let started = Instant::now();
    let (mounts, unread) = match mounts {
        Ok(mounts) => (mounts, None),
        // Without /proc the mounts are unknown; searching nothing at all would be worse.
        Err(error) => (Mounts::default(), Some(error)),
    };
    let accounts = Accounts::read(plan);
    let doubts: Vec<Option<String>> = plan.searches.iter().map(|search| doubt(search, &mounts, &accounts)).collect();
    let findings = Findings::new(plan, &doubts, &accounts, context.result_bytes_max);
    if let Some(error) = unread {
        findings.error("read", Path::new("/proc/self/mountinfo"), &error);
    }
    for table in [&accounts.users, &accounts.groups] {
        if let Some(error) = &table.error {
            findings.error("read", Path::new(table.path()), error);
        }
    }
    let readings = Readings::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos().cast_signed());
    let run = Shared { plan, findings: &findings, mounts: &mounts, readings: &readings, accounts: &accounts, now, to };
    std::thread::scope(|scope| {
        let (is_walking, walk_end) = channel::<()>();
        let walking = scope.spawn(|| {
            let _is_walking = is_walking;
            Walk::new(run).search(context.threads);
        });
        supervise(plan, &findings, &walk_end, started, context);
        if walking.join().is_err() {
            findings.stop("by an internal error");
        }
    });
    findings.result(started.elapsed(), true)
}

/// Returns why a search is not run.
fn doubt(search: &Search, mounts: &Mounts, accounts: &Accounts) -> Option<String> {
    let is_missing = |path: &Path| mounts.is_missing(path);
    let doubt = search.doubts.iter().find(|doubt| doubt.unless_exists.as_deref().is_none_or(is_missing));
    let reason = doubt.map(|doubt| doubt.error.to_string()).or_else(|| accounts.refusal(search))?;
    Some(format!("not searched: {reason}"))
}

/// Waits for the end of the walk, reports partial results, and stops the walk at the deadline. A walk that hangs in a
/// system call does not stop; its matches are reported. A search with a time of its own ends then.
fn supervise(plan: &Plan, findings: &Findings, walk_end: &Receiver<()>, started: Instant, context: Context) {
    let report = || {
        if let Some(progress) = context.progress {
            progress(&findings.result(started.elapsed(), false));
        }
    };
    let (mut pause, mut deadline) = (PROGRESS_PAUSE_FIRST, context.deadline);
    let time_max = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(started));
    let mut next = started + pause;
    let of_search = |(number, search): (usize, &Search)| Some((search.options.maxtime?, number));
    let mut ends: Vec<(Duration, usize)> = plan.searches.iter().enumerate().filter_map(of_search).collect();
    ends.sort_unstable_by(|one, other| other.cmp(one));
    loop {
        let end = ends.last().map(|(maxtime, _)| started + *maxtime);
        let until = [deadline, end].into_iter().flatten().fold(next, Instant::min);
        match walk_end.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        let now = Instant::now();
        let is_end = end.is_some_and(|end| now >= end);
        if is_end && let Some((_, number)) = ends.pop() {
            findings.expire(number);
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            findings.stop(&format!("at the time limit, after {:.1?}", started.elapsed()));
            deadline = None;
            report();
        } else if is_end || now >= next {
            report();
        }
        if now >= next {
            pause = next_pause(pause, time_max);
            next = now + pause;
        }
    }
}

/// The pause between two partial results after one of `pause`, in a run that may take `time_max`.
fn next_pause(pause: Duration, time_max: Duration) -> Duration {
    let pause_max = PROGRESS_PAUSE_FIRST.max(time_max / PROGRESS_PARTS);
    pause.saturating_mul(2).min(pause_max)
}
