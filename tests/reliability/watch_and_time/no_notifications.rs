//! Without notifications (the limits of inotify are used up by others) the sweeps find everything; one line per worker says
//! so, and which limit it is. When there is room again, notifications are used.

use super::system::System;
use super::{inotify_watches, spool_check};
use crate::common::score::Score;
use crate::common::{Background, Sandbox, names};
use mig::agent::machine::Marks;
use mig::agent::receive::Receive;
use mig::agent::start::{self, Built, Life};
use mig::agent::{Mode, identity};
use mig::config::agent::AgentConfig;
use mig::failure::Failure;
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Delivery, Event, Message, Queue, Relay, Sent};
use mig::spool::lock::Lock;
use mig::spool::watch::Watch;
use mig::spool::{Mover, stages};
use mig::time::Timestamp;
use mig::wake::{Stop, Waker};
use mig::worker::outage::Outages;
use mig::worker::queue::QueueWorker;
use mig::worker::watchdog::Pulse;
use mig::worker::{Worker, run};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Workers of the scheduler that watch something.
const WATCHING: usize = 5;

/// A scheduler in a user namespace of its own, where one limit of inotify is nought.
fn start_without(sandbox: &Sandbox, limit: &str) -> Option<Background> {
    let script = format!("echo 0 >/proc/sys/user/{limit} || exit; exec \"$@\"");
    let enter = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &script, "sh", program]);
        command
    };
    if !enter("true").output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = enter(env!("CARGO_BIN_EXE_mig-scheduler"));
    command.arg("-c").arg(sandbox.scheduler_cfg());
    Some(Background::start(command, sandbox.path("scheduler.log")))
}

fn raise(process: &Background, limit: &str) {
    let script = format!("echo 1000 >/proc/sys/user/{limit}");
    let target = process.0.id().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &target, "--user", "--preserve-credentials", "sh", "-c", &script]);
    assert!(command.status().unwrap().success());
}

/// Brings one action to its end.
fn one_action(sandbox: &Sandbox, name: &str, done: usize) {
    sandbox.drop_action(name);
    sandbox.wait("sent", |s| s.names("command/inflight").len() == 1);
    sandbox.agent_once(1);
    sandbox.wait("done", |s| s.names("action/done").len() == done && s.names("command/done").len() == done);
}

fn scheduler_without(limit: &str) {
    let mut score = Score::begin(format!("scheduler without inotify: {limit}"));
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let Some(scheduler) = start_without(&sandbox, limit) else {
        return score.skip("no user namespace can be made here");
    };
    one_action(&sandbox, "a.json", 1);
    one_action(&sandbox, "b.json", 2);
    let mut found = Vec::new();
    if inotify_watches(scheduler.0.id()) != 0 {
        found.push("it watches something all the same".into());
    }
    raise(&scheduler, limit);
    sandbox.wait("watching", |_| inotify_watches(scheduler.0.id()) == WATCHING);
    one_action(&sandbox, "c.json", 3);
    assert_eq!(scheduler.terminate(), Some(0));
    let log = std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap();
    let complaint = format!("raise fs.inotify.{}", limit.replace("inotify", "user"));
    for (text, also) in
        [("no notifications", "until they work"), ("no notifications", &complaint[..]), ("notifications work now", "")]
    {
        let lines = log.lines().filter(|line| line.contains(text) && line.contains(also)).count();
        if lines != WATCHING {
            found.push(format!("{lines} lines say '{text} {also}', not {WATCHING}:\n{log}"));
        }
    }
    found.extend(spool_check(&sandbox));
    score.add_runs(3);
    score.end(&found, "");
}

#[test]
fn the_scheduler_works_when_there_are_no_inotify_instances() {
    scheduler_without("max_inotify_instances");
}

#[test]
fn the_scheduler_works_when_there_are_no_inotify_watches() {
    scheduler_without("max_inotify_watches");
}

/// A relay that cannot be watched until `hears` is set.
struct Deaf {
    relay: Box<dyn Relay>,
    hears: Arc<AtomicBool>,
    watched: Arc<AtomicUsize>,
}

impl Relay for Deaf {
    fn proxy(&mut self) -> Result<Option<String>, Failure> {
        self.relay.proxy()
    }

    fn remove(&mut self, queue: &Queue) -> Result<bool, Failure> {
        self.relay.remove(queue)
    }

    fn publish(&mut self, events: &[(Event, Vec<u8>)], now: Timestamp) -> Result<(), Failure> {
        self.relay.publish(events, now)
    }

    fn subscribe(&mut self, queue: &Queue, event: Event) -> Result<(), Failure> {
        self.relay.subscribe(queue, event)
    }

