//! The network namespaces of this machine, as far as a process is in them.

use super::files::{NetFiles, Table};
use crate::modules::processes::{Processes, has_ended};
use crate::modules::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// Where namespaces get names, which keep them without a process.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// One that is not ours, as `/proc` names it: `net:[4026531840]`. The processes in it, of which one is read.
pub(super) type Others = BTreeMap<String, Vec<i32>>;

/// Finds the others.
pub(super) fn others(processes: &Processes, report: &mut Report) -> io::Result<Others> {
    let own = link(processes, std::process::id().cast_signed())?;
    let mut found = Others::new();
    let mut refused = 0;
    for pid in processes.ids()? {
        if is_late(report) {
            break;
        }
        match link(processes, pid) {
            Ok(name) => found.entry(name).or_default().push(pid),
            Err(error) if has_ended(&error) => {}
            Err(_) => refused += 1,
        }
    }
    if let Some(hidden) = processes.hidden() {
        report.unseen(format_args!("network namespaces: {hidden}"));
    }
    if refused > 0 {
        report.unseen(format_args!("the network namespaces of {refused} processes: no permission"));
    }
    let names: BTreeSet<String> = found.keys().cloned().chain([own.clone()]).collect();
    without_process(&names, report);
    found.remove(&own);
    Ok(found)
}

/// Opens the files of a namespace by one of its processes; none if all of them have ended, and it with them.
pub(super) fn open(processes: &Processes, pids: &[i32], table: Table) -> io::Result<Option<NetFiles>> {
    let mut last = None;
    for pid in pids {
        match processes.process(*pid).and_then(|process| NetFiles::open(&process, table)) {
            Ok(files) => return Ok(Some(files)),
            Err(error) if has_ended(&error) => {}
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(None), Err)
}

/// Whether the time is over. [`Report::is_over`] would end the report, which gets what was found behind the look.
pub(super) fn is_late(report: &Report) -> bool {
    report.deadline().is_some_and(|deadline| Instant::now() >= deadline)
}

fn link(processes: &Processes, pid: i32) -> io::Result<String> {
    Ok(processes.process(pid)?.link("ns/net")?.to_string_lossy().into_owned())
}

/// Names those that have a name and no process.
fn without_process(seen: &BTreeSet<String>, report: &mut Report) {
    for entry in NAMED.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten() {
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(file) if seen.contains(&format!("net:[{}]", file.ino())) => {}
            Ok(_) => report.unseen(format_args!("the network namespace {}: no process is in it", path.display())),
            Err(error) => report.unseen(format_args!("the network namespace {}: {error}", path.display())),
        }
    }
}
