//! Each worker alone over many files, syncs on, beside the raw limit of the same files.

use crate::common::{Sandbox, names};
use crate::report::{Goal, Row};
use crate::{RUNS, fleet, raw};
use mig::limits::BATCH_ENTRIES_MAX;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const FILES: usize = 10_000;

/// The order in which the workers are measured: each leaves behind what the next one drains.
const WORKERS: [&str; 5] = ["action-new", "command-ready", "results", "command-returned", "collector"];

/// The rates of all workers.
pub fn measure() -> Vec<Row> {
    let mut rows: Vec<Row> = WORKERS.iter().map(|worker| row(worker)).collect();
    (0..RUNS).for_each(|_| run(&mut rows));
    rows
}

/// The rate of action-new when each action is for one agent.
pub fn one_command_each() -> Vec<Row> {
    let mut row = row("action-new, one command each");
    for _ in 0..RUNS {
        let sandbox = Sandbox::new();
        fleet::register(&sandbox, 1);
        (0..FILES).for_each(|n| sandbox.drop_action(&format!("{n:05}.json")));
        // Of each it writes two files: the action with its id, and the command.
        let actions = contents(&sandbox.spool().join("action/new"));
        let files: Vec<_> = actions.iter().flat_map(|action| [action.clone(), command_like(action)]).collect();
        time(&mut row, &sandbox, "action-new", &files);
        assert_eq!(sandbox.names("command/ready").len(), FILES);
    }
    vec![row]
}

fn row(worker: &str) -> Row {
    let raw_is = "the same files written, synced per batch, renamed";
    let id = format!("{worker}: {FILES} files");
    Row { id, values: Vec::new(), unit: "files/s", raw: Vec::new(), raw_is, goal: Goal::RatioAtLeast(0.5) }
}

/// One action for many agents through all the workers.
fn run(rows: &mut [Row]) {
    let sandbox = Sandbox::new();
    fleet::register(&sandbox, FILES);
    sandbox.drop_action("all.json");
    for (worker, row) in WORKERS.iter().zip(rows) {
        if *worker == "results" {
            fleet::answer_waiting(&sandbox);
        }
        let files = match *worker {
            "action-new" => {
                let action = std::fs::read(sandbox.spool().join("action/new/all.json")).unwrap();
                vec![command_like(&action); FILES]
            }
            "command-ready" => contents(&sandbox.spool().join("command/ready")),
            "results" => contents(&sandbox.path("relay/mig.agt.results")),
            "command-returned" => contents(&sandbox.spool().join("command/returned")),
            _ => expire(&sandbox),
        };
        time(row, &sandbox, worker, &files);
    }
    assert_eq!(sandbox.names("command/returned").len(), FILES);
}

/// As long as a command, which is its action with the agent and some fields: what is written is known only afterwards.
fn command_like(action: &[u8]) -> Vec<u8> {
    [action, &[b' '; 600]].concat()
}

fn contents(directory: &Path) -> Vec<Vec<u8>> {
    names(directory).iter().map(|name| std::fs::read(directory.join(name)).unwrap()).collect()
}

/// Has another action in flight that runs out before it is answered.
fn expire(sandbox: &Sandbox) -> Vec<Vec<u8>> {
    let now = mig::time::now();
    let until = mig::time::after(now, std::time::Duration::from_secs(20));
    let action =
        sandbox.sign_window(sandbox.draft("short"), mig::time::before(now, std::time::Duration::from_secs(60)), until);
    sandbox.drop_bytes("short.json", action.to_string().as_bytes());
    sandbox.once("action-new,command-ready");
    let files = contents(&sandbox.spool().join("command/inflight"));
    assert_eq!(files.len(), FILES);
    let grace = mig::limits::EXPIRY_GRACE + std::time::Duration::from_millis(100);
    std::thread::sleep(mig::time::until(mig::time::now(), mig::time::after(until, grace)));
    files
}

fn time(row: &mut Row, sandbox: &Sandbox, worker: &str, files: &[Vec<u8>]) {
    settle();
    row.raw.push(FILES as f64 / raw::write_and_rename(&sandbox.path("raw"), files, BATCH_ENTRIES_MAX).as_secs_f64());
    settle();
    let started = Instant::now();
    sandbox.once(worker);
    row.values.push(FILES as f64 / started.elapsed().as_secs_f64());
}

/// What was written before must not be paid for by what is measured.
pub fn settle() {
    assert!(Command::new("sync").status().unwrap().success());
}
