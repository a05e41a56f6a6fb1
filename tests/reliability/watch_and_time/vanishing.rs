//! Files that go away under a worker: each worker, alone under `--once` with three files, is stopped after each system call
//! that lists, opens, moves or syncs; one of its files is removed, as somebody may who withdraws it; then it goes on. It must
//! come to its end without an error, and the two other files to theirs.
//!
//! Needs strace and the right to trace: skipped with a visible line without them.

use super::system::{System, memory};
use super::{is_full, spool_check};
use crate::common::score::Score;
use crate::common::{Sandbox, json_file, names, text};
use mig::limits::EXPIRY_GRACE;
use mig::time;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLS: [&str; 8] = ["getdents64", "openat2", "statx", "renameat2", "renameat", "unlinkat", "fsync", "fdatasync"];
const FILES: usize = 3;
/// How long actions are valid that are to run out: they have to be sent before.
const VALIDITY: Duration = Duration::from_secs(20);
/// Points of each worker that are tried unless all are.
const SAMPLE: usize = 12;

/// Who loses a file, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loser {
    Heartbeats,
    ActionNew,
    CommandReady,
    Agent,
    /// The agent again, whose commands are on its own disk already.
    AgentReceived,
    AgentAnswered,
    Results,
    CommandReturned,
    Collector,
}

use Loser::*;

impl Loser {
    fn directory(self, sandbox: &Sandbox) -> PathBuf {
        let queue = || {
            let queues = names(&sandbox.path("relay"));
            let queue = queues.into_iter().find(|name| name.starts_with("mig.agt.linux.")).unwrap();
            sandbox.path("relay").join(queue)
        };
        match self {
            Heartbeats => sandbox.path("relay/mig.agt.heartbeats"),
            ActionNew => sandbox.spool().join("action/new"),
            CommandReady => sandbox.spool().join("command/ready"),
            Agent => queue(),
            AgentReceived => sandbox.path("agent-1/received"),
            AgentAnswered => sandbox.path("agent-1/answered"),
            Results => sandbox.path("relay/mig.agt.results"),
            CommandReturned => sandbox.spool().join("command/returned"),
            Collector => sandbox.spool().join("command/inflight"),
        }
    }

    /// The program and its arguments.
    fn command(self, sandbox: &Sandbox) -> Vec<String> {
        let worker = match self {
            Heartbeats => "heartbeats",
            ActionNew => "action-new",
            CommandReady => "command-ready",
            Results => "results",
            CommandReturned => "command-returned",
            Collector => "collector",
            Agent | AgentReceived | AgentAnswered => {
                return [env!("CARGO_BIN_EXE_mig-agent"), "-c", &sandbox.agent_cfg(1), "--once"]
                    .map(str::to_owned)
                    .into();
            }
        };
        let scheduler = env!("CARGO_BIN_EXE_mig-scheduler");
        [scheduler, "-c", &sandbox.scheduler_cfg(), "--only", worker, "--once"].map(str::to_owned).into()
    }
}

/// A sandbox that can be put back to the moment at which the worker has three files.
struct Stage {
    sandbox: Arc<Sandbox>,
    kept: tempfile::TempDir,
    loser: Loser,
}

impl Stage {
    fn new(loser: Loser) -> Stage {
        let sandbox = Sandbox::new_in(&memory());
        sandbox.register(1);
        prepare(&sandbox, loser);
        assert_eq!(names(&loser.directory(&sandbox)).len(), FILES, "{loser:?}");
        let kept = tempfile::tempdir_in(memory()).unwrap();
        copy(&sandbox.path(""), kept.path());
        Stage { sandbox: Arc::new(sandbox), kept, loser }
    }

    fn restore(&self) {
        for name in names(&self.sandbox.path("")) {
            let path = self.sandbox.path(&name);
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.unwrap();
        }
        copy(self.kept.path(), &self.sandbox.path(""));
    }

    fn log(&self) -> PathBuf {
        self.sandbox.path("strace.log")
    }

    /// How often each call is made when nothing goes away.
    fn points(&self) -> Vec<String> {
        self.restore();
        let calls = format!("trace={}", CALLS.join(","));
        let mut command = Command::new("strace");
        command.args(["-qq", "-o"]).arg(self.log()).args(["-e", &calls]).args(self.loser.command(&self.sandbox));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let log = std::fs::read_to_string(self.log()).unwrap();
        let made = |call: &str| log.lines().filter(|line| line.split('(').next() == Some(call)).count();
        let points =
            CALLS.iter().flat_map(|call| (1..=made(call)).map(move |when| format!("{call}:signal=STOP:when={when}")));
        points.collect()
    }

