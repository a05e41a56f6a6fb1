//! Commands that the store waits for, and that have no file of use here.

use super::overdue::Expiring;
use super::{Collector, is_answered};
use crate::command::CommandStatus;
use crate::failure::Failure;
use crate::limits;
use crate::relay::Queue;
use crate::spool::stages::{COMMAND_INFLIGHT, COMMAND_READY};
use crate::spool::{FileName, Spool};
use crate::store::OverdueSearch;
use crate::time::{self, Timestamp};
use crate::worker::Apply;

impl Collector {
    /// Ends commands that the store waits for and that have no file of use here: refused as unreadable, removed by hand, never
    /// written because the action was withdrawn in the middle, or of a scheduler that does not run any more. So every
    /// command ends, whatever happened.
    pub(super) fn end_forgotten(
        &mut self,
        spool: &Spool,
        taken_in: Option<Timestamp>,
        apply: Apply,
        now: Timestamp,
    ) -> Result<usize, Failure> {
        let Some(taken_in) = taken_in else { return Ok(0) };
        let own = (self.find_owner)()?;
        let before = time::before(taken_in, limits::EXPIRY_GRACE);
        let ended = self.end_overdue(spool, &[own.clone(), String::new()], before, apply, now)?;
        let before = time::before(taken_in, limits::OTHERS_EXPIRY_GRACE);
        let mut gone = Vec::new();
        for other in self.store.overdue_owners(before)?.into_iter().filter(|other| !other.is_empty() && *other != own) {
            // One that runs ends its commands itself, and may have their answers.
            if self.relay.has_receiver(&Queue::scheduler(&other))? != Some(true) {
                gone.push(other);
            }
        }
        let others = if gone.is_empty() { 0 } else { self.end_overdue(spool, &gone, before, apply, now)? };
        Ok(ended + others)
    }

    /// Ends commands of these schedulers that have no file of use here and whose action expired before this time.
    fn end_overdue(
        &mut self,
        spool: &Spool,
        owners: &[String],
        before: Timestamp,
        apply: Apply,
        now: Timestamp,
    ) -> Result<usize, Failure> {
        let mut search = OverdueSearch { owners, before, after: None, count: limits::BATCH_ENTRIES_MAX };
        let mut ended = 0;
        loop {
            let (commands, next) = self.store.overdue_commands(&search)?;
            let mut expiring = Expiring::default();
            for command in commands {
                let name = FileName::from(command.reference());
                let is_here = is_answered(spool, &name)?
                    || self.unusable.read(spool, COMMAND_READY, &name)?.is_some()
                    || self.unusable.read(spool, COMMAND_INFLIGHT, &name)?.is_some();
                self.unusable.put_aside(apply, now)?;
                if !is_here {
                    ended += 1;
                    let is_sent = command.status == CommandStatus::Sent;
                    expiring.add(command, is_sent, now);
                    if expiring.is_large() {
                        std::mem::take(&mut expiring).apply(apply)?;
                    }
                }
            }
            expiring.apply(apply)?;
            search.after = next;
            if next.is_none() {
                return Ok(ended);
            }
        }
    }
}
