//! The scheduler's id, which distinguishes it from other schedulers of the same store. An action that it has begun is its
//! own there ([`crate::store::Store::begin_actions`]), and it is the spool that the action's files are in, so the id is
//! kept in the spool: in the note `scheduler-id`.
//!
//! It is made once and synced before it is used: a crash leaves no note, and then nothing was begun, or a whole one. A spool
//! that is copied must not take the note along.

use crate::failure::Failure;
use crate::spool::Notes;
use std::fmt::Display;

const FILE: &str = "scheduler-id";
/// Hex digits of an id.
const DIGITS: usize = 16;

/// Reads the id, or makes one. Of two processes that make one at the same time both return the one that was there first.
pub fn scheduler_id(notes: &Notes) -> Result<String, Failure> {
    let found = read(notes)?;
    if let Some(id) = found.as_ref().filter(|text| !text.is_empty()) {
        return Ok(id.clone());
    }
    let random = getrandom::u64().map_err(|e| retry(format!("no random numbers: {e}")))?;
    let line = format!("{random:0DIGITS$x}\n");
    let written = match found {
        None => notes.write_first(FILE, line.as_bytes()),
        // An empty one was never on the disk whole, so nothing was begun with it.
        Some(_) => notes.write(FILE, line.as_bytes()),
    };
    written.map_err(failed)?;
    read(notes)?.ok_or_else(|| retry("is gone"))
}

/// The id in the note; empty text for an empty note, None without one.
fn read(notes: &Notes) -> Result<Option<String>, Failure> {
    let Some(bytes) = notes.read(FILE, 2 * DIGITS as u64).map_err(failed)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    if bytes.is_empty() || (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(Some(text));
    }
    let help =
        "put the id back that the store has as the owner of the actions in flight; if there are none, remove the file";
    Err(retry(format!("'{}' is not an id; {help}", text.escape_default())))
}

fn retry(reason: impl Display) -> Failure {
    Failure::retry(format!("{FILE}: {reason}"))
}

fn failed(failure: Failure) -> Failure {
    match failure {
        // What could not be synced may be gone after a power cut, though it can be read until then.
        Failure::End(reason) => Failure::End(reason),
        other => retry(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Mover;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Mover::open(directory.path(), &[], "action-new").unwrap().notes();
        let first = scheduler_id(&open()).unwrap();
        assert_eq!(scheduler_id(&open()).unwrap(), first);
        assert_eq!(first.len(), DIGITS);
        std::fs::write(directory.path().join(FILE), "").unwrap();
        assert_ne!(scheduler_id(&open()).unwrap(), first);
        for broken in ["x\n", "0123456789abcdefg\n"] {
            std::fs::write(directory.path().join(FILE), broken).unwrap();
            assert!(scheduler_id(&open()).unwrap_err().to_string().contains("is not an id"));
        }
        std::fs::write(directory.path().join(FILE), "0".repeat(100)).unwrap();
        assert!(scheduler_id(&open()).is_err());
    }
}
