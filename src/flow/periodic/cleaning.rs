//! Removing the queues of agents that are gone, a step of about a second at a time. What was removed is remembered until its
//! agent is heard of again, so that a broker is asked for each queue once. A restart forgets it, and asks again.

use crate::failure::Failure;
use crate::heartbeat::QueueLoc;
use crate::limits;
use crate::relay::{Queue, Relay};
use crate::store::Store;
use crate::time::{self, Timestamp};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// See the module docs.
#[derive(Default)]
pub(super) struct Cleaning {
    /// When the last one ended; after a start it is done once.
    done: Option<Timestamp>,
    going_on: Option<Progress>,
    /// Agents without a queue, with their last heartbeat.
    removed: HashMap<QueueLoc, Timestamp>,
}

/// How far a cleaning has got.
#[derive(Default)]
struct Progress {
    after: Option<QueueLoc>,
    removed: HashMap<QueueLoc, Timestamp>,
    count: usize,
}

impl Cleaning {
    /// Whether a step left something to do.
    pub(super) fn is_going_on(&self) -> bool {
        self.going_on.is_some()
    }

    /// Goes on with a cleaning, or begins one if the last was `period` ago.
    pub(super) fn step(
        &mut self,
        store: &mut dyn Store,
        relay: &mut dyn Relay,
        heard_before: Timestamp,
        period: Duration,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if self.going_on.is_none() && !time::is_due(self.done, period, now) {
            return Ok(());
        }
        let (started, progress) = (Instant::now(), self.going_on.get_or_insert_default());
        loop {
            let gone = store.gone_queuelocs(heard_before, progress.after.as_ref(), limits::QUEUES_CLEANED_AT_ONCE)?;
            if gone.is_empty() {
                break;
            }
            for (queueloc, heard) in gone {
                if started.elapsed() > limits::PASS_TIME_MAX {
                    return Ok(());
                }
                let is_known = self.removed.get(&queueloc) == Some(&heard);
                if is_known || relay.remove(&Queue::agent(&queueloc))? {
                    progress.count += usize::from(!is_known);
                    progress.removed.insert(queueloc.clone(), heard);
                }
                progress.after = Some(queueloc);
            }
        }
        if progress.count > 0 {
            log::info!("periodic: {} agents that are gone have no queues any more", progress.count);
        }
        self.removed = std::mem::take(&mut progress.removed);
        (self.done, self.going_on) = (Some(now), None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::Agent;
    use crate::relay::fake::Fake;
    use crate::store::sqlite::SqliteStore;
    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};

    const AGENTS: usize = 2 * limits::QUEUES_CLEANED_AT_ONCE + 1;
    const PERIOD: Duration = Duration::from_secs(3600);

    fn agent(number: usize, heard: Timestamp) -> Agent {
        let heartbeat = serde_json::json!({"name": "a", "queueloc": queueloc(number), "mode": "daemon", "version": "1",
            "pid": 1, "starttime": heard, "heartbeatts": heard, "environment": {}, "tags": {}});
        Agent::parse_heartbeat(heartbeat.to_string().as_bytes(), heard, Duration::from_secs(60)).unwrap()
    }

    fn queueloc(number: usize) -> QueueLoc {
        QueueLoc::parse(&format!("linux.gone{number}.1")).unwrap()
    }

    fn queue(number: usize) -> Queue {
        Queue::agent(&queueloc(number))
    }

    /// A store with agents that are gone for a day.
    fn store(directory: &tempfile::TempDir, now: Timestamp) -> SqliteStore {
        let mut store = SqliteStore::open(&directory.path().join("mig.db")).unwrap();
        let heard = time::before(now, Duration::from_secs(86400));
        store.register(&(0..AGENTS).map(|n| agent(n, heard)).collect::<Vec<_>>(), heard).unwrap();
        store.mark_absent(now, now).unwrap();
        store
    }

    #[test]
    fn a_queue_is_asked_for_once_also_when_the_relay_fails_in_between() {
        let (directory, now) = (tempfile::tempdir().unwrap(), time::now());
        let (mut store, mut cleaning) = (store(&directory, now), Cleaning::default());
        let asked: Arc<Mutex<Vec<Queue>>> = Arc::default();
        let (noted, mut fails) = (Arc::clone(&asked), true);
        let remove = move |queue: Queue| {
            let mut noted = noted.lock().unwrap();
            if fails && noted.len() == 700 {
                fails = false;
                return Err(Failure::retry("the broker is away"));
            }
            noted.push(queue.clone());
            // This one has a consumer.
            Ok(queue != self::queue(7))
        };
        let mut relay = Fake { remove: Box::new(remove), ..Fake::default() };
        let before = time::before(now, Duration::from_secs(60));
        let mut clean = |store: &mut SqliteStore, now| cleaning.step(store, &mut relay, before, PERIOD, now);
        let take = || std::mem::take(&mut *asked.lock().unwrap());
        assert!(clean(&mut store, now).is_err());
        clean(&mut store, now).unwrap();
        let first = take();
        assert_eq!((first.len(), first.iter().collect::<HashSet<_>>().len()), (AGENTS, AGENTS));
        clean(&mut store, now).unwrap();
        assert_eq!(take(), [], "not due");
        clean(&mut store, time::after(now, PERIOD)).unwrap();
        assert_eq!(take(), [queue(7)], "the one that could not be removed");
        // One came back, and is gone again.
        let later = time::before(before, Duration::from_secs(60));
        store.register(&[agent(3, later)], later).unwrap();
        store.mark_absent(now, now).unwrap();
        clean(&mut store, time::after(now, 2 * PERIOD)).unwrap();
        assert_eq!(take(), [queue(3), queue(7)]);
    }

    #[test]
    fn a_step_takes_a_second_or_so_and_the_next_goes_on_behind_it() {
        let (directory, now) = (tempfile::tempdir().unwrap(), time::now());
        let (mut store, mut cleaning) = (store(&directory, now), Cleaning::default());
        let asked: Arc<Mutex<HashSet<Queue>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let remove = move |queue: Queue| {
            std::thread::sleep(limits::PASS_TIME_MAX);
            noted.lock().unwrap().insert(queue);
            Ok(true)
        };
        let mut relay = Fake { remove: Box::new(remove), ..Fake::default() };
        let before = time::before(now, Duration::from_secs(60));
        for expected in [1, 2] {
            cleaning.step(&mut store, &mut relay, before, PERIOD, now).unwrap();
            assert!(cleaning.is_going_on());
            assert_eq!(asked.lock().unwrap().len(), expected);
        }
    }
}
