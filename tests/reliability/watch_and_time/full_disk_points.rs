//! A disk that is full in the middle of a worker's work: there is room for no file, for one, for two and so on, and no
//! more, on the disk of the spool, the relay, the store, or an agent. The worker must say that there is no space, and where;
//! take no more of it with every try; and go on when there is room, with nothing lost and nothing run twice.

use super::disk::{DATABASE, Scarce, SmallDisk, sandbox_in};
use super::system::{System, memory};
use super::{is_full, spool_check_with};
use crate::common::score::Score;
use crate::common::{PATIENCE, Sandbox, names};
use mig::failure::Failure;
use mig::time::{self, Timestamp};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const AGENTS: usize = 3;
const ACTIONS: usize = 2;
/// Files for which there is room.
const ROOM: [usize; 7] = [0, 1, 2, 3, 5, 7, 8];

/// Which worker needs room where.
const NEEDS: [(&str, &str); 14] = [
    ("action-new", "spool"),
    ("action-new", "store"),
    ("command-ready", "relay"),
    ("command-ready", "store"),
    ("agent 1", "relay"),
    ("agent 1", "agent-1"),
    ("results", "spool"),
    ("command-returned", "spool"),
    ("command-returned", "store"),
    ("collector", "spool"),
    ("collector", "store"),
    ("heartbeats", "store"),
    ("periodic", "store"),
    ("register 1", "relay"),
];

#[derive(Debug, Clone, Copy)]
struct Case {
    worker: &'static str,
    place: &'static str,
    scarce: Scarce,
    room: usize,
}

impl Case {
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for (worker, place) in NEEDS {
            for scarce in [Scarce::Space, Scarce::Inodes] {
                cases.extend(ROOM.map(|room| Case { worker, place, scarce, room }));
            }
        }
        cases
    }

    /// Which steps of the way come before the worker's.
    fn prepare(&self, system: &mut System, now: Timestamp) {
        for step in ["action-new", "command-ready", "agents", "results", "command-returned"] {
            let before_collector = self.worker == "collector" && step == "agents";
            if step == self.worker || before_collector || (step == "agents" && self.worker == "agent 1") {
                return;
            }
            match step {
                "agents" => system.pass_agents(now),
                step => drop(system.pass(step, now)),
            }
        }
    }
}

/// How often the worker met the full disk, and what is wrong. None where nothing can be mounted.
fn run(case: Case) -> Option<(usize, Vec<String>)> {
    let sandbox = Arc::new(sandbox_in(&memory()));
    let place = sandbox.path(case.place);
    let disk = SmallDisk::mount(&place, case.scarce)?;
    let mut system = System::over(Arc::clone(&sandbox), AGENTS);
    let mut now = system.started;
    system.round(now);
    for n in 0..ACTIONS {
        let mut draft = sandbox.draft("full");
        draft["operations"] = json!([{"module": "file", "parameters": {"n": n}}]);
        sandbox.drop_bytes(&format!("{n}.json"), sandbox.sign(draft).to_string().as_bytes());
    }
    case.prepare(&mut system, now);
    if ["collector", "register 1"].contains(&case.worker) {
        now = time::after(now, Duration::from_secs(3600));
    }
    if case.worker == "heartbeats" {
        now = time::after(now, Duration::from_secs(60));
        system.register(now);
    }
    disk.fill(case.room);
    let (mut violations, mut free) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        match system.try_pass(case.worker, now) {
            Ok(_) => continue,
            Err(Failure::Retry { reason: text, .. }) => {
                let told = text.contains("No space left on device") || text.contains("disk is full");
                if !told || !text.contains(&place.display().to_string()) {
                    violations.push(format!("says '{text}'"));
                }
            }
            Err(other) => violations.push(format!("{other:?}")),
        }
        free.push(disk.files_free());
    }
    // A process that another test starts in this moment holds what was removed until it has begun; litter stays.
    let is_less = |free: &[u64]| free.len() == 4 && free[3] < free[1];
    let started = Instant::now();
    while is_less(&free) && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        free[3] = disk.files_free();
    }
    if is_less(&free) {
        violations.push(format!("with every try there is less room: {free:?}"));
    }
    disk.empty();
    for minutes in [0, 1, 2, 60, 61] {
        system.round(time::after(now, Duration::from_secs(60 * minutes)));
    }
    violations.extend(spool_check_with(&sandbox, &sandbox.path(DATABASE)));
    let expected = if case.worker == "collector" { "expired" } else { "success" };
    let commands = sandbox.commands("command/done");
    let good = commands.iter().filter(|(_, command)| command["status"] == expected).count();
    if good != ACTIONS * AGENTS || commands.len() != good || sandbox.names("action/done").len() != ACTIONS {
        violations.push(format!("{good} commands are {expected}: {:?}", sandbox.picture()));
    }
    for (number, n) in (1..=AGENTS).flat_map(|number| (0..ACTIONS).map(move |n| (number, n))) {
        let runs = system.runs(number, &json!({"n": n}));
        if runs != usize::from(case.worker != "collector") {
            violations.push(format!("agent {number} ran action {n} {runs} times"));
        }
    }
    violations.extend(names(&sandbox.path("relay/dead")).into_iter().map(|name| format!("relay/dead has {name}")));
    drop(system);
    drop(disk);
    Some((free.len(), violations))
}

