//! The agent's queueloc: `<os>.<hostname>.<random id>`. The random part is made once and kept in the run directory, so that
//! the host name does not reveal the queue.
//!
//! It belongs to the machine. A run directory that was copied to another one, with an image for example, is noticed by the
//! [`Marks`] beside the id: the copy gets an id of its own. The commands in it are those of the other machine. Those without
//! an answer are removed, so that none runs on two machines, and none is answered as interrupted that another machine runs.
//! Answers are kept: a disk that moved into new hardware has the only ones, and of two the scheduler takes one.

use super::machine::Marks;
use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::spool::stages::{AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::{Mover, Step};

const ID_FILE: &str = "agent.id";
const MACHINE_FILE: &str = "agent.machine";
/// Bytes of either file that are read at most.
const NOTE_BYTES_MAX: u64 = 4096;

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// The host's name, as far as it can stand in a queueloc.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_lowercase();
    let clean: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' })
        .take(180)
        .collect();
    let labels: Vec<&str> = clean.split('.').filter(|label| !label.is_empty()).collect();
    if labels.is_empty() { "unknown".into() } else { labels.join(".") }
}

/// Reads the random id of a run directory, or makes one; `here` are the marks of this machine. Needs the agent's lock.
///
/// The marks are written last: cut off before, the next start does the same again.
pub fn queueloc(mover: &Mover, here: Marks) -> Result<QueueLoc, Failure> {
    let notes = mover.notes();
    let known = notes.read(ID_FILE, NOTE_BYTES_MAX)?;
    let record = notes.read(MACHINE_FILE, NOTE_BYTES_MAX)?.unwrap_or_default();
    let recorded = Marks::parse(&record);
    let other = here.other_than(&recorded).join(" and ");
    let (id, marks) = match known {
        Some(id) if other.is_empty() => (String::from_utf8_lossy(&id).trim().to_owned(), here.with(recorded)),
        known => {
            if known.is_some() {
                log::warn!(
                    "this is another machine than the one of {ID_FILE} (its {other} differs): it gets an id of its own"
                );
                remove_commands(mover)?;
            }
            let random = getrandom::u64().map_err(|e| Failure::retry(format!("no random numbers: {e}")))?;
            let id = base36(random | 1 << 63);
            notes.write(ID_FILE, format!("{id}\n").as_bytes())?;
            (id, here)
        }
    };
    if id.is_empty() || id.len() > 32 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let shown = id.escape_default();
        return Err(Failure::Refuse(format!("{ID_FILE}: '{shown}' is not an id; remove the file to have one made")));
    }
    let note = marks.note();
    if note.as_bytes() != record {
        notes.write(MACHINE_FILE, note.as_bytes())?;
    }
    QueueLoc::parse(&format!("linux.{}.{id}", host_name())).map_err(Failure::Refuse)
}

/// Removes commands that have no answer.
fn remove_commands(mover: &Mover) -> Result<(), Failure> {
    for stage in [AGENT_RECEIVED, AGENT_RUNNING] {
        let names = mover.spool().list(stage)?;
        for name in &names {
            log::warn!("{stage}/{name} is removed: it is a command of the other machine");
        }
        mover.apply_all(&names.iter().map(|name| Step::clear(stage, name)).collect::<Vec<_>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::stages;
    use std::path::Path;

    fn open(directory: &Path) -> Mover {
        stages::make(directory, &stages::AGENT).unwrap();
        Mover::open(directory, &stages::AGENT, "agent").unwrap()
    }

    fn marks(machine_id: &str) -> Marks {
        Marks::parse(format!("machine-id {machine_id}\n").as_bytes())
    }

    #[test]
    fn the_id_is_made_once_on_a_machine() {
        let directory = tempfile::tempdir().unwrap();
        let mover = open(directory.path());
        let first = queueloc(&mover, Marks::default()).unwrap();
        for here in [marks("a"), Marks::default(), marks("a")] {
            assert_eq!(queueloc(&mover, here).unwrap(), first);
            let note = std::fs::read(directory.path().join(MACHINE_FILE)).unwrap();
            assert_eq!(Marks::parse(&note), marks("a"), "what cannot be read today is still known");
        }
        assert!(first.as_str().rsplit('.').next().unwrap().len() >= 12);
        std::fs::write(directory.path().join(ID_FILE), "../x").unwrap();
        assert!(queueloc(&mover, marks("a")).unwrap_err().to_string().contains("is not an id"));
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
    }

    #[test]
    fn a_copy_on_another_machine_gets_an_id_of_its_own_and_runs_nothing_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let mover = open(directory.path());
        let first = queueloc(&mover, marks("a")).unwrap();
        for stage in stages::AGENT {
            std::fs::write(directory.path().join(stage.path()).join("1-2.json"), "{}").unwrap();
        }
        let copy = queueloc(&mover, marks("b")).unwrap();
        assert_ne!(copy, first);
        assert_eq!(queueloc(&mover, marks("b")).unwrap(), copy);
        let count = |stage: stages::Stage| mover.spool().list(stage).unwrap().len();
        assert_eq!(stages::AGENT.map(count), [0, 0, 1, 1, 1, 1], "what it answered is kept");
        // Cut off before the marks were written.
        std::fs::write(directory.path().join(MACHINE_FILE), marks("a").note()).unwrap();
        assert_ne!(queueloc(&mover, marks("b")).unwrap(), first);
    }
}
