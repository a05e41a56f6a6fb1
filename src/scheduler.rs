//! The scheduler: the workers of [`crate::flow`] around one spool, store and relay.

mod action_new;
pub mod identity;
pub mod key;
pub mod whitelist;

use crate::cli::{Common, Program, print};
use crate::config::broker::RelayConfig;
use crate::config::scheduler::{SchedulerConfig, StoreConfig};
use crate::error::{ExitClass, ProgramError};
use crate::flow::FindOwner;
use crate::flow::action_ended::ActionEnded;
use crate::flow::collector::Collector;
use crate::flow::command_ready::CommandReady;
use crate::flow::command_returned::CommandReturned;
use crate::flow::events::Events;
use crate::flow::heartbeats::Heartbeats;
use crate::flow::periodic::{Periodic, PeriodicConfig};
use crate::flow::results::Results;
use crate::limits;
use crate::relay::Relay;
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::reload::Reloaded;
use crate::spool::lock::Lock;
use crate::spool::{Mover, Stage, stages};
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::targets::Target;
use crate::wake::Stop;
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
        Usage: mig-scheduler [-c FILE] [--only WORKER[,WORKER]] [--once]\n       mig-scheduler [-c FILE] --check\n       mig-scheduler [-c FILE] --print-key\n       mig-scheduler [-c FILE] --explain-target \"status='online'\"",
    details: "Workers: action-new, command-ready, results, command-returned, action-ended (with PostgreSQL), heartbeats,\n\
        events (with events.collect), collector, periodic.\n\
        Drop a signed action with: cp action.json SPOOL/action/new/\n\n\
        Files: /etc/mig/mig-scheduler.cfg (see conf/mig-scheduler.cfg.inc). The spool is described in spool-layout/.\n\
        Keyring, access list and whitelist are read again when they change, and after SIGHUP.\n\n\
        Exit codes: 0 done; 64 command line; 69 another scheduler works on the spool; 74 a sync failed, check the disk;\n\
        75 the spool, the store or the relay cannot be used at the moment, or is not mounted, or what a worker waited for did\n\
        not end within 6 s after SIGTERM: start it again; 78 configuration.",
    rest_after: &[],
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
    /// print the public key with which the schedulers sign actions of their own, for the agents' keyrings
    #[options(no_short)]
    print_key: bool,
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
const WORKERS: [&str; 9] = [
    "heartbeats",
    ACTION_NEW,
    "command-ready",
    "results",
    "command-returned",
    ACTION_ENDED,
    EVENTS,
    COLLECTOR,
    "periodic",
];
/// The worker that ends and deletes.
const COLLECTOR: &str = "collector";
/// The worker that uses action/pending.
const ACTION_NEW: &str = "action-new";
/// The worker that takes in what persistent modules of agents notice, where that is wanted.
const EVENTS: &str = "events";
/// The worker that is needed only where several schedulers share a store.
const ACTION_ENDED: &str = "action-ended";

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
    if options.print_key {
        return print_key(&config);
    }
    let names = chosen(options.only.as_deref(), &config)?;
    crate::cli::set_umask();
    crate::logging::start(PROGRAM.name, &config.logging)?;
    let mut workers = Vec::with_capacity(names.len());
    for name in names {
        workers.push(build(name, &config)?);
    }
    let (_locks, mut workers): (Vec<Lock>, Vec<Box<dyn Worker>>) = workers.into_iter().unzip();
    if options.once {
        return run::once(&mut workers).map_err(ProgramError::from);
    }
    if workers.iter().any(|worker| worker.name() == ACTION_NEW) {
        // Before there is something to sign, so that agents can have it.
        key::find_or_make(open_store(&config)?.as_mut(), crate::time::now())?;
    }
    log::info!("mig-scheduler {} works on {}", crate::cli::version(), config.spool.display());
    let workers = workers.into_iter().map(|worker| {
        let sweep = sweep_of(worker.name(), &config);
        (worker, sweep)
    });
    let stop = Stop::default();
    crate::signals::stop_on_signals(&stop)?;
    run::threads(PROGRAM.name, workers.collect(), limits::SCHEDULER_RETRY_PAUSE_MAX, &stop)
}

