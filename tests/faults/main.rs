//! A fault at every system call: each worker, the agent, what keeps, sends and collects its events, and both ends of the
//! directory relay, alone under `--once` with three files, is killed at every call that touches files (or has the call fail
//! with each plausible error, or a second copy is started), started again, and the rest of the system is run to its end.
//! Then every action must be complete, every command answered once, and nothing run twice; and every event that was kept
//! must be collected once, whole and in order.
//!
//! A kill leaves what the kernel holds in memory. The power cut does not: the sandbox is a file system of its own in a
//! loop-mounted image, which is shut down without flushing its log at the moment of the kill, and mounted again. No other
//! file system is ever shut down, and no other process sees the mount (`image.rs`, `common/mounts.rs`).
//!
//! By default a sample of the points is tried; `MIG_FAULTS=full` tries all, 200 points of a run with a hundred commands,
//! and 500 pairs of a kill and another one during the recovery. Needs strace and the right to trace: skipped with a
//! visible line without them.
//!
//! That the matrices can fail is shown by `mutants.rs`: planted bugs, which no release can have.

mod bad_sector;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod fan_out;
mod harness;
mod image;
mod many_actions;
mod matrix;
#[cfg(feature = "mutants")]
mod mutants;
mod odd_file_systems;
mod pairs;
mod place;
mod relay_end;
mod subject;

use common::is_full;
use events::Part;
use matrix::Fault;
use subject::Subject;

/// Files that a subject has to handle when it is alone.
const FILES: usize = 3;
/// Points of each subject and fault that are tried unless all are.
const SAMPLE: usize = 40;
/// Commands of the larger run.
const COMMANDS: usize = 100;
/// Points of the larger run that are tried, of each fault, and unless all are.
const SAMPLE_LARGE: (usize, usize) = (200, 8);

fn alone(subject: Subject, fault: Fault) {
    matrix::run(subject.name(), subject, fault, FILES, (!is_full()).then_some(SAMPLE));
}

fn with_many(subject: Subject, fault: Fault) {
    let sample = if is_full() { SAMPLE_LARGE.0 } else { SAMPLE_LARGE.1 };
    matrix::run(&format!("{}, {COMMANDS} commands", subject.name()), subject, fault, COMMANDS, Some(sample));
}

macro_rules! matrices {
    ($($module:ident $subject:expr),*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn survives_kills() {
                alone($subject, Fault::Kill);
            }
            #[test]
            fn survives_power_cuts() {
                alone($subject, Fault::PowerCut);
            }
            #[test]
            fn survives_errors() {
                alone($subject, Fault::Error);
            }
            #[test]
            fn survives_a_second_copy() {
                alone($subject, Fault::Pause);
            }
        }
    )*};
}

matrices!(
    action_new Subject::Worker("action-new"),
    approval Subject::Approval,
    command_ready Subject::Worker("command-ready"),
    agent Subject::Agent,
    results Subject::Worker("results"),
    command_returned Subject::Worker("command-returned"),
    collector Subject::Worker("collector"),
    events_keeping Subject::Events(Part::Keeping),
    events_sending Subject::Events(Part::Sending),
    events_collecting Subject::Events(Part::Collecting),
    relay_sending Subject::RelaySend,
    relay_receiving Subject::RelayReceive
);

#[test]
fn a_scheduler_with_a_hundred_commands_survives_kills() {
    with_many(Subject::Scheduler, Fault::Kill);
}

#[test]
fn a_scheduler_with_a_hundred_commands_survives_power_cuts() {
    with_many(Subject::Scheduler, Fault::PowerCut);
}

#[test]
fn an_agent_with_a_hundred_commands_survives_kills() {
    with_many(Subject::Agent, Fault::Kill);
}

#[test]
fn an_agent_with_a_hundred_commands_survives_power_cuts() {
    with_many(Subject::Agent, Fault::PowerCut);
}
