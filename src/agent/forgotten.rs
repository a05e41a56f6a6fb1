//! What an agent knows of commands whose files it does not have any more: two notes, so that none of them runs twice.
//!
//! `forgotten`: a kept answer is deleted when its action has expired, and with it the knowledge that the command
//! ran: from then on the clock keeps it from running again. A clock that was ahead for a while and is right again does not.
//! So the latest end of an action whose answer was deleted stays on the disk, and a command of an action that ends no later
//! does not run. While the clock is right this changes nothing: such an action has expired anyway.
//!
//! `ran`: of answers that are deleted earlier, because there are too many or they are too large, the command's name and the
//! end of its action stay, a line each. There is room for a certain number of them; when it is used up, no further command
//! runs until an action of these has expired. An action that is valid for years cannot fill the disk that way.
//!
//! Either note is written before anything is deleted, so a crash in between leaves one that covers a few answers too many.

use super::Refusal;
use crate::command::{Command, CommandStatus};
use crate::failure::Failure;
use crate::id::CommandRef;
use crate::limits::RAN_COMMANDS_MAX;
use crate::spool::Notes;
use crate::time::Timestamp;
use std::collections::BTreeMap;

const FORGOTTEN: &str = "forgotten";
const RAN: &str = "ran";
/// Bytes of one line: two ids, a time with nanoseconds, and what is between them.
const LINE_BYTES_MAX: u64 = 100;

/// Names of commands, and when their actions end.
pub type Ran = BTreeMap<CommandRef, Timestamp>;

/// See the module docs. The notes on the disk count: `forget` writes them, `run` reads them before every command.
pub struct Forgotten {
    notes: Notes,
}

fn not_a(what: &str, note: &str, text: &str) -> Failure {
    Failure::retry(format!("{note}: '{}' is not {what}", text.escape_default().take(80).collect::<String>()))
}

impl Forgotten {
    /// The notes of the agent's run directory.
    pub fn new(notes: Notes) -> Forgotten {
        Forgotten { notes }
    }

    fn read(&self, note: &str, size_bytes_max: u64) -> Result<Option<String>, Failure> {
        let bytes = self.notes.read(note, size_bytes_max).map_err(|e| Failure::retry(format!("{note}: {e}")))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads `forgotten`.
    pub fn until(&self) -> Result<Timestamp, Failure> {
        let Some(text) = self.read(FORGOTTEN, LINE_BYTES_MAX)? else { return Ok(Timestamp::MIN) };
        text.trim().parse().map_err(|_| not_a("a time", FORGOTTEN, text.trim()))
    }

    /// Reads `ran`.
    pub fn ran(&self) -> Result<Ran, Failure> {
        let text = self.read(RAN, RAN_COMMANDS_MAX as u64 * LINE_BYTES_MAX)?.unwrap_or_default();
        let parse = |line: &str| {
            let (command, end) = line.split_once(' ')?;
            Some((CommandRef::from_file_name(command).ok()?, end.parse().ok()?))
        };
        text.lines().map(|line| parse(line).ok_or_else(|| not_a("a command and a time", RAN, line))).collect()
    }

    /// Notes that answers are about to be deleted whose actions ended then or before.
    pub fn extend(&self, until: Timestamp) -> Result<(), Failure> {
        if until > self.until()? {
            self.notes.write(FORGOTTEN, format!("{until}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Notes that the answers to these commands are about to be deleted before their actions end. Returns how many there
    /// was room for, from the first on.
    pub fn remember(&self, commands: &[(CommandRef, Timestamp)], now: Timestamp) -> Result<usize, Failure> {
        if commands.is_empty() {
            return Ok(0);
        }
        let mut ran = self.ran()?;
        if let Some(latest) = ran.values().filter(|end| **end <= now).max() {
            self.extend(*latest)?;
        }
        ran.retain(|_, end| *end > now);
        let room = RAN_COMMANDS_MAX.saturating_sub(ran.len());
        let taken = &commands[..commands.len().min(room)];
        ran.extend(taken.iter().copied());
        let lines = ran.iter().map(|(command, end)| format!("{} {end}\n", command.file_name()));
        self.notes.write(RAN, lines.collect::<String>().as_bytes())?;
        Ok(taken.len())
    }

    /// Refuses a command of which there is no file if it may have run before, or could not be remembered.
    pub fn judge(&self, command: &Command, now: Timestamp) -> Result<Result<(), Refusal>, Failure> {
        let (until, ran) = (self.until()?, self.ran()?);
        let expired = |text: String| Ok(Err(Refusal::Final(CommandStatus::Expired, text)));
        if command.action.expire_after <= until {
            return expired(format!(
                "it may have run before: the clock of this agent has been ahead, and what it knew of actions until {until} is deleted"
            ));
        }
        if ran.contains_key(&command.reference()) {
            return expired("it ran before: its answer was sent, and is not kept any more".into());
        }
        let remembered = ran.values().filter(|end| **end > now).count();
        if remembered >= RAN_COMMANDS_MAX {
            let next = ran.values().filter(|end| **end > now).min().copied().unwrap_or(now);
            let text = format!(
                "this agent remembers {remembered} commands of actions that have not ended, and no more, so that none runs twice; the first of them ends at {next}"
            );
            return Ok(Err(Refusal::Final(CommandStatus::Cancelled, text)));
        }
        Ok(Ok(()))
    }
}
