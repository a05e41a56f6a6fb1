//! Compares processes with searches.

use super::facts::{About, Facts, Machine};
use super::parameters::{Executable, Filter, Search, Test};
use crate::modules::fields::{Judged, judged};
use crate::modules::processes::{Ids, Unread};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::{Map, Value, json};

/// Bytes of a command line, a path or a control group in an element.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Descriptors of a process, in all its threads, that are looked at when it is its turn: a tenth of a second.
const DESCRIPTORS_AT_ONCE_MAX: usize = 50_000;
/// Open files in an element.
const FILES_MAX: usize = 16;

/// Runs searches on this machine.
pub(super) fn run(searches: &[Search], context: Context) -> ModuleResult {
    let mut report = Report::new(context, searches.iter().map(|search| &search.label));
    // Its own process holds the text of the search.
    let own = std::process::id().cast_signed();
    let opened =
        Machine::open(report.deadline()).and_then(|machine| Ok((Ids::list(&machine.processes, &[own])?, machine)));
    let (mut ids, machine) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.unseen(format_args!("list the processes in /proc: {error}"));
            return report.finish(&json!({"examined": 0}));
        }
    };
    if let Some(reason) = machine.processes.hidden() {
        report.unseen(reason);
    }
    let (mut examined, mut unread) = (0, Unread::default());
    let looks_at_files = searches.iter().flat_map(|search| &search.filters).any(|filter| filter.field == "openfiles");
    while let Some((pid, is_late)) = ids.next(&machine.processes) {
        if report.is_over() {
            break;
        }
        if looks_at_files && !is_late && has_many_descriptors(pid, &machine) {
            ids.defer(pid);
            continue;
        }
        match Facts::of(pid, &machine) {
            Ok(None) => {}
            Ok(Some(facts)) => {
                examined += 1;
                compare(&facts, searches, &machine, &mut report, &mut unread);
            }
            Err(error) => unread.add("stat", &pid.to_string(), &error),
        }
    }
    if let Some(error) = ids.error() {
        report.unseen(format_args!("list the processes in /proc again: {error}"));
    }
    unread.report(&mut report);
    report.finish(&json!({"examined": examined}))
}

/// Whether a process has so many descriptors that it is looked at last.
fn has_many_descriptors(pid: i32, machine: &Machine) -> bool {
    let count = machine.processes.process(pid).and_then(|process| process.count_descriptors());
    count.is_ok_and(|count| count > DESCRIPTORS_AT_ONCE_MAX)
}

/// Compares one process with all searches.
fn compare(facts: &Facts, searches: &[Search], machine: &Machine, report: &mut Report, unread: &mut Unread) {
    let mut is_doubtful = false;
    for search in searches {
        let checks =
            search.filters.iter().map(|filter| (filter.field, filter.value.as_str(), truth(filter, facts, machine)));
        let judged = judged(checks, search.options);
        if facts.has_ended.get() {
            return;
        }
        match judged {
            Judged::IsNot => {}
            Judged::Unknown => is_doubtful = true,
            Judged::Is(passed) if report.count(&search.label) < search.options.matchlimit => {
                report.add(&search.label, element(facts, search, passed, machine));
            }
            Judged::Is(_) => {
                let reason = format!("stopped at its matchlimit of {}", search.options.matchlimit);
                report.unseen_for(&search.label, reason);
            }
        }
    }
    if is_doubtful {
        for (what, error) in facts.errors.borrow().iter() {
            unread.add(what, &facts.title(), error);
        }
    }
}

/// Whether a process passes a filter. None: what that depends on could not be read.
fn truth(filter: &Filter, facts: &Facts, machine: &Machine) -> Option<bool> {
    match &filter.test {
        Test::Text(about, pattern) => pattern.is_met_by_one_of(facts.texts(*about)),
        Test::Sha256(digits) => facts.sha256().map(|known| known.as_ref() == Some(digits)),
        Test::Age(age) => Some(age.holds(machine.clock.at(facts.stat.started_ticks), machine.clock.now)),
        Test::Executable(kind, is_negated) => {
            let is_such = facts.executable()?.as_ref().is_some_and(|executable| match kind {
                Executable::Deleted => executable.is_deleted,
                Executable::Memfd => executable.is_memfd,
            });
            Some(is_such != *is_negated)
        }
    }
}

/// What is returned of a process; without what could not be read.
fn element(facts: &Facts, search: &Search, passed: Map<String, Value>, machine: &Machine) -> Value {
    let stat = &facts.stat;
    let mut element = json!({
        "pid": facts.process.pid, "ppid": stat.parent, "name": String::from_utf8_lossy(&stat.name),
        "state": stat.state.to_string(), "started": machine.clock.text(stat.started_ticks), "search": passed,
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            element[name] = value;
        }
    };
    let is_set = |flag: bool| flag.then_some(json!(true));
    if let Some(Some(executable)) = facts.executable() {
        set("exe", Some(text(executable.path.as_os_str().as_encoded_bytes())));
        set("deleted", is_set(executable.is_deleted));
        set("memfd", is_set(executable.is_memfd));
    }
    set("kernel", is_set(stat.is_kernel));
    set("sha256", facts.known_sha256().map(|digits| json!(digits)));
    set("cmdline", facts.texts(About::CommandLine).known.first().map(|line| text(line)));
    if let Some((user, id, real)) = facts.user_names() {
        set("user", Some(json!(user)));
        set("uid", Some(json!(id)));
        set("realuser", real.map(|real| json!(real)));
    }
    let namespaces = facts.namespaces();
    set("namespaces", (!namespaces.is_empty()).then(|| json!(namespaces)));
    set("cgroup", facts.control_group().map(|path| text(path.as_bytes())));
    let files = open_files(facts, search);
    set("openfiles", (!files.is_empty()).then(|| json!(files)));
    element
}

/// Open files that a search matches.
fn open_files(facts: &Facts, search: &Search) -> Vec<Value> {
    let mut found = Vec::new();
    for filter in &search.filters {
        if let Test::Text(About::OpenFiles, pattern) = &filter.test {
            found.extend(pattern.matched(facts.texts(About::OpenFiles)).map(text).take(FILES_MAX - found.len()));
        }
    }
    found
}

/// Bytes as a text of limited length.
fn text(bytes: &[u8]) -> Value {
    match bytes.get(..TEXT_BYTES_MAX) {
        Some(beginning) if bytes.len() > TEXT_BYTES_MAX => json!(format!("{}…", String::from_utf8_lossy(beginning))),
        _ => json!(String::from_utf8_lossy(bytes)),
    }
}
