//! An agent at work: its workers, around one run directory and one relay.

use super::answer::Answer;
use super::environment::Environment;
use super::execute::Executor;
use super::fetch::Network;
use super::forget::Forget;
use super::forgotten::Forgotten;
use super::machine::Marks;
use super::os::groups;
use super::public_ip::PublicIp;
use super::receive::Receive;
use super::register::Register;
use super::run::Run;
use super::{Trusted, handover, identity, installed, stat_socket};
use crate::config::agent::{AgentConfig, StatSocket};
use crate::config::broker::RelayConfig;
use crate::dial::Dialer;
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use crate::limits;
use crate::relay::Relay;
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::signals;
use crate::spool::lock::Lock;
use crate::spool::{Mover, stages};
use crate::time::Timestamp;
use crate::wake::Stop;
use crate::worker::queue::QueueWorker;
use crate::worker::stage::StageWorker;
use crate::worker::{Worker, run};
use std::time::Duration;

/// What an agent is called in its log.
pub const NAME: &str = "mig-agent";

/// One life of an agent: from its start, or from when it took the run directory back after a hand-over that failed.
pub struct Life {
    /// When it began, for its heartbeats.
    pub started: Timestamp,
    /// Ends its workers.
    pub stop: Stop,
    /// Whether it waits for the lock of the agent that hands over.
    pub takes_over: bool,
}

impl Life {
    /// Begins now.
    pub fn begin(takes_over: bool) -> Life {
        Life { started: crate::time::now(), stop: Stop::default(), takes_over }
    }
}

/// Runs an agent, to the end of what is there (`once`) or until a signal comes; `takes_over` from another version that hands
/// over. Tests give it another executor, to count what is run.
pub fn run(config: &AgentConfig, executor: Executor, once: bool, takes_over: bool) -> Result<(), ProgramError> {
    crate::logging::start(NAME, &config.logging)?;
    let path = installed::path().map_err(|e| ProgramError::new(ExitClass::Io, format!("find this program: {e}")))?;
    let mut life = Life::begin(takes_over);
    let (mut workers, mut lock) = build(config, read_trust(config)?, executor.clone(), &life)?;
    // With the lock: it ends what an agent before this one has left.
    groups::prepare();
    if once {
        return run::once(&mut workers).map_err(ProgramError::from);
    }
    if let StatSocket::Tcp(address) = config.socket {
        let started = stat_socket::start(address);
        started.map_err(|e| ProgramError::new(ExitClass::Config, format!("agent.socket: listen on {address}: {e}")))?;
    }
    signals::stop_on_signals(&life.stop)?;
    loop {
        let swept = workers.into_iter().map(|worker| (worker, SWEEP)).collect();
        run::threads(NAME, swept, limits::AGENT_RETRY_PAUSE_MAX, &life.stop)?;
        if life.stop.is_end() || !handover::hand_over(config, &path, lock, &life)? {
            return Ok(());
        }
        life = Life { started: crate::time::now(), takes_over: false, ..life };
        (workers, lock) = build(config, read_trust(config)?, executor.clone(), &life)?;
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

fn open_relay(config: &AgentConfig) -> Result<Box<dyn Relay>, ProgramError> {
    match &config.relay {
        RelayConfig::Directory(path) => {
            Ok(Box::new(DirectoryRelay::open(path).map_err(|failure| failure.at_start("agent.relay"))?))
        }
        RelayConfig::Broker(broker) => match AmqpRelay::open_by(broker, Role::Agent, &dialer(config)) {
            Ok(relay) => Ok(Box::new(relay)),
            Err(error) => Err(ProgramError::new(ExitClass::Io, error)),
        },
    }
}

/// What sends the heartbeats of this life. Needs the agent's lock.
pub(super) fn register(config: &AgentConfig, life: &Life) -> Result<Register, ProgramError> {
    let rundir = |failure: Failure| failure.at_start("agent.rundir");
    let agent = Mover::open(&config.run_directory, &stages::AGENT, "agent").map_err(rundir)?;
    let queueloc = identity::queueloc(&agent, Marks::here()).map_err(rundir)?;
    let (period, tags) = (config.heartbeat_freq, config.tags.clone());
    let every = config.refresh_environment;
    let api = config.api.as_ref().filter(|_| config.discover_public_ip);
    let public_ip = api.map(|api| PublicIp::new(api, Network::of(config).fetcher(), every));
    let environment = Environment::new(every, public_ip);
    Ok(Register::new(open_relay(config)?, queueloc, period, tags, environment, life.started))
}

/// An agent's workers, in the order register, receive, run, answer, forget, and their lock. Tests run the passes themselves, at
/// times of their own.
pub fn build(
    config: &AgentConfig,
    trusted: Trusted,
    executor: Executor,
    life: &Life,
) -> Result<(Vec<Box<dyn Worker>>, Lock), ProgramError> {
    let relay = || open_relay(config);
    let rundir = |failure: Failure| failure.at_start("agent.rundir");
    stages::make(&config.run_directory, &stages::AGENT).map_err(rundir)?;
    let mover = |owner: &str| Mover::open(&config.run_directory, &stages::AGENT, owner).map_err(rundir);
    let agent = mover("agent")?;
    let lock = if life.takes_over { agent.lock_within(limits::HAND_OVER_TIME_MAX) } else { agent.lock() };
    let lock = lock.map_err(|error| error.at_start("agent.rundir"))?;
    agent.recover().map_err(rundir)?;
    let queueloc = identity::queueloc(&agent, Marks::here()).map_err(rundir)?;
    log::info!("{NAME} {} is {queueloc}", crate::cli::version());
    let register = register(config, life)?;
    let receive = QueueWorker::new(mover("receive")?, relay()?, Receive::new(queueloc));
    let running = mover("run")?;
    let run = StageWorker::new(running.clone(), Run::new(running, trusted, executor, life.stop.clone()));
    let answer = Answer::new(relay()?, config.heartbeat_freq * limits::AGENT_MESSAGE_PERIODS);
    let answer = StageWorker::new(mover("answer")?, answer);
    let forgetting = mover("forget")?;
    let forgotten = Forgotten::new(forgetting.notes());
    forgotten.until().map_err(rundir)?;
    let forget = StageWorker::new(forgetting, Forget::new(forgotten));
    Ok((vec![Box::new(register), Box::new(receive), Box::new(run), Box::new(answer), Box::new(forget)], lock))
}
