//! The room on this machine's disk that commands and answers may take while they wait.

use crate::failure::Failure;
use crate::limits;
use crate::spool::{Spool, Stage};

/// Looks at a stage, and logs when its room is used up.
pub struct Room {
    worker: &'static str,
    /// What the worker does about it.
    consequence: &'static str,
    is_used_up: bool,
}

impl Room {
    /// There is some, as far as is known. `consequence` is for the log.
    pub fn new(worker: &'static str, consequence: &'static str) -> Room {
        Room { worker, consequence, is_used_up: false }
    }

    /// Whether a stage has as many files as it may, or as many bytes.
    pub fn is_used_up(&mut self, spool: &Spool, stage: Stage) -> Result<bool, Failure> {
        let names = spool.list(stage)?;
        let mut size_bytes = 0;
        for name in &names {
            size_bytes += spool.look(stage, name)?.map_or(0, |look| look.size_bytes);
        }
        let is_used_up = names.len() >= limits::WAITING_FILES_MAX || size_bytes >= limits::WAITING_BYTES_MAX;
        if is_used_up && !self.is_used_up {
            let (worker, consequence, files) = (self.worker, self.consequence, names.len());
            log::warn!(
                "{worker}: {files} files with {size_bytes} bytes wait in {stage}; {consequence} until some have left"
            );
        }
        self.is_used_up = is_used_up;
        Ok(is_used_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::stages::{self, AGENT_RECEIVED};
    use crate::spool::{FileName, Mover};

    #[test]
    fn room_is_used_up_by_number_and_by_bytes() {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        let mover = Mover::open(directory.path(), &stages::AGENT, "receive").unwrap();
        let mut room = Room::new("test", "no more comes");
        let path = |n: usize| directory.path().join(AGENT_RECEIVED.path()).join(format!("1-{n}.json"));
        (1..limits::WAITING_FILES_MAX).for_each(|n| std::fs::write(path(n), "{}").unwrap());
        assert!(!room.is_used_up(mover.spool(), AGENT_RECEIVED).unwrap());
        std::fs::File::create(path(1)).unwrap().set_len(limits::WAITING_BYTES_MAX).unwrap();
        assert!(room.is_used_up(mover.spool(), AGENT_RECEIVED).unwrap());
        std::fs::remove_file(path(1)).unwrap();
        assert!(!room.is_used_up(mover.spool(), AGENT_RECEIVED).unwrap());
        (1..=limits::WAITING_FILES_MAX).for_each(|n| std::fs::write(path(n), "{}").unwrap());
        assert!(room.is_used_up(mover.spool(), AGENT_RECEIVED).unwrap());
        assert!(mover.spool().has(AGENT_RECEIVED, &FileName::new("1-1.json").unwrap()).unwrap());
    }
}