    /// Runs the worker, with the file taken away after one system call. Returns whether it was there still, and what the worker
    /// said unless it ended well.
    fn lose(&self, point: &str, victim: &Path) -> (bool, Vec<String>) {
        let call = point.split(':').next().unwrap();
        let mut command = Command::new("strace");
        // The tracer is no child of ours (-D): the child is the worker.
        command.args(["-D", "-qq", "-o"]).arg(self.log()).args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={point}"),
        ]);
        command.args(self.loser.command(&self.sandbox)).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while !std::fs::read_to_string(self.log()).unwrap_or_default().contains("--- stopped by SIGSTOP ---") {
            assert!(started.elapsed() < crate::common::PATIENCE, "{point}: it never stopped");
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let lost = std::fs::remove_file(victim).is_ok();
        let _ = kill_process(Pid::from_child(&child), Signal::CONT);
        let output = child.wait_with_output().unwrap();
        let well = output.status.success() && !text(&output).contains("panicked");
        (lost, if well { Vec::new() } else { vec![text(&output)] })
    }

    /// Runs everything to its end, by a clock that is an hour ahead in the end.
    fn violations(&self, victim: &str) -> Vec<String> {
        let mut system = System::over(Arc::clone(&self.sandbox), 1);
        let now = time::now();
        for minutes in [0, 1, 60, 61] {
            system.round(time::after(now, Duration::from_secs(60 * minutes)));
        }
        let mut violations = spool_check(&self.sandbox);
        if self.loser == CommandReturned {
            // Stored, and then removed by hand: that is what the checker shall find.
            violations.retain(|text| !(text.contains(victim) && text.contains("1 violations")));
        }
        let expected = if self.loser == Collector { "expired" } else { "success" };
        let commands = self.sandbox.commands("command/done");
        let good = commands.iter().filter(|(_, command)| command["status"] == expected).count();
        let done = self.sandbox.names("action/done").len();
        if good < FILES - 1 || done < FILES - 1 || commands.len() > FILES {
            violations.push(format!("{good} commands are {expected}: {:?}", self.sandbox.picture()));
        }
        if !self.sandbox.names("action/invalid").is_empty() {
            violations.push(format!("refused: {:?}", self.sandbox.names("action/invalid")));
        }
        violations
    }
}

/// Brings a system to the moment at which the worker has its files.
fn prepare(sandbox: &Sandbox, loser: Loser) {
    let now = time::now();
    let window = |sandbox: &Sandbox, name: &str| {
        if loser != Collector {
            return sandbox.sign(sandbox.draft(name));
        }
        let end = time::after(now, VALIDITY);
        sandbox.sign_window(sandbox.draft(name), time::before(now, Duration::from_secs(60)), end)
    };
    for n in 0..FILES {
        let name = format!("{n}.json");
        sandbox.drop_bytes(&name, window(sandbox, &name).to_string().as_bytes());
    }
    if loser == ActionNew {
        return;
    }
    sandbox.once("action-new");
    if loser == CommandReady {
        return;
    }
    sandbox.once("command-ready");
    match loser {
        Heartbeats => {
            sandbox.agent_once(1);
            (1..FILES).for_each(|_| drop(sandbox.agent_once(1)));
        }
        Collector => std::thread::sleep(time::until(
            time::now(),
            time::after(now, VALIDITY + EXPIRY_GRACE + Duration::from_secs(1)),
        )),
        Agent => {}
        AgentReceived | AgentAnswered => {
            let queue = Agent.directory(sandbox);
            for message in names(&queue) {
                let mut command = json_file(&queue.join(&message));
                let name = format!("{}-{}.json", command["action"]["id"], command["id"]);
                if loser == AgentAnswered {
                    command["status"] = "success".into();
                }
                std::fs::write(loser.directory(sandbox).join(name), command.to_string()).unwrap();
                std::fs::remove_file(queue.join(message)).unwrap();
            }
        }
        _ => drop(sandbox.agent_once(1)),
    }
    if loser == CommandReturned {
        sandbox.once("results");
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}

fn have_strace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "inject=getdents64:signal=CONT:when=9999", "true"]);
    strace.output().is_ok_and(|output| output.status.success())
}

fn lose_everywhere(loser: Loser) {
    let mut score = Score::begin(format!("file vanishes: {loser:?}"));
    if !have_strace() {
        return score.skip("no strace here, or no right to trace");
    }
    let stage = Stage::new(loser);
    let points = stage.points();
    let step = if is_full() { 1 } else { points.len().div_ceil(SAMPLE) };
    let (mut found, mut lost) = (Vec::new(), 0);
    for point in points.iter().step_by(step) {
        stage.restore();
        let directory = loser.directory(&stage.sandbox);
        let victim = names(&directory).remove(1);
        let was_there = directory.join(&victim);
        let (gone, mut violations) = stage.lose(point, &was_there);
        lost += usize::from(gone);
        score.add_runs(1);
        violations.extend(stage.violations(&victim));
        found.extend(violations.into_iter().map(|text| format!("{point}: {text}")));
    }
    score.end(&found, &format!("of {} points, {lost} times before it had moved on", points.len()));
}

macro_rules! losers {
    ($($test:ident $loser:ident),*) => {$(
        #[test]
        fn $test() {
            lose_everywhere($loser);
        }
    )*};
}

losers!(
    heartbeats_may_vanish Heartbeats,
    dropped_actions_may_vanish ActionNew,
    commands_may_vanish_before_they_are_sent CommandReady,
    commands_may_vanish_from_the_relay Agent,
    commands_may_vanish_from_an_agent AgentReceived,
    answers_may_vanish_from_an_agent AgentAnswered,
    answers_may_vanish_from_the_relay Results,
    answers_may_vanish_before_they_are_stored CommandReturned,
    commands_may_vanish_when_they_ran_out Collector
);
