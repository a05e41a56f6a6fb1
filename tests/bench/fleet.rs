//! Agents that only exist for the benchmark: registered, with a queue each, answering at once and running nothing.

pub use crate::common::broker_fleet::agent;
use crate::common::{Sandbox, broker_fleet, names};
use mig::store::sqlite::SqliteStore;
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

/// Registers `count` agents and makes their queues.
pub fn register(sandbox: &Sandbox, count: usize) {
    sandbox.once("heartbeats,results");
    for agent in broker_fleet::register(&mut SqliteStore::open(&sandbox.path("mig.db")).unwrap(), count) {
        std::fs::create_dir(sandbox.path("relay").join(format!("mig.agt.{}", agent.queueloc))).unwrap();
    }
}

/// Takes the command in a message file and puts its answer into the queue of results.
fn answer(relay: &Path, message: &Path, number: usize) {
    let Ok(bytes) = std::fs::read(message) else { return };
    let staged = relay.join("tmp").join(format!("sim.{number}"));
    std::fs::write(&staged, broker_fleet::answer(&bytes)).unwrap();
    std::fs::rename(staged, relay.join("mig.agt.results").join(format!("sim-{number:08}.json"))).unwrap();
    std::fs::remove_file(message).unwrap();
}

/// Answers everything that waits now.
pub fn answer_waiting(sandbox: &Sandbox) {
    let relay = sandbox.path("relay");
    let mut number = 0;
    for queue in names(&relay).iter().filter(|name| name.starts_with("mig.agt.linux")) {
        for message in names(&relay.join(queue)) {
            answer(&relay, &relay.join(queue).join(message), number);
            number += 1;
        }
    }
}

/// Answers what comes for as long as it lives, in a thread of its own.
pub struct Answering {
    _watcher: notify::RecommendedWatcher,
}

impl Answering {
    /// Begins to answer.
    pub fn start(sandbox: &Sandbox) -> Answering {
        let relay = sandbox.path("relay");
        let (sender, receiver) = channel::<PathBuf>();
        let arrived = move |event: notify::Result<notify::Event>| {
            let event = event.unwrap();
            assert!(!event.need_rescan(), "the simulated agents were too slow for the kernel's queue");
            if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::To)) {
                event.paths.into_iter().for_each(|path| drop(sender.send(path)));
            }
        };
        let mut watcher = notify::recommended_watcher(arrived).unwrap();
        for queue in names(&relay).iter().filter(|name| name.starts_with("mig.agt.linux")) {
            watcher.watch(&relay.join(queue), RecursiveMode::NonRecursive).unwrap();
        }
        std::thread::spawn(move || {
            receiver.iter().enumerate().for_each(|(number, message)| answer(&relay, &message, number))
        });
        Answering { _watcher: watcher }
    }
}
