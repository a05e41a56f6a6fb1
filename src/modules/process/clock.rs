//! When processes were started.

use rustix::time::{ClockId, clock_gettime};

/// A tick, in which the kernel writes when a process was started.
const TICK_NANOSECONDS: i128 = 10_000_000;
const SECOND_NANOSECONDS: i128 = 1_000_000_000;

/// The time of a run, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Since 1970.
    pub(super) now: i128,
    /// Since the machine was started.
    running: i128,
}

impl Clock {
    /// Now.
    pub(super) fn now() -> Clock {
        let read = |clock| {
            let time = clock_gettime(clock);
            i128::from(time.tv_sec) * SECOND_NANOSECONDS + i128::from(time.tv_nsec)
        };
        Clock { now: read(ClockId::Realtime), running: read(ClockId::Boottime) }
    }

    /// Nanoseconds since 1970, of ticks since the machine was started. By today's clock, which may have been set since.
    pub(super) fn at(self, ticks: u64) -> i128 {
        self.now - self.running + i128::from(ticks) * TICK_NANOSECONDS
    }

    /// The same as a text, in whole hundredths of a second.
    pub(super) fn text(self, ticks: u64) -> String {
        let time = self.at(ticks).div_euclid(TICK_NANOSECONDS) * TICK_NANOSECONDS;
        let seconds = i64::try_from(time.div_euclid(SECOND_NANOSECONDS)).unwrap_or(i64::MAX);
        let nanoseconds = u32::try_from(time.rem_euclid(SECOND_NANOSECONDS)).unwrap_or(0);
        crate::modules::notation::time(seconds, nanoseconds)
    }
}
