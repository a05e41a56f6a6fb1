//! Faults at system calls, by strace.

use super::common::score::Score;
use super::common::{Sandbox, text};
use super::harness;
use super::place::Place;
use super::subject::Subject;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What is done to a process.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// kill -9: what the kernel holds in memory survives.
    Kill,
    /// kill -9, and what was not synced is gone.
    PowerCut,
    /// The call fails.
    Error,
    /// It is stopped, and a second copy is started meanwhile.
    Pause,
}

impl Fault {
    /// For the scoreboard.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::PowerCut => "power cut",
            Fault::Error => "error",
            Fault::Pause => "second copy",
        }
    }

    /// How many commands so many of them in the agent may cut short.
    pub fn interruptions(self, faults: usize) -> usize {
        if self == Fault::Pause { 0 } else { faults }
    }
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

/// Why nothing can be injected here, if so.
pub fn missing() -> Option<&'static str> {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "inject=openat:error=EIO:when=9999", "true"])
        .output();
    let works = works.is_ok_and(|output| output.status.success());
    (!works).then_some("no strace here, or no right to trace")
}

/// Longer than any program here takes under strace, in seconds: one that takes this long hangs.
const HANGS_AFTER: &str = "300";

/// A program under strace, which is killed when it hangs.
pub fn strace(program: Command, options: &[&str]) -> Command {
    let mut strace = Command::new("timeout");
    strace.args(["-s", "KILL", HANGS_AFTER, "strace", "-qq"]).args(options);
    strace.arg(program.get_program()).args(program.get_args());
    strace.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace
}

/// A scheduler's worker under strace, with a line of options: in those, SPOOL is the spool.
pub fn strace_worker(sandbox: &Sandbox, worker: &'static str, options: &str) -> Command {
    let spool = sandbox.spool().display().to_string();
    let words: Vec<String> = options.split(' ').map(|word| word.replace("SPOOL", &spool)).collect();
    let options: Vec<&str> = ["-o", "/dev/null"].into_iter().chain(words.iter().map(String::as_str)).collect();
    strace(Subject::Worker(worker).command(sandbox), &options)
}

