//! The agent: receives commands, verifies them itself, runs their operations, answers.
//!
//! It trusts its own keys and access list only; the relay and the scheduler carry files. Its run directory is a spool of
//! its own, and a command's place in it says all about its state:
//!
//! | stage | promise | a restart |
//! |---|---|---|
//! | received | on our disk, acknowledged; not begun | goes on with it |
//! | running | claimed: it may have begun | ends it as failed, "interrupted"; it never runs again by itself |
//! | answered | the answer is on our disk; the relay does not have it yet | sends it |
//! | done | the relay has the answer; kept until the action expires, if the command ran | a second delivery is answered from here |
//!
//! A command is claimed right before it runs, so that a crash interrupts one at most.
//!
//! Five workers ([`crate::worker`]), a thread each, so that a long operation holds up neither heartbeats nor new commands nor
//! answers:
//!
//! | worker | drains | file |
//! |---|---|---|
//! | register | the clock | `agent/register.rs` |
//! | receive | its queue on the relay | `agent/receive.rs` |
//! | run | received | `agent/run.rs`, `agent/claim.rs` |
//! | answer | answered | `agent/answer.rs` |
//! | forget | done | `agent/forget.rs` |

pub mod answer;
pub mod claim;
pub mod environment;
pub mod execute;
pub mod forget;
pub mod forgotten;
pub mod identity;
pub mod local;
pub mod machine;
mod memory;
pub mod program;
pub mod receive;
pub mod register;
pub mod room;
pub mod run;
pub mod stat_socket;
mod talk;

use crate::acl::Acl;
use crate::command::{Command, CommandStatus};
use crate::limits;
use crate::signature::{Keyring, distinct};
use crate::spool::stages::AGENT_INVALID;
use crate::spool::{Entry, Stage};
use crate::time::Timestamp;
use crate::worker::stage::{Source, Verdict};

/// Why the agent does not run a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It ends with this status and error.
    Final(CommandStatus, String),
    /// Its action is not valid before this time.
    NotBefore(Timestamp),
}

/// What an agent accepts.
pub struct Trust {
    /// The investigators.
    pub keyring: Keyring,
    /// What they may do.
    pub acl: Acl,
}

impl Trust {
    /// Whether a command may run now: every signature that counts is weighed against every operation.
    pub fn judge(&self, command: &Command, now: Timestamp) -> Result<(), Refusal> {
        let action = &command.action;
        if action.expire_after <= now {
            return Err(Refusal::Final(
                CommandStatus::Expired,
                format!("the action expired at {}", action.expire_after),
            ));
        }
        let text = action.signed_text();
        let verified: Vec<_> =
            action.signatures.iter().map(|signature| self.keyring.verify(&text, signature, now)).collect();
        let signers = distinct(&verified);
        if let Err(denied) = self.acl.check(action, &signers) {
            let faults = verified
                .iter()
                .enumerate()
                .filter_map(|(index, one)| Some(format!("; pgpsignatures[{index}] {}", one.as_ref().err()?)));
            let text = format!("permission denied: {denied}{}", faults.collect::<String>());
            return Err(Refusal::Final(CommandStatus::Cancelled, text));
        }
        if action.valid_from >= action.expire_after {
            return Err(Refusal::Final(CommandStatus::Cancelled, "validfrom is not before expireafter".into()));
        }
        if action.valid_from > now {
            return Err(Refusal::NotBefore(action.valid_from));
        }
        Ok(())
    }
}

/// The commands of a stage of the agent's spool.
fn commands_of(stage: Stage, batch_entries_max: usize) -> Source {
    let size_bytes_max = limits::COMMAND_FILE_SIZE_BYTES_MAX;
    Source { stage, invalid: AGENT_INVALID, size_bytes_max, batch_entries_max }
}

/// The command in a file of ours.
fn read_command(entry: &Entry) -> Result<Command, Verdict> {
    Command::parse(&entry.bytes).map_err(|error| Verdict::Reject(error.to_string()))
}
