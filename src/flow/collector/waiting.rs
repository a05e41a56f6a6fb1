//! Commands that wait to expire, because their answers may be on the relay: what is logged of them.

use crate::limits;
use crate::time::{self, Timestamp};

/// See the module docs.
#[derive(Default)]
pub(super) struct Waiting {
    since: Option<Timestamp>,
    logged: Option<Timestamp>,
}

impl Waiting {
    /// Logs that so many have waited for long. `taken_in` is the time before which every answer that was sent is taken in.
    pub(super) fn log(&mut self, count: usize, taken_in: Option<Timestamp>, now: Timestamp) {
        if count == 0 {
            *self = Waiting::default();
            return;
        }
        let since = *self.since.get_or_insert(now);
        let is_long = time::until(since, now) >= limits::WAITING_LOGGED_AFTER;
        if is_long && time::is_due(self.logged, limits::WAITING_LOGGED_EVERY, now) {
            let when =
                taken_in.map_or_else(|| "it is not known when it had".into(), |time| format!("it had at {time}"));
            log::warn!(
                "collector: {count} commands have no answer and wait to expire: results has not taken in everything that was on the relay at the end of their actions, {when}; is it running?"
            );
            self.logged = Some(now);
        }
    }
}