    fn declare(&mut self, queue: &Queue) -> Result<(), Failure> {
        self.relay.declare(queue)
    }
    fn send(&mut self, messages: &[Message], now: Timestamp) -> Result<Vec<Sent>, Failure> {
        self.relay.send(messages, now)
    }
    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Result<Vec<Delivery>, Failure> {
        self.relay.receive(queue, max, now)
    }
    fn settled_before(&mut self, queue: &Queue, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        self.relay.settled_before(queue, now)
    }
    fn has_receiver(&mut self, queue: &Queue) -> Result<Option<bool>, Failure> {
        self.relay.has_receiver(queue)
    }
    fn acknowledge(&mut self, queue: &Queue, deliveries: &[Delivery]) -> Result<(), Failure> {
        self.relay.acknowledge(queue, deliveries)
    }
    fn reject(&mut self, queue: &Queue, refused: &[(Delivery, String)], now: Timestamp) -> Result<(), Failure> {
        self.relay.reject(queue, refused, now)
    }
    fn watch(&mut self, queue: &Queue, waker: Waker) -> Result<Option<Watch>, Failure> {
        if !self.hears.load(Ordering::SeqCst) {
            return Err(Failure::retry(format!("watch {queue}: too many instances")));
        }
        self.watched.fetch_add(1, Ordering::SeqCst);
        self.relay.watch(queue, waker)
    }
    fn tidy(&mut self, age: Duration, now: Timestamp) -> Result<(), Failure> {
        self.relay.tidy(age, now)
    }
}

/// An agent that is registered, whose queue is watched by way of a [`Deaf`] relay.
struct Agent {
    running: Vec<JoinHandle<Result<(), Failure>>>,
    stop: Stop,
    _lock: Lock,
}

impl Agent {
    /// Runs its workers as its program does, with sweeps that are quicker.
    fn start(sandbox: &Sandbox, hears: &Arc<AtomicBool>, watched: &Arc<AtomicUsize>) -> Agent {
        let config = AgentConfig::read(Path::new(&sandbox.agent_cfg(1))).unwrap();
        let trust = start::read_trust(&config).unwrap();
        let built = start::build(&config, trust, System::executor(sandbox, 1), &Life::begin(Mode::Daemon, false));
        let Built { mut workers, lock, .. } = built.unwrap();
        let (hears, watched) = (Arc::clone(hears), Arc::clone(watched));
        let relay = Box::new(DirectoryRelay::open(&sandbox.path("relay")).unwrap());
        let relay = Box::new(Deaf { relay, hears, watched });
        let mover = Mover::open(&config.run_directory, &stages::AGENT, "receive").unwrap();
        let queueloc = identity::queueloc(&mover, Marks::here()).unwrap();
        let handling = workers.split_off(2);
        let deaf: Box<dyn Worker> = Box::new(QueueWorker::new(mover, relay, Receive::new(queueloc)));
        let stop = Stop::default();
        let start = |mut worker: Box<dyn Worker>| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let (sweep, pause_max) = (Duration::from_millis(50), Duration::from_secs(1));
                run::run(worker.as_mut(), sweep, pause_max, &stop, &Pulse::default(), &Outages::default())
            })
        };
        let running = [deaf].into_iter().chain(handling).map(start).collect();
        Agent { running, stop, _lock: lock }
    }

    fn end(self) {
        self.stop.ask();
        self.running.into_iter().for_each(|running| running.join().unwrap().unwrap());
    }
}

#[test]
fn an_agent_works_without_notifications() {
    let mut score = Score::begin("agent without inotify");
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let (hears, watched) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let agent = Agent::start(&sandbox, &hears, &watched);
    let answers = |sandbox: &Sandbox| names(&sandbox.path("relay/mig.agt.results")).len();
    for n in 1..=3 {
        hears.store(n == 3, Ordering::SeqCst);
        sandbox.wait("watching", |_| watched.load(Ordering::SeqCst) == usize::from(n == 3));
        sandbox.drop_action("a.json");
        sandbox.once("action-new,command-ready");
        sandbox.wait("answered", |s| answers(s) == n);
    }
    agent.end();
    score.add_runs(3);
    let watched = watched.load(Ordering::SeqCst);
    let found = (watched != 1).then(|| format!("it began to watch {watched} times"));
    score.end(&Vec::from_iter(found), "");
}

#[test]
fn queues_that_are_removed_are_made_again_and_watched() {
    let mut score = Score::begin("removed queues");
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let (hears, watched) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let scheduler = sandbox.start_scheduler();
    let agent = Agent::start(&sandbox, &hears, &watched);
    sandbox.wait("watching", |_| inotify_watches(scheduler.0.id()) == WATCHING && watched.load(Ordering::SeqCst) == 1);
    let relay = sandbox.path("relay");
    let queues: Vec<String> = names(&relay).into_iter().filter(|name| name.starts_with("mig.agt.")).collect();
    assert_eq!(queues.len(), 3);
    queues.iter().for_each(|queue| std::fs::remove_dir_all(relay.join(queue)).unwrap());
    sandbox.wait("there again", |_| queues.iter().all(|queue| relay.join(queue).is_dir()));
    sandbox.wait("watching again", |_| {
        inotify_watches(scheduler.0.id()) == WATCHING && watched.load(Ordering::SeqCst) > 1
    });
    sandbox.drop_action("a.json");
    sandbox.wait("done", |s| s.names("action/done").len() == 1);
    assert_eq!(scheduler.terminate(), Some(0));
    agent.end();
    score.add_runs(queues.len());
    score.end(&[], "");
}
