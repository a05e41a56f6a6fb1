//! The scheduler: the workers of [`crate::flow`] around one spool, store and relay.

pub mod identity;
pub mod key;
pub mod whitelist;

use crate::cli::{Common, Program, print};
use crate::config::broker::RelayConfig;
use crate::config::scheduler::{SchedulerConfig, StoreConfig};
use crate::error::{ExitClass, ProgramError};
use crate::failure::Failure;
use crate::flow::action_new::ActionNew;
use crate::flow::collector::Collector;
use crate::flow::command_ready::CommandReady;
use crate::flow::command_returned::CommandReturned;
use crate::flow::heartbeats::Heartbeats;
use crate::flow::periodic::{Periodic, PeriodicConfig};
use crate::flow::results::Results;
use crate::limits;
use crate::relay::Relay;
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::reload::Reloaded;
use crate::signature::Keyring;
use crate::spool::lock::Lock;
use crate::spool::{Mover, stages};
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::targets::Target;
use crate::worker::clock::ClockWorker;
use crate::worker::queue::QueueWorker;
use crate::worker::stage::StageWorker;
use crate::worker::{Worker, run};
use gumdrop::Options;
use std::path::Path;
use std::time::Duration;
use whitelist::Whitelist;

/// What `mig-scheduler --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-scheduler",
    about: "mig-scheduler - turns signed actions in a spool into commands for agents, and their answers into results\n\n\
        Usage: mig-scheduler [-c FILE] [--only WORKER[,WORKER]] [--once]\n       mig-scheduler [-c FILE] --check\n       mig-scheduler [-c FILE] --explain-target \"status='online'\"",
    details: "Workers: action-new, command-ready, results, command-returned, heartbeats, collector, periodic.\n\
        Drop a signed action with: cp action.json SPOOL/action/new/\n\n\
        Files: /etc/mig/mig-scheduler.cfg (see conf/mig-scheduler.cfg.inc). The spool is described in spool-layout/.\n\n\
        Exit codes: 0 done; 64 command line; 69 another scheduler works on the spool; 74 a sync failed, check the disk;\n\
        75 the store or the relay is away (with --once), or what a worker waited for did not end within 6 s after SIGTERM;\n\
        78 configuration.",
    rest_after: None,
};

/// Options:
#[derive(Debug, Options)]
pub struct SchedulerOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// configuration file
    #[options(short = "c", meta = "FILE", default = "/etc/mig/mig-scheduler.cfg", no_long)]
    config: String,
    /// run only these workers, separated by commas (default: all, a thread each)
    #[options(no_short, meta = "WORKER")]
    only: Option<String>,
    /// handle what is there now, then exit
    #[options(no_short)]
    once: bool,
    /// validate the configuration and exit
    #[options(no_short)]
    check: bool,
    /// print the agents that a target selects now, and the query used
    #[options(no_short, meta = "TARGET")]
    explain_target: Option<String>,
}

impl Common for SchedulerOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

/// The workers' names, in the order of a command's way.
const WORKERS: [&str; 7] =
    ["heartbeats", "action-new", "command-ready", "results", "command-returned", "collector", "periodic"];

/// `mig-scheduler`.
pub fn main(options: SchedulerOptions) -> Result<(), ProgramError> {
    let config = SchedulerConfig::read(Path::new(&options.config))?;
    if options.check {
        print(&format!("{}: ok\n", options.config));
        return Ok(());
    }
    if let Some(target) = &options.explain_target {
        return explain_target(&config, target);
    }
    let names = chosen(options.only.as_deref())?;
    crate::logging::start(PROGRAM.name, &config.logging)?;
    let mut workers = Vec::with_capacity(names.len());
    for name in names {
        workers.push(build(name, &config)?);
    }
    let (_locks, mut workers): (Vec<Lock>, Vec<Box<dyn Worker>>) = workers.into_iter().unzip();
    if options.once {
        return run::once(&mut workers).map_err(ProgramError::from);
    }
    log::info!("mig-scheduler {} works on {}", crate::cli::VERSION, config.spool.display());
    let workers = workers.into_iter().map(|worker| {
        let sweep = sweep_of(worker.name(), &config);
        (worker, sweep)
    });
    run::threads(PROGRAM.name, workers.collect(), limits::SCHEDULER_RETRY_PAUSE_MAX)
}

fn chosen(only: Option<&str>) -> Result<Vec<&'static str>, ProgramError> {
    let Some(only) = only else { return Ok(WORKERS.to_vec()) };
    let find = |name: &str| {
        let known = WORKERS.into_iter().find(|worker| *worker == name.trim());
        known.ok_or_else(|| {
            ProgramError::new(ExitClass::Usage, format!("--only: no worker '{name}'; known are {}", WORKERS.join(", ")))
        })
    };
    only.split(',').map(find).collect()
}

fn open_store(config: &SchedulerConfig) -> Result<Box<dyn Store>, ProgramError> {
    let (section, opened) = match &config.store {
        StoreConfig::Sqlite(file) => ("sqlite.file", SqliteStore::open(file).map(|store| Box::new(store) as _)),
        StoreConfig::Postgres(config) => {
            ("postgres", PostgresStore::open(config).map(|store| Box::new(store) as Box<dyn Store>))
        }
    };
    opened.map_err(|error| {
        let class = match error {
            Failure::Retry { .. } | Failure::Skip(_) => ExitClass::TemporaryFailure,
            Failure::End(_) => ExitClass::Io,
            Failure::Refuse(_) => ExitClass::Config,
        };
        ProgramError::new(class, format!("{section}: {error}"))
    })
}

