//! The network namespaces of this machine, as far as a thread is in them.

use super::files::{NetFiles, Table};
use crate::modules::processes::{Process, Processes, has_ended};
use crate::modules::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

/// Where namespaces get names, which keep them without a process.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// One that is not ours, as `/proc` names it: `net:[4026531840]`. The threads in it, of which one is read.
pub(super) type Others = BTreeMap<String, Vec<Thread>>;

/// A thread of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    pub(super) pid: i32,
    pub(super) id: i32,
}

/// Finds the others.
pub(super) fn others(processes: &Processes, report: &mut Report) -> io::Result<Others> {
    let own = name(&processes.process(std::process::id().cast_signed())?.link("ns/net")?);
    let mut found = Others::new();
    let mut refused = 0;
    for pid in processes.ids()? {
        if is_late(report) {
            break;
        }
        let looked = processes.process(pid).and_then(|process| {
            for id in process.threads()? {
                if is_late(report) {
                    break;
                }
                match process.link(&format!("task/{id}/ns/net")) {
                    Ok(link) if name(&link) == own => {}
                    Ok(link) => found.entry(name(&link)).or_default().push(Thread { pid, id }),
                    Err(error) if has_ended(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        refused += usize::from(looked.is_err_and(|error| !has_ended(&error)));
    }
    if let Some(hidden) = processes.hidden() {
        report.unseen(format_args!("network namespaces: {hidden}"));
    }
    if refused > 0 {
        report.unseen(format_args!("the network namespaces of {refused} processes: no permission"));
    }
    let names: BTreeSet<String> = found.keys().cloned().chain([own]).collect();
    without_process(&names, report);
    Ok(found)
}

/// Opens the files of a namespace by one of its threads; none if all of them have ended, and it with them.
pub(super) fn open(
    processes: &Processes,
    namespace: &str,
    threads: &[Thread],
    table: Table,
) -> io::Result<Option<NetFiles>> {
    let mut last = None;
    for Thread { pid, id } in threads {
        let thread = processes.process(*pid).and_then(|process| process.thread(*id));
        match thread.and_then(|thread| open_in(namespace, &thread, table)) {
            Ok(files) => return Ok(Some(files)),
            Err(error) if has_ended(&error) => {}
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(None), Err)
}

/// Opens the files of a thread, which may have moved to another namespace since it was listed, and may move between two files.
fn open_in(namespace: &str, thread: &Process, table: Table) -> io::Result<NetFiles> {
    NetFiles::open(thread, table, || match name(&thread.link("ns/net")?) == namespace {
        true => Ok(()),
        false => Err(io::Error::other("a thread of it is in another one now")),
    })
}

/// Whether the time is over. [`Report::is_over`] would end the report, which gets what was found behind the look.
pub(super) fn is_late(report: &Report) -> bool {
    report.deadline().is_some_and(|deadline| Instant::now() >= deadline)
}

fn name(link: &Path) -> String {
    link.to_string_lossy().into_owned()
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
