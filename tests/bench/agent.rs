//! The real agent: memory while idle, one command, many commands.

use crate::common::{Background, Sandbox, names};
use crate::journey::wait;
use crate::report::{Goal, Row};
use crate::{RUNS, median, raw};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const COMMANDS_ALONE: usize = 30;
const COMMANDS_QUEUED: usize = 50;
/// What the agent writes for a command: received, answer, message.
const FILES_OF_A_COMMAND: usize = 3;

/// A sandbox with an agent that runs, and commands for it that are not delivered yet.
struct Endpoint {
    sandbox: Sandbox,
    commands: Vec<PathBuf>,
    queue: PathBuf,
    agent: Background,
}

impl Endpoint {
    fn start(commands: usize) -> Endpoint {
        let sandbox = Sandbox::new();
        sandbox.register(1);
        (0..commands).for_each(|n| sandbox.drop_action(&format!("{n:03}.json")));
        sandbox.once("action-new");
        let ready = sandbox.spool().join("command/ready");
        let commands = names(&ready).iter().map(|name| ready.join(name)).collect();
        let queue = names(&sandbox.path("relay")).into_iter().find(|name| name.starts_with("mig.agt.linux")).unwrap();
        let queue = sandbox.path("relay").join(queue);
        let beat = || names(&sandbox.path("relay/mig.agt.heartbeats")).len();
        let before = beat();
        let agent = sandbox.start_agent(1);
        wait("started", || beat() > before);
        Endpoint { sandbox, commands, queue, agent }
    }

    /// Delivers some of the commands, the way a relay does, and waits for as many answers.
    fn answer(&mut self, count: usize) -> Duration {
        let results = self.sandbox.path("relay/mig.agt.results");
        let before = names(&results).len();
        let delivered = self.commands.split_off(self.commands.len() - count);
        let started = Instant::now();
        for command in delivered {
            std::fs::rename(&command, self.queue.join(command.file_name().unwrap())).unwrap();
        }
        wait("answered", || names(&results).len() == before + count);
        started.elapsed()
    }
}

/// All of the agent's figures.
pub fn measure() -> Vec<Row> {
    let (mut memory, mut alone, mut queued) = (Vec::new(), Vec::new(), Vec::new());
    let (mut raw_alone, mut raw_queued) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut endpoint = Endpoint::start(COMMANDS_ALONE + COMMANDS_QUEUED);
        let times: Vec<f64> = (0..COMMANDS_ALONE).map(|_| endpoint.answer(1).as_secs_f64() * 1e3).collect();
        alone.push(median(&times));
        queued.push(COMMANDS_QUEUED as f64 / endpoint.answer(COMMANDS_QUEUED).as_secs_f64());
        std::thread::sleep(Duration::from_millis(500));
        memory.push(endpoint.agent.mebibytes("VmRSS"));
        assert_eq!(endpoint.agent.terminate(), Some(0));
        let directory = endpoint.sandbox.path("raw");
        let files = vec![vec![b' '; 3000]; FILES_OF_A_COMMAND * COMMANDS_ALONE];
        raw_alone.push(raw::write_and_rename(&directory, &files, 1).as_secs_f64() * 1e3 / COMMANDS_ALONE as f64);
        let files = vec![vec![b' '; 3000]; FILES_OF_A_COMMAND * COMMANDS_QUEUED];
        let raw = raw::write_and_rename(&directory, &files, 1).as_secs_f64();
        raw_queued.push(COMMANDS_QUEUED as f64 / raw);
    }
    let raw_is = "3 files of each written, synced, renamed, one after the other";
    vec![
        Row {
            id: "agent, idle after its commands".into(),
            values: memory,
            unit: "MiB",
            raw: vec![],
            raw_is: "",
            goal: Goal::AtMost(8.0),
        },
        Row {
            id: "agent, delivery to result".into(),
            values: alone,
            unit: "ms",
            raw: raw_alone,
            raw_is,
            goal: Goal::AtMost(10.0),
        },
        Row {
            id: format!("agent, {COMMANDS_QUEUED} queued commands"),
            values: queued,
            unit: "commands/s",
            raw: raw_queued,
            raw_is,
            goal: Goal::AtLeast(300.0),
        },
    ]
}
