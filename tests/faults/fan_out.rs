//! An action for more agents than are loaded at once: faults while its commands are written, named and released.

use crate::common::{Sandbox, broker_fleet, text};
use crate::matrix;
use mig::error::ExitClass;
use mig::limits::AGENTS_LOADED_MAX;
use mig::store::sqlite::SqliteStore;
use std::collections::HashSet;
use std::ops::RangeInclusive;

const AGENTS: usize = AGENTS_LOADED_MAX + 1;

/// How a run ends.
enum End {
    /// When so many commands may be written.
    Killed(RangeInclusive<usize>),
    /// With nothing done after the failed sync: so many commands are written.
    SyncFailed(usize),
    Full,
}

const SOME: End = End::Killed(1..=AGENTS_LOADED_MAX);
const ALL: End = End::Killed(AGENTS..=AGENTS);

/// Faults, and how the program ends; `-P` is for the calls on one directory. What was written and is not named yet is
/// removed by a process that ends by itself.
const FAULTS: [(&str, &str, End); 7] = [
    ("the disk fails under the scheduler's id", "-P SPOOL -e inject=fsync:error=EIO", End::SyncFailed(0)),
    ("the disk fails when all are written", "-e inject=syncfs:error=EIO:when=1", End::SyncFailed(0)),
    ("killed when all are written", "-e inject=syncfs:signal=KILL:when=1", ALL),
    ("the disk is full", "-e inject=openat:error=ENOSPC:when=700", End::Full),
    ("killed at one of them", "-e inject=openat:signal=KILL:when=700", SOME),
    ("killed when some have their names", "-e inject=renameat2:signal=KILL:when=500", ALL),
    ("killed at a release", "-e inject=renameat2:signal=KILL:when=1500", SOME),
];

/// What is wrong after a run with a fault, and one without.
fn violations(options: &str, end: &End) -> Vec<String> {
    let sandbox = Sandbox::new();
    broker_fleet::register(&mut SqliteStore::open(&sandbox.path("mig.db")).unwrap(), AGENTS);
    sandbox.drop_action("all.json");
    let faulty = matrix::strace_worker(&sandbox, "action-new", options).output().unwrap();
    let (class, written) = match end {
        End::Killed(written) => (None, Some(written.clone())),
        End::SyncFailed(written) => (Some(ExitClass::Io), Some(*written..=*written)),
        End::Full => (Some(ExitClass::TemporaryFailure), None),
    };
    let mut violations = Vec::new();
    if faulty.status.code() != class.map(|class| class as i32) {
        violations.push(format!("ends with {}: {}", faulty.status, text(&faulty)));
    }
    let found = sandbox.names("tmp").len();
    if written.is_some_and(|written| !written.contains(&found)) {
        violations.push(format!("{found} commands are written"));
    }
    sandbox.once("action-new");
    let commands = sandbox.commands("command/ready");
    let reached: HashSet<&str> =
        commands.iter().map(|(_, command)| command["agent"]["queueloc"].as_str().unwrap()).collect();
    if (commands.len(), reached.len()) != (AGENTS, AGENTS) {
        violations.push(format!("{} commands for {} of {AGENTS} agents", commands.len(), reached.len()));
    }
    violations.extend(matrix::miscounted(&sandbox, &[("tmp", 0), ("action/new", 0)]));
    violations
}

#[test]
fn an_action_for_many_agents_survives_faults() {
    let cases = FAULTS.map(|(what, options, end)| (what, (options, end)));
    matrix::try_cases("an action for many agents", cases, |(options, end)| violations(options, &end));
}
