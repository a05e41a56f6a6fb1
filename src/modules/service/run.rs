//! Reads everything, and compares it with searches as it is read: what was read counts also when the time is over.

use super::entry::{Entry, Sink, State};
use super::parameters::Search;
use super::{cron, running, sysv, units};
use crate::modules::accounts::{self, Names};
use crate::modules::fields::{Check, checks, passed};
use crate::modules::files::Machine;
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::json;
use std::collections::BTreeSet;

/// Runs searches on a machine.
pub(super) fn run(searches: &[Search], machine: &Machine, context: Context) -> ModuleResult {
    let mut report = Report::new(context, searches.iter().map(|search| &search.label));
    let names = match accounts::accounts(machine) {
        Ok(read) => Names::of_accounts(&read.entries),
        Err(error) => {
            report.note(format_args!("read /etc/passwd: {error}: names of owners are unknown"));
            Names::default()
        }
    };
    let mut examined = 0_usize;
    let mut compare = |entry: Entry, report: &mut Report| {
        examined += 1;
        add(&entry, searches, &names, report);
    };
    units(machine, searches, &mut report, &mut compare);
    sysv::read(machine, &mut report).into_iter().for_each(|entry| compare(entry, &mut report));
    cron::read(machine, &names, &mut report, &mut compare);
    report.finish(&json!({"examined": examined}))
}

/// Adds an entry for the searches that it matches.
fn add(entry: &Entry, searches: &[Search], names: &Names, report: &mut Report) {
    for program in &entry.unreached {
        let asking = searches.iter().filter(|search| search.missing).map(|search| search.label.clone());
        let text = "is on a network mount, which is not looked at";
        report.unseen_of(asking, format_args!("{}: {program} {text}", entry.name));
    }
    let owner = entry.written.map(|written| names.name_or_digits(written.uid)).unwrap_or_default();
    for search in searches {
        if let Some(passed) = passed(all_checks(entry, search), search.options) {
            report.add_within(&search.label, search.options.matchlimit, entry.element(&owner, passed));
        }
    }
}

/// Units with whether they run, and services that run without a file.
fn units(machine: &Machine, searches: &[Search], report: &mut Report, found: &mut Sink) {
    let running = running::read(machine, report);
    if searches.iter().any(|search| search.running) && running.is_none() {
        report.unseen("which units run is unknown");
    }
    let mut known = BTreeSet::new();
    units::read(machine, running.as_ref(), report, &mut |mut unit, report| {
        unit.running = running.as_ref().map(|running| running.contains(&unit.name));
        known.insert(unit.name.clone());
        found(unit, report);
    });
    // Those that were not read have a file.
    if report.is_over() {
        return;
    }
    // What is mounted is a unit, with a file or without.
    let is_without = |name: &&String| units::kind(name) == Some("service") && !known.contains(name.as_str());
    for name in running.iter().flatten().filter(is_without) {
        let entry = Entry {
            kind: "service",
            name: name.clone(),
            state: State::NoFile,
            running: Some(true),
            ..Entry::default()
        };
        found(entry, report);
    }
}

fn all_checks<'s>(entry: &Entry, search: &'s Search) -> Vec<Check<'s>> {
    // One word is enough.
    let word = |field, words: &'s [String], found: &str| {
        let word = words.iter().find(|word| *word == found).or(words.first());
        word.map(|word| (field, word.as_str(), word == found))
    };
    let mut all = [
        checks("names", &search.names, &[&entry.name]),
        checks("files", &search.files, &[&entry.file]),
        checks("users", &search.users, &[&entry.user]),
        checks("commands", &search.commands, &entry.commands),
        checks("schedules", &search.schedules, &entry.schedules),
    ]
    .concat();
    all.extend(word("kinds", &search.kinds, entry.kind));
    all.extend(word("states", &search.states, entry.state.word()));
    all.extend(search.running.then_some(("running", "true", entry.running == Some(true))));
    all.extend(search.missing.then_some(("missing", "true", !entry.missing.is_empty())));
    all
}
