//! The note `forgotten`. A kept answer is deleted when its action has expired, and with it the knowledge that the command
//! ran: from then on the clock keeps it from running again. A clock that was ahead for a while and is right again does not.
//! So the latest end of an action whose answer was deleted stays on the disk, and a command of an action that ends no later
//! does not run.
//!
//! While the clock is right this changes nothing: such an action has expired anyway. The note is written before anything
//! is deleted, so a crash in between leaves one that covers a few answers too many.

use super::Refusal;
use crate::action::Action;
use crate::command::CommandStatus;
use crate::failure::Failure;
use crate::spool::{Notes, Over};
use crate::time::Timestamp;

const FILE: &str = "forgotten";
/// Bytes that a time with nanoseconds and a newline may have.
const SIZE_BYTES_MAX: u64 = 64;

/// See the module docs. The note on the disk counts: `forget` writes it, `run` reads it before every command.
pub struct Forgotten {
    notes: Notes,
}

impl Forgotten {
    /// The note of the agent's run directory.
    pub fn new(notes: Notes) -> Forgotten {
        Forgotten { notes }
    }

    /// Reads the note.
    pub fn until(&self) -> Result<Timestamp, Failure> {
        let bytes = self.notes.read(FILE, SIZE_BYTES_MAX).map_err(|e| Failure::retry(format!("{FILE}: {e}")))?;
        let Some(bytes) = bytes else { return Ok(Timestamp::MIN) };
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        text.parse().map_err(|_| Failure::retry(format!("{FILE}: '{}' is not a time", text.escape_default())))
    }

    /// Notes that answers are about to be deleted whose actions ended then or before.
    pub fn extend(&self, until: Timestamp) -> Result<(), Failure> {
        if until > self.until()? {
            self.notes.write(FILE, format!("{until}\n").as_bytes(), Over::Anything)?;
        }
        Ok(())
    }

    /// Refuses a command of this action, of which nothing is known, if it may have run before.
    pub fn judge(&self, action: &Action) -> Result<Result<(), Refusal>, Failure> {
        let until = self.until()?;
        if action.expire_after > until {
            return Ok(Ok(()));
        }
        let text = format!(
            "it may have run before: the clock of this agent has been ahead, and what it knew of actions until {until} is deleted"
        );
        Ok(Err(Refusal::Final(CommandStatus::Expired, text)))
    }
}
