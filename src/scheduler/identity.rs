//! The scheduler's id, which distinguishes it from other schedulers of the same store. An action that it has begun is its
//! own there ([`crate::store::Store::begin_actions`]), and it is the spool that the action's files are in, so the id is
//! kept in the spool: in the note `scheduler-id`.
//!
//! It is made once, by the process that holds action-new's lock, and synced before it is used: a crash leaves no note, and
//! then nothing was begun, or a whole one. A spool that is copied must not take the note along.

use crate::failure::Failure;
use crate::spool::Notes;

const FILE: &str = "scheduler-id";
/// Hex digits of an id.
const DIGITS: usize = 16;

/// Reads the id, or makes one.
pub fn scheduler_id(notes: &Notes) -> Result<String, Failure> {
    let retry = |reason: &dyn std::fmt::Display| Failure::retry(format!("{FILE}: {reason}"));
    let failed = |failure| match failure {
        // What could not be synced may be gone after a power cut, though it can be read until then.
        Failure::End(reason) => Failure::End(reason),
        other => retry(&other),
    };
    match notes.read(FILE, 2 * DIGITS as u64).map_err(failed)? {
        // An empty one was never on the disk whole, so nothing was begun with it.
        Some(bytes) if !bytes.is_empty() => {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            let is_id = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let help = "put the id back that the store has as the owner of the actions in flight; if there are none, remove the file";
            if is_id { Ok(text) } else { Err(retry(&format!("'{}' is not an id; {help}", text.escape_default()))) }
        }
        _ => {
            let random = getrandom::u64().map_err(|e| retry(&format!("no random numbers: {e}")))?;
            let id = format!("{random:0DIGITS$x}");
            notes.write(FILE, format!("{id}\n").as_bytes()).map_err(failed)?;
            Ok(id)
        }
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
