//! The agent: receives commands, verifies them itself, runs their operations, answers.
//!
//! It trusts nobody but its own keys and access list; the relay and the scheduler only bring files. Its run directory is
//! a spool of its own, and a command's place in it says all about its state:
//!
//! | stage | promise | a restart |
//! |---|---|---|
//! | received | on our disk, the relay has let go of it; not begun | goes on with it |
//! | running | claimed: it may have begun | ends it as failed, "interrupted"; it never runs again by itself |
//! | answered | the answer is on our disk; the relay does not have it yet | sends it |
//! | done | the relay has the answer; kept until the action runs out | a second delivery is answered from here |
//!
//! A command is claimed one at a time, right before it runs, so that a crash interrupts one at most.
//!
//! Four workers, a thread each, so that a long operation holds up neither heartbeats nor new commands nor answers:
//!
//! | worker | drains | file |
//! |---|---|---|
//! | register | the clock | `agent/register.rs` |
//! | receive | its queue on the relay | `agent/receive.rs` |
//! | run | received | `agent/run.rs` |
//! | answer | answered | `agent/answer.rs` |

pub mod answer;
pub mod environment;
pub mod execute;
pub mod forgotten;
pub mod identity;
pub mod local;
pub mod program;
pub mod receive;
pub mod register;
pub mod run;
pub mod spare;
pub mod stat_socket;
mod talk;

use crate::acl::Acl;
use crate::command::{Command, CommandStatus};
use crate::flow::Failure;
use crate::limits;
use crate::signature::{Keyring, distinct};
use crate::spool::stages::AGENT_INVALID;
use crate::spool::{FileName, ReadError, Spool, Stage};
use crate::time::Timestamp;

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
    /// Who investigators are.
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
                format!("the action ran out at {}", action.expire_after),
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

/// Reads a command of ours. One that is no command is put aside, where an operator can look at it; one that cannot be
/// read now stays where it is.
fn read_command(spool: &Spool, stage: Stage, name: &FileName, now: Timestamp) -> Result<Option<Command>, Failure> {
    let reason = match spool.read(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
        Ok(entry) => match Command::parse(&entry.bytes) {
            Ok(command) => return Ok(Some(command)),
            Err(error) => error.to_string(),
        },
        Err(ReadError::Gone) => return Ok(None),
        Err(ReadError::Io(error)) if !error.is_of_one_file() => return Err(error.into()),
        Err(error) => {
            log::error!("{stage}/{name}: {error}; it stays, and is tried again");
            return Ok(None);
        }
    };
    log::error!("{stage}/{name} is put aside: {reason}");
    for outcome in spool.reject(stage, &[(name.clone(), reason)], AGENT_INVALID, now)? {
        outcome?;
    }
    Ok(None)
}
