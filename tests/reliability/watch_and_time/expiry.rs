//! Answers at the last moment: around the end of an action, and around the moment at which the collector ends its commands,
//! in steps down to a nanosecond. An answer that is on the relay is taken in before its command expires, whoever looks first.

use super::system::System;
use super::{is_full, spool_check};
use crate::common::score::Score;
use crate::common::{json_file, names};
use mig::limits::EXPIRY_GRACE;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::time::{self, Timestamp};
use serde_json::json;
use std::time::Duration;

/// Nanoseconds around a moment.
const OFFSETS: [i64; 11] = [-2_000_000, -1_000_000, -500_000, -1_000, -1, 0, 1, 1_000, 500_000, 1_000_000, 2_000_000];

/// So long before the end that an operation has all the time that it needs.
const LONG_BEFORE: i64 = -20_000_000_000;

/// Who looks, and in which order: results, collector, command-returned.
const ORDERS: [[&str; 3]; 6] = [
    ["results", "collector", "command-returned"],
    ["results", "command-returned", "collector"],
    ["collector", "results", "command-returned"],
    ["collector", "command-returned", "results"],
    ["command-returned", "results", "collector"],
    ["command-returned", "collector", "results"],
];

/// Of so many actions the checker looks at one.
const CHECKED: usize = 10;

fn shifted(time: Timestamp, nanos: i64) -> Timestamp {
    let by = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { time::before(time, by) } else { time::after(time, by) }
}

/// One system in which one action comes after the other, and the time at which the next one expires.
struct Expiring {
    system: System,
    store: SqliteStore,
    end: Timestamp,
    ended: usize,
}

impl Expiring {
    fn new() -> Expiring {
        let system = System::new(1);
        let store = SqliteStore::open(&system.sandbox.path("mig.db")).unwrap();
        // Neither a whole microsecond, as the store has them, nor a whole second, as the signature has them.
        let end = time::after(system.started, Duration::from_nanos(60_123_456_789));
        Expiring { system, store, end, ended: 0 }
    }

    /// Brings an action to its agent, half a minute before it expires.
    fn send(&mut self) {
        let now = time::before(self.end, Duration::from_secs(30));
        let sandbox = &self.system.sandbox;
        let action = sandbox.sign_window(
            sandbox.draft("late"),
            time::before(self.system.started, Duration::from_secs(60)),
            self.end,
        );
        sandbox.drop_bytes("a.json", action.to_string().as_bytes());
        self.system.pass("action-new", now);
        self.system.pass("command-ready", now);
    }

    /// Takes the command's file away, as an operator may by mistake: the store alone knows of it then.
    fn lose_file(&self) {
        let stage = self.system.sandbox.spool().join("command/inflight");
        for name in self.system.sandbox.names("command/inflight") {
            std::fs::remove_file(stage.join(name)).unwrap();
        }
    }

    /// Puts what is on the agent's queue on its disk, as it does itself, and lets it go no further.
    fn receive(&self) {
        let sandbox = &self.system.sandbox;
        for queue in names(&sandbox.path("relay")).iter().filter(|name| name.starts_with("mig.agt.linux.")) {
            for message in names(&sandbox.path("relay").join(queue)) {
                let path = sandbox.path("relay").join(queue).join(message);
                let command = json_file(&path);
                let name = format!("{}-{}.json", command["action"]["id"], command["id"]);
                std::fs::rename(path, sandbox.path("agent-1/received").join(name)).unwrap();
            }
        }
    }

    /// Lets everything end, and returns what is wrong: the command shall have one of these statuses, and the same in the spool,
    /// the store and the counters.
    fn end(&mut self, allowed: &[&str]) -> Vec<String> {
        let later = time::after(self.end, Duration::from_secs(10));
        self.system.pass_agents(later);
        for worker in ["results", "collector", "command-returned", "results", "collector"] {
            self.system.pass(worker, later);
        }
        let sandbox = &self.system.sandbox;
        if sandbox.picture() != [("action/done".into(), 1), ("command/done".into(), 1)] {
            return vec![format!("picture {:?}", sandbox.picture())];
        }
        let (reference, command) = sandbox.commands("command/done").remove(0);
        let stored = self.store.find_commands(&[reference]).unwrap().remove(0).unwrap().status.as_str();
        let counters = &sandbox.only("action/done")["counters"];
        if command["status"] != stored || *counters != json!({"sent": 1, "done": 1, stored: 1}) {
            return vec![format!("{} in the spool, {stored} in the store, counters {counters}", command["status"])];
        }
        if allowed.contains(&stored) {
            return Vec::new();
        }
        vec![format!("is {stored}, not {allowed:?}: results {}", command["results"])]
    }

