//! The kernel keeps 16,384 notifications for a program and drops the rest. The scheduler is stopped (SIGSTOP) while many
//! more happen in every directory that it watches, and continued: everything that came meanwhile is found. The sweeps are
//! an hour apart, so it is the listing after an overflow that finds it.

use super::{inotify_watches, is_full, signal, spool_check};
use crate::common::score::Score;
use crate::common::{Sandbox, names, status};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;

const AGENTS: usize = 2;
/// Actions that are answered, on their way, and dropped, when the scheduler is stopped.
const ANSWERED: usize = 12;
const ON_THE_WAY: usize = 12;
const GOOD: usize = 36;
/// Notifications that one program can be behind with: fs.inotify.max_queued_events as every kernel has it.
const QUEUE: usize = 16_384;

/// More notifications than are kept, all of them about nothing.
fn flood(directory: &Path) {
    let hidden = [directory.join(".noise-0"), directory.join(".noise-1")];
    for n in 0..QUEUE {
        // Never the same file twice in a row: two equal notifications in a row are one.
        std::fs::write(&hidden[n % 2], "").unwrap();
    }
    hidden.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// Drops that are refused, with good ones at random places among them. Returns the names of those to be refused.
fn drop_many(sandbox: &Sandbox, count: usize, seed: u64) -> BTreeSet<String> {
    let mut random = seed | 1;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % limit
    };
    let mut places = BTreeSet::new();
    while places.len() < GOOD {
        places.insert(below(count));
    }
    let mut refused = BTreeSet::new();
    for n in 0..count {
        let name = format!("{:06}-{n}.json", below(1_000_000));
        if places.contains(&n) {
            sandbox.drop_action(&name);
        } else {
            sandbox.drop_bytes(&name, if n % 2 == 0 { b"{]" } else { b"[]" });
            refused.insert(name);
        }
    }
    refused
}

fn drop_actions(sandbox: &Sandbox, prefix: &str, count: usize) {
    (0..count).for_each(|n| sandbox.drop_action(&format!("{prefix}-{n}.json")));
}

#[test]
fn what_came_while_notifications_overflowed_is_found() {
    let seed = u64::from(std::process::id()) * 7919;
    let mut score = Score::begin("stopped while notifications overflow").with_seed(seed);
    let sandbox = Sandbox::new();
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), cfg.replace("freq = \"1s\"", "freq = \"1h\"")).unwrap();
    sandbox.register(AGENTS);
    drop_actions(&sandbox, "answered", ANSWERED);
    sandbox.once("action-new,command-ready");
    (1..=AGENTS).for_each(|number| drop(sandbox.agent_once(number)));
    sandbox.once("results,command-returned");
    drop_actions(&sandbox, "on the way", ON_THE_WAY);
    sandbox.once("action-new,command-ready");

    let scheduler = sandbox.start_scheduler();
    sandbox.wait("watching", |_| inotify_watches(scheduler.0.id()) == 5);
    signal(&scheduler, Signal::STOP);
    sandbox.wait("stopped", |_| status::line(scheduler.0.id(), "State").starts_with('T'));
    for stage in ["action/new", "command/ready", "command/returned"] {
        flood(&sandbox.spool().join(stage));
    }
    for queue in ["mig.agt.results", "mig.agt.heartbeats"] {
        flood(&sandbox.path("relay").join(queue));
    }
    for name in sandbox.names("command/done") {
        std::fs::rename(
            sandbox.spool().join("command/done").join(&name),
            sandbox.spool().join("command/ready").join(&name),
        )
        .unwrap();
    }
    // Answers, and a heartbeat each.
    (1..=AGENTS).for_each(|number| drop(sandbox.agent_once(number)));
    let count = if is_full() { 100_000 } else { 20_000 };
    let refused = drop_many(&sandbox, count, seed);
    signal(&scheduler, Signal::CONT);

    for left in (0..count).step_by(5_000).rev() {
        sandbox.wait("going on", |s| std::fs::read_dir(s.spool().join("action/new")).unwrap().count() <= left);
    }
    let queue = |name: &str| names(&sandbox.path("relay").join(name));
    sandbox.wait("taken in", |s| {
        s.names("action/new").is_empty()
            && s.names("command/ready").is_empty()
            && s.names("command/returned").is_empty()
            && queue("mig.agt.results").is_empty()
            && queue("mig.agt.heartbeats").is_empty()
    });
    (1..=AGENTS).for_each(|number| drop(sandbox.agent_once(number)));
    let actions = ANSWERED + ON_THE_WAY + GOOD;
    sandbox
        .wait("done", |s| s.names("command/done").len() == actions * AGENTS && s.names("action/done").len() == actions);
    let memory = scheduler.mebibytes("VmHWM");
    assert_eq!(scheduler.terminate(), Some(0));
    sandbox.once("collector");

    let mut found = spool_check(&sandbox);
    let invalid: BTreeSet<String> = sandbox.names("action/invalid").into_iter().collect();
    let files: BTreeSet<String> = invalid.iter().filter(|name| !name.ends_with(".reason")).cloned().collect();
    if files != refused || invalid.len() != 2 * files.len() {
        found.push(format!(
            "{} files were to be refused, {} were, {} names are there",
            refused.len(),
            files.len(),
            invalid.len()
        ));
    }
    for name in sandbox.names("action/done") {
        let counters = &crate::common::json_file(&sandbox.spool().join("action/done").join(&name))["counters"];
        if *counters != serde_json::json!({"sent": AGENTS, "done": AGENTS, "success": AGENTS}) {
            found.push(format!("{name}: {counters}"));
        }
    }
    score.add_runs(count);
    score.end(&found, &format!("the scheduler took {memory:.0} MiB at most"));
}
