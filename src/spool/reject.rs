//! Refusing files: moved aside under their own names, each with its reason beside it.

use super::commit::{Commit, Placed};
use super::dir::Dir;
use super::error::Error;
use super::name::FileName;
use crate::time::Timestamp;
use rustix::io::Errno;
use std::collections::HashSet;
use std::sync::Arc;

impl Dir {
    /// Moves files from here into `invalid`, made unique, each with its reason beside it, sharing the syncs; see
    /// `Spool::reject`. Gives what became of each: one that cannot be moved does not hold up the others.
    pub fn reject_into(
        self: &Arc<Self>,
        staging: (&Arc<Dir>, &str),
        files: &[(FileName, String)],
        invalid: &Arc<Dir>,
        now: Timestamp,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut commit = Commit::new(Arc::clone(staging.0), staging.1);
        let (mut chosen, mut steps) = (HashSet::new(), Vec::with_capacity(files.len()));
        for (name, reason) in files {
            let one_line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let to = invalid.free_name(name, &chosen, now)?;
            chosen.insert(to.clone());
            steps.push((name, to, commit.stage(format!("{now}\n{one_line}\n").as_bytes())?));
        }
        commit.sync_files()?;
        let mut renames = Vec::with_capacity(steps.len());
        for (name, to, staged) in steps {
            commit.replace(staged, invalid, &to.with_suffix(".reason"))?;
            renames.push((name, to));
        }
        // The reasons are on the disk before the files are: no power cut shows a refused file without one.
        commit.sync_destinations()?;
        let mut outcomes = Vec::with_capacity(renames.len());
        for (name, to) in renames {
            let renamed = commit.rename(self, name, invalid, &to);
            if !matches!(renamed, Ok(Placed::New | Placed::Same)) {
                invalid.unlink(&to.with_suffix(".reason"))?;
            }
            outcomes.push(match renamed {
                // Somebody took the name since it was found free; the next pass finds another.
                Ok(Placed::Taken) => Err(invalid.error("rename to", to.as_os_str(), Errno::EXIST)),
                Ok(Placed::New | Placed::Same | Placed::Gone) => Ok(()),
                Err(error) => Err(error),
            });
        }
        commit.finish()?;
        Ok(outcomes)
    }

    /// The first variation of a name that nobody has here. After a few tries the time makes it unique, so that many files
    /// of one name are not looked for one after the other.
    fn free_name(&self, name: &FileName, chosen: &HashSet<FileName>, now: Timestamp) -> Result<FileName, Error> {
        for attempt in 0.. {
            let free = match attempt {
                // `.reason` must fit behind it.
                0 if name.as_os_str().len() < 240 => name.clone(),
                0..=8 => name.variation(attempt),
                _ => name.variation(now.as_microsecond().unsigned_abs().wrapping_add(attempt)),
            };
            if !chosen.contains(&free) && !self.has(&free)? {
                return Ok(free);
            }
        }
        Err(self.error("find a free name for", name.as_os_str(), Errno::EXIST))
    }
}
