//! An agent at work: its workers, around one run directory and one relay.

use super::answer::Answer;
use super::dispatch::Dispatch;
use super::environment::Environment;
use super::execute::Executor;
use super::fetch::Network;
use super::forget::Forget;
use super::forgotten::Forgotten;
use super::machine::Marks;
use super::os::groups;
use super::persistent::Persistent;
use super::public_ip::PublicIp;
use super::receive::Receive;
use super::register::{Profile, Register};
use super::run::Run;
use super::status::Status;
use super::{Mode, Trusted, handover, identity, installed, stat_socket};
use crate::config::agent::AgentConfig;
use crate::config::broker::RelayConfig;
use crate::dial::Dialer;
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use crate::limits;
use crate::relay::Relay;
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::signals;
use crate::spool::lock::{Lock, LockError};
use crate::spool::{Mover, stages};
use crate::time::Timestamp;
use crate::wake::Stop;
use crate::worker::queue::QueueWorker;
use crate::worker::stage::StageWorker;
use crate::worker::{Worker, run};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an agent is called in its log.
pub const NAME: &str = "mig-agent";

/// One life of an agent: from its start, or from when it took the run directory back after a hand-over that failed.
pub struct Life {
    /// When it began, for its heartbeats.
    pub started: Timestamp,
    /// Ends its workers.
    pub stop: Stop,
    /// How it works.
    pub mode: Mode,
    /// Whether it waits for the lock of the agent that hands over.
    pub takes_over: bool,
}

impl Life {
    /// Begins now.
    pub fn begin(mode: Mode, takes_over: bool) -> Life {
        Life { started: crate::time::now(), stop: Stop::default(), mode, takes_over }
    }
}

/// Runs an agent; `takes_over` from another version that hands over. Tests give it another executor, to count what is run.
pub fn run(config: &AgentConfig, executor: Executor, mode: Mode, takes_over: bool) -> Result<(), ProgramError> {
    let end = Instant::now() + config.check_in_time;
    let executor = match mode {
        Mode::CheckIn => executor.ending_at(end - (config.check_in_time / 5).min(limits::CHECK_IN_ANSWER_TIME_MAX)),
        Mode::Daemon | Mode::Once => executor,
    };
    let path = installed::path().map_err(|e| ProgramError::new(ExitClass::Io, format!("find this program: {e}")))?;
    let mut life = Life::begin(mode, takes_over);
    let mut built = match build(config, read_trust(config)?, executor.clone(), &life) {
        // The other one runs what waits.
        Err(error) if mode == Mode::CheckIn && error.class == ExitClass::Unavailable => {
            log::info!("nothing to do: {error}");
            return Ok(());
        }
        built => built?,
    };
    // With the lock: it ends what an agent before this one has left.
    groups::prepare();
    undo_upgrade();
    if mode == Mode::Once {
        return run::once(&mut built.workers).map_err(ProgramError::from);
    }
    signals::stop_on_signals(&life.stop)?;
    if mode == Mode::CheckIn {
        return run::once_until(&mut built.workers, end, &life.stop).map_err(ProgramError::from);
    }
    loop {
        let Built { workers, lock, status } = built;
        let socket = stat_socket::start(config, &status)?;
        let swept = workers.into_iter().map(|worker| (worker, SWEEP)).collect();
        run::threads(NAME, swept, limits::AGENT_RETRY_PAUSE_MAX, &life.stop)?;
        // The successor has one in the same place.
        drop(socket);
        if life.stop.is_end() || !handover::hand_over(config, &path, lock, &life, &status)? {
            return Ok(());
        }
        life = Life { started: crate::time::now(), takes_over: false, ..life };
        built = build(config, read_trust(config)?, executor.clone(), &life)?;
    }
}

/// Undoes an upgrade that was cut short: this is the program that was there before, so what is there now has proven nothing.
fn undo_upgrade() {
    match installed::undo() {
        Ok(None) => {}
        Ok(Some(path)) => log::warn!("upgrade: it was cut short; {} is this program again", path.display()),
        Err(error) => log::error!("upgrade: it was cut short; put this program back: {error}"),
    }
}

/// How often a worker looks for what notifications missed.
pub(super) const SWEEP: Duration = Duration::from_secs(60);

/// The keys and the access list that the configuration names.
pub fn read_trust(config: &AgentConfig) -> Result<Trusted, ProgramError> {
    Trusted::open(&config.keyring, &config.acl).map_err(ProgramError::from)
}

/// The ways to the relay.
fn dialer(config: &AgentConfig) -> Dialer {
    Dialer::with_proxies(config.proxies.clone())
}

fn open_relay(config: &AgentConfig, mode: Mode) -> Result<Box<dyn Relay>, ProgramError> {
    match &config.relay {
        RelayConfig::Directory(path) => {
            Ok(Box::new(DirectoryRelay::open(path).map_err(|failure| failure.at_start("agent.relay"))?))
        }
        RelayConfig::Broker(broker) => match AmqpRelay::open_by(broker, Role::Agent, &dialer(config)) {
            Ok(relay) if mode == Mode::Daemon => Ok(Box::new(relay)),
            Ok(relay) => Ok(Box::new(relay.pulling())),
            Err(error) => Err(ProgramError::new(ExitClass::Io, error)),
        },
    }
}

