//! A worker that makes a round every so often.

use super::{Apply, Pass, Worker};
use crate::failure::Failure;
use crate::spool::watch::Watch;
use crate::spool::{Mover, Spool};
use crate::time::Timestamp;
use crate::wake::Waker;

/// What is done in a round.
pub trait ClockHandler: Send {
    /// See [`Worker::name`].
    fn name(&self) -> &'static str;
    /// Called before the first round, and after one that failed.
    fn recover(&mut self) {}
    /// Makes a round. Steps are applied by `apply`, in batches.
    fn round(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<Pass, Failure>;
}

/// A [`ClockHandler`] as a [`Worker`].
pub struct ClockWorker<H> {
    handler: H,
    mover: Mover,
}

impl<H: ClockHandler> ClockWorker<H> {
    /// Makes the handler's rounds in a spool.
    pub fn new(mover: Mover, handler: H) -> ClockWorker<H> {
        ClockWorker { handler, mover }
    }
}

impl<H: ClockHandler> Worker for ClockWorker<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        self.handler.recover();
        self.mover.recover()
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let ClockWorker { handler, mover } = self;
        handler.round(mover.spool(), &mut |steps| mover.apply(&steps), now)
    }
}
