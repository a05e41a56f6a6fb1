//! Notifications to the service manager: that the program is ready, whether its workers are alive, that it ends. See
//! `sd_notify(3)`; without `NOTIFY_SOCKET` in the environment nothing is sent.
//!
//! Guarantee: the watchdog is fed only while each worker sleeps, waits out a pause, or has been at work for less than the
//! watchdog's period. A worker that hangs for longer (a disk that does not answer, a deadlock) makes systemd end the
//! program and start it again, which loses nothing: `recover` repairs what was cut short.

use crate::waiting::Waits;
use crate::wake::{Sleeper, Stop};
use sd_notify::NotifyState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whether one worker is at work, since when, and what it waits for.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Work>>>);

struct Work {
    since: Instant,
    waits: Waits,
}

impl Pulse {
    /// A pass begins now, in this thread.
    pub fn work(&self) {
        *self.lock() = Some(Work { since: Instant::now(), waits: Waits::of_this_thread() });
    }

    /// The worker is about to sleep.
    pub fn rest(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the pass has taken so far; zero when there is none.
    fn working_for(&self) -> Duration {
        self.lock().as_ref().map_or(Duration::ZERO, |work| work.since.elapsed())
    }

    /// The same as text, with what it waits for; None when there is no pass.
    pub fn describe(&self) -> Option<String> {
        let work = self.lock();
        let Work { since, waits } = work.as_ref()?;
        let waits = waits.now().map_or_else(String::new, |what| format!(", waiting for {what}"));
        Some(format!("works for {} s{waits}", since.elapsed().as_secs()))
    }
}

/// The workers of this process, by name.
pub type Pulses = Vec<(&'static str, Pulse)>;

/// The first worker whose pass takes longer than `limit`.
fn find_stuck(pulses: &Pulses, limit: Duration) -> Option<&(&'static str, Pulse)> {
    pulses.iter().find(|(_, pulse)| pulse.working_for() > limit)
}

/// Says that another process is the program from now on.
pub fn announce_successor(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("notify the service manager: {error}");
    }
}

/// Says that the program is ready, and feeds the watchdog at half its period if the service manager asks for it
/// (`WatchdogSec=`). When `stop` is asked the thread ends; it says that the program ends, unless it only pauses.
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
        if stop.is_end() {
            notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        }
    })
}

/// Feeds the watchdog, or logs once which worker hangs. Returns whether one does.
fn beat(pulses: &Pulses, period: Duration, was_stuck: bool, status: &str) -> bool {
    match find_stuck(pulses, period) {
        Some((name, pulse)) => {
            if !was_stuck {
                log::error!("{name} hangs: it {}", pulse.describe().unwrap_or_default());
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
        let find_stuck = |limit| find_stuck(&pulses, limit).map(|(name, _)| *name);
        assert_eq!(find_stuck(Duration::ZERO), None);
        pulses[1].1.work();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(find_stuck(Duration::from_millis(1)), Some("two"));
        assert_eq!(find_stuck(Duration::from_secs(60)), None);
        pulses[1].1.work();
        pulses[1].1.rest();
        assert_eq!(find_stuck(Duration::ZERO), None);
    }
}
