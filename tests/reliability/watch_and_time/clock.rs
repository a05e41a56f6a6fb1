//! Clocks that jump while an action is on its way: forwards a day or ten years, back a day or to 1970; everybody's, the
//! scheduler's alone, or the agents' alone; from any step to any later one. Then the clocks are right again, and
//! time goes on until the action has run out.

use super::system::System;
use super::{is_full, spool_check};
use crate::common::names;
use crate::common::score::Score;
use mig::time::{self, Timestamp};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const AGENTS: usize = 2;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// What happens, one after the other. Later the action that was dropped before its time has become valid.
const STEPS: [&str; 9] = [
    "heartbeats",
    "action-new",
    "later",
    "action-new",
    "command-ready",
    "agents",
    "results",
    "command-returned",
    "collector",
];
const AGENTS_STEP: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Jump {
    Day,
    TenYears,
    BackADay,
    To1970,
}

impl Jump {
    fn is_forward(self) -> bool {
        matches!(self, Jump::Day | Jump::TenYears)
    }

    fn read(self, now: Timestamp) -> Timestamp {
        match self {
            Jump::Day => time::after(now, DAY),
            Jump::TenYears => time::after(now, DAY * 3653),
            Jump::BackADay => time::before(now, DAY),
            // A machine without a battery begins anew with every start.
            Jump::To1970 => time::after(Timestamp::UNIX_EPOCH, MINUTE),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Whose {
    Everybodys,
    Schedulers,
    Agents,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    jump: Jump,
    whose: Whose,
    /// The steps in which clocks are wrong.
    from: usize,
    to: usize,
    /// Agents that have their command, collector and periodic look after every step.
    busy: bool,
    /// In the end every message that agents were sent comes once more.
    repeated: bool,
    /// The action was dropped before it is valid.
    early: bool,
    /// The jump and its end are restarts of the machines.
    restart: bool,
}

impl Case {
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        let bits = [false, true];
        for jump in [Jump::Day, Jump::TenYears, Jump::BackADay, Jump::To1970] {
            for whose in [Whose::Everybodys, Whose::Schedulers, Whose::Agents] {
                for (from, to) in (0..STEPS.len()).flat_map(|from| (from + 1..=STEPS.len()).map(move |to| (from, to))) {
                    for (busy, repeated) in bits.into_iter().flat_map(|busy| bits.map(|repeated| (busy, repeated))) {
                        let n = cases.len();
                        let (early, restart) = (n.is_multiple_of(3), n % 5 < 2);
                        cases.push(Case { jump, whose, from, to, busy, repeated, early, restart });
                    }
                }
            }
        }
        cases
    }

    fn covers(&self, step: usize) -> bool {
        (self.from..self.to).contains(&step)
    }

    fn of_scheduler(&self) -> bool {
        self.whose != Whose::Agents
    }

    fn scheduler_clock(&self, step: usize, now: Timestamp) -> Timestamp {
        if self.of_scheduler() && self.covers(step) { self.jump.read(now) } else { now }
    }

    fn agents_clock(&self, step: usize, now: Timestamp) -> Timestamp {
        if self.whose != Whose::Schedulers && self.covers(step) { self.jump.read(now) } else { now }
    }

    /// The step in which action-new schedules the action.
    fn scheduled(&self) -> usize {
        if self.early { 3 } else { 1 }
    }

    /// Whether the action may have been refused: action-new looked at it by a wrong clock, or periodic took all agents for
    /// long gone, because it was ahead or because they had last been heard of while all clocks were behind.
    fn may_be_refused(&self) -> bool {
        let looked = self.of_scheduler() && (self.covers(self.scheduled()) || self.covers(1));
        let seem_gone = if self.jump.is_forward() {
            self.of_scheduler() && self.from < self.scheduled()
        } else {
            self.whose == Whose::Everybodys && self.covers(0)
        };
        looked || (self.busy && seem_gone)
    }

    /// How a command may have ended. By a clock that is ahead the action has run out; by one that is behind it was signed
    /// in the future, with a key that does not exist yet, and waits.
    fn statuses(&self) -> &'static [&'static str] {
        let agents = self.whose != Whose::Schedulers && self.covers(AGENTS_STEP);
        let scheduler = self.of_scheduler() && self.to > self.scheduled();
        if self.jump.is_forward() && (agents || scheduler) { &["success", "expired"] } else { &["success"] }
    }
}

/// A system in the middle of a case.
struct Run {
    case: Case,
    system: System,
    now: Timestamp,
    /// Every message that agents were sent, with its place.
    sent: Vec<(PathBuf, Vec<u8>)>,
}

impl Run {
    fn step(&mut self, step: usize) {
        if self.case.restart && [self.case.from, self.case.to].contains(&step) {
            self.system.start_scheduler();
            self.system.start_agents();
        }
        let (scheduler, agents) = (self.case.scheduler_clock(step, self.now), self.case.agents_clock(step, self.now));
        match STEPS[step] {
            "heartbeats" => {
                self.system.register(agents);
                self.system.pass("heartbeats", scheduler);
            }
            "later" => self.now = time::after(self.now, if self.case.early { MINUTE * 20 } else { MINUTE }),
            "agents" => self.system.pass_agents(agents),
            worker => drop(self.system.pass(worker, scheduler)),
        }
        if STEPS[step] == "command-ready" {
            self.remember_messages();
        }
        if self.case.busy {
            let scheduler = self.case.scheduler_clock(step, self.now);
            if step >= AGENTS_STEP {
                self.system.pass_agents(self.case.agents_clock(step, self.now));
            }
            for worker in ["heartbeats", "collector", "command-returned", "periodic"] {
                self.system.pass(worker, scheduler);
            }
        }
        self.now = time::after(self.now, Duration::from_secs(1));
    }

