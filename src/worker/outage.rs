//! Outages: the back-off of a worker, and what is logged.
//!
//! | event | effect |
//! |---|---|
//! | a failure | the worker waits for a server or for something of its own; the first line of an outage |
//! | a pass that tried and succeeded | it waits for nothing; when the last worker does, "works again" |
//! | a pass with nothing to do | it waits for nothing, and says nothing about what failed |
//! | a failure soon after "works again" | the same outage goes on; it has ended after [`OUTAGE_QUIET`] without one |

use crate::failure::{Failure, Server};
use crate::limits::{OUTAGE_LOGGED_FACTOR, OUTAGE_LOGGED_FIRST, OUTAGE_QUIET, RETRY_PAUSE_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The back-off of one worker, and what it waits for.
pub(super) struct Outage {
    worker: &'static str,
    pause: Option<Duration>,
    pause_max: Duration,
    awaited: BTreeSet<Awaited>,
    /// The last failure.
    failed: Instant,
    /// The first success since then.
    works_since: Option<Instant>,
    outages: Outages,
}

impl Outage {
    /// No outage yet. The longest pause between two tries is `pause_max`.
    pub(super) fn new(worker: &'static str, pause_max: Duration, outages: Outages) -> Outage {
        let (awaited, failed) = (BTreeSet::new(), Instant::now());
        Outage { worker, pause: None, pause_max, awaited, failed, works_since: None, outages }
    }

    /// Counts a failure and logs it where that is news. Returns how long to pause.
    pub(super) fn failed(&mut self, failure: &Failure) -> Duration {
        let awaited = match failure {
            Failure::Retry { server: Some(server), .. } => Awaited::Server(*server),
            _ => Awaited::Worker(self.worker),
        };
        self.awaited.insert(awaited);
        (self.failed, self.works_since) = (Instant::now(), None);
        self.outages.failed(awaited, self.worker, failure, self.failed);
        let pause = self.pause.map_or(RETRY_PAUSE_MIN, |pause| (pause * 2).min(self.pause_max));
        self.pause = Some(pause);
        // Thousands that lost the same broker must not all come back in the same moment.
        let random = getrandom::u32().unwrap_or_default();
        pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// A pass that began then succeeded; it tried what may be unavailable, or had nothing to do. Returns how long it is
    /// uncertain whether what worked goes on working.
    pub(super) fn passed(&mut self, has_tried: bool, began: Instant) -> Option<Duration> {
        if self.awaited.is_empty() {
            return None;
        }
        let works_since = has_tried.then(|| *self.works_since.get_or_insert(began));
        if has_tried && self.awaited.iter().any(|awaited| self.outages.has_come_back(*awaited)) {
            let left = OUTAGE_QUIET.saturating_sub(self.failed.elapsed());
            if !left.is_zero() {
                return Some(left);
            }
        }
        if has_tried {
            self.pause = None;
        }
        for awaited in std::mem::take(&mut self.awaited) {
            self.outages.left(awaited, self.worker, works_since);
        }
        None
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

/// The last outage of something.
#[derive(Debug)]
struct Lasting {
    since: Instant,
    logged: Instant,
    /// Those that wait.
    workers: BTreeSet<&'static str>,
    /// Since when one of them has succeeded, unless another one failed since.
    works_since: Option<Instant>,
    /// When the last of them left.
    ended: Option<Instant>,
    /// It had ended before.
    came_back: bool,
}

impl Outages {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Awaited, Lasting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, awaited: Awaited, worker: &'static str, failure: &Failure, now: Instant) {
        let mut all = self.all();
        let known = all.get_mut(&awaited).filter(|one| one.ended.is_none_or(|ended| now - ended < OUTAGE_QUIET));
        let Some(outage) = known else {
            log::error!("{worker}: {failure}; nothing is lost, trying again until it works");
            let (workers, works_since, ended) = (BTreeSet::from([worker]), None, None);
            all.insert(awaited, Lasting { since: now, logged: now, workers, works_since, ended, came_back: false });
            return;
        };
        outage.came_back |= outage.ended.take().is_some();
        outage.workers.insert(worker);
        outage.works_since = None;
        let (lasts, logged_after) = (now - outage.since, outage.logged - outage.since);
        if lasts < (logged_after * OUTAGE_LOGGED_FACTOR).max(OUTAGE_LOGGED_FIRST) {
            log::debug!("{worker}: {failure}");
        } else {
            log::error!("{worker}: {failure}; {awaited} does not work since {lasts:.0?}");
            outage.logged = now;
        }
    }

    fn has_come_back(&self, awaited: Awaited) -> bool {
        self.all().get(&awaited).is_some_and(|outage| outage.came_back)
    }

    /// A worker waits no longer, because it works since then, or because it has nothing to do.
    fn left(&self, awaited: Awaited, worker: &str, works_since: Option<Instant>) {
        let mut all = self.all();
        let Some(outage) = all.get_mut(&awaited) else { return };
        outage.workers.remove(worker);
        outage.works_since = outage.works_since.or(works_since);
        if !outage.workers.is_empty() || outage.ended.is_some() {
            return;
        }
        outage.ended = Some(Instant::now());
        if let Some(works_since) = outage.works_since {
            log::info!("{awaited}: works again, after {:.1?}", works_since - outage.since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE_MAX: Duration = Duration::from_secs(1);
    const BROKER: Awaited = Awaited::Server(Server::Broker);

    fn lasts(outages: &Outages, awaited: Awaited) -> bool {
        outages.all().get(&awaited).is_some_and(|outage| outage.ended.is_none())
    }

    #[test]
    fn an_outage_ends_when_the_last_worker_tried_and_succeeded() {
        let outages = Outages::default();
        let (mut one, mut two) =
            (Outage::new("one", PAUSE_MAX, outages.clone()), Outage::new("two", PAUSE_MAX, outages.clone()));
        one.failed(&Failure::outage(Server::Broker, "refused"));
        two.failed(&Failure::outage(Server::Broker, "refused"));
        assert_eq!((one.passed(true, Instant::now()), lasts(&outages, BROKER)), (None, true));
        assert_eq!((two.passed(true, Instant::now()), lasts(&outages, BROKER)), (None, false));
    }

    #[test]
    fn a_pass_with_nothing_to_do_keeps_the_back_off_and_hides_no_later_end() {
        let outages = Outages::default();
        let mut one = Outage::new("one", PAUSE_MAX, outages.clone());
        let first = one.failed(&Failure::retry("the directory cannot be written to"));
        one.passed(false, Instant::now());
        assert!(!lasts(&outages, Awaited::Worker("one")) && one.pause.is_some());
        let second = one.failed(&Failure::retry("the directory cannot be written to"));
        assert!(second > first / 2 && one.pause > Some(RETRY_PAUSE_MIN), "the pauses grow");
        assert!(outages.all()[&Awaited::Worker("one")].came_back, "the same outage, not a new one");
    }

    #[test]
    fn what_fails_again_at_once_has_not_worked_until_it_is_quiet() {
        let outages = Outages::default();
        let mut one = Outage::new("one", PAUSE_MAX, outages.clone());
        let own = Awaited::Worker("one");
        one.failed(&Failure::retry("full"));
        assert_eq!((one.passed(true, Instant::now()), lasts(&outages, own)), (None, false));
        for _ in 0..5 {
            one.failed(&Failure::retry("full"));
            let left = one.passed(true, Instant::now()).unwrap();
            assert!(left <= OUTAGE_QUIET && lasts(&outages, own), "uncertain for {left:?}");
        }
        one.failed = Instant::now().checked_sub(OUTAGE_QUIET).unwrap();
        assert_eq!((one.passed(true, Instant::now()), lasts(&outages, own)), (None, false));
    }

    #[test]
    fn a_worker_waits_for_two_things_until_it_succeeds() {
        let outages = Outages::default();
        let mut one = Outage::new("one", PAUSE_MAX, outages.clone());
        one.failed(&Failure::outage(Server::Broker, "refused"));
        one.failed(&Failure::outage(Server::Database, "refused"));
        assert!(lasts(&outages, BROKER) && lasts(&outages, Awaited::Server(Server::Database)));
        one.passed(true, Instant::now());
        assert!(!lasts(&outages, BROKER) && !lasts(&outages, Awaited::Server(Server::Database)));
    }
}
