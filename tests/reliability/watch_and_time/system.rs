//! A whole system in this process: the real workers around a real spool, SQLite store and directory relay, and agents. Each
//! pass is told the time, so every machine has a clock of its own.

use crate::common::recorder::write_recorder;
use crate::common::{PATIENCE, Sandbox};
use mig::agent::Mode;
use mig::agent::execute::Executor;
use mig::agent::start::{self, Built, Life};
use mig::config::agent::AgentConfig;
use mig::config::scheduler::SchedulerConfig;
use mig::error::{ExitClass, ProgramError};
use mig::failure::Failure;
use mig::scheduler;
use mig::spool::lock::Lock;
use mig::time::{self, Timestamp};
use mig::worker::Worker;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The scheduler's workers, in the order of a command's way.
pub const WORKERS: [&str; 7] =
    ["heartbeats", "action-new", "command-ready", "results", "command-returned", "collector", "periodic"];

/// Where sandboxes are whose disk is not what is tried: in memory, where there is room for it.
pub fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Starts what was just ended. Its lock may be held for a moment longer: by a process that another test is starting, and
/// that still has a copy of every open file.
fn when_unlocked<T>(start: impl Fn() -> Result<T, ProgramError>) -> T {
    let started = Instant::now();
    loop {
        match start() {
            Err(error) if error.class == ExitClass::Unavailable && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome.unwrap(),
        }
    }
}

/// A worker, or the three of an agent that handle commands, and whether it has recovered since it was started.
struct Running {
    workers: Vec<Box<dyn Worker>>,
    recovered: bool,
    _lock: Option<Lock>,
}

impl Running {
    fn new(workers: Vec<Box<dyn Worker>>, lock: Option<Lock>) -> Running {
        Running { workers, recovered: false, _lock: lock }
    }

    /// One look, as the loop of a program has it; returns how much was handled.
    fn try_pass(&mut self, now: Timestamp) -> Result<usize, Failure> {
        let recovered = self.recovered;
        let pass = |worker: &mut Box<dyn Worker>| {
            if !recovered {
                worker.recover(now)?;
            }
            worker.pass(now).map(|pass| pass.handled)
        };
        // Each has a thread of its own in a program: one that fails does not keep the others from passing.
        let outcomes: Vec<Result<usize, Failure>> = self.workers.iter_mut().map(pass).collect();
        self.recovered = outcomes.iter().all(Result::is_ok);
        outcomes.into_iter().sum()
    }

    fn pass(&mut self, now: Timestamp) -> usize {
        self.try_pass(now).unwrap_or_else(|e| panic!("{} at {now}: {e}", self.workers[0].name()))
    }
}

/// See the module docs.
pub struct System {
    pub sandbox: Arc<Sandbox>,
    /// When everything was started.
    pub started: Timestamp,
    agents: usize,
    running: BTreeMap<String, Running>,
}

impl System {
    /// One with agents that are registered. Half an hour is no absence there, and what is done is kept for long.
    pub fn new(agents: usize) -> System {
        let sandbox = Sandbox::new_in(&memory());
        let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
        let cfg = cfg.replace("freq = \"1s\"", "freq = \"1s\"\ndeleteafter = \"800000h\"");
        std::fs::write(sandbox.scheduler_cfg(), cfg.replace("timeout = \"10m\"", "timeout = \"60m\"")).unwrap();
        let mut system = System::over(Arc::new(sandbox), agents);
        system.round(system.started);
        system
    }

    /// One that goes on with what is in a sandbox.
    pub fn over(sandbox: Arc<Sandbox>, agents: usize) -> System {
        let mut system = System { sandbox, started: time::now(), agents, running: BTreeMap::new() };
        system.start_scheduler();
        system.start_agents();
        system.started = time::now();
        system
    }

