//! An agent at work: its workers, around one run directory and one relay.

use super::answer::Answer;
use super::execute::Executor;
use super::forget::Forget;
use super::forgotten::Forgotten;
use super::machine::Marks;
use super::os::groups;
use super::receive::Receive;
use super::register::Register;
use super::run::Run;
use super::{Trusted, identity, stat_socket};
use crate::config::agent::{AgentConfig, StatSocket};
use crate::config::broker::RelayConfig;
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use crate::limits;
use crate::relay::Relay;
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::spool::lock::Lock;
use crate::spool::{Mover, stages};
use crate::worker::queue::QueueWorker;
use crate::worker::stage::StageWorker;
use crate::worker::{Worker, run};
use std::time::Duration;

/// What an agent is called in its log.
pub const NAME: &str = "mig-agent";

/// Runs an agent, to the end of what is there (`once`) or until a signal comes. Tests give it another executor, to count
/// what is run.
pub fn run(config: &AgentConfig, executor: Executor, once: bool) -> Result<(), ProgramError> {
    crate::logging::start(NAME, &config.logging)?;
    let (mut workers, _lock) = build(config, read_trust(config)?, executor)?;
    // With the lock: it ends what an agent before this one has left.
    groups::prepare();
    if once {
        return run::once(&mut workers).map_err(ProgramError::from);
    }
    if let StatSocket::Tcp(address) = config.socket {
        let started = stat_socket::start(address);
        started.map_err(|e| ProgramError::new(ExitClass::Config, format!("agent.socket: listen on {address}: {e}")))?;
    }
    let workers = workers.into_iter().map(|worker| (worker, SWEEP));
    run::threads(NAME, workers.collect(), limits::AGENT_RETRY_PAUSE_MAX)
}

/// How often a worker looks for what notifications missed.
const SWEEP: Duration = Duration::from_secs(60);

/// The keys and the access list that the configuration names.
pub fn read_trust(config: &AgentConfig) -> Result<Trusted, ProgramError> {
    Trusted::open(&config.keyring, &config.acl).map_err(ProgramError::from)
}

/// An agent's workers, in the order register, receive, run, answer, forget, and their lock. Tests run the passes themselves, at
/// times of their own.
pub fn build(
    config: &AgentConfig,
    trusted: Trusted,
    executor: Executor,
) -> Result<(Vec<Box<dyn Worker>>, Lock), ProgramError> {
    let relay = || -> Result<Box<dyn Relay>, ProgramError> {
        match &config.relay {
            RelayConfig::Directory(path) => {
                Ok(Box::new(DirectoryRelay::open(path).map_err(|failure| failure.at_start("agent.relay"))?))
            }
            RelayConfig::Broker(broker) => match AmqpRelay::open(broker, Role::Agent) {
                Ok(relay) => Ok(Box::new(relay)),
                Err(error) => Err(ProgramError::new(ExitClass::Io, error)),
            },
        }
    };
    let rundir = |failure: Failure| failure.at_start("agent.rundir");
    stages::make(&config.run_directory, &stages::AGENT).map_err(rundir)?;
    let mover = |owner: &str| Mover::open(&config.run_directory, &stages::AGENT, owner).map_err(rundir);
    let agent = mover("agent")?;
    let lock = agent.lock().map_err(|error| error.at_start("agent.rundir"))?;
    agent.recover().map_err(rundir)?;
    let queueloc = identity::queueloc(&agent, Marks::here()).map_err(rundir)?;
    log::info!("{NAME} {} is {queueloc}", crate::cli::VERSION);
    let (period, tags) = (config.heartbeat_freq, config.tags.clone());
    let register = Register::new(relay()?, queueloc.clone(), period, tags, crate::time::now());
    let receive = QueueWorker::new(mover("receive")?, relay()?, Receive::new(queueloc));
    let running = mover("run")?;
    let run = StageWorker::new(running.clone(), Run::new(running, trusted, executor));
    let answer = Answer::new(relay()?, period * limits::AGENT_MESSAGE_PERIODS);
    let answer = StageWorker::new(mover("answer")?, answer);
    let forgetting = mover("forget")?;
    let forgotten = Forgotten::new(forgetting.notes());
    forgotten.until().map_err(rundir)?;
    let forget = StageWorker::new(forgetting, Forget::new(forgotten));
    Ok((vec![Box::new(register), Box::new(receive), Box::new(run), Box::new(answer), Box::new(forget)], lock))
}
