//! Handing over to another version, after the module `upgrade` has installed it.
//!
//! The agent's workers end, the new program is started with the same arguments and `--takeover`, and takes the lock of the
//! run directory, and with it everything: the queue, commands that wait, answers. This process is *retired* then. It runs no
//! commands and holds no lock; it sends heartbeats, so that the scheduler sees it, marks it upgraded and destroys it, once
//! the new one is heard of.
//!
//! | state | what ends it | the end of the new one, of this one |
//! |---|---|---|
//! | on probation: the new one was started | it has the lock, has sent a heartbeat, and has removed the previous program (`installed.rs`): proven | this one goes on; the new one goes on |
//! | proven | nothing | this one ends, and the path is left alone; the new one goes on |
//!
//! While it is on probation, systemd supervises this process; it hears of the new one once that has proven that it works.
//! If the new one cannot be started, ends, does not take the lock in time, or sends no heartbeat for a time in which this one can
//! (it has another relay, or a certificate that is refused), it is killed, its file is replaced by the one of
//! this process, which takes the lock and begins another life, with a start of its own. If this process shall end meanwhile, so
//! shall the new one.
//!
//! | everything ends at once, when | what is started next |
//! |---|---|
//! | the upgrade is on probation | by systemd and by an immortal agent's parent, the old one, which undoes the upgrade; by hand, the new one |
//! | it is proven | the new one |

use super::installed;
use super::start::{Life, NAME, SWEEP, register};
use super::status::Status;
use super::successor::Successor;
use crate::config::agent::AgentConfig;
use crate::error::ProgramError;
use crate::limits;
use crate::spool::lock::Lock;
use crate::spool::{Mover, stages};
use crate::worker::{run, watchdog};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hands over to the program at `path`, and is retired until that ends or this process shall. Returns whether this process
/// goes on as an agent.
pub(super) fn hand_over(
    config: &AgentConfig,
    path: &Path,
    lock: Lock,
    life: &Life,
    status: &Status,
) -> Result<bool, ProgramError> {
    if !life.stop.go_on() {
        return Ok(false);
    }
    let outcome = retire(config, path, lock, life, status);
    if life.stop.is_end() {
        return Ok(false);
    }
    match outcome {
        Ok(()) => {
            log::info!("the program that took over has ended; {NAME} ends");
            Ok(false)
        }
        Err(reason) => {
            log::error!("upgrade: {reason}; this program goes on");
            match installed::restore(path) {
                Ok(()) => log::info!("upgrade: {} is this program again", path.display()),
                Err(error) => log::error!("upgrade: put this program back to {}: {error}", path.display()),
            }
            Ok(life.stop.go_on())
        }
    }
}

/// Returns when the new program has ended after it had proven itself, when this process shall end, or why the hand-over has
/// failed.
fn retire(config: &AgentConfig, path: &Path, lock: Lock, life: &Life, status: &Status) -> Result<(), String> {
    // Everything that can fail comes first.
    let retired = register(config, life, status).map_err(|error| error.to_string())?;
    let owner = Mover::open(&config.run_directory, &stages::AGENT, "agent").map_err(|error| error.to_string())?;
    let successor = Successor::start(path).map_err(|error| format!("start {}: {error}", path.display()))?;
    log::info!("upgrade: process {} runs {} and takes over", successor.pid, path.display());
    drop(lock);
    let (successor, status) = (Arc::new(successor), status.clone());
    let probation = Probation { successor, owner, status, path: path.to_owned() };
    let heartbeat_time_max = config.heartbeat_freq * limits::AGENT_MESSAGE_PERIODS;
    let successor = Arc::clone(&probation.successor);
    let stop = life.stop.clone();
    let follower = std::thread::spawn(move || {
        let outcome = follow(&probation, heartbeat_time_max);
        stop.pause();
        outcome
    });
    let ended = run::threads(NAME, vec![(Box::new(retired), SWEEP)], limits::AGENT_RETRY_PAUSE_MAX, &life.stop);
    if life.stop.is_end() {
        if installed::is_on_probation(path) {
            log::info!("upgrade: process {}, which has not proven that it works, shall end too", successor.pid);
            successor.end();
        }
        return Ok(());
    }
    ended.map_err(|error| error.to_string())?;
    follower.join().unwrap_or_else(|_| Err("the thread that follows the new program panicked".into()))
}

/// Follows the new program until it ends.
fn follow(probation: &Probation, heartbeat_time_max: Duration) -> Result<(), String> {
    probation.pass(limits::HAND_OVER_TIME_MAX, heartbeat_time_max)?;
    let pid = probation.successor.pid;
    log::info!(
        "upgrade: process {pid} has taken over; this one runs no commands, and sends heartbeats until it is ended"
    );
    watchdog::announce_successor(pid);
    while !probation.successor.has_ended_within(None) {}
    Ok(())
}