    /// Starts the scheduler, again where it ran.
    pub fn start_scheduler(&mut self) {
        let config = SchedulerConfig::read(Path::new(&self.sandbox.scheduler_cfg())).unwrap();
        for name in WORKERS {
            self.running.remove(name);
            let (lock, worker) = when_unlocked(|| scheduler::build(name, &config));
            self.running.insert(name.into(), Running::new(vec![worker], Some(lock)));
        }
    }

    /// Starts the agents, again where they ran.
    pub fn start_agents(&mut self) {
        for number in 1..=self.agents {
            let config = AgentConfig::read(Path::new(&self.sandbox.agent_cfg(number))).unwrap();
            self.running.remove(&format!("agent {number}"));
            let executor = || System::executor(&self.sandbox, number);
            let Built { mut workers, lock, .. } = when_unlocked(|| {
                let life = Life::begin(Mode::Daemon, false);
                start::build(&config, start::read_trust(&config)?, executor(), &life)
            });
            let handling = workers.split_off(1);
            self.running.insert(format!("agent {number}"), Running::new(handling, Some(lock)));
            self.running.insert(format!("register {number}"), Running::new(workers, None));
        }
    }

    /// One that notes in a journal what it is asked to run.
    pub fn executor(sandbox: &Sandbox, number: usize) -> Executor {
        let program = sandbox.path(&format!("module-{number}.sh"));
        write_recorder(&program, &sandbox.path(&format!("journal-{number}")));
        Executor { program, ..Executor::new(Duration::from_secs(60)) }
    }

    /// How often an agent has run the operation whose parameters are `parameters`.
    pub fn runs(&self, number: usize, parameters: &Value) -> usize {
        let journal = std::fs::read_to_string(self.sandbox.path(&format!("journal-{number}"))).unwrap_or_default();
        journal.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap() == *parameters).count()
    }

    fn get(&mut self, name: &str) -> &mut Running {
        self.running.get_mut(name).unwrap_or_else(|| panic!("no worker {name}"))
    }

    /// One pass of a scheduler's worker.
    pub fn pass(&mut self, worker: &str, now: Timestamp) -> usize {
        self.get(worker).pass(now)
    }

    /// One pass of a worker that may not work: `agent 1`, or one of the scheduler's.
    pub fn try_pass(&mut self, worker: &str, now: Timestamp) -> Result<usize, Failure> {
        self.get(worker).try_pass(now)
    }

    /// One pass of an agent.
    pub fn pass_agent(&mut self, number: usize, now: Timestamp) -> usize {
        self.get(&format!("agent {number}")).pass(now)
    }

    /// Every agent sends a heartbeat if one is due.
    pub fn register(&mut self, now: Timestamp) {
        for number in 1..=self.agents {
            self.get(&format!("register {number}")).pass(now);
        }
    }

    /// Passes of every agent until none of them finds anything.
    pub fn pass_agents(&mut self, now: Timestamp) {
        for number in 1..=self.agents {
            while self.pass_agent(number, now) > 0 {}
        }
    }

    /// Workers of the scheduler that pass at the same time, each in a thread of its own, which begins so much later.
    pub fn pass_together(&mut self, workers: &[(&str, Duration)], now: Timestamp) {
        let barrier = std::sync::Barrier::new(workers.len());
        std::thread::scope(|scope| {
            for (name, running) in self.running.iter_mut() {
                let Some((_, late)) = workers.iter().find(|(worker, _)| worker == name) else { continue };
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    std::thread::sleep(*late);
                    running.pass(now);
                });
            }
        });
    }

    /// Everybody looks once, in the order of a command's way, with right clocks.
    pub fn round(&mut self, now: Timestamp) {
        // The queues are there before anybody sends to them.
        self.pass("heartbeats", now);
        self.pass("results", now);
        self.register(now);
        for worker in ["heartbeats", "action-new", "command-ready"] {
            self.pass(worker, now);
        }
        self.pass_agents(now);
        for worker in ["results", "command-returned", "collector", "command-returned", "periodic"] {
            self.pass(worker, now);
        }
    }
}