    fn agents_queues(&self) -> Vec<PathBuf> {
        let relay = self.system.sandbox.path("relay");
        let queues = names(&relay).into_iter().filter(|name| name.starts_with("mig.agt.linux."));
        queues.map(|name| relay.join(name)).collect()
    }

    fn remember_messages(&mut self) {
        for queue in self.agents_queues() {
            let read = |name: String| (queue.join(&name), std::fs::read(queue.join(&name)).unwrap());
            self.sent.extend(names(&queue).into_iter().map(read));
        }
    }

    /// Lets time pass with right clocks until the action has run out, and the messages come a second time.
    fn settle(&mut self, until: Timestamp) {
        if self.case.restart && self.case.to == STEPS.len() {
            self.system.start_scheduler();
            self.system.start_agents();
        }
        self.system.round(self.now);
        self.system.round(time::after(self.now, MINUTE));
        self.remember_messages();
        for (path, bytes) in self.sent.iter().filter(|_| self.case.repeated) {
            std::fs::write(path, bytes).unwrap();
        }
        while self.now <= until {
            self.now = time::after(self.now, MINUTE * 11);
            self.system.round(self.now);
        }
    }

    fn violations(&self, parameters: &Value) -> Vec<String> {
        let sandbox = &self.system.sandbox;
        let mut violations = spool_check(sandbox);
        let refused = names(&sandbox.spool().join("action/invalid"));
        if !refused.is_empty() && !self.case.may_be_refused() {
            violations.push(format!(
                "refused: {}",
                std::fs::read_to_string(sandbox.spool().join("action/invalid").join(&refused[1])).unwrap()
            ));
        }
        let commands = sandbox.commands("command/done");
        let (expected, actions) = if refused.is_empty() { (AGENTS, 1) } else { (0, 0) };
        if commands.len() != expected || sandbox.names("action/done").len() != actions {
            violations.push(format!("picture {:?}", sandbox.picture()));
        }
        for (reference, command) in &commands {
            let number: usize = command["agent"]["tags"]["number"].as_str().unwrap().parse().unwrap();
            let status = command["status"].as_str().unwrap();
            if !self.case.statuses().contains(&status) {
                violations.push(format!("{reference} of agent {number} is {status}: {}", command["results"]));
            }
            if status == "success" && self.system.runs(number, parameters) == 0 {
                violations.push(format!("{reference} succeeded and did not run"));
            }
        }
        for number in 1..=AGENTS {
            if self.system.runs(number, parameters) > 1 {
                violations.push(format!("agent {number} ran it {} times", self.system.runs(number, parameters)));
            }
            for stage in ["received", "running", "answered", "invalid", "tmp"] {
                let left = names(&sandbox.path(&format!("agent-{number}/{stage}")));
                violations.extend((!left.is_empty()).then(|| format!("agent {number}, {stage}: {left:?}")));
            }
        }
        let queues = self.agents_queues().into_iter().filter(|queue| !names(queue).is_empty());
        violations.extend(queues.map(|queue| format!("left in {queue:?}")));
        // Answers that come late are kept aside, and heartbeats of another time.
        let expected = ["has expired before its answer came", "is in the future", "is older than the agent timeout"];
        let reasons = names(&sandbox.path("relay/dead")).into_iter().filter(|name| name.ends_with(".reason"));
        let reasons = reasons.map(|name| std::fs::read_to_string(sandbox.path("relay/dead").join(name)).unwrap());
        violations.extend(reasons.filter(|reason| !expected.iter().any(|end| reason.trim_end().ends_with(end))));
        violations
    }
}

fn run(case: Case) -> Vec<String> {
    let system = System::new(AGENTS);
    let now = system.started;
    let (from, until) = if case.early {
        (time::after(now, MINUTE * 15), MINUTE * 50)
    } else {
        (time::before(now, MINUTE), MINUTE * 30)
    };
    let until = time::after(now, until);
    let parameters = json!({"n": 1});
    let mut draft = system.sandbox.draft("jump");
    draft["operations"] = json!([{"module": "file", "parameters": parameters}]);
    let action = system.sandbox.sign_window(draft, from, until);
    system.sandbox.drop_bytes("a.json", action.to_string().as_bytes());
    let mut run = Run { case, system, now, sent: Vec::new() };
    (0..STEPS.len()).for_each(|step| run.step(step));
    run.settle(time::after(until, MINUTE));
    run.violations(&parameters).into_iter().map(|text| format!("{case:?}: {text}")).collect()
}

#[test]
fn clocks_may_jump_at_every_step() {
    let mut score = Score::begin("clocks that jump");
    let cases = Case::all();
    let step = if is_full() { 1 } else { 31 };
    let mut found = Vec::new();
    for case in cases.iter().step_by(step) {
        found.extend(run(*case));
        score.add_runs(1);
    }
    score.end(&found, &format!("of {} cases", cases.len()));
}
