//! `mig-agent`: command line and start-up.

use super::execute::Executor;
use super::register::Register;
use super::{Agent, Trust, identity, local, stat_socket};
use crate::acl::Acl;
use crate::cli::{Common, Program};
use crate::config::agent::AgentConfig;
use crate::error::{ExitClass, ProgramError};
use crate::flow::{Failure, Worker, run};
use crate::limits;
use crate::relay::Relay;
use crate::relay::directory::DirectoryRelay;
use crate::reload::read_bounded;
use crate::signature::Keyring;
use crate::spool::watch::Stop;
use crate::spool::{Spool, stages};
use gumdrop::Options;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// What `mig-agent --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-agent",
    about: "mig-agent - runs signed investigations on this machine\n\n\
        Usage: mig-agent [-c FILE] [--once]\n       mig-agent -m MODULE help | PARAMETERS | - | MODULE'S OPTIONS\n       mig-agent -i ACTION",
    details: "Files: /etc/mig/mig-agent.cfg (see conf/mig-agent.cfg.inc), and the keyring, access list and run directory it names.\n\
        Examples: mig-agent -m file -path /etc -name '^passwd$' -content '^root:'\n          mig-agent -m file '{\"searches\":{\"s1\":{\"paths\":[\"/etc\"],\"names\":[\"^passwd$\"]}}}'\n\n\
        Exit codes: 0 done; 1 an operation failed (-i); 64 command line; 65 bad parameters or action; 66 unreadable file;\n\
        69 another agent uses the run directory; 74 a sync failed, check the disk; 75 the relay is away (with --once);\n\
        78 configuration.",
    rest_after: Some("-m"),
};

/// What may stand on the command line:
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
    /// run the operations of an action file here and print the results; signatures are not looked at
    #[options(short = "i", meta = "ACTION", no_long)]
    action: Option<String>,
    /// register, handle what is there now, then exit
    #[options(no_short)]
    once: bool,
    /// with -m: limit address space and priority, and end with the parent, as the agent does
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
    run(&config, Executor::new(config.module_timeout), options.once)
}

/// Runs an agent, to the end of what is there (`once`) or until a signal comes. Tests give it another executor, to count
/// what is run.
pub fn run(config: &AgentConfig, executor: Executor, once: bool) -> Result<(), ProgramError> {
    let trust = read_trust(config)?;
    crate::logging::start(PROGRAM.name, &config.logging)?;
    let (agent, register, _lock) = build(config, trust, executor)?;
    if once {
        return run::once(&mut [Box::new(register), Box::new(agent)]).map_err(ProgramError::from);
    }
    if let Some(address) = config.socket {
        let started = stat_socket::start(address);
        started.map_err(|e| ProgramError::new(ExitClass::Config, format!("agent.socket: listen on {address}: {e}")))?;
    }
    run_threads(agent, register, config.heartbeat_freq)
}

fn config_error(key: &str, path: &Path, reason: impl std::fmt::Display) -> ProgramError {
    ProgramError::new(ExitClass::Config, format!("agent.{key}: {}: {reason}", path.display()))
}

fn read_trust(config: &AgentConfig) -> Result<Trust, ProgramError> {
    let read = |key: &str, path: &Path| {
        read_bounded(path, limits::KEYRING_SIZE_BYTES_MAX).map_err(|e| config_error(key, path, e))
    };
    let keyring =
        Keyring::parse(&read("keyring", &config.keyring)?).map_err(|e| config_error("keyring", &config.keyring, e))?;
    let acl = Acl::parse(&read("acl", &config.acl)?).map_err(|e| config_error("acl", &config.acl, e))?;
    Ok(Trust { keyring, acl })
}

fn build(
    config: &AgentConfig,
    trust: Trust,
    executor: Executor,
) -> Result<(Agent, Register, crate::spool::lock::Lock), ProgramError> {
    let relay = || -> Result<Box<dyn Relay>, ProgramError> {
        Ok(Box::new(DirectoryRelay::open(&config.relay).map_err(|e| config_error("relay", &config.relay, e))?))
    };
    let rundir = |e: &dyn std::fmt::Display| config_error("rundir", &config.run_directory, e);
    stages::make(&config.run_directory, &stages::AGENT).map_err(|e| rundir(&e))?;
    let spool = Spool::open(&config.run_directory, &stages::AGENT, "agent").map_err(|e| rundir(&e))?;
    let lock = spool.lock().map_err(|e| ProgramError::new(ExitClass::Unavailable, e))?;
    let queueloc = identity::queueloc(&config.run_directory).map_err(|e| rundir(&e))?;
    log::info!("mig-agent {} is {queueloc}", crate::cli::VERSION);
    let register =
        Register::new(relay()?, queueloc.clone(), config.heartbeat_freq, config.tags.clone(), crate::time::now());
    let agent = Agent {
        spool,
        relay: relay()?,
        queueloc,
        trust,
        executor,
        answer_lifetime: config.heartbeat_freq * limits::AGENT_MESSAGE_PERIODS,
        waiting: HashMap::new(),
        kept: HashMap::new(),
        unsaved: None,
    };
    Ok((agent, register, lock))
}

/// Heartbeats go on while a long operation runs, so they have a thread of their own.
fn run_threads(mut agent: Agent, mut register: Register, heartbeat_freq: Duration) -> Result<(), ProgramError> {
    let stop = Stop::default();
    crate::signals::stop_on_signals(&stop)
        .map_err(|e| ProgramError::new(ExitClass::Io, format!("handle signals: {e}")))?;
    let registering = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let outcome = run::run(&mut register, heartbeat_freq, &stop);
            if let Err(Failure::Fatal(reason)) = &outcome {
                run::end_now(reason);
            }
            stop.ask();
            outcome
        })
    };
    let outcome = run::run(&mut agent as &mut dyn Worker, Duration::from_secs(60), &stop);
    stop.ask();
    let registered = registering
        .join()
        .unwrap_or_else(|_| Err(Failure::Fatal("the heartbeat thread panicked; this is a bug".into())));
    outcome.and(registered).map_err(|failure| {
        log::error!("{failure}");
        ProgramError::from(failure)
    })
}
