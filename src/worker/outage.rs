//! Outages: the back-off of a worker, and what is logged.

use crate::failure::{Failure, Server};
use crate::limits::{OUTAGE_LOGGED_FACTOR, OUTAGE_LOGGED_FIRST, RETRY_PAUSE_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The back-off of one worker, and what it waits for.
pub(super) struct Outage {
    worker: &'static str,
    pause: Option<Duration>,
    pause_max: Duration,
    awaited: Option<Awaited>,
    outages: Outages,
}

impl Outage {
    /// No outage yet. The longest pause between two tries is `pause_max`.
    pub(super) fn new(worker: &'static str, pause_max: Duration, outages: Outages) -> Outage {
        Outage { worker, pause: None, pause_max, awaited: None, outages }
    }

    /// Counts a failure and logs it where that is news. Returns how long to pause.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let awaited = match failure {
            Failure::Retry { server: Some(server), .. } => Awaited::Server(*server),
            _ => Awaited::Worker(self.worker),
        };
        if self.awaited.is_some_and(|before| before != awaited) {
            self.ended();
        }
        self.awaited = Some(awaited);
        self.outages.failed(awaited, self.worker, failure);
        let pause = self.pause.map_or(RETRY_PAUSE_MIN, |pause| (pause * 2).min(self.pause_max));
        self.pause = Some(pause);
        // Thousands that lost the same broker must not all come back in the same moment.
        let random = getrandom::u32().unwrap_or_default();
        pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// It works again.
    pub(super) fn over(&mut self) {
        self.pause = None;
        self.ended();
    }

    fn ended(&mut self) {
        if let Some(awaited) = self.awaited.take() {
            self.outages.ended(awaited, self.worker);
        }
    }
}

/// What is waited for: a server that all workers share, or something of this worker alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    Server(Server),
    Worker(&'static str),
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Awaited::Server(server) => server.fmt(f),
            Awaited::Worker(worker) => f.write_str(worker),
        }
    }
}

/// The outages of a process. Each is logged once, by the first worker that meets it, and again from time to time while it
/// lasts, with the latest reason: a server that was stopped may come back with another certificate.
#[derive(Debug, Clone, Default)]
pub struct Outages(Arc<Mutex<BTreeMap<Awaited, Lasting>>>);

#[derive(Debug)]
struct Lasting {
    since: Instant,
    logged: Instant,
    workers: BTreeSet<&'static str>,
}

impl Outages {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Awaited, Lasting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, awaited: Awaited, worker: &'static str, failure: &Failure) {
        let (mut all, now) = (self.all(), Instant::now());
        let Some(outage) = all.get_mut(&awaited) else {
            log::error!("{worker}: {failure}; nothing is lost, trying again until it works");
            all.insert(awaited, Lasting { since: now, logged: now, workers: BTreeSet::from([worker]) });
            return;
        };
        outage.workers.insert(worker);
        let (lasts, logged_after) = (now - outage.since, outage.logged - outage.since);
        if lasts < (logged_after * OUTAGE_LOGGED_FACTOR).max(OUTAGE_LOGGED_FIRST) {
            log::debug!("{worker}: {failure}");
        } else {
            log::error!("{worker}: {failure}; {awaited} does not work since {lasts:.0?}");
            outage.logged = now;
        }
    }

    /// A worker waits no longer; logged when it was the last.
    fn ended(&self, awaited: Awaited, worker: &str) {
        let mut all = self.all();
        let Some(outage) = all.get_mut(&awaited) else { return };
        outage.workers.remove(worker);
        if outage.workers.is_empty() {
            log::info!("{awaited}: works again, after {:.1?}", outage.since.elapsed());
            all.remove(&awaited);
        }
    }
}
