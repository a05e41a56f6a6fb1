//! A disk that is full for a while, under running programs: the log says where there is no space and what happens next, once;
//! nobody burns the processor over it; and when there is room everything goes on by itself.

use super::disk::{DATABASE, Scarce, SmallDisk, sandbox_in};
use super::{is_full, signal, spool_check_with};
use crate::common::score::Score;
use crate::common::{Background, Sandbox, text};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

const AGENTS: usize = 2;
const ACTIONS: usize = 3;
/// How long nothing fits.
const OUTAGE: Duration = Duration::from_secs(3);

/// When the disk is filled up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// The actions are dropped, nothing was done yet.
    Dropped,
    /// Some commands have found room, others have not.
    FanOut,
    /// The commands are with their agents.
    Answers,
}

/// Where, what runs out, and when.
type Case = (&'static str, Scarce, Moment);

/// Programs that work on one sandbox. They end before the disk is unmounted, and that before the sandbox is removed.
struct Running {
    scheduler: Background,
    agents: Vec<Background>,
    disk: SmallDisk,
    sandbox: Sandbox,
}

impl Running {
    fn start(sandbox: Sandbox, disk: SmallDisk) -> Running {
        let scheduler = sandbox.start_scheduler();
        sandbox.wait("ready for agents", |s| {
            s.path("relay/mig.agt.heartbeats").exists() && s.path("relay/mig.agt.results").exists()
        });
        let agents = (1..=AGENTS).map(|number| sandbox.start_agent(number)).collect();
        let all = format!("\n{AGENTS} agents\n");
        sandbox.wait("registered", |s| text(&s.scheduler(&["--explain-target", "all"])).contains(&all));
        Running { scheduler, agents, disk, sandbox }
    }

    fn drop_actions(&self) {
        (0..ACTIONS).for_each(|n| self.sandbox.drop_action(&format!("{n}.json")));
    }

    /// Brings everything to the moment, with the disk full.
    fn fill(&self, moment: Moment) {
        self.signal_agents(Signal::STOP);
        if moment == Moment::Answers {
            self.drop_actions();
            self.sandbox.wait("sent", |s| s.names("command/inflight").len() == ACTIONS * AGENTS);
            signal(&self.scheduler, Signal::STOP);
        } else {
            signal(&self.scheduler, Signal::STOP);
            self.drop_actions();
        }
        self.disk.fill(if moment == Moment::FanOut { ACTIONS } else { 0 });
        signal(&self.scheduler, Signal::CONT);
    }

    fn signal_agents(&self, which: Signal) {
        self.agents.iter().for_each(|agent| signal(agent, which));
    }

    fn processes(&self) -> impl Iterator<Item = &Background> {
        self.agents.iter().chain([&self.scheduler])
    }

    /// Seconds of processor time that all have used.
    fn processor_time(&self) -> f64 {
        self.processes().map(Background::processor_seconds).sum()
    }

    fn log(&self) -> String {
        let logs = ["scheduler.log".to_owned()].into_iter().chain((1..=AGENTS).map(|n| format!("agent-{n}.log")));
        logs.map(|name| std::fs::read_to_string(self.sandbox.path(&name)).unwrap()).collect()
    }

    /// The lines that tell of an outage of this directory.
    fn complaints(&self, place: &Path) -> Vec<String> {
        let is_about = |line: &&str| {
            (line.contains("No space left on device") || line.contains("disk is full"))
                && line.contains(&place.display().to_string())
                && line.contains("nothing is lost, trying again until it works")
        };
        self.log().lines().filter(is_about).map(str::to_owned).collect()
    }
}

fn run((place, scarce, moment): Case) -> Option<Vec<String>> {
    let sandbox = sandbox_in(&std::env::temp_dir());
    let place = sandbox.path(place);
    let disk = SmallDisk::mount(&place, scarce)?;
    let running = Running::start(sandbox, disk);
    running.fill(moment);
    // Agents that take messages make room on a relay, so there they wait.
    if !place.ends_with("relay") {
        running.signal_agents(Signal::CONT);
    }
    running.sandbox.wait("a complaint", |_| !running.complaints(&place).is_empty());
    let before = running.processor_time();
    std::thread::sleep(OUTAGE);
    let used = running.processor_time() - before;
    let mut found = Vec::new();
    if used > OUTAGE.as_secs_f64() / 2.0 {
        found.push(format!("{used:.1} s of processor time in {OUTAGE:?}"));
    }
    let sandbox = &running.sandbox;
    if sandbox.names("action/done").len() == ACTIONS {
        found.push("everything was done without any room".into());
    }
    let complaints = running.complaints(&place);
    let workers = |line: &String| line.split("[err] ").nth(1).unwrap_or_default().split(':').next().map(str::to_owned);
    let mut named: Vec<_> =
        complaints.iter().map(|line| (line.split(' ').nth(1).map(str::to_owned), workers(line))).collect();
    named.sort();
    if named.windows(2).any(|pair| pair[0] == pair[1]) && !running.log().contains("works again") {
        found.push(format!("said more than once: {complaints:?}"));
    }
    running.disk.empty();
    running.signal_agents(Signal::CONT);
    sandbox
        .wait("done", |s| s.names("action/done").len() == ACTIONS && s.names("command/done").len() == ACTIONS * AGENTS);
    let log = running.log();
    let began = log.lines().filter(|line| line.contains("[info] running '")).count();
    let Running { scheduler, agents, disk, sandbox } = running;
    for process in agents.into_iter().chain([scheduler]) {
        assert_eq!(process.terminate(), Some(0));
    }
    sandbox.once("collector");
    found.extend(spool_check_with(&sandbox, &sandbox.path(DATABASE)));
    let success = sandbox.commands("command/done").iter().filter(|(_, command)| command["status"] == "success").count();
    if success != ACTIONS * AGENTS || began != ACTIONS * AGENTS {
        found.push(format!("{success} succeeded, {began} were begun"));
    }
    drop(disk);
    Some(found)
}

fn outages(place: &str, cases: &[Case], sample: &[usize]) {
    let mut score = Score::begin(format!("full disk for a while: {place}"));
    let mut found = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if !is_full() && !sample.contains(&index) {
            continue;
        }
        let Some(violations) = run(*case) else { return score.skip("nothing can be mounted here") };
        found.extend(violations.into_iter().map(|text| format!("{case:?}: {text}")));
        score.add_runs(1);
    }
    score.end(&found, &format!("of {} cases", cases.len()));
}

/// Every moment, without space and without inodes.
fn all(place: &'static str) -> Vec<Case> {
    let moments = [Moment::Dropped, Moment::FanOut, Moment::Answers];
    moments
        .into_iter()
        .flat_map(|moment| [Scarce::Space, Scarce::Inodes].map(|scarce| (place, scarce, moment)))
        .collect()
}

#[test]
fn a_full_spool_is_waited_for() {
    outages("spool", &all("spool"), &[0, 3]);
}

#[test]
fn a_full_relay_is_waited_for() {
    // Answers find the room that their commands leave.
    let cases: Vec<Case> = all("relay").into_iter().filter(|(_, _, moment)| *moment != Moment::Answers).collect();
    outages("relay", &cases, &[1, 2]);
}

#[test]
fn a_full_run_directory_is_waited_for() {
    outages("agent-1", &all("agent-1"), &[0, 5]);
}

#[test]
fn a_full_store_is_waited_for() {
    // It has all its files already: no inode is missing there.
    let cases: Vec<Case> = all("store").into_iter().filter(|(_, scarce, _)| *scarce == Scarce::Space).collect();
    outages("store", &cases, &[0, 2]);
}
