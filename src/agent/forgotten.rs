//! What the agent has forgotten. A kept answer is deleted when its action has run out, and with it the knowledge that the
//! command ran: from then on the clock keeps it from running again. A clock that was ahead for a while and is right again
//! does not. So the latest end of an action whose answer was deleted stays on the disk, and a command of an action that
//! ends no later is not taken for a new one.
//!
//! While the clock is right this changes nothing: such an action has run out anyway. The note is written before anything
//! is deleted, so a crash in between leaves one that says too much by a few answers.

use super::Refusal;
use crate::action::Action;
use crate::command::CommandStatus;
use crate::spool::{Error, FileName, ReadError, Spool};
use crate::time::Timestamp;

const FILE: &str = "forgotten";
/// Bytes that a time with nanoseconds and a newline may have.
const SIZE_BYTES_MAX: u64 = 64;

/// See the module docs. The note on the disk counts: `answer` writes it, `run` reads it before every command.
pub struct Forgotten {
    name: FileName,
    until: Timestamp,
}

impl Forgotten {
    /// Reads the note in the agent's run directory.
    pub fn read(spool: &Spool) -> Result<Forgotten, String> {
        let name = FileName::new(FILE).ok_or("an empty name")?;
        let until = match spool.read_note(&name, SIZE_BYTES_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                text.parse().map_err(|_| format!("{FILE}: '{}' is not a time", text.escape_default()))?
            }
            Err(ReadError::Gone) => Timestamp::MIN,
            Err(error) => return Err(format!("{FILE}: {error}")),
        };
        Ok(Forgotten { name, until })
    }

    /// Notes that answers are about to be deleted whose actions ended then or before.
    pub fn extend(&mut self, spool: &Spool, until: Timestamp) -> Result<(), Error> {
        if until > self.until {
            spool.write_note(&self.name, format!("{until}\n").as_bytes())?;
            self.until = until;
        }
        Ok(())
    }

    /// Whether a command of this action, which is not known, is new for certain.
    pub fn judge(&self, action: &Action) -> Result<(), Refusal> {
        if action.expire_after > self.until {
            return Ok(());
        }
        let text = format!(
            "it may have run before: the clock of this agent has been ahead, and what it knew of actions until {} is deleted",
            self.until
        );
        Err(Refusal::Final(CommandStatus::Expired, text))
    }
}
