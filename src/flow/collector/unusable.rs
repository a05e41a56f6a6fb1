//! Files of commands that cannot be read, or are no commands: their commands end when their actions expire, as those
//! without a file.

use crate::command::Command;
use crate::failure::Failure;
use crate::limits;
use crate::spool::stages::{ACTION_INVALID, COMMAND_INFLIGHT};
use crate::spool::{FileName, Over, Spool, Stage, Step};
use crate::time::Timestamp;
use crate::worker::{Apply, apply_all};
use std::collections::HashSet;

/// Commands whose files are of no use.
#[derive(Default)]
pub(super) struct Unusable {
    /// Those that cannot be read at the moment: each is logged once, and not read again. The store knows when it ends.
    unreadable: HashSet<(Stage, FileName)>,
    /// Those that are no commands, and why: they are put aside.
    broken: Vec<(FileName, String)>,
}

impl Unusable {
    /// Forgets the files of a stage that are not there any more; `names` are sorted.
    pub(super) fn keep(&mut self, stage: Stage, names: &[FileName]) {
        self.unreadable.retain(|(of, name)| *of != stage || names.binary_search(name).is_ok());
    }

    /// Whether a file could not be read before.
    pub(super) fn is_unreadable(&self, stage: Stage, name: &FileName) -> bool {
        self.unreadable.contains(&(stage, name.clone()))
    }

    /// Reads a command.
    pub(super) fn read(&mut self, spool: &Spool, stage: Stage, name: &FileName) -> Result<Option<Command>, Failure> {
        let broken = match spool.read(stage, name, limits::COMMAND_FILE_SIZE_BYTES_MAX) {
            Ok(None) => return Ok(None),
            Ok(Some(entry)) => match Command::parse(&entry.bytes) {
                Ok(command) => return Ok(Some(command)),
                Err(error) => error.to_string(),
            },
            Err(Failure::Refuse(reason)) => reason,
            Err(Failure::Skip(reason)) => {
                if self.unreadable.insert((stage, name.clone())) {
                    log::error!("collector: {stage}/{name}: {reason}; it stays until its action expires");
                }
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        // command-ready refuses what is in its stage.
        if stage == COMMAND_INFLIGHT {
            log::warn!("collector: {stage}/{name} is refused: {broken}");
            self.broken.push((name.clone(), broken));
        }
        Ok(None)
    }

    /// Moves what is no command to action/invalid, with its reason.
    pub(super) fn put_aside(&mut self, apply: Apply, now: Timestamp) -> Result<usize, Failure> {
        let broken = std::mem::take(&mut self.broken);
        let steps = broken.iter().flat_map(|(name, reason)| {
            let text = format!("{now}\n{reason}\n").into_bytes();
            let put = |name| Step::Put { to: ACTION_INVALID, name, bytes: text, over: Over::Anything };
            name.partner().map(put).into_iter().chain([Step::forward(COMMAND_INFLIGHT, name, ACTION_INVALID)])
        });
        apply_all(apply, steps.collect())?;
        Ok(broken.len())
    }
}
