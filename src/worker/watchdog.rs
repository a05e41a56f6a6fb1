//! Notifications to the service manager: that the program is ready, whether its workers are alive, that it ends. See
//! `sd_notify(3)`; without `NOTIFY_SOCKET` in the environment nothing is sent.
//!
//! Guarantee: the watchdog is fed only while each worker sleeps, waits out a pause, or has been at work for less than the
//! watchdog's period. A worker that hangs for longer (a disk that does not answer, a deadlock) makes systemd end the
//! program and start it again, which loses nothing: `recover` repairs what was cut short.

use crate::wake::{Sleeper, Stop};
use sd_notify::NotifyState;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whether one worker is at work, and since when.
#[derive(Clone, Default)]
pub struct Pulse {
    working_since: Arc<Mutex<Option<Instant>>>,
}

impl Pulse {
    /// A pass begins now.
    pub fn work(&self) {
        *self.working_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The worker is about to sleep.
    pub fn rest(&self) {
        *self.working_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long the pass has taken so far; zero when there is none.
    fn working_for(&self) -> Duration {
        let since = *self.working_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The workers of this process, by name.
pub type Pulses = Vec<(&'static str, Pulse)>;

/// The first worker whose pass takes longer than `limit`, and how long it takes.
fn find_stuck(pulses: &Pulses, limit: Duration) -> Option<(&'static str, Duration)> {
    let ages = pulses.iter().map(|(name, pulse)| (*name, pulse.working_for()));
    ages.into_iter().find(|(_, age)| *age > limit)
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("notify the service manager: {error}");
    }
}

/// Says that the program is ready, feeds the watchdog at half its period if the service manager asks for it
/// (`WatchdogSec=`), and says that the program ends when `stop` is asked; then the thread ends.
pub fn start(pulses: Pulses, stop: &Stop) -> JoinHandle<()> {
    let sleeper = Sleeper::new();
    stop.also_wake(sleeper.waker());
    let stop = stop.clone();
    std::thread::spawn(move || {
        let period = sd_notify::watchdog_enabled();
        let names: Vec<_> = pulses.iter().map(|(name, _)| *name).collect();
        let status = format!("working: {}", names.join(", "));
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let mut was_stuck = false;
        while !stop.is_asked() {
            if let Some(period) = period {
                was_stuck = beat(&pulses, period, was_stuck, &status);
            }
            sleeper.sleep(period.map(|period| period / 2));
        }
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    })
}

/// Feeds the watchdog, or logs once which worker hangs. Returns whether one does.
fn beat(pulses: &Pulses, period: Duration, was_stuck: bool, status: &str) -> bool {
    match find_stuck(pulses, period) {
        Some((name, age)) => {
            if !was_stuck {
                log::error!("{name} hangs: its pass takes {} s already", age.as_secs());
                notify(&[NotifyState::Status(&format!("{name} hangs"))]);
            }
            true
        }
        None => {
            if was_stuck {
                log::info!("every worker is alive again");
            }
            notify(&[NotifyState::Watchdog, NotifyState::Status(status)]);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pass_that_takes_too_long_is_stuck() {
        let pulses: Pulses = vec![("one", Pulse::default()), ("two", Pulse::default())];
        assert_eq!(find_stuck(&pulses, Duration::ZERO), None);
        pulses[1].1.work();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(find_stuck(&pulses, Duration::from_millis(1)).map(|(name, _)| name), Some("two"));
        assert_eq!(find_stuck(&pulses, Duration::from_secs(60)), None);
        pulses[1].1.work();
        pulses[1].1.rest();
        assert_eq!(find_stuck(&pulses, Duration::ZERO), None);
    }
}
