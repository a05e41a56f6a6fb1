//! More actions than a batch: those of one batch are begun on one thread while those of the batch before move to
//! action/inflight on another. What goes wrong on the other one must be met.

use crate::common::{Sandbox, broker_fleet, text};
use crate::matrix;
use mig::error::ExitClass;
use mig::limits::{BATCH_ENTRIES_MAX, PARALLEL_ENTRIES_MIN, TRIAL_ENTRIES_MAX};
use mig::store::sqlite::SqliteStore;
use std::collections::HashSet;

/// Enough for a second batch that is worth a thread.
const ACTIONS: usize = BATCH_ENTRIES_MAX + PARALLEL_ENTRIES_MIN;

/// Faults, and how the program ends. `-f` is for all threads, of which each counts its own calls; `-P` for the calls on one
/// directory. The first batch is a small one, which is worked on alone: it has nothing that goes there.
const FAULTS: [(&str, &str, Option<ExitClass>); 7] = [
    ("killed while the first are adopted", "-f -e inject=renameat2:signal=KILL:when=500", None),
    ("killed while they are moved", "-f -P SPOOL/action/inflight -e inject=renameat2:signal=KILL:when=500", None),
    ("killed when they have moved", "-f -P SPOOL/action/inflight -e inject=fsync:signal=KILL:when=1", None),
    ("killed while commands are released", "-f -P SPOOL/command/ready -e inject=renameat2:signal=KILL:when=500", None),
    (
        "the disk fails under the actions",
        "-f -P SPOOL/action/inflight -e inject=fsync:error=EIO:when=1",
        Some(ExitClass::Io),
    ),
    (
        "the disk fails under the commands",
        "-f -P SPOOL/command/ready -e inject=fsync:error=EIO:when=1",
        Some(ExitClass::Io),
    ),
    (
        "the directory is full",
        "-f -P SPOOL/action/inflight -e inject=renameat2:error=ENOSPC:when=500",
        Some(ExitClass::TemporaryFailure),
    ),
];

/// What is wrong after a run with a fault, and one without.
fn violations(options: &str, class: Option<ExitClass>) -> Vec<String> {
    let sandbox = Sandbox::new();
    broker_fleet::register(&mut SqliteStore::open(&sandbox.path("mig.db")).unwrap(), 1);
    (0..TRIAL_ENTRIES_MAX).for_each(|number| sandbox.drop_bytes(&format!("0{number:02}.json"), b"{}"));
    (0..ACTIONS).for_each(|number| sandbox.drop_action(&format!("{}.json", 1000 + number)));
    let faulty = matrix::strace_worker(&sandbox, "action-new", options).output().unwrap();
    let mut violations = Vec::new();
    if faulty.status.code() != class.map(|class| class as i32) {
        violations.push(format!("ends with {}: {}", faulty.status, text(&faulty)));
    }
    if sandbox.names("action/new").is_empty() {
        violations.push("it came too late".into());
    }
    sandbox.once("action-new");
    let commands = sandbox.commands("command/ready");
    let begun: HashSet<_> = commands.iter().map(|(reference, _)| reference.action).collect();
    if (commands.len(), begun.len()) != (ACTIONS, ACTIONS) {
        violations.push(format!("{} commands of {} actions, not of {ACTIONS}", commands.len(), begun.len()));
    }
    let expected =
        [("tmp", 0), ("action/new", 0), ("action/inflight", ACTIONS), ("action/invalid", 2 * TRIAL_ENTRIES_MAX)];
    violations.extend(matrix::miscounted(&sandbox, &expected));
    violations
}

#[test]
fn actions_of_several_batches_survive_faults_on_both_threads() {
    let cases = FAULTS.map(|(what, options, class)| (what, (options, class)));
    matrix::try_cases("actions of several batches", cases, |(options, class)| violations(options, class));
}
