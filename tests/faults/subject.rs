//! What faults are put into: a worker, all of them, the agent, a part of the way of events, or one end of the directory
//! relay; and what must be true afterwards.

use super::common::{self, Sandbox, names, text};
use super::events::{self, Part};
use super::matrix::Fault;
use super::relay_end;
use mig::action::Action;
use mig::signature::{generate_key, restore_armor, sign_with_key};
use mig::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// Who is hit.
#[derive(Clone, Copy, PartialEq)]
pub enum Subject {
    /// One of the scheduler's workers, or several, as `--only` takes them.
    Worker(&'static str),
    /// The worker action-new where two must sign: one signature is beside the action, before it or while it waits.
    Approval,
    /// All of the scheduler's workers in one process.
    Scheduler,
    /// The agent.
    Agent,
    /// What keeps, sends or collects events of persistent modules.
    Events(Part),
    /// The sending end of the directory relay.
    RelaySend,
    /// The receiving end.
    RelayReceive,
}

use Subject::{Agent, Approval, Events, RelayReceive, RelaySend, Scheduler, Worker};

/// Everybody, each alone.
pub const ALL: [Subject; 11] = [
    Worker("action-new"),
    Worker("command-ready"),
    Agent,
    Worker("results"),
    Worker("command-returned"),
    Worker("collector"),
    Events(Part::Keeping),
    Events(Part::Sending),
    Events(Part::Collecting),
    RelaySend,
    RelayReceive,
];

impl Subject {
    /// For the scoreboard.
    pub fn name(self) -> &'static str {
        match self {
            Worker(name) => name,
            Approval => "approval",
            Scheduler => "scheduler",
            Agent => "agent",
            Events(Part::Keeping) => "events, keeping",
            Events(Part::Sending) => "events, sending",
            Events(Part::Collecting) => "events, collecting",
            RelaySend => "relay, sending",
            RelayReceive => "relay, receiving",
        }
    }

    /// Whether it is this test binary, in a thread of the test harness.
    pub fn is_in_harness(self) -> bool {
        matches!(self, RelaySend | RelayReceive | Events(Part::Keeping))
    }

    /// Brings a system with so many actions to the moment at which the subject has something to do.
    pub fn prepare(self, files: usize) -> Sandbox {
        let sandbox = Sandbox::new();
        match self {
            RelaySend | RelayReceive => relay_end::prepare(&sandbox, self == RelayReceive, files),
            Events(part) => events::prepare(&sandbox, part, files),
            Approval => prepare_approval(&sandbox, files),
            Scheduler => {
                // A third each: answered, sent, dropped.
                sandbox.register(1);
                for (part, before) in [("a", 4), ("b", 2), ("c", 0)] {
                    let count = if part == "c" { files - 2 * (files / 3) } else { files / 3 };
                    (0..count).for_each(|n| sandbox.drop_action(&format!("{part}{n}.json")));
                    ["action-new", "command-ready", "agent", ""]
                        .iter()
                        .take(before)
                        .for_each(|step| advance(&sandbox, step));
                }
            }
            _ => {
                sandbox.register(1);
                (0..files).for_each(|n| sandbox.drop_action(&format!("{n}.json")));
                for step in ["action-new", "command-ready", "agent", "results", "command-returned"] {
                    if step == self.name() {
                        break;
                    }
                    advance(&sandbox, step);
                }
            }
        }
        sandbox
    }

    /// The program, without faults.
    pub fn command(self, sandbox: &Sandbox) -> Command {
        let (program, cfg) = match self {
            RelaySend | RelayReceive => return relay_end::command(sandbox, self == RelayReceive),
            Events(Part::Keeping) => return events::keeping(sandbox),
            Agent | Events(Part::Sending) => (env!("CARGO_BIN_EXE_mig-agent"), sandbox.agent_cfg(1)),
            Worker(_) | Approval | Scheduler | Events(Part::Collecting) => {
                (env!("CARGO_BIN_EXE_mig-scheduler"), sandbox.scheduler_cfg())
            }
        };
        let mut command = Command::new(program);
        command.arg("-c").arg(cfg).arg("--once");
        match self {
            Worker(name) => drop(command.args(["--only", name])),
            Approval => drop(command.args(["--only", "action-new"])),
            Events(Part::Collecting) => drop(command.args(["--only", "events"])),
            _ => {}
        }
        command
    }