#[test]
fn a_worker_whose_disk_is_full_loses_nothing() {
    let mut score = Score::begin("full disk, file by file");
    let cases = Case::all();
    let step = if is_full() { 1 } else { 5 };
    let (mut found, mut met) = (Vec::new(), 0);
    for case in cases.iter().step_by(step) {
        let Some((tries, violations)) = run(*case) else { return score.skip("nothing can be mounted here") };
        found.extend(violations.into_iter().map(|text| format!("{case:?}: {text}")));
        met += usize::from(tries > 0);
        score.add_runs(1);
    }
    score.end(&found, &format!("of {} cases, {met} of them without enough room", cases.len()));
}

/// A system with actions that are answered, and the answers are on the relay.
fn answered(sandbox: &Arc<Sandbox>) -> System {
    let mut system = System::over(Arc::clone(sandbox), AGENTS);
    let now = system.started;
    system.round(now);
    sandbox.drop_action("a.json");
    system.pass("action-new", now);
    system.pass("command-ready", now);
    system.pass_agents(now);
    system
}

#[test]
fn a_message_that_cannot_be_put_aside_holds_up_no_answer() {
    let mut score = Score::begin("full relay with a message to be refused");
    let sandbox = Arc::new(sandbox_in(&memory()));
    let Some(disk) = SmallDisk::mount(&sandbox.path("relay"), Scarce::Space) else {
        return score.skip("nothing can be mounted here");
    };
    let mut system = answered(&sandbox);
    let now = system.started;
    let queue = sandbox.path("relay/mig.agt.results");
    std::fs::write(queue.join("0.json"), "{}").unwrap();
    disk.fill(0);
    // What is taken in makes the room that the refused one's reason needs.
    let outcomes: Vec<_> = (0..3).map(|_| system.try_pass("results", now)).collect();
    let mut found = Vec::new();
    if !names(&queue).is_empty() || sandbox.names("command/returned").len() != AGENTS {
        found.push(format!("left on the relay: {:?} after {outcomes:?}", names(&queue)));
    }
    score.add_runs(1);
    score.end(&found, "");
}

#[test]
fn a_command_that_cannot_be_put_aside_holds_up_no_other() {
    let mut score = Score::begin("full relay with a command to be refused");
    let sandbox = Arc::new(sandbox_in(&memory()));
    let Some(disk) = SmallDisk::mount(&sandbox.path("relay"), Scarce::Space) else {
        return score.skip("nothing can be mounted here");
    };
    let mut system = System::over(Arc::clone(&sandbox), 1);
    let now = system.started;
    system.round(now);
    sandbox.drop_action("a.json");
    system.pass("action-new", now);
    system.pass("command-ready", now);
    let queue = names(&sandbox.path("relay")).into_iter().find(|name| name.starts_with("mig.agt.linux.")).unwrap();
    let queue = sandbox.path("relay").join(queue);
    std::fs::write(queue.join("0.json"), "{}").unwrap();
    disk.fill(0);
    let outcomes: Vec<_> = (0..4).map(|_| system.try_pass("agent 1", now)).collect();
    let mut found = Vec::new();
    // The answer itself has to wait for room.
    let answers = names(&sandbox.path("agent-1/answered")).len() + names(&sandbox.path("agent-1/done")).len();
    if !names(&queue).is_empty() || answers != 1 {
        found.push(format!("left on the relay: {:?} after {outcomes:?}", names(&queue)));
    }
    score.add_runs(1);
    score.end(&found, "");
}

#[test]
fn the_collector_makes_room_also_when_there_is_none() {
    let mut score = Score::begin("full spool with old files");
    let sandbox = Arc::new(sandbox_in(&memory()));
    let Some(disk) = SmallDisk::mount(&sandbox.spool(), Scarce::Space) else {
        return score.skip("nothing can be mounted here");
    };
    let mut system = answered(&sandbox);
    let now = system.started;
    system.pass("results", now);
    system.pass("command-returned", now);
    // One that is not answered: when it has expired the collector has to write it anew.
    sandbox.drop_action("b.json");
    system.pass("action-new", now);
    disk.fill(0);
    // By then everything that is done is old enough to be deleted.
    let later = time::after(now, Duration::from_secs(100 * 3600));
    let outcomes: Vec<_> = (0..3).map(|_| system.try_pass("collector", later)).collect();
    let mut found = Vec::new();
    if sandbox.names("command/returned").len() != AGENTS {
        found.push(format!("{:?} after {outcomes:?}", sandbox.picture()));
    }
    score.add_runs(1);
    score.end(&found, "");
}
