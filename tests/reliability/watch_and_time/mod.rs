//! Notifications that do not come, files that go away, clocks that jump, answers at the last moment, disks that are full:
//! every file that was dropped has one outcome, every command one final status.
//!
//! By default a sample of the cases is tried; `MIG_FAULTS=full` tries all.

mod clock;
mod clock_agent;
mod disk;
mod expiry;
mod full_disk;
mod full_disk_points;
mod no_notifications;
mod overflow;
mod submissions;
mod system;
mod vanishing;

use crate::common::{Background, Sandbox, is_full, text};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;

/// What `scripts/spool-check` finds in a spool that has settled, compared with its store; empty when it is clean.
fn spool_check(sandbox: &Sandbox) -> Vec<String> {
    spool_check_with(sandbox, &sandbox.path("mig.db"))
}

/// The same with a store that lies elsewhere.
fn spool_check_with(sandbox: &Sandbox, database: &Path) -> Vec<String> {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spool-check"));
    let output = command.args(["--settled", "--db"]).arg(database).arg("-s").arg(sandbox.spool()).output().unwrap();
    if output.status.success() { Vec::new() } else { vec![format!("spool-check: {}", text(&output))] }
}

/// How many directories a process watches.
fn inotify_watches(pid: u32) -> usize {
    let directory = format!("/proc/{pid}/fdinfo");
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let infos = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    infos.map(|info| info.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
}

fn signal(process: &Background, signal: Signal) {
    kill_process(Pid::from_child(&process.0), signal).unwrap();
}
