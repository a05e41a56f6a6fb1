//! Questions, only where a person can answer them: standard input and standard error are a terminal.

use crate::error::{ExitClass, ProgramError};
use crate::limits;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};

/// Asks whether to go on. Without a terminal it goes on, as the original does after its countdown: who starts `mig` from a
/// script has decided.
pub fn confirm(question: &str, is_decided: bool) -> Result<(), ProgramError> {
    if is_decided || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    let failed = |e| ProgramError::new(ExitClass::Io, format!("ask on the terminal: {e}"));
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().map_err(failed)?;
    let mut reply = String::new();
    BufReader::new(std::io::stdin().take(limits::CLIENT_REPLY_BYTES_MAX)).read_line(&mut reply).map_err(failed)?;
    if ["y", "yes"].contains(&reply.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(ProgramError::new(ExitClass::Negative, "not launched"))
}
