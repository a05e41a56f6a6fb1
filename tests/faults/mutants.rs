//! Planted bugs: each must be caught by at least one matrix. One that catches none proves nothing.
//!
//! The bug is chosen by the environment of a process, so each one is looked for by this test binary, started again.

use super::common::is_full;
use super::common::score::Score;
use super::common::text;
use super::events::Part;
use super::matrix::{Fault, Matrix};
use super::subject::{ALL, Subject};
use super::{FILES, SAMPLE};
use mig::mutants::Mutant;
use std::process::Command;

const FAULTS: [Fault; 4] = [Fault::Kill, Fault::PowerCut, Fault::Error, Fault::Pause];

/// Where a bug is looked for first: a guess that only saves time.
fn guess(mutant: Mutant) -> (Fault, Subject) {
    match mutant {
        Mutant::NoFileSync => (Fault::PowerCut, Subject::Worker("action-new")),
        Mutant::NoDirectorySync => (Fault::PowerCut, Subject::Agent),
        Mutant::MoveBeforeEffect => (Fault::Kill, Subject::Worker("command-returned")),
        Mutant::AckBeforeWrite => (Fault::Kill, Subject::Worker("results")),
        Mutant::AckEventsBeforeWrite => (Fault::Kill, Subject::Events(Part::Collecting)),
        Mutant::DeleteEventsBeforeSend => (Fault::Kill, Subject::Events(Part::Sending)),
        Mutant::RunBeforeClaim => (Fault::Kill, Subject::Agent),
        Mutant::NoWaitForConfirm => (Fault::Kill, Subject::Worker("command-ready")),
        Mutant::NoLock => (Fault::Pause, Subject::Agent),
        Mutant::StoreBeforeAdoption => (Fault::Kill, Subject::Worker("action-new")),
    }
}

/// Looks for the bug that this process has, and prints a line for every kind of fault that shows it; unless everything is
/// asked for, the first is enough.
#[test]
fn mutant_process() {
    let Some((_, mutant)) = Mutant::ALL.into_iter().find(|(_, mutant)| mutant.is_on()) else { return };
    let first = guess(mutant);
    let others = FAULTS.into_iter().flat_map(|fault| ALL.map(|subject| (fault, subject)));
    let mut caught = Vec::new();
    for (fault, subject) in [first].into_iter().chain(others) {
        if caught.contains(&fault.name()) {
            continue;
        }
        let mut matrix = Matrix::new(subject, fault, FILES).unwrap();
        let points = matrix.points();
        let step = if (fault, subject) == first { 1 } else { points.len().div_ceil(SAMPLE) };
        let mut sample = points.iter().step_by(step);
        if let Some(point) = sample.find(|point| !matrix.try_point(point).is_empty()) {
            println!("CAUGHT by {} of {} at {point}", fault.name(), subject.name());
            caught.push(fault.name());
            if !is_full() {
                return;
            }
        }
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (name, _) in Mutant::ALL {
        let mut score = Score::begin(format!("mutant: {name}"));
        if let Some(why) = super::matrix::missing() {
            return score.skip(why);
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "mutants::mutant_process", "--nocapture"]).env("MIG_MUTANT", name);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let caught: Vec<&str> = stdout.lines().filter_map(|line| line.strip_prefix("CAUGHT by ")).collect();
        score.add_runs(1);
        let missed = if caught.is_empty() { vec![format!("{name} is not caught by any matrix")] } else { Vec::new() };
        score.end(&missed, &format!("caught by {}", caught.join("; ")));
    }
}