fn open_relay(config: &SchedulerConfig) -> Result<Box<dyn Relay>, ProgramError> {
    let relay = open_real_relay(config)?;
    #[cfg(feature = "mutants")]
    let relay = Box::new(crate::mutants::relay::BuggyRelay::new(relay));
    Ok(relay)
}

fn open_real_relay(config: &SchedulerConfig) -> Result<Box<dyn Relay>, ProgramError> {
    match &config.relay {
        RelayConfig::Directory(path) => match DirectoryRelay::open(path) {
            Ok(relay) => Ok(Box::new(relay)),
            Err(error) => Err(ProgramError::new(ExitClass::Config, format!("relay.directory: {error}"))),
        },
        RelayConfig::Broker(broker) => match AmqpRelay::open(broker, Role::Scheduler) {
            Ok(relay) => Ok(Box::new(relay)),
            Err(error) => Err(ProgramError::new(ExitClass::Io, error)),
        },
    }
}

/// A worker with what it needs, and its lock. Tests run its passes themselves, at times of their own.
pub fn build(name: &'static str, config: &SchedulerConfig) -> Result<(Lock, Box<dyn Worker>), ProgramError> {
    let mover = Mover::open(&config.spool, &stages::SCHEDULER, name);
    let help = "; scripts/install-spool.sh makes a spool";
    let mover = mover.map_err(|e| ProgramError::new(ExitClass::Config, format!("directories.spool: {e}{help}")))?;
    let lock = mover.lock().map_err(|e| ProgramError::new(ExitClass::Unavailable, e))?;
    let mut store = open_store(config)?;
    let worker: Box<dyn Worker> = match name {
        "action-new" => {
            let own = own_key(store.as_mut(), config)?;
            let keyring = Reloaded::new(&config.keyring, move |bytes, _| {
                Keyring::parse(&[bytes, own.as_bytes()].join(&b'\n')).map_err(|e| e.to_string())
            });
            if !keyring.is_loaded() {
                let text = format!(
                    "investigators.keyring: {} cannot be used; without it every action is refused",
                    config.keyring.display()
                );
                return Err(ProgramError::new(ExitClass::Config, text));
            }
            let notes = mover.notes();
            let find_owner = Box::new(move || identity::scheduler_id(&notes));
            let handler = ActionNew::new(store, keyring, mover.drafts(), find_owner);
            Box::new(StageWorker::new(mover, handler))
        }
        "command-ready" => Box::new(StageWorker::new(mover, CommandReady::new(open_relay(config)?, store))),
        "results" => Box::new(QueueWorker::new(mover, open_relay(config)?, Results::new(store))),
        "command-returned" => {
            let handler = CommandReturned::new(store, open_relay(config)?);
            #[cfg(feature = "mutants")]
            let handler = crate::mutants::handler::MovesFirst { inner: handler, spool: config.spool.clone() };
            Box::new(StageWorker::new(mover, handler))
        }
        "heartbeats" => {
            let mut whitelist = Reloaded::new(&config.whitelist, Whitelist::parse);
            let is_allowed = Box::new(move |queueloc: &str| whitelist.get().allows(queueloc));
            Box::new(QueueWorker::new(
                mover,
                open_relay(config)?,
                Heartbeats::new(store, is_allowed, config.agent_timeout),
            ))
        }
        "collector" => {
            Box::new(ClockWorker::new(mover, Collector::new(store, open_relay(config)?, config.delete_after)))
        }
        _ => {
            let periodic = PeriodicConfig {
                freq: config.periodic_freq,
                heartbeat_freq: config.heartbeat_freq,
                agent_timeout: config.agent_timeout,
                queues_cleanup_freq: config.queues_cleanup_freq,
                detect_multi_agents: config.detect_multi_agents,
                kill_dup_agents: config.kill_dup_agents,
                find_key: key::find_or_make,
            };
            Box::new(ClockWorker::new(mover, Periodic::new(store, open_relay(config)?, periodic)))
        }
    };
    Ok((lock, worker))
}

/// The public key with which the schedulers sign actions of their own, made by their first start; empty where nothing asks
/// for one.
fn own_key(store: &mut dyn Store, config: &SchedulerConfig) -> Result<String, ProgramError> {
    if !config.kill_dup_agents && matches!(config.store, StoreConfig::Sqlite(_)) {
        return Ok(String::new());
    }
    let key = key::find_or_make(store, crate::time::now());
    key.map(|key| key.public_key).map_err(ProgramError::from)
}

fn sweep_of(worker: &str, config: &SchedulerConfig) -> Duration {
    if worker == "periodic" { config.periodic_freq } else { config.collector_freq }
}

fn explain_target(config: &SchedulerConfig, text: &str) -> Result<(), ProgramError> {
    let target =
        Target::parse(text).map_err(|e| ProgramError::new(ExitClass::Data, format!("--explain-target: {e}")))?;
    let mut store = open_store(config)?;
    let now = crate::time::now();
    let selected = store.select_agents(&target, now).and_then(|ids| store.load_agents(&ids));
    let agents = selected.map_err(|e| ProgramError::new(ExitClass::Data, format!("--explain-target: {e}")))?;
    let mut text = format!("{};\n", store.explain_target(&target, now));
    for agent in &agents {
        text.push_str(&format!("{}\t{}\t{}\n", agent.queueloc, agent.status.as_deref().unwrap_or("-"), agent.version));
    }
    text.push_str(&format!("{} agents\n", agents.len()));
    print(&text);
    Ok(())
}
