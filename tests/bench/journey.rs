//! From `cp` into action/new to the answer in command/done: one real agent, and many simulated ones.

use crate::common::Sandbox;
use crate::report::{Goal, Row};
use crate::workers::settle;
use crate::{RUNS, fleet, median, raw};
use std::time::{Duration, Instant};

/// Actions of one run with one agent.
const ACTIONS: usize = 20;
/// Agents of the fan-out.
const AGENTS: usize = 10_000;
/// What a file of a command goes through: adopted action, command, message, received, answer, its message, result.
const FILES_OF_A_JOURNEY: usize = 7;

/// Waits, looking often, until something is there.
pub fn wait(what: &str, condition: impl Fn() -> bool) {
    wait_looking_every(Duration::from_micros(200), what, condition);
}

/// Waits without taking the processor from who is measured.
pub fn wait_looking_every(pause: Duration, what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(120), "still not {what}");
        std::thread::sleep(pause);
    }
}

/// One action to one agent.
pub fn one_agent() -> Vec<Row> {
    let (mut values, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let sandbox = Sandbox::new();
        let scheduler = sandbox.start_scheduler();
        let agent = sandbox.start_agent(1);
        wait("registered", || {
            String::from_utf8_lossy(&sandbox.scheduler(&["--explain-target", "all"]).stdout).contains("1 agents")
        });
        let mut times = Vec::new();
        for n in 0..ACTIONS {
            let action = sandbox.sign(sandbox.draft("bench")).to_string();
            let started = Instant::now();
            sandbox.drop_bytes(&format!("{n}.json"), action.as_bytes());
            wait("answered", || sandbox.names("command/done").len() == n + 1);
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        values.push(median(&times));
        let file = vec![b' '; 3000];
        let files = vec![file; FILES_OF_A_JOURNEY * ACTIONS];
        let raw = raw::write_and_rename(&sandbox.path("raw"), &files, 1);
        raws.push(raw.as_secs_f64() * 1e3 / ACTIONS as f64);
        assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
    }
    let id = "cp to answer in command/done".into();
    let raw_is = "7 files written, synced, renamed, one after the other";
    vec![Row { id, values, unit: "ms", raw: raws, raw_is, goal: Goal::AtMost(50.0) }]
}

/// One action to many agents.
pub fn many_agents() -> Vec<Row> {
    let (mut rates, mut memory, mut raws) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let sandbox = Sandbox::new();
        fleet::register(&sandbox, AGENTS);
        let _answering = fleet::Answering::start(&sandbox);
        let scheduler = sandbox.start_scheduler();
        settle();
        let action = sandbox.sign(sandbox.draft("bench")).to_string();
        let started = Instant::now();
        sandbox.drop_bytes("all.json", action.as_bytes());
        wait("all done", || !sandbox.names("action/done").is_empty() && sandbox.names("command/returned").is_empty());
        rates.push(AGENTS as f64 / started.elapsed().as_secs_f64());
        memory.push(scheduler.mebibytes("VmHWM"));
        assert_eq!(sandbox.names("command/done").len(), AGENTS);
        assert_eq!(sandbox.only("action/done")["counters"]["success"], AGENTS);
        assert_eq!(scheduler.terminate(), Some(0));
        settle();
        // A command, its message, and its result.
        let files = vec![vec![b' '; 2000]; 3 * AGENTS];
        let raw = raw::write_and_rename(&sandbox.path("raw"), &files, mig::limits::BATCH_ENTRIES_MAX);
        raws.push(AGENTS as f64 / raw.as_secs_f64());
    }
    let (id, raw_is) = (format!("{AGENTS} commands, end to end"), "3 files of each written, synced per batch, renamed");
    let memory_id = "scheduler's memory in that, at most".into();
    vec![
        Row { id, values: rates, unit: "commands/s", raw: raws, raw_is, goal: Goal::AtLeast(1000.0) },
        Row { id: memory_id, values: memory, unit: "MiB", raw: vec![], raw_is: "", goal: Goal::AtMost(100.0) },
    ]
}
