//! The loop around a worker: look, sleep until woken or due, back off while something is unavailable, stop when asked.
//!
//! Waiting is free: without notifications and without anything due, the thread sleeps until the next sweep.

use super::Worker;
use super::ending::{TimeLimit, end_now};
use super::outage::{Outage, Outages};
use super::watchdog::{self, Pulse, Pulses};
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use crate::limits::RETRY_PAUSE_MIN;
use crate::spool::watch::Watch;
use crate::time;
use crate::wake::{Sleeper, Stop};
use std::time::{Duration, Instant};

/// Runs a worker until `stop` is asked. Looks at least every `sweep`, for what notifications missed; after a failure, at
/// least every `pause_max`. `pulse` shows the watchdog when the worker is at work; `outages` is shared by all workers of a
/// process.
pub fn run(
    worker: &mut dyn Worker,
    sweep: Duration,
    pause_max: Duration,
    stop: &Stop,
    pulse: &Pulse,
    outages: &Outages,
) -> Result<(), Failure> {
    let sleeper = Sleeper::new();
    stop.also_wake(sleeper.waker());
    let mut outage = Outage::new(worker.name(), pause_max, outages.clone());
    let mut recovered = false;
    let mut watching = Watching::default();
    while !stop.is_asked() {
        let name = worker.name();
        pulse.work();
        let unwatched = watching.start(worker, &sleeper);
        let (now, began) = (time::now(), Instant::now());
        let outcome = if recovered { worker.pass(now) } else { worker.recover(now).and_then(|()| worker.pass(now)) };
        pulse.rest();
        match outcome {
            Ok(pass) => {
                recovered = true;
                let uncertain_for = outage.passed(worker.has_tried(), began);
                // Logged only when the rest works: a failure of both is logged once.
                let look_within = match unwatched {
                    Some(error) => watching.back_off(name, &error, sweep),
                    None => sweep,
                };
                let look_within = uncertain_for.map_or(look_within, |left| left.min(look_within));
                let due = pass.again.map_or(look_within, |again| time::until(time::now(), again).min(look_within));
                if pass.handled == 0 || !due.is_zero() {
                    // A moment at least: what is due every time and never handled must not become a busy loop.
                    sleeper.sleep(Some(due.max(Duration::from_millis(1))));
                }
            }
            Err(Failure::End(reason)) => return Err(Failure::End(reason)),
            Err(failure) => {
                // What the failure cut short is repaired as after a restart. The watched directory may be another one now.
                recovered = false;
                watching.again();
                pause(&sleeper, outage.failed(&failure), stop);
            }
        }
    }
    Ok(())
}

/// The notifications of a worker. Installing the watch is tried until it works: a moment without descriptors must not make
/// a worker slow for life.
#[derive(Default)]
struct Watching {
    watch: Option<Watch>,
    settled: bool,
    /// Back-off before the watch is installed again.
    pause: Option<Duration>,
}

impl Watching {
    fn again(&mut self) {
        (self.watch, self.settled) = (None, false);
    }

    /// Installs the watch unless it is there. Returns why that failed.
    fn start(&mut self, worker: &mut dyn Worker, sleeper: &Sleeper) -> Option<Failure> {
        if self.settled && !self.watch.as_ref().is_some_and(Watch::is_lost) {
            return None;
        }
        let watch = worker.watch(sleeper.waker());
        self.settled = watch.is_ok();
        match watch {
            Ok(watch) => {
                self.watch = watch;
                if self.pause.take().is_some() {
                    log::info!("{}: notifications work now", worker.name());
                }
                None
            }
            Err(error) => Some(error),
        }
    }

    /// Logs the failure once. Returns how long to wait before looking, and installing, again.
    fn back_off(&mut self, worker: &str, error: &Failure, sweep: Duration) -> Duration {
        if self.pause.is_none() {
            log::warn!("{worker}: no notifications ({error}); looking every {sweep:?} at least until they work");
        }
        let pause = self.pause.map_or(RETRY_PAUSE_MIN, |pause| pause * 2).min(sweep);
        self.pause = Some(pause);
        pause
    }
}

/// Sleeps the whole pause, by the monotonic clock: a notification of more work does not end an outage.
fn pause(sleeper: &Sleeper, duration: Duration, stop: &Stop) {
    let started = Instant::now();
    while !stop.is_asked() {
        match duration.saturating_sub(started.elapsed()) {
            Duration::ZERO => return,
            left => sleeper.sleep(Some(left)),
        }
    }
}

