//! A system with two agents, each of which owes the answer to one command, and runs of one worker over one message.

use crate::common::{Background, PATIENCE, Sandbox, ended_within, names, text};
use mig::command;
use mig::id::CommandRef;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where commands are, and what a row may leave behind.
const CLEARED: [&str; 8] = [
    "spool/command/ready",
    "spool/command/inflight",
    "spool/command/returned",
    "spool/command/done",
    "spool/action/invalid",
    "relay/dead",
    "relay/mig.agt.results",
    "relay/mig.agt.heartbeats",
];

/// See the module docs.
pub struct Bench {
    pub sandbox: Sandbox,
    /// The command that the row is about, as it was sent, and another agent's.
    pub ours: (CommandRef, Value),
    pub other: (CommandRef, Value),
    /// A command that has ended and has no file any more.
    pub ended: (CommandRef, Value),
}

/// Makes files at a path, or a fault in the sandbox.
pub type Make = Box<dyn Fn(&Bench, &Path)>;

/// A file with this content.
pub fn bytes(content: impl Into<Vec<u8>>) -> Make {
    let content = content.into();
    Box::new(move |_, path| std::fs::write(path, &content).unwrap())
}

/// The same, last written minutes ago.
pub fn old(content: impl Into<Vec<u8>>) -> Make {
    let content = content.into();
    Box::new(move |_, path| {
        std::fs::write(path, &content).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(180);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    })
}

impl Bench {
    pub fn new() -> Bench {
        let sandbox = Sandbox::new();
        sandbox.register(2);
        sandbox.drop_action("ended.json");
        sandbox.once("action-new,command-ready");
        (1..=2).for_each(|number| drop(sandbox.agent_once(number)));
        sandbox.once("results,command-returned");
        let ended = sandbox.commands("command/done").remove(0);
        sandbox.drop_action("waiting.json");
        sandbox.once("action-new,command-ready");
        let mut sent = sandbox.commands("command/inflight");
        let (other, ours) = (sent.pop().unwrap(), sent.pop().unwrap());
        let bench = Bench { sandbox, ours, other, ended };
        bench.reset();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// Our command with an answer, changed as told.
    pub fn answer(&self, change: impl FnOnce(&mut Value)) -> Value {
        answer(&self.ours, change)
    }

    /// Brings everything back to two commands in flight.
    pub fn reset(&self) {
        for directory in CLEARED {
            for entry in std::fs::read_dir(self.path(directory)).unwrap() {
                let (path, is_dir) = entry.map(|e| (e.path(), e.file_type().unwrap().is_dir())).unwrap();
                if is_dir { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
            }
        }
        for (reference, command) in [&self.ours, &self.other] {
            let file = self.path("spool/command/inflight").join(reference.file_name());
            std::fs::write(file, command.to_string()).unwrap();
        }
    }

    /// Runs one worker over what is there; gives its log, or why that is no good run.
    pub fn run(&self, worker: &str) -> Result<String, String> {
        let log = self.path("scheduler.log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-scheduler"));
        command.arg("-c").arg(self.sandbox.scheduler_cfg()).args(["--only", worker, "--once"]);
        let log = ended_within(Background::start(command, log.clone()), &log, PATIENCE)?;
        if log.chars().any(|c| c.is_control() && c != '\n') {
            return Err(format!("control characters in the log: {log:?}"));
        }
        Ok(log)
    }

    /// A command in a stage, if it is there. Results may be JSON that no other parser here can read.
    pub fn command(&self, stage: &str, reference: CommandRef) -> Option<command::Command> {
        let path = self.path("spool/command").join(stage).join(reference.file_name());
        std::fs::read(path).ok().map(|bytes| command::Command::parse(&bytes).unwrap())
    }

    /// The cause in a `.reason` file; what is there instead when it is missing.
    pub fn reason(&self, directory: &str, name: &str) -> String {
        match std::fs::read_to_string(self.path(directory).join(format!("{name}.reason"))) {
            Ok(text) => text.lines().nth(1).unwrap_or_default().to_owned(),
            Err(_) => format!("no reason, but {:?}", names(&self.path(directory))),
        }
    }

    /// How many agents a target selects.
    pub fn selects(&self, target: &str) -> String {
        text(&self.sandbox.scheduler(&["--explain-target", target]))
    }
}

/// A command as its agent answers it, changed as told.
pub fn answer(command: &(CommandRef, Value), change: impl FnOnce(&mut Value)) -> Value {
    let mut answer = command.1.clone();
    answer["status"] = "success".into();
    answer["results"] = serde_json::json!([
        {"foundanything": true, "success": true, "elements": {"x": 1}, "statistics": null, "errors": null}
    ]);
    change(&mut answer);
    answer
}
