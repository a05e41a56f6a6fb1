//! A fault at every system call: each worker, alone under `--once` with three files, is killed at every call that touches
//! files (or has the call fail with each plausible error), started again, and the rest of the system is run to its end.
//! Then every action must be complete, every command answered once, and nothing run twice.
//!
//! A kill leaves what the kernel holds in memory. The power cut does not: the sandbox is a file system of its own in a
//! loop-mounted image, which is shut down without flushing its log at the moment of the kill, and mounted again.
//!
//! By default a sample of the points is tried, at least `SAMPLE` of each worker and kind; `MIG_FAULTS=full` tries all.
//! Needs strace and the right to trace: skipped with a visible line without them.

mod common;

use common::score::Score;
use common::{Sandbox, names, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Points of each worker and kind that are tried unless all are.
const SAMPLE: usize = 40;
const FILES: usize = 3;

/// What is done to a worker.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    PowerCut,
    Error,
}

/// The system calls that touch files, and how each may fail.
const CALLS: [(&str, &[&str]); 16] = [
    ("openat", &["EMFILE", "EACCES", "ENOSPC", "EIO"]),
    ("openat2", &["EMFILE", "EACCES", "EIO"]),
    ("read", &["EIO"]),
    ("write", &["ENOSPC", "EIO", "EDQUOT", "EINTR"]),
    ("pread64", &["EIO"]),
    ("pwrite64", &["ENOSPC", "EIO"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO"]),
    ("syncfs", &["EIO"]),
    ("renameat2", &["ENOSPC", "EIO", "EXDEV"]),
    ("renameat", &["ENOSPC", "EIO"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("unlink", &["EIO"]),
    ("mkdirat", &["ENOSPC", "EACCES"]),
    ("getdents64", &["EIO"]),
    ("statx", &["EIO", "EACCES"]),
];

fn have_strace() -> bool {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "inject=openat:error=EIO:when=9999", "true"])
        .output();
    let works = works.is_ok_and(|output| output.status.success());
    works
}

/// A sandbox that can be put back to what it was.
struct Stage {
    sandbox: Sandbox,
    kept: PathBuf,
    worker: &'static str,
    fault: Fault,
}

fn sh(script: &str, arguments: &[&Path]) -> bool {
    let output = Command::new("sh").args(["-ec", script, "sh"]).args(arguments).output().unwrap();
    if !output.status.success() {
        eprintln!("{script}: {}", text(&output));
    }
    output.status.success()
}

impl Stage {
    /// Brings a system to the moment at which `worker` has something to do.
    fn new(worker: &'static str, fault: Fault) -> Stage {
        let sandbox = Sandbox::new();
        sandbox.register(1);
        for n in 0..FILES {
            sandbox.drop_action(&format!("{n}.json"));
        }
        for before in ["action-new", "command-ready", "agent", "results", "command-returned"] {
            if before == worker {
                break;
            }
            match before {
                "agent" => drop(sandbox.agent_once(1)),
                other => sandbox.once(other),
            }
        }
        let kept = sandbox.path("").with_extension("kept");
        copy(&sandbox.path(""), &kept);
        Stage { sandbox, kept, worker, fault }
    }

    fn image(&self, what: &str) -> PathBuf {
        self.kept.with_extension(what)
    }

    /// Makes the image that every power cut begins with; false where this machine cannot mount one.
    fn make_image(&self) -> bool {
        let image = self.image("base");
        sh("truncate -s 48M \"$1\"; mkfs.ext4 -q -F -d \"$2\" \"$1\"", &[&image, &self.kept]) && self.mount_fresh()
    }

    fn mount_fresh(&self) -> bool {
        self.unmount();
        let (base, image) = (self.image("base"), self.image("image"));
        sh(
            "cp --sparse=always \"$1\" \"$2\"; mount -o loop \"$2\" \"$3\"; rmdir \"$3\"/lost+found",
            &[&base, &image, &self.sandbox.path("")],
        )
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg(self.sandbox.path("")).output();
    }

    /// The machine is switched off and on again. 0x8004587D is EXT4_IOC_SHUTDOWN, 2 means that the log is not flushed.
    fn cut_power(&self) {
        let shutdown =
            "open(my $d, '<', $ARGV[0]) or die; my $how = pack('I', 2); ioctl($d, 0x8004587D, $how) or die $!";
        let path = self.sandbox.path("");
        assert!(Command::new("perl").args(["-e", shutdown]).arg(&path).status().unwrap().success());
        assert!(sh("umount \"$1\"; mount -o loop \"$2\" \"$1\"", &[&path, &self.image("image")]));
    }

    fn restore(&self) {
        if self.fault == Fault::PowerCut {
            assert!(self.mount_fresh());
            return;
        }
        for name in names(&self.kept) {
            let path = self.sandbox.path(&name);
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
        for extra in names(&self.sandbox.path("")) {
            let path = self.sandbox.path(&extra);
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
        copy(&self.kept, &self.sandbox.path(""));
    }

    /// Runs the worker under strace, which is told more by `options`.
    fn run(&self, options: &[String]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60", "strace", "-qq"]).args(options);
        match self.worker {
            "agent" => {
                command.arg(env!("CARGO_BIN_EXE_mig-agent")).arg("-c").arg(self.sandbox.agent_cfg(1)).arg("--once")
            }
            worker => {
                let scheduler = env!("CARGO_BIN_EXE_mig-scheduler");
                command.arg(scheduler).arg("-c").arg(self.sandbox.scheduler_cfg()).args(["--only", worker, "--once"])
            }
        };
        command.output().unwrap()
    }

    /// How often each call is made when nothing goes wrong.
    fn counts(&self) -> BTreeMap<String, usize> {
        self.restore();
        let log = self.kept.with_extension("log");
        let calls: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
        let output =
            self.run(&["-o".into(), log.display().to_string(), "-e".into(), format!("trace={}", calls.join(","))]);
        assert!(output.status.success(), "{}", text(&output));
        let mut counts = BTreeMap::new();
        for line in std::fs::read_to_string(&log).unwrap().lines() {
            if let Some((call, _)) = line.split_once('(') {
                *counts.entry(call.to_owned()).or_insert(0) += 1;
            }
        }
        std::fs::remove_file(log).unwrap();
        counts
    }

    /// Runs everything to its end without faults, and gives the commands that agents began to run, as their logs tell.
    fn finish(&self, faulty: &Output) -> Vec<String> {
        let mut log = text(faulty);
        self.sandbox.once(if self.worker == "agent" { "results" } else { self.worker });
        for _ in 0..2 {
            self.sandbox.once("action-new,command-ready");
            log += &text(&self.sandbox.agent_once(1));
            self.sandbox.once("results,command-returned,collector");
        }
        let began = log.lines().filter(|line| line.contains("[info] running '"));
        began.map(|line| line.split(" - ").nth(1).unwrap_or(line).to_owned()).collect()
    }

    /// What is wrong after the fault and the recovery.
    fn violations(&self, faulty: &Output) -> Vec<String> {
        let mut violations = Vec::new();
        if faulty.status.code() == Some(101) || text(faulty).contains("panicked") {
            violations.push(format!("panic: {}", text(faulty)));
        }
        let mut began = self.finish(faulty);
        began.sort();
        if began.windows(2).any(|pair| pair[0] == pair[1]) {
            violations.push(format!("ran twice: {began:?}"));
        }
        let expected = [("action/done".to_owned(), FILES), ("command/done".to_owned(), FILES)];
        if self.sandbox.picture() != expected {
            violations.push(format!("picture {:?}", self.sandbox.picture()));
            return violations;
        }
        // One fault in the agent may cut one command short, or keep it from talking to its module.
        let mut interrupted = 0;
        for (reference, command) in self.sandbox.commands("command/done") {
            match (command["status"].as_str(), &command["results"][0]["errors"]) {
                (Some("success"), Value::Null) => {}
                (Some("failed"), errors) if *errors == json!(["interrupted"]) => interrupted += 1,
                (Some("failed"), _) if self.worker == "agent" && self.fault == Fault::Error => interrupted += 1,
                other => violations.push(format!("{reference}: {other:?}")),
            }
        }
        if interrupted > usize::from(self.worker == "agent") {
            violations.push(format!("{interrupted} interrupted by one fault"));
        }
        for name in self.sandbox.names("action/done") {
            let action = common::json_file(&self.sandbox.spool().join("action/done").join(&name));
            if action["counters"]["sent"] != 1 || action["counters"]["done"] != 1 {
                violations.push(format!("{name}: counters {}", action["counters"]));
            }
        }
        for directory in
            ["spool/tmp", "agent-1/tmp", "agent-1/running", "agent-1/received", "agent-1/answered", "relay/dead"]
        {
            let left = names(&self.sandbox.path(directory));
            if !left.is_empty() {
                violations.push(format!("{directory}: {left:?}"));
            }
        }
        violations
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.fault == Fault::PowerCut {
            self.unmount();
            let _ = std::fs::remove_file(self.image("base"));
            let _ = std::fs::remove_file(self.image("image"));
        }
        let _ = std::fs::remove_dir_all(&self.kept);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success());
}

/// Every fault of a kind: what strace is told, one line per point.
///
/// One is no fault: a drop that we may not read is refused, with that as its reason (journey.rs).
fn points(worker: &str, counts: &BTreeMap<String, usize>, fault: Fault) -> Vec<String> {
    let mut points = Vec::new();
    for (call, errnos) in CALLS {
        for when in 1..=counts.get(call).copied().unwrap_or(0) {
            if fault == Fault::Error {
                points.extend(errnos.iter().map(|errno| format!("{call}:error={errno}:when={when}")));
            } else {
                points.push(format!("{call}:signal=KILL:when={when}"));
            }
        }
    }
    points.retain(|point| worker != "action-new" || !point.starts_with("openat2:error=EACCES"));
    points
}

fn matrix(worker: &'static str, fault: Fault) {
    let kind = match fault {
        Fault::Kill => "kill",
        Fault::PowerCut => "power cut",
        Fault::Error => "error",
    };
    let mut score = Score::begin(format!("{kind}: {worker}"));
    if !have_strace() {
        return score.skip("no strace here, or no right to trace");
    }
    let stage = Stage::new(worker, fault);
    if fault == Fault::PowerCut && !stage.make_image() {
        return score.skip("an image cannot be mounted here");
    }
    let points = points(worker, &stage.counts(), fault);
    let full = std::env::var("MIG_FAULTS").is_ok_and(|value| value == "full");
    let step = if full { 1 } else { points.len().div_ceil(SAMPLE) };
    let mut found = Vec::new();
    let tried: Vec<&String> = points.iter().step_by(step).collect();
    for point in &tried {
        stage.restore();
        let call = point.split(':').next().unwrap();
        let options =
            ["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={point}")].map(str::to_owned);
        let output = stage.run(&options);
        if fault == Fault::PowerCut {
            stage.cut_power();
        }
        let violations = stage.violations(&output);
        if !violations.is_empty() {
            found.push(format!("{point}: {}", violations.join("; ")));
        }
    }
    score.add_runs(tried.len());
    score.end(&found, &format!("of {} points", points.len()));
}

macro_rules! matrices {
    ($($kill:ident $cut:ident $errors:ident $worker:literal),*) => {$(
        #[test]
        fn $kill() {
            matrix($worker, Fault::Kill);
        }
        #[test]
        fn $cut() {
            matrix($worker, Fault::PowerCut);
        }
        #[test]
        fn $errors() {
            matrix($worker, Fault::Error);
        }
    )*};
}

matrices!(
    action_new_survives_kills action_new_survives_power_cuts action_new_survives_errors "action-new",
    command_ready_survives_kills command_ready_survives_power_cuts command_ready_survives_errors "command-ready",
    agent_survives_kills agent_survives_power_cuts agent_survives_errors "agent",
    results_survives_kills results_survives_power_cuts results_survives_errors "results",
    command_returned_survives_kills command_returned_survives_power_cuts command_returned_survives_errors "command-returned",
    collector_survives_kills collector_survives_power_cuts collector_survives_errors "collector"
);
