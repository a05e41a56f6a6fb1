//! What is away: how long a worker pauses, and what is told of it.

use super::{Failure, Server};
use crate::limits::{OUTAGE_TOLD_FACTOR, OUTAGE_TOLD_FIRST, RETRY_PAUSE_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the pauses of one worker's outage grow, and what it waits for.
pub(super) struct Outage {
    worker: &'static str,
    pause: Option<Duration>,
    pause_max: Duration,
    awaited: Option<Awaited>,
    outages: Outages,
}

impl Outage {
    /// None yet. While something is away it is tried again after `pause_max` at most.
    pub(super) fn new(worker: &'static str, pause_max: Duration, outages: Outages) -> Outage {
        Outage { worker, pause: None, pause_max, awaited: None, outages }
    }

    /// Counts a failure, and tells of it where that is news. Gives how long to pause.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let awaited = match failure {
            Failure::Down(server, _) => Awaited::Server(*server),
            _ => Awaited::Worker(self.worker),
        };
        if self.awaited.is_some_and(|before| before != awaited) {
            self.ended();
        }
        self.awaited = Some(awaited);
        self.outages.failed(awaited, self.worker, failure);
        let pause = self.pause.map_or(RETRY_PAUSE_MIN, |pause| (pause * 2).min(self.pause_max));
        self.pause = Some(pause);
        // Of thousands that lost the same broker, not all shall come back in the same moment.
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

/// What is waited for: a server, by all workers, or what only this one needs.
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

/// The outages of a process. Each is told of once, whoever meets it, and again from time to time while it lasts, with the
/// reason that it has then: a server that went away comes back with another certificate.
#[derive(Debug, Clone, Default)]
pub struct Outages(Arc<Mutex<BTreeMap<Awaited, Lasting>>>);

#[derive(Debug)]
struct Lasting {
    since: Instant,
    told: Instant,
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
            all.insert(awaited, Lasting { since: now, told: now, workers: BTreeSet::from([worker]) });
            return;
        };
        outage.workers.insert(worker);
        let (lasts, told_after) = (now - outage.since, outage.told - outage.since);
        if lasts < (told_after * OUTAGE_TOLD_FACTOR).max(OUTAGE_TOLD_FIRST) {
            log::debug!("{worker}: {failure}");
        } else {
            log::error!("{worker}: {failure}; {awaited} does not work since {lasts:.0?}");
            outage.told = now;
        }
    }

    /// A worker waits no longer; told when it was the last.
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
