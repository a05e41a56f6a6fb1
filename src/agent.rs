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
//! Its workers ([`crate::worker`]) have a thread each, so that a long operation holds up neither heartbeats nor new commands nor
//! answers:
//!
//! | worker | drains | file |
//! |---|---|---|
//! | register | the clock | `agent/register.rs` |
//! | receive | its queue on the relay | `agent/receive.rs` |
//! | run | received | `agent/run.rs`, `agent/claim.rs` |
//! | answer | answered | `agent/answer.rs` |
//! | forget | done | `agent/forget.rs` |
//! | dispatch | events, where there are some or may be | `agent/dispatch.rs` |
//! | a persistent module's | what its process prints, into events | `agent/persistent.rs` |
//!
//! When the module `upgrade` has installed another version, they all end, and that one takes over (`agent/handover.rs`).
//!
//! Around them: `agent/start.rs` builds and runs them, `agent/status.rs` says what they do and `agent/stat_socket.rs` to whom,
//! `agent/immortal.rs` starts an agent again that ended, and `agent/os.rs` is what differs between operating systems.

pub mod answer;
pub mod build;
pub mod claim;
pub mod dispatch;
pub mod environment;
pub mod execute;
pub mod fetch;
pub mod forget;
pub mod forgotten;
pub mod handover;
pub mod identity;
pub mod immortal;
pub mod installed;
pub mod local;
pub mod machine;
pub mod os;
pub mod persistent;
pub mod program;
pub mod public_ip;
pub mod receive;
pub mod register;
pub mod room;
pub mod run;
pub mod show;
pub mod stamp;
pub mod stamping;
pub mod start;
pub mod stat_socket;
pub mod status;
pub mod successor;
mod talk;

use crate::acl::Acl;
use crate::action::Action;
use crate::command::{Command, CommandStatus};
use crate::config::{Material, Unreadable};
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Message, Queue, Relay, Sent};
use crate::reload::Reloaded;
use crate::signature::{Keyring, SignatureError, distinct};
use crate::spool::stages::AGENT_INVALID;
use crate::spool::{Entry, Stage, Step};
use crate::time::{self, Timestamp};
use crate::worker::stage::{Source, Verdict};
use std::path::Path;

/// How an agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until a signal comes.
    Daemon,
    /// To the end of what is there: `--once`.
    Once,
    /// The same, for a limited time, and beside others without harm: `--checkin`.
    CheckIn,
}

impl Mode {
    /// The heartbeats' `mode`.
    fn in_heartbeats(self) -> &'static str {
        match self {
            Mode::Daemon | Mode::Once => "daemon",
            Mode::CheckIn => "checkin",
        }
    }
}

/// Why the agent does not run a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It ends with this status and error.
    Final(CommandStatus, String),
    /// Its action is not valid before this time.
    NotBefore(Timestamp),
}

/// What an agent accepts, at one moment.
pub struct Trust<'a> {
    /// The investigators.
    pub keyring: &'a Keyring,
    /// What they may do.
    pub acl: &'a Acl,
}

/// Why an action is not permitted at some time.
struct NotPermitted {
    reason: String,
    /// When all of its signatures may be valid, if some are not valid yet.
    early: Option<Timestamp>,
}

impl Trust<'_> {
    /// Whether a command may run now: every signature that counts is weighed against every operation.
    ///
    /// What is not permitted now and will be at a later time waits for it, and is judged again then. Where the clock is
    /// behind, what was just signed seems to be from the future, and its key may seem to be. What will never be permitted
    /// does not wait: only what an investigator signed is kept here.
    pub fn judge(&self, command: &Command, now: Timestamp) -> Result<(), Refusal> {
        let action = &command.action;
        if action.expire_after <= now {
            return Err(Refusal::Final(
                CommandStatus::Expired,
                format!("the action expired at {}", action.expire_after),
            ));
        }
        let refused = match self.permit(action, now) {
            Ok(()) if action.valid_from >= action.expire_after => {
                let reason = "validfrom is not before expireafter";
                return Err(Refusal::Final(CommandStatus::Cancelled, reason.into()));
            }
            Ok(()) if action.valid_from > now => return Err(Refusal::NotBefore(action.valid_from)),
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let mut later = [Some(action.valid_from), refused.early].into_iter().flatten();
        let is_permitted = |at: &Timestamp| *at > now && *at < action.expire_after && self.permit(action, *at).is_ok();
        match later.find(is_permitted) {
            Some(time) => Err(Refusal::NotBefore(time)),
            None => Err(Refusal::Final(CommandStatus::Cancelled, refused.reason)),
        }
    }

    /// Whether the signatures that count at this time permit every operation.
    fn permit(&self, action: &Action, at: Timestamp) -> Result<(), NotPermitted> {
        let text = action.signed_text();
        let verified: Vec<_> =
            action.signatures.iter().map(|signature| self.keyring.verify(&text, signature, at)).collect();
        let Err(denied) = self.acl.check(action, &distinct(&verified)) else { return Ok(()) };
        let faults = || verified.iter().enumerate().filter_map(|(index, one)| Some((index, one.as_ref().err()?)));
        let text = faults().map(|(index, fault)| format!("; pgpsignatures[{index}] {fault}"));
        let early = faults().filter_map(|(_, fault)| match fault {
            SignatureError::Early { from, .. } => Some(*from),
            _ => None,
        });
        Err(NotPermitted {
            reason: format!("permission denied: {denied}{}", text.collect::<String>()),
            early: early.max(),
        })
    }
}

