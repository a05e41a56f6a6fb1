//! Looks at all processes, with several threads.

use super::examine::{Examined, Examiner};
use super::parameters::{Plan, Search};
use crate::modules::fields::Judged;
use crate::modules::processes::{Ids, Processes, Unread};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult, limits};
use serde_json::{Map, Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each thread has two MiB of buffers, and caches of the expressions.
const THREADS_MAX: usize = 16;

/// What threads share.
struct Shared<'p, 'c> {
    plan: &'p Plan,
    processes: Processes,
    /// Of those that are still to be looked at.
    ids: Mutex<Ids>,
    found: Mutex<Found<'c>>,
}

/// What was found.
struct Found<'c> {
    report: Report<'c>,
    unread: Unread,
    processes: u64,
    bytes: u64,
    failures: Vec<String>,
}

/// Runs searches on this machine.
pub(super) fn run(plan: &Plan, context: Context) -> ModuleResult {
    let mut report = Report::new(context, plan.searches.iter().map(|search| &search.label));
    // They hold the text of the search.
    let without = [std::process::id(), context.agent.unwrap_or_default()].map(u32::cast_signed);
    let listed = Processes::open().and_then(|processes| Ok((Ids::list(&processes, &without)?, processes)));
    let (ids, processes) = match listed {
        Ok(listed) => listed,
        Err(error) => {
            report.unseen(format_args!("list the processes in /proc: {error}"));
            return report.finish(&json!({"processcount": 0, "memoryread": 0}));
        }
    };
    if let Some(reason) = processes.hidden() {
        report.unseen(reason);
    }
    let found = Found { report, unread: Unread::default(), processes: 0, bytes: 0, failures: Vec::new() };
    let shared = Shared { plan, processes, ids: Mutex::new(ids), found: Mutex::new(found) };
    std::thread::scope(|scope| {
        for _ in 1..context.threads.min(THREADS_MAX) {
            // Where none can be started, there are fewer.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || shared.work());
        }
        shared.work();
    });
    let found = shared.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut report = found.report;
    if let Some(error) = shared.ids.into_inner().unwrap_or_else(PoisonError::into_inner).error() {
        report.unseen(format_args!("list the processes in /proc again: {error}"));
    }
    found.unread.report(&mut report);
    let mut statistics = json!({"processcount": found.processes, "memoryread": found.bytes});
    if plan.names_failures && !found.failures.is_empty() {
        statistics["failures"] = json!(found.failures);
    }
    report.finish(&statistics)
}

impl<'c> Shared<'_, 'c> {
    fn found(&self) -> MutexGuard<'_, Found<'c>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(i32, bool)> {
        self.ids().next(&self.processes)
    }

    /// Looks at processes until none is left.
    fn work(&self) {
        let mut examiner = Examiner::new(self.plan);
        let mut is_over = || self.found().report.is_over();
        while let Some((pid, is_late)) = self.next() {
            if is_over() {
                return;
            }
            let examined = examiner.examine(&self.processes, pid, !is_late, &mut is_over);
            let mut found = self.found();
            match examined {
                Ok(None) => self.ids().defer(pid),
                Ok(Some(examined)) => {
                    found.processes += u64::from(!examined.is_empty());
                    examined.iter().for_each(|examined| found.take(self.plan, pid, examined));
                }
                Err(error) => found.unread.add("the memory", &pid.to_string(), &error),
            }
        }
    }
}

impl Found<'_> {
    fn take(&mut self, plan: &Plan, pid: i32, examined: &Examined) {
        self.bytes += examined.bytes;
        let title = format!("{pid} ({})", examined.name);
        for failure in &examined.failures {
            if self.failures.len() < limits::ERRORS_MAX {
                self.failures.push(format!("process {title}: {failure}"));
            }
        }
        let mut is_doubtful = false;
        for (search, judged) in plan.searches.iter().zip(&examined.judged) {
            match judged {
                Judged::IsNot => {}
                Judged::Unknown => is_doubtful = true,
                Judged::Is(passed) if self.report.count(&search.label) < search.options.matchlimit => {
                    self.report.add(&search.label, element(search, pid, passed, examined));
                }
                Judged::Is(_) => {
                    let reason = format!("stopped at its matchlimit of {}", search.options.matchlimit);
                    self.report.unseen_for(&search.label, reason);
                }
            }
        }
        if is_doubtful {
            for (what, error) in &examined.errors {
                self.unread.add(what, &title, error);
            }
        }
    }
}

/// What is returned of a process: the original's element, and where something was found.
fn element(search: &Search, pid: i32, passed: &Map<String, Value>, examined: &Examined) -> Value {
    let mut passed = passed.clone();
    passed.insert("options".into(), if search.options.matchall { json!({"matchall": true}) } else { json!({}) });
    let mut element = json!({"process": {"name": examined.name, "pid": pid}, "search": passed});
    let places = &examined.places[search.range];
    let matches = search.memory.iter().filter_map(|one| {
        let place = places[one.expression].as_ref().filter(|_| !one.is_negated)?;
        Some(json!({
            "field": one.field, "value": one.value, "address": format!("{:#x}", place.address), "region": place.region,
            "permissions": place.permissions, "offset": place.address - place.start,
        }))
    });
    let matches: Vec<Value> = matches.collect();
    if !matches.is_empty() {
        element["matches"] = json!(matches);
    }
    element
}
