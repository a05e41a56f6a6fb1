//! Messages that are refused: one log line per kind and minute, with their number, so that a sender of rubbish fills no
//! disk and hides nothing else.

use super::earlier;
use crate::failure::Failure;
use crate::limits;
use crate::relay::{Delivery, Queue, Relay};
use crate::time::{self, Timestamp};
use std::collections::BTreeMap;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is not what belongs into its queue, or too large.
    Malformed,
    /// An answer without a final status.
    Unfinished,
    /// The answer to a command that was not sent.
    Unknown,
    /// It names another agent's command.
    Foreign,
    /// Its action is not the one that was sent.
    Altered,
    /// The answer to a command that has expired.
    Late,
    /// It was here before.
    Duplicate,
    /// The store cannot take it.
    Unusable,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::Unfinished => "unfinished",
            Kind::Unknown => "unknown",
            Kind::Foreign => "foreign",
            Kind::Altered => "altered",
            Kind::Late => "late",
            Kind::Duplicate => "duplicate",
            Kind::Unusable => "unusable",
        }
    }
}

/// What was counted of a kind since it was last logged.
struct Count {
    logged: Timestamp,
    unlogged: u64,
    newest: String,
}

/// Counts what a worker refuses, and logs it.
pub struct Tally {
    worker: &'static str,
    kinds: BTreeMap<Kind, Count>,
}

impl Tally {
    /// One for this worker.
    pub fn new(worker: &'static str) -> Tally {
        Tally { worker, kinds: BTreeMap::new() }
    }

    /// Counts a message; logs it if it is the first of its kind for a while.
    pub fn count(&mut self, kind: Kind, reason: &str, now: Timestamp) {
        match self.kinds.get_mut(&kind) {
            Some(count) => {
                count.unlogged += 1;
                count.newest = reason.to_owned();
            }
            None => {
                log::warn!("{}: a message is refused ({}): {reason}", self.worker, kind.name());
                self.kinds.insert(kind, Count { logged: now, unlogged: 0, newest: String::new() });
            }
        }
    }

    /// Puts messages aside on the relay, and counts them.
    pub fn put_aside(
        &mut self,
        relay: &mut dyn Relay,
        queue: &Queue,
        refused: Vec<(Delivery, Kind, String)>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let counted = refused.into_iter().map(|(delivery, kind, reason)| {
            self.count(kind, &reason, now);
            (delivery, reason)
        });
        relay.reject(queue, &counted.collect::<Vec<_>>(), now)
    }

    /// Logs what was counted, where it is due. Returns when to do so again.
    pub fn log(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (worker, period) = (self.worker, limits::REFUSALS_LOGGED_EVERY);
        self.kinds.retain(|kind, count| {
            if !time::is_due(Some(count.logged), period, now) {
                return true;
            }
            if count.unlogged == 0 {
                return false;
            }
            count.log(worker, *kind);
            *count = Count { logged: now, unlogged: 0, newest: String::new() };
            true
        });
        let unlogged = self.kinds.values().filter(|count| count.unlogged > 0);
        unlogged.fold(None, |again, count| earlier(again, time::after(count.logged, period)))
    }
}

impl Count {
    fn log(&self, worker: &str, kind: Kind) {
        let (count, kind, newest) = (self.unlogged, kind.name(), &self.newest);
        log::warn!("{worker}: {count} more messages are refused ({kind}), the newest: {newest}");
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        for (kind, count) in self.kinds.iter().filter(|(_, count)| count.unlogged > 0) {
            count.log(self.worker, *kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_kind_is_logged_at_once_and_then_once_a_minute() {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let at = |seconds| time::after(start, Duration::from_secs(seconds));
        let mut tally = Tally::new("results");
        let unlogged = |tally: &Tally, kind| tally.kinds.get(&kind).map(|count| count.unlogged);
        tally.count(Kind::Late, "one", start);
        assert_eq!((unlogged(&tally, Kind::Late), tally.log(start)), (Some(0), None), "logged at once");
        tally.count(Kind::Late, "two", at(1));
        tally.count(Kind::Foreign, "another kind", at(1));
        assert_eq!((unlogged(&tally, Kind::Late), unlogged(&tally, Kind::Foreign)), (Some(1), Some(0)));
        assert_eq!(tally.log(at(59)), Some(at(60)), "the loop is to come back for it");
        assert_eq!((tally.log(at(60)), unlogged(&tally, Kind::Late)), (None, Some(0)), "logged with its count");
        tally.count(Kind::Late, "three", at(61));
        assert_eq!(tally.log(at(62)), Some(at(120)));
        assert_eq!((tally.log(at(120)), tally.log(at(180))), (None, None));
        assert!(tally.kinds.is_empty(), "what has ended is logged at once when it begins again");
        tally.count(Kind::Late, "four", at(200));
        tally.count(Kind::Late, "five", at(200));
        assert_eq!(tally.log(start), None, "a clock that was set back keeps nothing unlogged");
    }
}