fn chosen(only: Option<&str>, config: &SchedulerConfig) -> Result<Vec<&'static str>, ProgramError> {
    let Some(only) = only else {
        let is_shared = matches!(config.store, StoreConfig::Postgres(_));
        let is_needed = |name: &&str| match *name {
            ACTION_ENDED => is_shared,
            EVENTS => config.collects_events,
            _ => true,
        };
        return Ok(WORKERS.into_iter().filter(is_needed).collect());
    };
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
    opened.map_err(|failure| failure.at_start(section))
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
            Err(failure) => Err(failure.at_start("relay.directory")),
        },
        RelayConfig::Broker(broker) => match AmqpRelay::open(broker, Role::Scheduler) {
            Ok(relay) => Ok(Box::new(relay)),
            Err(error) => Err(ProgramError::new(ExitClass::Io, error)),
        },
    }
}

/// A worker with what it needs, and its lock. Tests run its passes themselves, at times of their own.
pub fn build(name: &'static str, config: &SchedulerConfig) -> Result<(Lock, Box<dyn Worker>), ProgramError> {
    let key = "directories.spool";
    // Those that are left are deleted when events are not collected any longer, too.
    let has_events = || config.spool.join(stages::EVENT_NEW.path()).is_dir();
    let deletes_events = name == COLLECTOR && (config.collects_events || has_events());
    let own: &[Stage] = match name {
        ACTION_NEW => &[stages::ACTION_PENDING],
        EVENTS => &[stages::EVENT_NEW],
        COLLECTOR if deletes_events => &[stages::EVENT_NEW],
        _ => &[],
    };
    let mover = Mover::open(&config.spool, &[&stages::SCHEDULER, own].concat(), name).map_err(|failure| {
        let ProgramError { class, text } = failure.at_start(key);
        ProgramError::new(class, format!("{text}; scripts/install-spool.sh makes a spool"))
    })?;
    let lock = mover.lock().map_err(|error| error.at_start(key))?;
    let store = open_store(config)?;
    let notes = mover.notes();
    let find_owner: FindOwner = Box::new(move || identity::scheduler_id(&notes));
    let worker: Box<dyn Worker> = match name {
        ACTION_NEW => Box::new(action_new::build(config, mover, store, find_owner)?),
        "command-ready" => Box::new(StageWorker::new(mover, CommandReady::new(open_relay(config)?, store))),
        "results" => {
            let handler = Results::new(store, mover.notes());
            Box::new(QueueWorker::new(mover, open_relay(config)?, handler))
        }
        ACTION_ENDED => {
            let handler = ActionEnded::new(store, &find_owner()?);
            Box::new(QueueWorker::new(mover, open_relay(config)?, handler))
        }
        "command-returned" => {
            let handler = CommandReturned::new(store, open_relay(config)?);
            #[cfg(feature = "mutants")]
            let handler = crate::mutants::handler::MovesFirst {
                inner: handler,
                mutant: crate::mutants::Mutant::MoveBeforeEffect,
                from: config.spool.join(stages::COMMAND_RETURNED.path()),
                to: Some(config.spool.join(stages::COMMAND_DONE.path())),
            };
            Box::new(StageWorker::new(mover, handler))
        }
        EVENTS => Box::new(QueueWorker::new(mover, open_relay(config)?, Events)),
        "heartbeats" => {
            let mut whitelist = Reloaded::new(&config.whitelist, Whitelist::parse);
            let is_allowed = Box::new(move |queueloc: &str| whitelist.get().allows(queueloc));
            Box::new(QueueWorker::new(
                mover,
                open_relay(config)?,
                Heartbeats::new(store, is_allowed, config.agent_timeout, config.detect_multi_agents),
            ))
        }
        COLLECTOR => {
            let (relay, notes) = (open_relay(config)?, mover.notes());
            let handler = Collector::new(store, relay, notes, find_owner, config.delete_after);
            let handler = if deletes_events { handler.with_events() } else { handler };
            Box::new(ClockWorker::new(mover, handler))
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

fn sweep_of(worker: &str, config: &SchedulerConfig) -> Duration {
    if worker == "periodic" { config.periodic_freq } else { config.collector_freq }
}

fn print_key(config: &SchedulerConfig) -> Result<(), ProgramError> {
    let key = key::find_or_make(open_store(config)?.as_mut(), crate::time::now()).map_err(ProgramError::from)?;
    print(&format!("{}\n", key.public_key.trim_end()));
    eprintln!("{}: the key of this store's schedulers, for access lists: {}", PROGRAM.name, key.fingerprint);
    Ok(())
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
