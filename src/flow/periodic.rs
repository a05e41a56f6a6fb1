//! periodic: every `freq`, marks agents idle and offline by their last heartbeat, and stores a row of statistics.

use super::{Failure, Pass, Worker};
use crate::limits::IDLE_AFTER_PERIODS;
use crate::spool::watch::{Waker, Watch};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::time::Duration;

/// See the module docs.
pub struct Periodic {
    store: Box<dyn Store>,
    heartbeat_freq: Duration,
    agent_timeout: Duration,
}

impl Periodic {
    /// Marks agents of this store.
    pub fn new(store: Box<dyn Store>, heartbeat_freq: Duration, agent_timeout: Duration) -> Periodic {
        Periodic { store, heartbeat_freq, agent_timeout }
    }
}

impl Worker for Periodic {
    fn name(&self) -> &'static str {
        "periodic"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let idle_before = time::before(now, self.heartbeat_freq * IDLE_AFTER_PERIODS);
        let counts = self.store.mark_absent(idle_before, time::before(now, self.agent_timeout))?;
        self.store.record_statistics(now)?;
        if counts.became_idle + counts.became_offline > 0 {
            log::info!(
                "periodic: {} agents became idle, {} offline; {} are online",
                counts.became_idle,
                counts.became_offline,
                counts.online
            );
        }
        Ok(Pass { handled: 0, again: None })
    }
}
