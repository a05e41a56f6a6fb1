//! collector: every `freq`, what nobody else does.
//!
//! - ends commands whose action ran out: they go to command/returned as expired, and from there like any answer;
//! - takes away copies in inflight of commands that have their answer (a crash may leave them), or whose answer another
//!   scheduler of the same store got;
//! - ends as expired what the store still waits for and what has no file any more;
//! - ends actions whose commands have all ended (a crash may leave them in flight);
//! - deletes done and invalid files by `deleteafter` since they came there, and what the relay put aside.
//!
//! The first three are in `flow/sweep.rs`.
//!
//! What notifications missed is picked up by the workers themselves, who look at their stages every `freq` too.
//! Everything here is safe to do twice and beside the other workers: a command has one final file, and the first counts.

use super::command_returned::{ended_events, final_texts};
use super::sweep::Sweep;
use super::{Failure, Pass, Worker};
use crate::id::ActionId;
use crate::limits;
use crate::parallel;
use crate::relay::Relay;
use crate::spool::stages::{
    ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, COMMAND_DONE, COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED,
};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Spool};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// See the module docs.
pub struct Collector {
    spool: Spool,
    store: Box<dyn Store>,
    relay: Box<dyn Relay>,
    delete_after: Duration,
    /// When the actions in flight run out; read from their files once.
    expiry: HashMap<ActionId, Timestamp>,
    /// The actions in flight, as of this pass.
    actions: HashSet<ActionId>,
    /// When everything was cleaned last: that looks at every file, so it is not done in every sweep.
    cleaned: Option<Timestamp>,
}

impl Collector {
    /// Collects in this spool.
    pub fn new(spool: Spool, store: Box<dyn Store>, relay: Box<dyn Relay>, delete_after: Duration) -> Collector {
        Collector { spool, store, relay, delete_after, expiry: HashMap::new(), actions: HashSet::new(), cleaned: None }
    }

    /// Ends the actions in flight that have no command left.
    fn end_actions(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let names = self.spool.list(ACTION_INFLIGHT)?;
        let ids = names.iter().filter_map(|name| ActionId::from_file_name(name.as_str()?).ok());
        let ids: Vec<ActionId> = ids.collect();
        self.actions = ids.iter().copied().collect();
        let known = &self.actions;
        self.expiry.retain(|id, _| known.contains(id));
        // One whose commands are not released yet has unfinished ones in the store.
        let ended = if ids.is_empty() { Vec::new() } else { self.store.ended_actions(&ids, now)? };
        let texts = final_texts(&self.spool, ended, now)?;
        self.relay.publish(&ended_events(&texts), now)?;
        self.spool.rewrite_and_advance(ACTION_INFLIGHT, ACTION_DONE, &texts)?;
        Ok(texts.len())
    }

    /// Deletes what came to its end long enough ago. A refused file and its reason go together.
    fn delete_old(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let mut deleted = 0;
        for stage in [ACTION_DONE, ACTION_INVALID, COMMAND_DONE] {
            let old: HashSet<FileName> = self.spool.older_than(stage, self.delete_after, now)?.into_iter().collect();
            for name in &old {
                let young_partner =
                    |partner: FileName| Ok::<_, Failure>(!old.contains(&partner) && self.spool.has(stage, &partner)?);
                if stage == ACTION_INVALID && name.partner().map_or(Ok(false), young_partner)? {
                    continue;
                }
                match self.spool.delete(stage, name) {
                    Ok(()) => deleted += 1,
                    Err(error) if error.is_of_one_file() => log::warn!("collector: {error}; delete it by hand"),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if deleted > 0 {
            log::info!(
                "collector: deleted {deleted} files that came to their end {:?} ago or earlier",
                self.delete_after
            );
        }
        Ok(deleted)
    }
}

impl Worker for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        // After a failure too: what is deleted now may be the room that was missing.
        self.cleaned = None;
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let period = self.delete_after.min(limits::CLEANING_PERIOD_MAX);
        let cleans = time::is_due(self.cleaned, period, now);
        // Each part is done whatever became of the others: on a full disk it is what is deleted here and what is tidied
        // there that makes the room that the rest needs, if not in this pass, in the next.
        let deleted = if cleans { self.delete_old(now) } else { Ok(0) };
        let mut answered = HashSet::new();
        if cleans {
            answered.extend(self.spool.list(COMMAND_RETURNED)?);
            answered.extend(self.spool.list(COMMAND_DONE)?);
        }
        let ended = self.end_actions(now);
        let (ready, inflight) = (self.spool.list(COMMAND_READY)?, self.spool.list(COMMAND_INFLIGHT)?);
        let waiting = ready.len() + inflight.len();
        let Collector { spool, store, relay, expiry, actions, delete_after, .. } = self;
        let mut sweep = Sweep { spool, store: store.as_mut(), expiry, actions, answered: &answered };
        let sweep = || sweep.run(ready, inflight, now);
        let (tidied, swept) = match cleans {
            true => parallel::both(waiting, || relay.tidy(*delete_after, now), sweep),
            false => (Ok(()), sweep()),
        };
        tidied?;
        let (ended, swept, deleted) = (ended?, swept?, deleted?);
        if cleans {
            self.cleaned = Some(now);
        }
        Ok(Pass { handled: swept.handled + ended + deleted, again: swept.again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::directory::{DirectoryRelay, MessageName};
    use crate::spool::stages;
    use crate::store::sqlite::SqliteStore;

    #[test]
    fn the_relay_is_tidied_while_the_store_does_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        stages::make(directory.path(), &stages::SCHEDULER).unwrap();
        std::fs::write(path("action/inflight/1.json"), "{}").unwrap();
        std::fs::create_dir_all(path("relay/mig.agt.linux.a.b")).unwrap();
        let now = time::now();
        let expired = MessageName { sent: now, expires: time::before(now, Duration::from_secs(1)) };
        let message = path("relay/mig.agt.linux.a.b").join(expired.format("x", 1));
        std::fs::write(&message, "{}").unwrap();
        let store = SqliteStore::open(&path("mig.db")).unwrap();
        rusqlite::Connection::open(path("mig.db")).unwrap().execute("DROP TABLE commands", ()).unwrap();
        let spool = Spool::open(directory.path(), &stages::SCHEDULER, "collector").unwrap();
        let relay = DirectoryRelay::open(&path("relay")).unwrap();
        let mut collector = Collector::new(spool, Box::new(store), Box::new(relay), Duration::from_secs(60));
        assert!(collector.pass(now).is_err());
        assert!(!message.exists());
    }
}
