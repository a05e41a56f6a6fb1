//! Handing over to another version, after the module `upgrade` has installed it.
//!
//! The agent's workers end, the new program is started with the same arguments and `--takeover`, and takes the lock of the
//! run directory, and with it everything: the queue, commands that wait, answers. This process is *retired* then. It runs no
//! commands and holds no lock; it sends heartbeats, so that the scheduler sees it, marks it upgraded and destroys it, once
//! the new one is heard of.
//!
//! | a kill after | who has the run directory |
//! |---|---|
//! | the answer to `upgrade` is durable | what is started next at the path: the new one |
//! | the new one was started | the new one; the kernel releases the lock |
//! | the new one has the lock | of both, the one that was not killed |
//!
//! What does not work out is undone: if the new one cannot be started, ends, does not take the lock in time, or sends no
//! heartbeat although this one can (it has another relay, or a certificate that is refused), its file is
//! replaced by the one of this process, which takes the lock and begins another life, with a start of its own. If the new one
//! ends well, as it was asked to, so does this one.

use super::installed;
use super::start::{Life, NAME, REGISTERED, SWEEP, register};
use super::status::Status;
use crate::config::agent::AgentConfig;
use crate::error::ProgramError;
use crate::limits;
use crate::spool::lock::Lock;
use crate::spool::{Mover, stages};
use crate::time::Timestamp;
use crate::wake::Stop;
use crate::worker::{run, watchdog};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How often a retired process looks whether the new one has sent a heartbeat.
const HEARTBEAT_LOOKED_FOR_EVERY: Duration = Duration::from_millis(200);

/// The option of a program that takes over.
pub const OPTION: &str = "--takeover";

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
                Ok(true) => log::info!("upgrade: {} is this program again", path.display()),
                Ok(false) => {}
                Err(error) => log::error!("upgrade: put this program back to {}: {error}", path.display()),
            }
            Ok(life.stop.go_on())
        }
    }
}

/// Returns when the new program has ended well, when this process shall end, or why the hand-over has failed.
fn retire(config: &AgentConfig, path: &Path, lock: Lock, life: &Life, status: &Status) -> Result<(), String> {
    // Everything that can fail comes first.
    let retired = register(config, life, status, None).map_err(|error| error.to_string())?;
    let owner = Mover::open(&config.run_directory, &stages::AGENT, "agent").map_err(|error| error.to_string())?;
    let watched = Watched {
        registered_before: owner.notes().marked(REGISTERED),
        owner,
        status: status.clone(),
        heartbeat_time_max: config.heartbeat_freq * limits::AGENT_MESSAGE_PERIODS,
    };
    let successor = start(path).map_err(|error| format!("start {}: {error}", path.display()))?;
    log::info!("upgrade: process {} runs {} and takes over", successor.id(), path.display());
    drop(lock);
    let (sender, outcome) = channel();
    let stop = life.stop.clone();
    std::thread::spawn(move || follow(successor, &watched, &stop, &sender));
    let ended = run::threads(NAME, vec![(Box::new(retired), SWEEP)], limits::AGENT_RETRY_PAUSE_MAX, &life.stop);
    ended.map_err(|error| error.to_string())?;
    received(&outcome)
}

/// What [`follow`] has found out, if this process shall not end.
fn received(outcome: &Receiver<Result<(), String>>) -> Result<(), String> {
    outcome.try_recv().unwrap_or(Ok(()))
}

/// Starts the new program with the arguments of this one, in a process group of its own.
fn start(path: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(path);
    command.args(std::env::args_os().skip(1).filter(|argument| argument != OPTION)).arg(OPTION);
    // The service manager's watchdog is for the process that has this id, until it hears of another.
    command.env_remove("WATCHDOG_PID").stdin(Stdio::null()).process_group(0).spawn()
}

/// By what this process sees that the new one works.
struct Watched {
    owner: Mover,
    /// The note of an earlier one.
    registered_before: Option<Timestamp>,
    /// Of this process.
    status: Status,
    heartbeat_time_max: Duration,
}

/// Follows the new program until it ends, and pauses this one then.
fn follow(mut successor: Child, watched: &Watched, stop: &Stop, outcome: &Sender<Result<(), String>>) {
    let ended = await_lock(&mut successor, &watched.owner).and_then(|()| {
        let pid = successor.id();
        log::info!(
            "upgrade: process {pid} has taken over; this one runs no commands, and sends heartbeats until it is ended"
        );
        // Not before: whatever ends the main process ends the service, this process included.
        if has_registered(&mut successor, watched)? {
            watchdog::announce_successor(pid);
        }
        match successor.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the program that took over, process {pid}, ended with {status}")),
            Err(error) => Err(format!("wait for process {pid}: {error}")),
        }
    });
    let _ = outcome.send(ended);
    stop.pause();
}

/// Waits until the new program has the lock. One that has not taken it in time is killed.
fn await_lock(successor: &mut Child, owner: &Mover) -> Result<(), String> {
    let (pid, begun) = (successor.id(), Instant::now());
    while begun.elapsed() < limits::HAND_OVER_TIME_MAX {
        if let Ok(Some(status)) = successor.try_wait() {
            return Err(format!("the new program, process {pid}, ended with {status} before it took over"));
        }
        if owner.lock_owner() == Some(pid) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = successor.kill();
    let _ = successor.wait();
    let time_max = limits::HAND_OVER_TIME_MAX;
    Err(format!("the new program, process {pid}, has not taken over after {time_max:?}, and was killed"))
}

/// Waits until the new program has sent a heartbeat, or has ended without one. One that sends none in time, while this
/// process does, is killed.
fn has_registered(successor: &mut Child, watched: &Watched) -> Result<bool, String> {
    let (begun, begun_time, time_max) = (Instant::now(), crate::time::now(), watched.heartbeat_time_max);
    loop {
        if watched.owner.notes().marked(REGISTERED) != watched.registered_before {
            return Ok(true);
        }
        if !matches!(successor.try_wait(), Ok(None)) {
            return Ok(false);
        }
        let reaches_relay = || watched.status.last_heartbeat().is_some_and(|last| last > begun_time);
        if begun.elapsed() > time_max && reaches_relay() {
            let _ = successor.kill();
            let _ = successor.wait();
            let pid = successor.id();
            return Err(format!(
                "the new program, process {pid}, has sent no heartbeat for {time_max:?}, while this one does, and was killed"
            ));
        }
        std::thread::sleep(HEARTBEAT_LOOKED_FOR_EVERY);
    }
}
