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
    use crate::relay::{Delivery, Event, Message, Sent};
    use crate::spool::watch::Watch;
    use crate::store::sqlite::SqliteStore;
    use crate::wake::Waker;
    use std::collections::HashSet;

    const AGENTS: usize = 2 * limits::QUEUES_CLEANED_AT_ONCE + 1;

    /// Remembers what it was asked to remove.
    #[derive(Default)]
    struct Asked {
        removed: Vec<Queue>,
        /// Fails once, at this call.
        fails_at: Option<usize>,
        /// Queues with a consumer.
        used: HashSet<Queue>,
        slow: bool,
    }

    impl Relay for Asked {
        fn declare(&mut self, _: &Queue) -> Result<(), Failure> {
            Ok(())
        }
        fn send(&mut self, _: &[Message], _: Timestamp) -> Result<Vec<Sent>, Failure> {
            Ok(Vec::new())
        }
        fn receive(&mut self, _: &Queue, _: usize, _: Timestamp) -> Result<Vec<Delivery>, Failure> {
            Ok(Vec::new())
        }
        fn acknowledge(&mut self, _: &Queue, _: &[Delivery]) -> Result<(), Failure> {
            Ok(())
        }
        fn reject(&mut self, _: &Queue, _: &[(Delivery, String)], _: Timestamp) -> Result<(), Failure> {
            Ok(())
        }
        fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
            if self.fails_at == Some(self.removed.len()) {
                self.fails_at = None;
                return Err(Failure::retry("the broker is away"));
            }
            if self.slow {
                std::thread::sleep(limits::PASS_TIME_MAX);
            }
            self.removed.push(queue.clone());
            Ok(!self.used.contains(queue))
        }
        fn publish(&mut self, _: &[(Event, Vec<u8>)], _: Timestamp) -> Result<(), Failure> {
            Ok(())
        }
        fn subscribe(&mut self, _: &Queue, _: Event) -> Result<(), Failure> {
            Ok(())
        }
        fn watch(&mut self, _: &Queue, _: Waker) -> Result<Option<Watch>, Failure> {
            Ok(None)
        }
        fn tidy(&mut self, _: Duration, _: Timestamp) -> Result<(), Failure> {
            Ok(())
        }
    }

    fn agent(number: usize, heard: Timestamp) -> Agent {
        let text = format!(
            r#"{{"name":"a","queueloc":"linux.gone{number}.1","mode":"daemon","version":"1","pid":1,"starttime":"{heard}","heartbeatts":"{heard}","environment":{{}},"tags":{{}}}}"#
        );
        Agent::parse_heartbeat(text.as_bytes(), heard, Duration::from_secs(60)).unwrap()
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
        let used = Queue::agent(&QueueLoc::parse("linux.gone7.1").unwrap());
        let mut relay = Asked { fails_at: Some(700), used: [used.clone()].into(), ..Asked::default() };
        let (before, period) = (time::before(now, Duration::from_secs(60)), Duration::from_secs(3600));
        let mut clean = |relay: &mut Asked, now| cleaning.step(&mut store, relay, before, period, now);
        assert!(clean(&mut relay, now).is_err());
        clean(&mut relay, now).unwrap();
        let asked: HashSet<Queue> = relay.removed.iter().cloned().collect();
        assert_eq!((relay.removed.len(), asked.len()), (AGENTS, AGENTS));
        relay.removed.clear();
        clean(&mut relay, now).unwrap();
        assert!(relay.removed.is_empty(), "not due");
        clean(&mut relay, time::after(now, period)).unwrap();
        assert_eq!(relay.removed, [used], "only the one that could not be removed");
        // One came back, and is gone again.
        relay.removed.clear();
        let later = time::before(before, Duration::from_secs(60));
        store.register(&[agent(3, later)], later).unwrap();
        store.mark_absent(now, now).unwrap();
        relay.used.clear();
        cleaning.step(&mut store, &mut relay, before, period, time::after(now, 2 * period)).unwrap();
        let again = Queue::agent(&QueueLoc::parse("linux.gone3.1").unwrap());
        assert!(relay.removed.len() == 2 && relay.removed.contains(&again), "{:?}", relay.removed);
    }

    #[test]
    fn a_step_takes_a_second_or_so_and_the_next_goes_on_behind_it() {
        let (directory, now) = (tempfile::tempdir().unwrap(), time::now());
        let (mut store, mut cleaning) = (store(&directory, now), Cleaning::default());
        let mut relay = Asked { slow: true, ..Asked::default() };
        let before = time::before(now, Duration::from_secs(60));
        for expected in [1, 2] {
            cleaning.step(&mut store, &mut relay, before, Duration::from_secs(3600), now).unwrap();
            assert!(cleaning.is_going_on());
            assert_eq!(relay.removed.iter().collect::<HashSet<_>>().len(), expected);
        }
    }
}