/// What sends the heartbeats of this life. Needs the agent's lock.
pub(super) fn register(config: &AgentConfig, life: &Life, status: &Status) -> Result<Register, ProgramError> {
    let rundir = |failure: Failure| failure.at_start("agent.rundir");
    let agent = Mover::open(&config.run_directory, &stages::AGENT, "agent").map_err(rundir)?;
    let queueloc = identity::queueloc(&agent, Marks::here()).map_err(rundir)?;
    let (period, tags) = (config.heartbeat_freq, config.tags.clone());
    let every = config.refresh_environment;
    let api = config.api.as_ref().filter(|_| config.discover_public_ip);
    let waits = match life.mode {
        Mode::Daemon => None,
        Mode::Once => Some(limits::PUBLIC_IP_TIME_MAX),
        Mode::CheckIn => Some(limits::PUBLIC_IP_TIME_MAX.min(config.check_in_time / 10)),
    };
    let public_ip = api.map(|api| PublicIp::new(api, Network::of(config).fetcher(), every, waits));
    let environment = Environment::new(every, public_ip);
    let profile = Profile { queueloc, mode: life.mode, tags, environment, start_time: life.started };
    let relay = status.noting(open_relay(config, life.mode)?);
    Ok(Register::new(relay, profile, period, status.clone()))
}

/// An agent that is about to work.
pub struct Built {
    /// In the order register, receive, run, answer, forget, and where there are persistent modules dispatch and those.
    pub workers: Vec<Box<dyn Worker>>,
    /// Theirs.
    pub lock: Lock,
    /// What they note.
    pub status: Status,
}

/// Builds an agent. Tests run the passes themselves, at times of their own. An error of the class `Unavailable` is that
/// another agent has the lock.
pub fn build(config: &AgentConfig, trusted: Trusted, executor: Executor, life: &Life) -> Result<Built, ProgramError> {
    let rundir = |failure: Failure| failure.at_start("agent.rundir");
    stages::make(&config.run_directory, &stages::AGENT).map_err(rundir)?;
    let mover = |owner: &str| Mover::open(&config.run_directory, &stages::AGENT, owner).map_err(rundir);
    let agent = mover("agent")?;
    let lock = if life.takes_over { agent.lock_within(limits::HAND_OVER_TIME_MAX) } else { agent.lock() };
    let lock = lock.map_err(|error| match error {
        LockError::Held { pid, .. } if life.mode == Mode::CheckIn => {
            let place = config.run_directory.display();
            ProgramError::new(ExitClass::Unavailable, format!("the agent of process {pid} works in {place}"))
        }
        error => error.at_start("agent.rundir"),
    })?;
    agent.recover().map_err(rundir)?;
    let queueloc = identity::queueloc(&agent, Marks::here()).map_err(rundir)?;
    log::info!("{NAME} {} is {queueloc}", crate::cli::version());
    let status = Status::new(queueloc.clone(), life.started, Arc::clone(agent.spool()));
    let relay = || Ok::<_, ProgramError>(status.noting(open_relay(config, life.mode)?));
    let register = register(config, life, &status)?.proving();
    let receive = QueueWorker::new(mover("receive")?, relay()?, Receive::new(queueloc.clone()));
    let program = executor.program.clone();
    let running = mover("run")?;
    let run =
        StageWorker::new(running.clone(), Run::new(running, trusted, executor, status.clone(), life.stop.clone()));
    let answer = Answer::new(relay()?, config.heartbeat_freq * limits::AGENT_MESSAGE_PERIODS);
    let answer = StageWorker::new(mover("answer")?, answer);
    let forgetting = mover("forget")?;
    let forgotten = Forgotten::new(forgetting.notes());
    forgotten.until().map_err(rundir)?;
    let forget = StageWorker::new(forgetting, Forget::new(forgotten));
    let mut workers: Vec<Box<dyn Worker>> =
        vec![Box::new(register), Box::new(receive), Box::new(run), Box::new(answer), Box::new(forget)];
    let has_events = !agent.spool().list(stages::AGENT_EVENTS).map_err(rundir)?.is_empty();
    if has_events || !config.persistent.is_empty() {
        let dispatch = Dispatch::new(relay()?);
        #[cfg(feature = "mutants")]
        let dispatch = crate::mutants::handler::MovesFirst {
            inner: dispatch,
            mutant: crate::mutants::Mutant::DeleteEventsBeforeSend,
            from: config.run_directory.join(stages::AGENT_EVENTS.path()),
            to: None,
        };
        workers.push(Box::new(StageWorker::new(mover("dispatch")?, dispatch)));
    }
    if life.mode == Mode::Daemon {
        for wanted in &config.persistent {
            let (program, mover) = (program.clone(), mover(wanted.module)?);
            workers.push(Box::new(Persistent::new(wanted.clone(), program, queueloc.clone(), mover)));
        }
    }
    Ok(Built { workers, lock, status })
}