/// Runs each worker in a thread of its own, looking at least every so often, until `stop` is asked or one of them must end.
/// A failure is retried after `pause_max` at most. `program` is named in the log when it ends.
pub fn threads(
    program: &str,
    workers: Vec<(Box<dyn Worker>, Duration)>,
    pause_max: Duration,
    stop: &Stop,
) -> Result<(), ProgramError> {
    let outages = Outages::default();
    let mut pulses = Vec::with_capacity(workers.len());
    let threads = workers.into_iter().map(|(mut worker, sweep)| {
        let (stop, pulse, outages) = (stop.clone(), Pulse::default(), outages.clone());
        pulses.push((worker.name(), pulse.clone()));
        std::thread::spawn(move || {
            // The end of one worker ends the process: half a program would only look like a whole one.
            let _end = EndAll(stop.clone());
            let outcome = run(worker.as_mut(), sweep, pause_max, &stop, &pulse, &outages);
            if let Err(Failure::End(reason)) = &outcome {
                // What reached the disk is not known: no other worker may acknowledge or move anything.
                end_now(ExitClass::Io, reason);
            }
            // Its connections are closed.
            pulse.work();
            drop(worker);
            pulse.rest();
            outcome
        })
    });
    let threads: Vec<_> = threads.collect();
    let _limit = TimeLimit::start(pulses.clone(), stop);
    let watchdog = watchdog::start(pulses, stop);
    let panicked = |_| Failure::End("a worker panicked; this is a bug, please report the lines above".into());
    let outcomes = threads.into_iter().map(|thread| thread.join().map_err(panicked).and_then(|outcome| outcome));
    let first_failure = outcomes.filter_map(Result::err).next();
    // Joined, so that the service manager is notified of the end.
    let _ = watchdog.join();
    if let Some(failure) = &first_failure {
        log::error!("{failure}");
    }
    if stop.is_end() {
        log::info!("{program} ends");
    }
    first_failure.map_or(Ok(()), |failure| Err(failure.into()))
}

struct EndAll(Stop);

impl Drop for EndAll {
    fn drop(&mut self) {
        if !self.0.is_asked() {
            self.0.ask();
        }
    }
}

/// Drains the workers and returns: passes over all of them until none finds anything. The first failure ends it.
pub fn once(workers: &mut [Box<dyn Worker>]) -> Result<(), Failure> {
    drain(workers, &Vec::new(), &Stop::default())
}

/// The same until a time, or until `stop` is asked for the end. What was not begun by then stays where it is; what is at work
/// then ends as after SIGTERM.
pub fn once_until(workers: &mut [Box<dyn Worker>], end: Instant, stop: &Stop) -> Result<(), Failure> {
    let pulses: Pulses = workers.iter().map(|worker| (worker.name(), Pulse::default())).collect();
    let _limit = TimeLimit::start(pulses.clone(), stop);
    let over = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        log::info!("its time is over");
        over.ask();
    });
    drain(workers, &pulses, stop)
}

/// Passes over all workers until none finds anything, or the end is asked for.
fn drain(workers: &mut [Box<dyn Worker>], pulses: &Pulses, stop: &Stop) -> Result<(), Failure> {
    each(workers, pulses, stop, |worker| worker.recover(time::now()).map(|()| false))?;
    let pass = |worker: &mut dyn Worker| {
        let now = time::now();
        Ok(worker.pass(now)?.has_more(now))
    };
    while each(workers, pulses, stop, pass)? {}
    Ok(())
}

/// Has one worker after the other do something. Returns whether one of them has more to do; not when the end is asked for.
fn each(
    workers: &mut [Box<dyn Worker>],
    pulses: &Pulses,
    stop: &Stop,
    work: impl Fn(&mut dyn Worker) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut more = false;
    for (index, worker) in workers.iter_mut().enumerate() {
        if stop.is_end() {
            return Ok(false);
        }
        let pulse = pulses.get(index).map(|(_, pulse)| pulse);
        pulse.inspect(|pulse| pulse.work());
        more |= work(worker.as_mut())?;
        pulse.inspect(|pulse| pulse.rest());
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::watch::Watch;
    use crate::time::Timestamp;
    use crate::wake::Waker;
    use crate::worker::Pass;
    use std::sync::{Arc, Mutex};

    /// Notes what its pulse shows while it recovers, and asks for the end then.
    struct Connects {
        pulses: Pulses,
        stop: Stop,
        shown: Arc<Mutex<Vec<bool>>>,
    }

    impl Worker for Connects {
        fn name(&self) -> &'static str {
            "connects"
        }
        fn recover(&mut self, _: Timestamp) -> Result<(), Failure> {
            self.shown.lock().unwrap().extend(self.pulses.iter().map(|(_, pulse)| pulse.describe().is_some()));
            self.stop.ask();
            Ok(())
        }
        fn watch(&mut self, _: Waker) -> Result<Option<Watch>, Failure> {
            Ok(None)
        }
        fn pass(&mut self, _: Timestamp) -> Result<Pass, Failure> {
            Err(Failure::retry("the end was asked for"))
        }
    }

    #[test]
    fn what_recovers_is_at_work_and_after_the_end_was_asked_for_nothing_else_begins() {
        let pulses: Pulses = vec![("connects", Pulse::default()), ("other", Pulse::default())];
        let (stop, shown) = (Stop::default(), Arc::default());
        let worker = || -> Box<dyn Worker> {
            Box::new(Connects { pulses: pulses.clone(), stop: stop.clone(), shown: Arc::clone(&shown) })
        };
        drain(&mut [worker(), worker()], &pulses, &stop).unwrap();
        assert_eq!(*shown.lock().unwrap(), [true, false]);
        assert!(pulses.iter().all(|(_, pulse)| pulse.describe().is_none()));
    }
}