    /// Makes room for the next action. The checker looks at some of them, it takes longer than the rest.
    fn next(&mut self) -> Vec<String> {
        self.ended += 1;
        let check = self.ended.is_multiple_of(CHECKED);
        let violations = if check { spool_check(&self.system.sandbox) } else { Vec::new() };
        for stage in ["action/done", "command/done"] {
            for name in self.system.sandbox.names(stage) {
                std::fs::remove_file(self.system.sandbox.spool().join(stage).join(name)).unwrap();
            }
        }
        self.end = time::after(self.end, Duration::from_secs(60));
        violations
    }
}

#[test]
fn an_answer_at_the_last_moment_and_the_collector_agree() {
    let mut score = Score::begin("answers at the last moment");
    let mut expiring = Expiring::new();
    let mut cases = Vec::new();
    for (grace, lost) in [(Duration::ZERO, false), (EXPIRY_GRACE, false), (EXPIRY_GRACE, true)] {
        for order in ORDERS {
            cases.extend(
                OFFSETS.iter().flat_map(|one| OFFSETS.iter().map(move |other| (grace, lost, order, *one, *other))),
            );
        }
    }
    let step = if is_full() { 1 } else { 7 };
    let mut found = Vec::new();
    for (grace, lost, order, answer, collect) in cases.iter().step_by(step) {
        expiring.send();
        let before = time::before(expiring.end, Duration::from_secs(10));
        expiring.system.pass_agents(before);
        if *lost {
            expiring.lose_file();
        }
        let moment = time::after(expiring.end, *grace);
        for worker in order {
            let offset = if *worker == "collector" { *collect } else { *answer };
            expiring.system.pass(worker, shifted(moment, offset));
        }
        let mut violations = expiring.end(&["success"]);
        violations.extend(expiring.next());
        let case = format!(
            "{order:?}, answer {answer} ns and collector {collect} ns from {grace:?} after the end, file lost {lost}"
        );
        found.extend(violations.into_iter().map(|text| format!("{case}: {text}")));
        score.add_runs(1);
    }
    score.end(&found, &format!("of {} cases", cases.len()));
}

#[test]
fn an_agent_runs_nothing_from_the_end_of_an_action_on() {
    let mut score = Score::begin("agents at the last moment");
    let mut expiring = Expiring::new();
    let mut found = Vec::new();
    for offset in [LONG_BEFORE].into_iter().chain(OFFSETS) {
        // Taken from the relay at the last moment, or taken before and begun at the last moment.
        for received in [false, true] {
            expiring.send();
            if received {
                expiring.receive();
            }
            let now = shifted(expiring.end, offset);
            expiring.system.pass_agents(now);
            for worker in ["results", "collector", "command-returned"] {
                expiring.system.pass(worker, now);
            }
            // What is left of the validity is all the time that the operation has, and that a pass has before it runs.
            let allowed: &[&str] = match offset {
                LONG_BEFORE => &["success"],
                ..0 => &["success", "timeout", "expired"],
                _ => &["expired"],
            };
            let mut violations = expiring.end(allowed);
            violations.extend(expiring.next());
            let case = format!("{offset} ns from the end, received {received}");
            found.extend(violations.into_iter().map(|text| format!("{case}: {text}")));
            score.add_runs(1);
        }
    }
    score.end(&found, "");
}

#[test]
fn answers_and_the_collector_may_come_at_once() {
    let mut score = Score::begin("answers and collector at once");
    let mut expiring = Expiring::new();
    let (mut found, mut answered) = (Vec::new(), 0);
    for n in 0..if is_full() { 1000 } else { 100 } {
        expiring.send();
        expiring.system.pass_agents(time::before(expiring.end, Duration::from_secs(10)));
        // The collector has a longer way to its files, so the answers come a little later, each time by as much more.
        let late = Duration::from_micros(n as u64 % 50 * 5);
        let together = [("results", late), ("collector", Duration::ZERO), ("command-returned", late / 2)];
        for _ in 0..2 {
            expiring.system.pass_together(&together, time::after(expiring.end, EXPIRY_GRACE));
        }
        // From here on the status stays as it is.
        let done = expiring.system.sandbox.commands("command/done");
        let status = done.first().and_then(|(_, command)| command["status"].as_str()).unwrap_or("not done").to_owned();
        answered += usize::from(status == "success");
        found.extend(expiring.end(&["success"]).into_iter().map(|text| format!("run {n}: {status}, then {text}")));
        found.extend(expiring.next());
        score.add_runs(1);
    }
    score.end(&found, &format!("{answered} were done at once"));
}
