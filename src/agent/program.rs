//! `mig-agent`: command line and start-up.

use super::answer::Answer;
use super::execute::Executor;
use super::forget::Forget;
use super::forgotten::Forgotten;
use super::machine::Marks;
use super::os::groups;
use super::receive::Receive;
use super::register::Register;
use super::run::Run;
use super::{Trusted, identity, local, stat_socket};
use crate::cli::{Common, Program};
use crate::config::agent::AgentConfig;
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
use gumdrop::Options;
use std::path::Path;
use std::time::Duration;

/// What `mig-agent --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-agent",
    about: "mig-agent - runs signed investigations on this machine\n\n\
        Usage: mig-agent [-c FILE] [--once]\n       mig-agent -m MODULE help | PARAMETERS | - | MODULE'S OPTIONS\n       mig-agent -i ACTION",
    details: "Files: /etc/mig/mig-agent.cfg (see conf/mig-agent.cfg.inc), and the keyring, access list and run directory it names.\n\
        Keyring and access list are read again when they change, and after SIGHUP.\n\
        Examples: mig-agent -m file -path /etc -name '^passwd$' -content '^root:'\n          mig-agent -m file '{\"searches\":{\"s1\":{\"paths\":[\"/etc\"],\"names\":[\"^passwd$\"]}}}'\n\n\
        Exit codes: 0 done; 1 an operation failed (-i); 64 command line; 65 bad parameters or action; 66 unreadable file;\n\
        69 another agent uses the run directory; 74 a sync failed, check the disk; 75 the relay or the run directory cannot\n\
        be used at the moment, or is not mounted, or an operation did not end within 6 s after SIGTERM: start it again;\n\
        78 configuration.",
    rest_after: Some("-m"),
};

/// Options:
#[derive(Debug, Options)]
pub struct AgentOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// configuration file
    #[options(short = "c", meta = "FILE", default = "/etc/mig/mig-agent.cfg", no_long)]
    config: String,
    /// run in the foreground (it always does; a supervisor such as systemd keeps it running)
    #[options(short = "f", no_long)]
    foreground: bool,
    /// run a module here and print its result
    #[options(short = "m", meta = "MODULE", no_long)]
    module: Option<String>,
    /// run the operations of an action file here and print the results; signatures are not verified
    #[options(short = "i", meta = "ACTION", no_long)]
    action: Option<String>,
    /// register, handle what is there now, then exit
    #[options(no_short)]
    once: bool,
    /// with -m: limit and confine the module, and end it with the parent, as the agent does
    #[options(no_short)]
    limited: bool,
    /// with -m: help, parameters as JSON, - for standard input, or the module's own options
    #[options(free)]
    words: Vec<String>,
}

impl Common for AgentOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

/// `mig-agent`.
pub fn main(options: AgentOptions) -> Result<(), ProgramError> {
    if let Some(module) = &options.module {
        return local::run_module(module, &options.words, options.limited);
    }
    if let Some(word) = options.words.first() {
        return Err(ProgramError::new(ExitClass::Usage, format!("unexpected '{word}'; try mig-agent --help")));
    }
    if let Some(action) = &options.action {
        return local::run_action(Path::new(action));
    }
    let config = AgentConfig::read(Path::new(&options.config))?;
    crate::cli::set_umask();
    run(&config, Executor::new(config.module_timeout), options.once)
}

/// Runs an agent, to the end of what is there (`once`) or until a signal comes. Tests give it another executor, to count
/// what is run.
pub fn run(config: &AgentConfig, executor: Executor, once: bool) -> Result<(), ProgramError> {
    crate::logging::start(PROGRAM.name, &config.logging)?;
    let (mut workers, _lock) = build(config, read_trust(config)?, executor)?;
    // With the lock: it ends what an agent before this one has left.
    groups::prepare();
    if once {
        return run::once(&mut workers).map_err(ProgramError::from);
    }
    if let Some(address) = config.socket {
        let started = stat_socket::start(address);
        started.map_err(|e| ProgramError::new(ExitClass::Config, format!("agent.socket: listen on {address}: {e}")))?;
    }
    let workers = workers.into_iter().map(|worker| (worker, SWEEP));
    run::threads(PROGRAM.name, workers.collect(), limits::AGENT_RETRY_PAUSE_MAX)
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
    log::info!("mig-agent {} is {queueloc}", crate::cli::VERSION);
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