    /// Runs everything to its end without faults, and tells what is wrong after what the faulty runs printed.
    pub fn violations(self, sandbox: &Sandbox, files: usize, faulty: &[Output], fault: Fault) -> Vec<String> {
        let log: String = faulty.iter().map(text).collect();
        let mut violations = Vec::new();
        let is_relay = matches!(self, RelaySend | RelayReceive);
        // The test harness gives up when it cannot print.
        let is_ours = |output: &Output| !self.is_in_harness() && output.status.code() == Some(101);
        if faulty.iter().any(is_ours) || log.contains("panicked at src/") {
            violations.push(format!("panic: {log}"));
        }
        if is_relay {
            violations.extend(relay_end::violations(sandbox, self == RelayReceive, files, faulty));
            return violations;
        }
        let outcome = self.command(sandbox).output().unwrap();
        if !outcome.status.success() {
            violations.push(format!("does not recover: {}", text(&outcome)));
        }
        if let Events(part) = self {
            let ended: Vec<&Output> = faulty.iter().chain([&outcome]).collect();
            violations.extend(events::violations(sandbox, part, files, &ended));
            return violations;
        }
        let mut began = began(&(log + &text(&outcome) + &finish(sandbox)));
        began.sort();
        if began.windows(2).any(|pair| pair[0] == pair[1]) {
            violations.push(format!("ran twice: {began:?}"));
        }
        let interruptions = if self == Agent { fault.interruptions(faulty.len()) } else { 0 };
        violations.extend(check(sandbox, files, self == Agent && fault == Fault::Error, interruptions));
        violations
    }
}

/// Every second action waits in action/pending, the others are dropped behind a signature.
fn prepare_approval(sandbox: &Sandbox, files: usize) {
    sandbox.register(1);
    let (public, secret) = generate_key("Second <second@example.net>").unwrap();
    std::fs::write(sandbox.path("key.pub"), sandbox.keys.0.clone() + &public).unwrap();
    let configuration = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    let two = configuration.replace("[investigators]\n", "[investigators]\nminimumsigners = 2\n");
    std::fs::write(sandbox.scheduler_cfg(), two).unwrap();
    let actions: Vec<Value> = (0..files).map(|n| sandbox.sign(sandbox.draft(&n.to_string()))).collect();
    let drop = |n: usize, action: &Value| sandbox.drop_bytes(&format!("{n}.json"), action.to_string().as_bytes());
    actions.iter().enumerate().step_by(2).for_each(|(n, action)| drop(n, action));
    sandbox.once("action-new");
    for (n, action) in actions.iter().enumerate() {
        let text = Action::parse(action.to_string().as_bytes()).unwrap().signed_text();
        let signature = sign_with_key(&text, secret.as_bytes(), mig::time::now()).unwrap();
        sandbox.drop_bytes(&format!("{n}.json.asc-second"), restore_armor(&signature).unwrap().as_bytes());
    }
    actions.iter().enumerate().skip(1).step_by(2).for_each(|(n, action)| drop(n, action));
}

fn advance(sandbox: &Sandbox, step: &str) {
    match step {
        "" => {}
        "agent" => drop(sandbox.agent_once(1)),
        worker => sandbox.once(worker),
    }
}

/// Runs everything to its end; returns what the agent printed.
fn finish(sandbox: &Sandbox) -> String {
    let mut log = String::new();
    for _ in 0..2 {
        sandbox.once("action-new,command-ready");
        log += &text(&sandbox.agent_once(1));
        sandbox.once("results,command-returned,collector");
    }
    log
}

/// The commands that agents began to run, as their logs tell.
fn began(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("[info] running '"));
    lines.map(|line| line.split(" - ").nth(1).unwrap_or(line).to_owned()).collect()
}

/// What is wrong in a system that has come to its end.
fn check(sandbox: &Sandbox, files: usize, may_fail_to_talk: bool, interruptions: usize) -> Vec<String> {
    let mut violations = Vec::new();
    let expected = [("action/done".to_owned(), files), ("command/done".to_owned(), files)];
    if sandbox.picture() != expected {
        violations.push(format!("picture {:?}", sandbox.picture()));
        return violations;
    }
    let mut interrupted = 0;
    for (reference, command) in sandbox.commands("command/done") {
        match (command["status"].as_str(), &command["results"][0]["errors"]) {
            (Some("success"), Value::Null) => {}
            (Some("failed"), errors) if *errors == json!(["interrupted"]) => interrupted += 1,
            // One fault in the agent may keep it from talking to its module.
            (Some("failed"), _) if may_fail_to_talk => interrupted += 1,
            other => violations.push(format!("{reference}: {other:?}")),
        }
    }
    if interrupted > interruptions {
        violations.push(format!("{interrupted} interrupted, with {interruptions} faults in the agent"));
    }
    let mut store = SqliteStore::open(&sandbox.path("mig.db")).unwrap();
    let waited_for = common::store::overdue(&mut store, mig::time::never(), 10);
    violations.extend(waited_for.iter().map(|command| format!("the store waits for {}", command.reference())));
    for name in sandbox.names("action/done") {
        let action = common::json_file(&sandbox.spool().join("action/done").join(&name));
        if action["counters"]["sent"] != 1 || action["counters"]["done"] != 1 {
            violations.push(format!("{name}: counters {}", action["counters"]));
        }
    }
    let waiting = names(&sandbox.spool().join("action/pending"));
    if !waiting.is_empty() {
        violations.push(format!("action/pending: {waiting:?}"));
    }
    let agent = ["tmp", "running", "received", "answered"].map(|stage| format!("agent-1/{stage}"));
    for directory in agent.iter().map(String::as_str).chain(["spool/tmp", "relay/dead"]) {
        let left = names(&sandbox.path(directory));
        if !left.is_empty() {
            violations.push(format!("{directory}: {left:?}"));
        }
    }
    violations
}
