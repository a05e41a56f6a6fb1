//! forget drains done: a kept answer is deleted when its action has expired, for a command that comes again would be
//! refused as expired.

use super::forgotten::Forgotten;
use super::{commands_of, read_command};
use crate::failure::Failure;
use crate::limits;
use crate::spool::stages::AGENT_DONE;
use crate::spool::{Entry, Spool, Step};
use crate::time::Timestamp;
use crate::worker::stage::{FileHandler, Source, Verdict};

/// See the module docs.
pub struct Forget {
    forgotten: Forgotten,
}

impl Forget {
    /// Notes in `forgotten` what it deletes.
    pub fn new(forgotten: Forgotten) -> Forget {
        Forget { forgotten }
    }
}

impl FileHandler for Forget {
    /// When the action expired.
    type Checked = Timestamp;

    fn name(&self) -> &'static str {
        "forget"
    }

    fn source(&self) -> Source {
        commands_of(AGENT_DONE, limits::AGENT_DELIVERIES_MAX)
    }

    fn check(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Timestamp, Verdict> + Send + Sync + use<> {
        move |entry| match read_command(entry)?.action.expire_after {
            expires if expires > now => Err(Verdict::NotYet(expires)),
            expired => Ok(expired),
        }
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        batch: Vec<(&Entry, Timestamp)>,
        _now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        let latest = batch.iter().map(|(_, expired)| *expired).max();
        latest.map_or(Ok(()), |latest| self.forgotten.extend(latest))?;
        Ok(batch.iter().map(|(entry, _)| Verdict::done(vec![Step::clear(AGENT_DONE, &entry.name)])).collect())
    }
}