/// The time until a new program has proven that it works.
struct Probation {
    successor: Arc<Successor>,
    /// Of the run directory.
    owner: Mover,
    /// Of this process.
    status: Status,
    /// Of the program.
    path: PathBuf,
}

impl Probation {
    /// Returns when it has: the lock in the first time, a heartbeat sent in the second, if this process can send one meanwhile.
    /// One that has not is killed.
    fn pass(&self, lock_time_max: Duration, heartbeat_time_max: Duration) -> Result<(), String> {
        let passed = self.has_lock(lock_time_max).and_then(|()| self.has_sent_heartbeat(heartbeat_time_max));
        passed.inspect_err(|_| self.successor.kill())
    }

    fn has_lock(&self, time_max: Duration) -> Result<(), String> {
        let (pid, begun) = (self.successor.pid, Instant::now());
        while self.owner.lock_owner() != Some(pid) {
            if self.successor.has_ended_within(Some(LOOK_EVERY)) {
                return Err(format!("the new program, process {pid}, ended before it took over"));
            }
            if begun.elapsed() >= time_max {
                return Err(format!(
                    "the new program, process {pid}, has not taken over after {time_max:?}, and was killed"
                ));
            }
        }
        Ok(())
    }

    fn has_sent_heartbeat(&self, time_max: Duration) -> Result<(), String> {
        let (pid, begun, begun_time) = (self.successor.pid, Instant::now(), crate::time::now());
        while installed::is_on_probation(&self.path) {
            if self.successor.has_ended_within(Some(LOOK_EVERY)) {
                return Err(format!("the new program, process {pid}, ended before it had sent a heartbeat"));
            }
            let reaches_relay = || self.status.last_heartbeat().is_some_and(|last| last > begun_time);
            if begun.elapsed() >= time_max && reaches_relay() {
                return Err(format!(
                    "the new program, process {pid}, has sent no heartbeat for {time_max:?}, while this one does, and was killed"
                ));
            }
        }
        Ok(())
    }
}

/// How often the files are looked at that a new program changes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::QueueLoc;
    use std::process::{Child, Command, Stdio};

    /// A new program at a path, on probation.
    struct New {
        directory: tempfile::TempDir,
        process: Child,
        probation: Probation,
    }

    impl New {
        fn start(command: &[&str]) -> New {
            let directory = tempfile::tempdir().unwrap();
            stages::make(directory.path(), &stages::AGENT).unwrap();
            let path = directory.path().join("mig-agent");
            std::fs::write(installed::previous(&path), "old").unwrap();
            let process = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).spawn().unwrap();
            let successor = Arc::new(Successor::of(process.id()));
            let owner = Mover::open(directory.path(), &stages::AGENT, "agent").unwrap();
            let queueloc = QueueLoc::parse("linux.host.1").unwrap();
            let status = Status::new(queueloc, crate::time::now(), Arc::clone(owner.spool()));
            New { directory, process, probation: Probation { successor, owner, status, path } }
        }

        fn takes_lock(self) -> New {
            std::fs::write(self.directory.path().join("lock/agent"), format!("{}\n", self.process.id())).unwrap();
            self
        }

        fn proves(self) -> New {
            installed::settle(&self.probation.path).unwrap();
            self
        }

        /// What its probation has shown, in these milliseconds, and whether it runs still.
        fn judge(mut self, lock: u64, proof: u64) -> (String, bool) {
            let outcome = self.probation.pass(Duration::from_millis(lock), Duration::from_millis(proof));
            let runs = !self.probation.successor.has_ended_within(Some(Duration::ZERO));
            let _ = self.process.kill();
            self.process.wait().unwrap();
            let name = format!("process {}", self.process.id());
            (outcome.map_or_else(|reason| reason.replace(&name, "N"), |()| "passed".into()), runs)
        }
    }

    #[test]
    fn only_a_new_program_that_has_the_lock_and_has_sent_a_heartbeat_has_taken_over() {
        let (sleeps, long) = (["sleep", "60"], 60_000);
        assert_eq!(New::start(&sleeps).takes_lock().proves().judge(long, long), ("passed".into(), true));
        let (late, runs) = New::start(&sleeps).proves().judge(1, long);
        assert_eq!((&*late, runs), ("the new program, N, has not taken over after 1ms, and was killed", false));
        let new = New::start(&sleeps).takes_lock();
        new.probation.status.heartbeat_sent(crate::time::never());
        let (mute, runs) = new.judge(long, 1);
        assert!(mute.starts_with("the new program, N, has sent no heartbeat for 1ms") && !runs, "{mute}");
        let ended = |what: &str| (format!("the new program, N, ended before it {what}"), false);
        assert_eq!(New::start(&["true"]).judge(long, long), ended("took over"));
        let outage = New::start(&["sleep", "0.2"]).takes_lock().judge(long, 1);
        assert_eq!(
            outage,
            ended("had sent a heartbeat"),
            "while this one sends none either, it is no fault of the new one"
        );
    }
}
