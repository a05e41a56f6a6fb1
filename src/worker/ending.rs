//! The end of a program. SIGTERM asks every worker to stop after its pass; a few seconds later the process exits, whatever
//! they wait for: a broker or a database that does not answer, a module, a reader of the log. That is safe at any moment:
//! what is on the disk is what a restart goes on from.

use super::watchdog::Pulses;
use crate::error::ExitClass;
use crate::limits::{LAST_WORDS_TIME_MAX, STOP_TIME_MAX};
use crate::wake::{Sleeper, Stop};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Ends the process when `stop` was asked for its end [`STOP_TIME_MAX`] ago and this is still there.
pub(super) struct TimeLimit {
    over: Stop,
}

impl TimeLimit {
    /// One for these workers.
    pub(super) fn start(pulses: Pulses, stop: &Stop) -> TimeLimit {
        let (sleeper, over) = (Sleeper::new(), Stop::default());
        stop.also_wake(sleeper.waker());
        over.also_wake(sleeper.waker());
        let (stop, limit) = (stop.clone(), TimeLimit { over: over.clone() });
        std::thread::spawn(move || {
            while !stop.is_end() && !over.is_asked() {
                sleeper.sleep(None);
            }
            let asked = Instant::now();
            while !over.is_asked() {
                match STOP_TIME_MAX.saturating_sub(asked.elapsed()) {
                    Duration::ZERO => end_now(ExitClass::TemporaryFailure, &late(&pulses)),
                    left => sleeper.sleep(Some(left)),
                }
            }
        });
        limit
    }
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        self.over.ask();
    }
}

/// What is logged when the time is over.
fn late(pulses: &Pulses) -> String {
    let busy: Vec<String> =
        pulses.iter().filter_map(|(name, pulse)| Some(format!("{name} {}", pulse.describe()?))).collect();
    let seconds = STOP_TIME_MAX.as_secs();
    format!(
        "not ended {seconds} s after it was asked to, exiting now: {}; the next start goes on from what is on the disk",
        busy.join("; ")
    )
}

/// Ends the process at once, without waiting for anything but the log, and for that not long.
pub(super) fn end_now(class: ExitClass, reason: &str) -> ! {
    let (reason, (sender, logged)) = (reason.to_owned(), sync_channel(1));
    let log = move || {
        log::error!("{reason}");
        log::logger().flush();
        let _ = sender.send(());
    };
    if std::thread::Builder::new().spawn(log).is_ok() {
        let _ = logged.recv_timeout(LAST_WORDS_TIME_MAX);
    }
    // Not exit(3): its handlers may wait for what another thread holds.
    signal_hook::low_level::exit(class as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::waiting_for;
    use crate::worker::watchdog::Pulse;

    #[test]
    fn who_is_late_is_named_with_what_it_waits_for() {
        let pulses: Pulses = vec![("results", Pulse::default()), ("collector", Pulse::default())];
        pulses[0].1.work();
        let text = waiting_for("the broker", || late(&pulses));
        assert!(text.contains("results works for 0 s, waiting for the broker"), "{text}");
        assert!(!text.contains("collector"), "{text}");
    }
}
