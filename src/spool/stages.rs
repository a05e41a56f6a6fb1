//! The names of the stages.

use super::failures::io_failure;
use crate::failure::Failure;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A directory of the spool. Its name is a promise about every file in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stage(&'static str);

impl Stage {
    /// Its path below the spool's root.
    pub const fn path(self) -> &'static str {
        self.0
    }

    /// Whether its files are written in place and belong to other users; in the other stages files appear whole, are ours,
    /// and never change.
    pub fn holds_drops(self) -> bool {
        self == ACTION_NEW
    }

    /// Whether it is made when it is missing: spools of older versions have none.
    pub fn is_made_when_missing(self) -> bool {
        [ACTION_PENDING, EVENT_NEW].contains(&self)
    }

    /// Whether a file stays whose name is taken where it moves to: what has the name is not the same by another way.
    pub fn keeps_taken(self) -> bool {
        self.holds_drops() || self == ACTION_PENDING
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Dropped by operators, scripts, the API.
pub const ACTION_NEW: Stage = Stage("action/new");
/// Signed, and not by enough investigators yet. Only action-new uses it, which makes it when it is missing.
pub const ACTION_PENDING: Stage = Stage("action/pending");
/// Its commands are made.
pub const ACTION_INFLIGHT: Stage = Stage("action/inflight");
/// Every command has ended.
pub const ACTION_DONE: Stage = Stage("action/done");
/// Refused; NAME.reason beside it says why.
pub const ACTION_INVALID: Stage = Stage("action/invalid");
/// To be sent.
pub const COMMAND_READY: Stage = Stage("command/ready");
/// The relay has it.
pub const COMMAND_INFLIGHT: Stage = Stage("command/inflight");
/// A final answer is on our disk.
pub const COMMAND_RETURNED: Stage = Stage("command/returned");
/// The store has committed it.
pub const COMMAND_DONE: Stage = Stage("command/done");

/// `tmp`, for commands that are written before their action's move to action/inflight, the commit point, and released
/// after it.
pub const PREPARED: Stage = Stage("tmp");

/// The directory of the stages itself, for notes.
pub(super) const ROOT: Stage = Stage("");

/// The workers' locks.
pub(super) const LOCKS: Stage = Stage("lock");

/// The scheduler's spool.
pub const SCHEDULER: [Stage; 8] = [
    ACTION_NEW,
    ACTION_INFLIGHT,
    ACTION_DONE,
    ACTION_INVALID,
    COMMAND_READY,
    COMMAND_INFLIGHT,
    COMMAND_RETURNED,
    COMMAND_DONE,
];

/// What persistent modules of agents noticed, as JSON lines. Scripts take the files away. Only events and collector use it, and make
/// it when it is missing and events are collected.
pub const EVENT_NEW: Stage = Stage("event/new");

/// On the agent: taken from the relay, not yet run.
pub const AGENT_RECEIVED: Stage = Stage("received");
/// On the agent: claimed; it may have begun to run.
pub const AGENT_RUNNING: Stage = Stage("running");
/// On the agent: has its answer; the relay does not have it yet.
pub const AGENT_ANSWERED: Stage = Stage("answered");
/// On the agent: the relay has the answer; kept until the action expires.
pub const AGENT_DONE: Stage = Stage("done");
/// On the agent: what could not be read as a command.
pub const AGENT_INVALID: Stage = Stage("invalid");

/// On the agent: what persistent modules noticed; the relay does not have it yet.
pub const AGENT_EVENTS: Stage = Stage("events");

/// The agent's spool, in its run directory.
pub const AGENT: [Stage; 6] = [AGENT_RECEIVED, AGENT_RUNNING, AGENT_ANSWERED, AGENT_DONE, AGENT_INVALID, AGENT_EVENTS];

/// Makes the directories of a spool that belongs to one program, readable for its user only.
pub fn make(root: &Path, stages: &[Stage]) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    let make = |path: &Path| {
        builder.create(path).map_err(|error| match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                Failure::Refuse(format!("make directory {}: a file is in its place", path.display()))
            }
            _ => io_failure("make directory", path, error),
        })
    };
    stages.iter().try_for_each(|stage| make(&root.join(stage.path())))
}
