//! kill -9 of scheduler and agents at random moments: nothing is lost, nothing runs twice, the counters add up.
//!
//! The journal of what was executed lies outside the system: in place of the module's process the agents start a script
//! that appends its parameters to a file. `MIG_CRASH_SEEDS` says how many seeds are tried, `MIG_CRASH_SEED` where they
//! begin; each run prints its seed.

use crate::common::recorder::write_recorder;
use crate::common::score::Score;
use crate::common::{self, Background, Random, Sandbox, names, text};
use mig::id::CommandRef;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const AGENTS: usize = 4;
const ACTIONS: usize = 50;
const KILLS: usize = 14;

fn start_agent(sandbox: &Sandbox, number: usize) -> Background {
    let cfg = sandbox.agent_cfg(number);
    let script = format!("{cfg}.sh");
    if !Path::new(&script).exists() {
        write_recorder(Path::new(&script), &sandbox.path(&format!("journal-{number}")));
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "agent_process", "--nocapture"]).env("MIG_TEST_AGENT", cfg);
    Background::start(command, sandbox.path(&format!("agent-{number}.log")))
}

/// How often each agent executed each action.
fn journal(sandbox: &Sandbox) -> HashMap<(usize, u64), usize> {
    let mut executed = HashMap::new();
    for number in 1..=AGENTS {
        let text = std::fs::read_to_string(sandbox.path(&format!("journal-{number}"))).unwrap_or_default();
        for line in text.lines() {
            let parameters: Value = serde_json::from_str(line).unwrap();
            *executed.entry((number, parameters["n"].as_u64().unwrap())).or_default() += 1;
        }
    }
    executed
}

fn drop_one(sandbox: &Sandbox, n: usize) {
    let mut draft = sandbox.draft(&format!("action {n}"));
    draft["operations"] = json!([{"module": "file", "parameters": {"n": n}}]);
    sandbox.drop_bytes(&format!("{n:03}.json"), sandbox.sign(draft).to_string().as_bytes());
}