/// Tries the cases of a test, each with what it is called; `violations` tells what is wrong with one.
pub fn try_cases<T>(
    test: &str,
    cases: impl IntoIterator<Item = (&'static str, T)>,
    violations: impl Fn(T) -> Vec<String>,
) {
    let mut score = Score::begin(test);
    if let Some(why) = missing() {
        return score.skip(why);
    }
    let mut found = Vec::new();
    for (what, case) in cases {
        found.extend(violations(case).into_iter().map(|violation| format!("{what}: {violation}")));
        score.add_runs(1);
    }
    score.end(&found, "");
}

/// Which of these directories of the spool do not have so many files.
pub fn miscounted(sandbox: &Sandbox, expected: &[(&str, usize)]) -> Vec<String> {
    let found = |directory: &str| sandbox.names(directory).len();
    let wrong = expected.iter().filter(|(directory, count)| found(directory) != *count);
    wrong.map(|(directory, count)| format!("{} files in {directory}, not {count}", found(directory))).collect()
}

/// A subject, its place, and a fault that is put into it at one point after the other.
pub struct Matrix {
    /// Who is hit.
    pub subject: Subject,
    /// How.
    pub fault: Fault,
    files: usize,
    place: Place,
}

impl Matrix {
    /// Brings the subject to where it has `files` to handle. An error says why it cannot be tried here.
    pub fn new(subject: Subject, fault: Fault, files: usize) -> Result<Matrix, String> {
        if let Some(why) = missing() {
            return Err(why.into());
        }
        let mut place = Place::new(subject.prepare(files));
        if fault == Fault::PowerCut {
            let moved = place.move_to_image(if files > 10 { 96 } else { 48 });
            moved.map_err(|why| format!("an image cannot be mounted here: {why}"))?;
        }
        Ok(Matrix { subject, fault, files, place })
    }

    fn strace(&self, options: &[&str]) -> Command {
        let threads: &[&str] = if self.subject.is_in_harness() { &harness::OPTIONS } else { &[] };
        strace(self.subject.command(&self.place.sandbox), &[threads, options].concat())
    }

    /// Runs the subject with a fault at a point.
    fn run(&self, point: &str) -> Output {
        let call = point.split(':').next().unwrap();
        let (trace, inject) = (format!("trace={call}"), format!("inject={point}"));
        self.strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject]).output().unwrap()
    }

    /// Starts the subject, which is stopped at a point; starts it a second time; lets the first go on.
    fn run_paused(&self, point: &str) -> Vec<Output> {
        let call = point.split(':').next().unwrap();
        let (trace, inject) = (format!("trace={call}"), format!("inject={point}"));
        let log = self.place.beside("log");
        let _ = std::fs::remove_file(&log);
        let mut strace = self.strace(&["-o", &log.display().to_string(), "-e", &trace, "-e", &inject]);
        let mut first = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let is_stopped = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("stopped by SIGSTOP"));
        while !is_stopped() && first.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let second = self.subject.command(&self.place.sandbox).output().unwrap();
        let traced = child_of(first.id()).and_then(|strace| child_of(strace.as_raw_nonzero().get() as u32));
        if let Some(traced) = traced {
            let _ = rustix::process::kill_process(traced, rustix::process::Signal::CONT);
        }
        vec![first.wait_with_output().unwrap(), second]
    }

    /// How often each call is made when nothing goes wrong, by the thread that makes most of them.
    fn counts(&mut self) -> BTreeMap<String, usize> {
        self.place.restore();
        let log = self.place.beside("log");
        let calls: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
        let trace = format!("trace={}", calls.join(","));
        let output = self.strace(&["-o", &log.display().to_string(), "-e", &trace]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let mut of_threads = BTreeMap::new();
        for line in std::fs::read_to_string(&log).unwrap().lines() {
            // Behind the number of the thread, where there are several.
            if let Some((call, _)) = line.split_once('(') {
                *of_threads.entry(call.to_owned()).or_insert(0) += 1;
            }
        }
        let mut counts = BTreeMap::new();
        for (call, count) in of_threads {
            let most = counts.entry(call.split(' ').next_back().unwrap().to_owned()).or_insert(0);
            *most = count.max(*most);
        }
        counts
    }

    /// Every fault of the kind: what strace is told, one line per point.
    ///
    /// One is no fault: a drop that we may not read is refused, with that as its reason (journey.rs).
    pub fn points(&mut self) -> Vec<String> {
        let counts = self.counts();
        let mut points = Vec::new();
        for (call, errnos) in CALLS {
            let first = if self.subject.is_in_harness() { harness::first(call) } else { 1 };
            for when in first..=counts.get(call).copied().unwrap_or(0) {
                match self.fault {
                    Fault::Error => {
                        points.extend(errnos.iter().map(|errno| format!("{call}:error={errno}:when={when}")))
                    }
                    Fault::Pause => points.push(format!("{call}:signal=STOP:when={when}")),
                    Fault::Kill | Fault::PowerCut => points.push(format!("{call}:signal=KILL:when={when}")),
                }
            }
        }
        let reads_drops = matches!(self.subject, Subject::Worker("action-new") | Subject::Scheduler);
        points.retain(|point| !reads_drops || !point.starts_with("openat2:error=EACCES"));
        points
    }

    /// What is wrong after a fault at one point.
    pub fn try_point(&mut self, point: &str) -> Vec<String> {
        self.place.restore();
        let outputs = if self.fault == Fault::Pause { self.run_paused(point) } else { vec![self.run(point)] };
        if self.fault == Fault::PowerCut {
            self.place.cut_power();
        }
        self.violations(point, &outputs)
    }

    /// What is wrong after a kill at one point and another one while that is recovered from; none when the second point
    /// was not reached.
    pub fn try_pair(&mut self, first: &str, second: &str) -> Option<Vec<String>> {
        self.place.restore();
        let outputs = [self.run(first), self.run(second)];
        (!outputs[1].status.success()).then(|| self.violations(&format!("{first}, {second}"), &outputs))
    }

    fn violations(&self, point: &str, outputs: &[Output]) -> Vec<String> {
        let violations = self.subject.violations(&self.place.sandbox, self.files, outputs, self.fault);
        if violations.is_empty() { violations } else { vec![format!("{point}: {}", violations.join("; "))] }
    }
}

/// The process that another one started last.
fn child_of(pid: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next_back()?.parse().ok()?)
}

/// Tries `sample` points of a matrix, or all; reports what was wrong.
pub fn run(name: &str, subject: Subject, fault: Fault, files: usize, sample: Option<usize>) {
    let mut score = Score::begin(format!("{}: {name}", fault.name()));
    let mut matrix = match Matrix::new(subject, fault, files) {
        Ok(matrix) => matrix,
        Err(why) => return score.skip(&why),
    };
    let points = matrix.points();
    let step = sample.map_or(1, |sample| points.len().div_ceil(sample));
    let mut found = Vec::new();
    for point in points.iter().step_by(step) {
        found.extend(matrix.try_point(point));
        score.add_runs(1);
    }
    score.end(&found, &format!("of {} points", points.len()));
}