/// Keyring and access list of a running agent: a change is in force from the next command on.
pub struct Trusted {
    keyring: Reloaded<Keyring>,
    acl: Reloaded<Acl>,
}

impl Trusted {
    /// Reads both now; fails with the configuration's key, the file and the reason. An access list without any permission is
    /// a mistake at the start; while the agent runs, it is a way to deny everything.
    pub fn open(keyring: &Material, acl: &Material) -> Result<Trusted, Unreadable> {
        let named = |key: &str, place: &Material, e: Unreadable| Unreadable {
            reason: format!("agent.{key}: {place}: {e}"),
            ..e
        };
        let parse_acl = |bytes: &[u8], _: &Path| Acl::parse(bytes).map_err(|error| error.to_string());
        let mut trusted = Trusted {
            keyring: Reloaded::of(keyring, Keyring::parse_file).map_err(|e| named("keyring", keyring, e))?,
            acl: Reloaded::of(acl, parse_acl).map_err(|e| named("acl", acl, e))?,
        };
        if trusted.acl.get().is_empty() {
            let reason = "the access list is empty: every module would be denied".to_owned();
            return Err(named("acl", acl, Unreadable::for_good(reason)));
        }
        Ok(trusted)
    }

    /// [`Trust::judge`] with the files as they are now. While one is missing, empty or cannot be read, nothing can be
    /// judged: commands wait.
    pub fn judge(&mut self, command: &Command, now: Timestamp) -> Result<Result<(), Refusal>, Failure> {
        let keyring = self.keyring.require()?;
        let acl = self.acl.require()?;
        Ok(Trust { keyring, acl }.judge(command, now))
    }
}

/// A failure unless the relay keeps a message.
fn check_kept(what: &str, queue: &Queue, sent: &Sent) -> Result<(), Failure> {
    match sent {
        Sent::Kept => Ok(()),
        Sent::Unroutable => {
            Err(Failure::retry(format!("{what}: the relay has no queue {queue}; is a scheduler running?")))
        }
        Sent::Refused(reason) => Err(Failure::retry(format!("{what}: {reason}"))),
        Sent::Unconfirmed => Err(Failure::retry(format!("{what}: the relay has not confirmed it"))),
    }
}

/// The commands of a stage of the agent's spool.
fn commands_of(stage: Stage, batch_entries_max: usize) -> Source {
    let size_bytes_max = limits::COMMAND_FILE_SIZE_BYTES_MAX;
    Source { stage, invalid: AGENT_INVALID, size_bytes_max, batch_entries_max }
}

/// Sends the files of a batch, a message each, to a queue. Those that are not kept follow at once: when none is, the reason is the
/// failure.
fn send_files(
    relay: &mut dyn Relay,
    what: &str,
    messages: &[Message],
    queue: &Queue,
    now: Timestamp,
) -> Result<Vec<Sent>, Failure> {
    let outcomes = relay.send(messages, now)?;
    if !outcomes.contains(&Sent::Kept) {
        outcomes.iter().try_for_each(|sent| check_kept(what, queue, sent))?;
    }
    Ok(outcomes)
}

/// What becomes of a file that was sent: this step if the relay keeps its message.
fn sent_or_later(sent: &Sent, step: Step, now: Timestamp) -> Verdict {
    match sent {
        Sent::Kept => Verdict::done(vec![step]),
        _ => Verdict::NotYet(time::after(now, limits::RETRY_PAUSE_MIN)),
    }
}

/// The command in a file of ours.
fn read_command(entry: &Entry) -> Result<Command, Verdict> {
    Command::parse(&entry.bytes).map_err(|error| Verdict::Reject(error.to_string()))
}
