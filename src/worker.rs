//! Workers, and the loop that runs them; the scheduler and the agent have it in common.
//!
//! A worker drains one source. What it does with a file or message is a *handler*; the loop, waiting, listing, reading,
//! moving, back-off, refusals and locks are written once, here:
//!
//! | worker | drains | handler |
//! |---|---|---|
//! | [`stage::StageWorker`] | a directory of the spool | [`stage::FileHandler`] |
//! | [`queue::QueueWorker`] | a queue of the relay | [`queue::MessageHandler`] |
//! | [`clock::ClockWorker`] | nothing: it makes a round every so often | [`clock::ClockHandler`] |
//!
//! A handler gets a batch and returns a verdict for each item. It has a spool to read and no way to move a file: the
//! [`Step`]s of its verdicts are applied by the worker, after the effect that it had (a transaction, a send). Two have more,
//! by a type that permits no more than that: action-new writes drafts, and the agent's run claims commands.

pub mod clock;
mod ending;
pub mod outage;
pub mod queue;
pub mod refusal;
pub mod run;
pub mod stage;
pub mod told;
pub mod watchdog;

use crate::failure::Failure;
use crate::id::{ActionId, CommandRef};
use crate::limits::PARALLEL_ENTRIES_MIN;
use crate::spool::watch::Watch;
use crate::spool::{Placed, Step, all_done};
use crate::time::Timestamp;
use crate::wake::Waker;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// What one pass over a source did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Files or messages that left the source.
    pub handled: usize,
    /// When something that was left behind is due; None when only a notification brings more.
    pub again: Option<Timestamp>,
}

impl Pass {
    /// Whether another pass at this time may find something.
    pub fn has_more(&self, now: Timestamp) -> bool {
        self.handled > 0 || self.again.is_some_and(|again| again <= now)
    }
}

/// Something that the loop can run. `now` is an argument, so that tests can move the clock.
pub trait Worker: Send {
    /// Its name: on the command line, in systemd, in the logs, and in the spool's `lock`.
    fn name(&self) -> &'static str;
    /// Repairs what a run that was cut short left behind. Called before the first pass, and after a failure.
    fn recover(&mut self, now: Timestamp) -> Result<(), Failure>;
    /// Wakes `waker` when there may be work, for as long as the watch lives.
    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure>;
    /// Handles what is there now.
    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure>;
    /// Whether the last pass asked for what may be unavailable. One that had nothing to do says nothing about it.
    fn has_tried(&self) -> bool {
        true
    }
}

/// Something about an action or one of its commands, which is logged once it has happened: after the steps and events that
/// it tells about, and not again when a failure repeats what led to it.
#[derive(Debug, Clone, PartialEq)]
pub enum LogLine {
    /// About an action.
    Action(ActionId, String),
    /// About a command.
    Command(CommandRef, String),
}

impl LogLine {
    /// Logs it.
    pub fn log(&self) {
        match self {
            LogLine::Action(action, text) => log::info!(action:% = action; "{text}"),
            LogLine::Command(CommandRef { action, command }, text) => {
                log::info!(action:% = action, command:% = command; "{text}")
            }
        }
    }
}

/// Applies steps at once, for handlers that have more of them than fit into one batch; see [`crate::spool::Mover::apply`].
pub type Apply<'a> = &'a mut dyn FnMut(Vec<Step>) -> Result<Vec<Result<Placed, Failure>>, Failure>;

/// Applies steps at once; a failure of one is the result, and the others are done.
pub fn apply_all(apply: Apply, steps: Vec<Step>) -> Result<(), Failure> {
    all_done(apply(steps)?)
}

/// The earlier of two times at which to look again.
pub fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// Checks each item, in order; a large batch on two processors, if their threads can be started.
fn check_all<T: Sync, R: Send>(items: &[T], check: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let make = || ThreadPoolBuilder::new().num_threads(2).thread_name(|_| "check".into()).build().ok();
    let is_large = items.len() >= PARALLEL_ENTRIES_MIN;
    match is_large.then(|| POOL.get_or_init(make)) {
        Some(Some(pool)) => pool.install(|| items.par_iter().map(check).collect()),
        _ => items.iter().map(check).collect(),
    }
}