/// Runs one seed; returns how often agents were killed.
fn run(sandbox: &Sandbox, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut scheduler = Some(sandbox.start_scheduler());
    let mut agents: Vec<Option<Background>> = (1..=AGENTS).map(|number| Some(start_agent(sandbox, number))).collect();
    let all = format!("\n{AGENTS} agents\n");
    sandbox.wait("registered", |s| text(&s.scheduler(&["--explain-target", "all"])).contains(&all));
    let (mut dropped, mut kills, mut agent_kills) = (0, 0, 0);
    while dropped < ACTIONS || kills < KILLS {
        if dropped < ACTIONS {
            drop_one(sandbox, dropped);
            dropped += 1;
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        if kills < KILLS && random.below(3) == 0 {
            kills += 1;
            match random.below(2) {
                0 => {
                    scheduler.take().unwrap().kill();
                    scheduler = Some(sandbox.start_scheduler());
                }
                _ => {
                    let index = random.below(AGENTS as u64) as usize;
                    agents[index].take().unwrap().kill();
                    agents[index] = Some(start_agent(sandbox, index + 1));
                    agent_kills += 1;
                }
            }
        }
    }
    sandbox.wait("all done", |s| {
        s.names("action/done").len() == ACTIONS && s.names("command/done").len() == ACTIONS * AGENTS
    });
    for process in agents.into_iter().chain([scheduler]).flatten() {
        // None: it was killed a moment ago, and the signal came before the new one listened to signals.
        assert!(matches!(process.terminate(), Some(0) | None));
    }
    agent_kills
}

fn check(sandbox: &Sandbox, agent_kills: usize) -> Vec<String> {
    let mut violations = Vec::new();
    let executed = journal(sandbox);
    violations.extend(
        executed.iter().filter(|(_, times)| **times > 1).map(|(what, times)| format!("{what:?} ran {times} times")),
    );
    let mut store = SqliteStore::open(&sandbox.path("mig.db")).unwrap();
    let mut interrupted = 0;
    let mut seen = HashMap::new();
    for (reference, command) in sandbox.commands("command/done") {
        let n = command["action"]["operations"][0]["parameters"]["n"].as_u64().unwrap();
        let number: usize = command["agent"]["tags"]["number"].as_str().unwrap().parse().unwrap();
        *seen.entry((number, n)).or_insert(0) += 1;
        let ran = executed.get(&(number, n)).copied().unwrap_or(0);
        match (command["status"].as_str().unwrap(), &command["results"][0]["errors"]) {
            ("success", _) if ran == 1 => {}
            ("success", _) => violations.push(format!("{reference}: reported and not run")),
            ("failed", errors) if *errors == json!(["interrupted"]) => interrupted += 1,
            other => violations.push(format!("{reference}: {other:?}")),
        }
        let status = store.find_commands(&[reference]).unwrap().remove(0).unwrap().status;
        if Some(status.as_str()) != command["status"].as_str() {
            violations.push(format!("{reference}: store says {status}, spool says {}", command["status"]));
        }
    }
    for pair in (1..=AGENTS).flat_map(|number| (0..ACTIONS as u64).map(move |n| (number, n))) {
        if seen.get(&pair) != Some(&1) {
            violations.push(format!("{pair:?} has {:?} commands", seen.get(&pair)));
        }
    }
    if interrupted > agent_kills {
        violations.push(format!("{interrupted} interrupted by {agent_kills} kills"));
    }
    violations.extend(check_actions(sandbox));
    violations.extend(check_leftovers(sandbox));
    violations
}

fn check_actions(sandbox: &Sandbox) -> Vec<String> {
    let mut violations = Vec::new();
    let read = |name: &String| common::json_file(&sandbox.spool().join("action/done").join(name));
    let commands = sandbox.commands("command/done");
    for action in sandbox.names("action/done").iter().map(read) {
        let of_action = |(reference, _): &&(CommandRef, Value)| Some(reference.action.get()) == action["id"].as_u64();
        let success = commands.iter().filter(of_action).filter(|(_, command)| command["status"] == "success").count();
        let counters = &action["counters"];
        let right = counters["sent"] == AGENTS
            && counters["done"] == AGENTS
            && counters["success"].as_u64().unwrap_or(0) as usize == success;
        if !right || action["status"] != "completed" {
            violations
                .push(format!("action {}: {} with {counters}, {success} succeeded", action["id"], action["status"]));
        }
    }
    violations
}

fn check_leftovers(sandbox: &Sandbox) -> Vec<String> {
    let script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spool-check"))
        .args(["--settled", "--db"])
        .arg(sandbox.path("mig.db"))
        .arg("-s")
        .arg(sandbox.spool())
        .output()
        .unwrap();
    let mut violations = Vec::new();
    if !script.status.success() {
        violations.push(format!("spool-check: {}", text(&script)));
    }
    let mut empty: Vec<String> = vec!["relay/mig.agt.results".into(), "relay/dead".into(), "relay/tmp".into()];
    empty.extend(
        names(&sandbox.path("relay"))
            .into_iter()
            .filter(|name| name.starts_with("mig.agt.linux"))
            .map(|name| format!("relay/{name}")),
    );
    empty.extend(
        (1..=AGENTS).flat_map(|n| {
            ["received", "running", "answered", "invalid", "tmp"].map(|stage| format!("agent-{n}/{stage}"))
        }),
    );
    violations.extend(empty.into_iter().filter_map(|directory| {
        let left = names(&sandbox.path(&directory));
        (!left.is_empty() && directory != "relay/tmp").then(|| format!("{directory}: {left:?}"))
    }));
    violations
}

#[test]
fn killed_at_random_nothing_is_lost_and_nothing_runs_twice() {
    let first = common::seed("MIG_CRASH_SEED");
    let mut score = Score::begin("kill -9 at random moments").with_seed(first);
    let mut found = Vec::new();
    for seed in first..first + common::number("MIG_CRASH_SEEDS").unwrap_or(4) {
        println!("MIG_CRASH_SEED={seed}");
        let sandbox = Sandbox::new();
        let agent_kills = run(&sandbox, seed);
        let violations = check(&sandbox, agent_kills);
        found.extend(violations.into_iter().map(|text| format!("seed {seed}, {agent_kills} agents killed: {text}")));
        score.add_runs(1);
    }
    score.end(&found, "");
}
