//! Events of persistent modules on their way: kept on the agent, sent by it, collected by the scheduler.
//!
//! Under `--once` an agent runs no persistent module. So what keeps events is this test binary, started again: the agent's
//! worker, around a script in place of the module, with a clock that does not wait for the pauses between batches.

use super::common::{Sandbox, events, json_lines, names, text, write_program};
use super::harness;
use mig::agent::persistent::Persistent;
use mig::error::{ExitClass, ProgramError};
use mig::event::{BatchId, EventBatch};
use mig::failure::Failure;
use mig::heartbeat::QueueLoc;
use mig::limits::RETRY_PAUSE_MIN;
use mig::modules::persistent::Wanted;
use mig::spool::{Mover, stages};
use mig::time;
use mig::wake::Sleeper;
use mig::worker::Worker;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A part of the way.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    /// The agent's worker that keeps what a module prints.
    Keeping,
    /// The agent, whose spool has batches.
    Sending,
    /// The scheduler's worker `events`.
    Collecting,
}

use Part::{Collecting, Keeping};

/// Events of one batch that is prepared.
const EVENTS_PER_BATCH: usize = 3;

/// How long a process may take to keep its events. On a quiet machine it is a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each event has its number, and some text: a batch is more than one page.
fn event(number: usize) -> Value {
    json!({"n": number, "text": "x".repeat(3000)})
}

/// Prints so many events, each when the one before is in a batch, for as long as its parent lives.
fn script(sandbox: &Sandbox, files: usize) -> String {
    let directory = sandbox.path("agent-1/events");
    let event = event(0).to_string().replace("\"n\":0", "\"n\":%d");
    format!(
        "cd '{}' || exit\nn=0 before=$(ls | wc -l)\n\
        while [ $n -lt {files} ]; do\n\
        printf '{event}\\n' $n\nn=$((n + 1))\n\
        until [ $(ls | wc -l) -ge $((before + n)) ]; do [ -d /proc/$PPID ] || exit; sleep 0.01; done\n\
        done\n\
        while [ -d /proc/$PPID ]; do sleep 0.02; done",
        directory.display()
    )
}

/// Brings so many batches to where the part has them before it.
pub fn prepare(sandbox: &Sandbox, part: Part, files: usize) {
    events::collect(sandbox);
    sandbox.register(1);
    sandbox.once("events");
    if part == Keeping {
        std::fs::write(sandbox.path("files"), files.to_string()).unwrap();
        return write_program(&sandbox.path("module"), &script(sandbox, files));
    }
    for file in 0..files {
        let numbers = file * EVENTS_PER_BATCH..(file + 1) * EVENTS_PER_BATCH;
        let batch = EventBatch {
            id: BatchId::new(time::now()).unwrap(),
            queueloc: QueueLoc::parse("linux.web.x1").unwrap(),
            module: "fswatch".into(),
            dropped: 0,
            events: numbers.map(|number| event(number).as_object().unwrap().clone()).collect(),
        };
        std::fs::write(sandbox.path(&format!("agent-1/events/{}.json", batch.id)), batch.to_json()).unwrap();
    }
    if part == Collecting {
        sandbox.agent_once(1);
    }
}

/// Starts the process that keeps events.
pub fn keeping(sandbox: &Sandbox) -> Command {
    let mut command = harness::command("events::keeping_process");
    command.env("MIG_TEST_EVENTS", sandbox.path(""));
    command
}

/// The worker as a process, until it has kept what its module prints.
#[test]
fn keeping_process() {
    let Ok(sandbox) = std::env::var("MIG_TEST_EVENTS") else { return };
    harness::outnumber();
    if let Err(error) = keep(Path::new(&sandbox)) {
        eprintln!("{}", error.text);
        std::process::exit(error.class as i32);
    }
}

/// Runs the worker as an agent does, with the agent's lock.
fn keep(sandbox: &Path) -> Result<(), ProgramError> {
    let directory = sandbox.join("agent-1");
    let open = |owner: &str| Mover::open(&directory, &stages::AGENT, owner);
    let agent = open("agent")?;
    let _lock = agent.lock().map_err(|error| error.at_start("agent.rundir"))?;
    agent.recover()?;
    let kept = || agent.spool().list(stages::AGENT_EVENTS).map(|names| names.len());
    let before = kept()?;
    let files: usize = std::fs::read_to_string(sandbox.join("files")).ok().and_then(|n| n.parse().ok()).unwrap();
    let wanted = Wanted { module: "fswatch", parameters: json!({"paths": ["/etc"]}) };
    let queueloc = QueueLoc::parse("linux.web.x1").unwrap();
    let mut worker = Persistent::new(wanted, sandbox.join("module"), queueloc, open("fswatch")?);
    let sleeper = Sleeper::new();
    worker.watch(sleeper.waker())?;
    // It runs ahead, by less than a minute for each batch, and never behind that of the process before this one.
    let mut now = time::after(time::now(), Duration::from_secs(60) * before as u32);
    let (began, mut is_recovered) = (Instant::now(), false);
    while began.elapsed() < PATIENCE {
        let passed = if is_recovered { Ok(()) } else { worker.recover(now) }.and_then(|()| worker.pass(now));
        is_recovered = passed.is_ok();
        match passed {
            Err(failure @ Failure::End(_)) => return Err(failure.into()),
            Err(failure) => {
                eprintln!("{failure}");
                now = time::after(now, RETRY_PAUSE_MIN);
            }
            Ok(_) if kept()? >= before + files => return Ok(()),
            Ok(pass) => match pass.again {
                Some(again) => now = again,
                None => sleeper.sleep(Some(Duration::from_secs(1))),
            },
        }
    }
    Err(ProgramError::new(ExitClass::TemporaryFailure, format!("{} of {files} events are kept", kept()? - before)))
}

/// Each event is there, in order; and again, from the first on, for each process that noticed them anew. `ended` are the
/// processes, the last of which had no fault.
pub fn violations(sandbox: &Sandbox, part: Part, files: usize, ended: &[&Output]) -> Vec<String> {
    sandbox.agent_once(1);
    sandbox.once("events");
    let mut violations = Vec::new();
    let (mut whole, mut begun, mut next) = (0, 0, 0);
    let events = if part == Keeping { files } else { files * EVENTS_PER_BATCH };
    for name in sandbox.names("event/new") {
        let bytes = std::fs::read_to_string(sandbox.spool().join("event/new").join(&name)).unwrap();
        let Some(lines) = json_lines(&bytes) else {
            violations.push(format!("{name} is torn"));
            continue;
        };
        for line in lines {
            let number = line["event"]["n"].as_u64().map_or(usize::MAX, |number| number as usize);
            if number == 0 {
                (begun, next) = (begun + 1, 0);
            }
            if line["event"] != event(next) {
                violations.push(format!("{name}: event {number}, not {next}"));
            }
            next = number.wrapping_add(1);
            whole += usize::from(next == events);
        }
    }
    let well = ended.iter().filter(|output| output.status.success()).count();
    let (least, most) = if part == Keeping { (well, ended.len()) } else { (1, 1) };
    if whole < least || begun > most {
        let outputs: String = ended.iter().map(|output| text(output)).collect();
        violations.push(format!("{begun} begun, {whole} whole, expected {least} to {most}: {outputs}"));
    }
    for directory in
        ["agent-1/events", "agent-1/invalid", "agent-1/tmp", "relay/mig.agt.events", "relay/dead", "spool/tmp"]
    {
        let left = names(&sandbox.path(directory));
        if !left.is_empty() {
            violations.push(format!("{directory}: {left:?}"));
        }
    }
    violations
}
