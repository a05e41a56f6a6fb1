//! An agent with its configuration inside: what it weighs, how soon it is there, what a month costs, what its limits cost.

use crate::common::stamped::{configuration, stamp};
use crate::common::{Background, Sandbox, names, text};
use crate::journey::wait;
use crate::report::{Goal, Row};
use crate::{RUNS, median};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mig-agent");
/// 30 days of a heartbeat every five minutes.
const HEARTBEATS_OF_A_MONTH: usize = 30 * 24 * 12;
/// A heartbeat looks at everything of the machine again, and the next follows at once.
const HURRY: &str = "heartbeatfreq = '1ms'\nrefreshenv = '1ms'";
const OPERATIONS: usize = 50;

fn make(sandbox: &Sandbox, configuration: &str) -> PathBuf {
    let (program, output) = stamp(sandbox, PROGRAM, configuration, &[]);
    assert!(output.status.success(), "{}", text(&output));
    program
}

fn start(sandbox: &Sandbox, program: &Path) -> Background {
    let mut command = Command::new(program);
    command.args(["-f", "-c", ""]);
    Background::start(command, sandbox.path("agent-1.log"))
}

fn heartbeats(sandbox: &Sandbox) -> usize {
    names(&sandbox.path("relay/mig.agt.heartbeats")).len()
}

fn descriptors(agent: &Background) -> f64 {
    std::fs::read_dir(format!("/proc/{}/fd", agent.0.id())).unwrap().count() as f64
}

/// Growth of memory and descriptors between the first tenth of a month's heartbeats and the last.
fn month() -> (f64, f64) {
    let sandbox = Sandbox::new();
    sandbox.once("heartbeats,results");
    let quiet = configuration(&sandbox).replace("level = 'debug'", "level = 'err'");
    let agent = start(&sandbox, &make(&sandbox, &quiet.replace("heartbeatfreq = '30s'", HURRY)));
    let queue = sandbox.path("relay/mig.agt.heartbeats");
    let mut seen = 0;
    let mut early = None;
    while seen < HEARTBEATS_OF_A_MONTH {
        for name in names(&queue) {
            seen += usize::from(std::fs::remove_file(queue.join(name)).is_ok());
        }
        if early.is_none() && seen > HEARTBEATS_OF_A_MONTH / 10 {
            early = Some((agent.mebibytes("VmRSS"), descriptors(&agent)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (memory, files) = early.unwrap();
    (agent.mebibytes("VmRSS") - memory, descriptors(&agent) - files)
}

/// Milliseconds of an operation that finds nothing to do.
fn operation(arguments: &[&str]) -> f64 {
    let times = (0..OPERATIONS).map(|_| {
        let started = Instant::now();
        let mut command = Command::new(PROGRAM);
        let child = command.args(arguments).args(["-m", "file", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(br#"{"searches":{"s":{"paths":["/etc/hostname"]}}}"#).unwrap();
        child.wait().unwrap();
        started.elapsed().as_secs_f64() * 1e3
    });
    median(&times.collect::<Vec<_>>())
}

/// All of these figures.
pub fn measure() -> Vec<Row> {
    let (mut sizes, mut first, mut memory, mut grown, mut opened) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut confined, mut free) = (vec![], vec![]);
    for _ in 0..RUNS {
        let sandbox = Sandbox::new();
        sandbox.once("heartbeats,results");
        let program = make(&sandbox, &configuration(&sandbox));
        sizes.push(std::fs::metadata(&program).unwrap().len() as f64 / 1e6);
        let started = Instant::now();
        let agent = start(&sandbox, &program);
        wait("registered", || heartbeats(&sandbox) > 0);
        first.push(started.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_secs(2));
        memory.push(agent.mebibytes("VmRSS"));
        let (more, files) = month();
        grown.push(more);
        opened.push(files);
        confined.push(operation(&["--limited"]));
        free.push(operation(&[]));
    }
    let row = |id: &str, values: Vec<f64>, unit, most: f64| {
        let id = format!("stamped agent, {id}");
        Row { id, values, unit, raw: vec![], raw_is: "", goal: Goal::AtMost(most) }
    };
    let added = confined.iter().zip(&free).map(|(confined, free)| confined - free).collect();
    vec![
        row("its file", sizes, "MB", 20.0),
        row("start to first heartbeat", first, "ms", 300.0),
        row("idle", memory, "MiB", 9.0),
        row("memory that 30 days of heartbeats add", grown, "MiB", 0.5),
        row("descriptors that they add", opened, "", 0.0),
        row("time that its limits add to an operation", added, "ms", 2.0),
    ]
}
