//! What was logged lately: once per key and period, so that what repeats fills no disk.

use crate::limits::TOLD_KEYS_MAX;
use crate::time::{self, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// See the module docs.
pub struct Told<K> {
    /// For the log.
    what: &'static str,
    period: Duration,
    told: HashMap<K, Timestamp>,
    /// When `told` was full.
    full: Option<Timestamp>,
}

impl<K: Eq + Hash> Told<K> {
    /// Nothing was logged yet. `what` is said of the keys when they are too many: `agents are not authorized`.
    pub fn new(what: &'static str, period: Duration) -> Told<K> {
        Told { what, period, told: HashMap::new(), full: None }
    }

    /// Whether to log this now. Of more than [`TOLD_KEYS_MAX`] keys in a period only their being so many is logged.
    pub fn is_news(&mut self, key: K, now: Timestamp) -> bool {
        let period = self.period;
        let is_old = |told: &Timestamp| time::is_due(Some(*told), period, now);
        if self.told.get(&key).is_some_and(|told| !is_old(told)) || !self.full.as_ref().is_none_or(is_old) {
            return false;
        }
        if self.told.len() >= TOLD_KEYS_MAX {
            self.told.retain(|_, told| !is_old(told));
        }
        self.full = (self.told.len() >= TOLD_KEYS_MAX).then_some(now);
        if self.full.is_some() {
            log::warn!("more than {TOLD_KEYS_MAX} {}; further ones are not named for {period:?}", self.what);
            return false;
        }
        self.told.insert(key, now);
        true
    }

    /// Makes a key news again.
    pub fn forget(&mut self, key: &K) {
        self.told.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_news_once_per_period_and_not_too_many_are() {
        let (period, start) = (Duration::from_secs(60), time::never());
        let at = |seconds: u64| time::before(start, Duration::from_secs(1000 - seconds));
        let mut told = Told::new("tests", period);
        assert!(told.is_news(0, at(0)) && told.is_news(1, at(30)));
        assert!(!told.is_news(0, at(59)) && told.is_news(0, at(60)) && !told.is_news(1, at(60)));
        assert!(told.is_news(0, at(10)), "the clock was set back");
        let news = (0..2 * TOLD_KEYS_MAX).filter(|key| told.is_news(*key, at(100))).count();
        assert_eq!((news, told.told.len()), (TOLD_KEYS_MAX, TOLD_KEYS_MAX));
        assert!(told.is_news(5, at(200)));
        told.forget(&5);
        assert!(told.is_news(5, at(200)));
    }
}
