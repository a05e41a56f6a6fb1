//! Heartbeats into the store, with whitelists of several sizes.

use crate::common::Sandbox;
use crate::report::{Goal, Row};
use crate::workers::settle;
use crate::{RUNS, fleet, raw};
use std::fmt::Write;
use std::time::Instant;

const HEARTBEATS: usize = 20_000;
/// A fleet that sends heartbeats.
pub const AGENTS: usize = 10_000;

/// The whitelists: all agents by one rule, all by 10,000 lines, and half by 10,000 lines, half by the last of 50 regular
/// expressions.
pub fn whitelists(queueloc: impl Fn(usize) -> String) -> [String; 3] {
    let lines = |first: usize| {
        (first..first + AGENTS).fold(String::new(), |mut text, n| {
            writeln!(text, "{}", queueloc(n)).unwrap();
            text
        })
    };
    let regexes = (1..50).fold(String::new(), |mut text, n| {
        writeln!(text, "re:windows\\.[a-z]+{n}\\.(corp|dmz)\\.example\\.net\\..*").unwrap();
        text
    });
    let rule = "re:linux\\..*\n";
    [rule.into(), lines(0), regexes + rule + &lines(AGENTS / 2)]
}

/// Rates with each of the whitelists. Each comes first, second and last in turn: the later, the more the store has to clear.
pub fn rate_each(round: usize, whitelists: &[String; 3], rates: &mut [Vec<f64>; 3], rate: impl Fn(&str) -> f64) {
    for turn in 0..3 {
        let index = (round + turn) % 3;
        rates[index].push(rate(&whitelists[index]));
    }
}

/// A row of rates, beside a raw limit.
pub fn row<'a>(raw: &'a [f64], raw_is: &'static str, goal: Goal) -> impl Fn(&str, &[f64]) -> Row + 'a {
    move |id, values| Row {
        id: id.into(),
        values: values.to_vec(),
        unit: "heartbeats/s",
        raw: raw.to_vec(),
        raw_is,
        goal,
    }
}

/// The rows of rates with each of the whitelists; the first, which has a name and a row of its own, is what the others are
/// compared with.
pub fn rows(first: &str, rates: &[Vec<f64>; 3], row_of_first: impl Fn(&str, &[f64]) -> Row) -> Vec<Row> {
    let beside_first = row(&rates[0], "no whitelist", Goal::RatioAtLeast(0.9));
    vec![
        row_of_first(first, &rates[0]),
        beside_first("heartbeats, 10,000 lines", &rates[1]),
        beside_first("heartbeats, 10,000 lines, 50 regexes", &rates[2]),
    ]
}

/// The rates.
pub fn measure() -> Vec<Row> {
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut raws = Vec::new();
    let whitelists = whitelists(|n| fleet::agent(n).queueloc.to_string());
    for round in 0..RUNS {
        let sandbox = Sandbox::new();
        fleet::register(&sandbox, AGENTS);
        rate_each(round, &whitelists, &mut rates, |whitelist| {
            std::fs::write(sandbox.spool().join("agents_whitelist.txt"), whitelist).unwrap();
            for n in 0..HEARTBEATS {
                let file = sandbox.path("relay/mig.agt.heartbeats").join(format!("{n:08}.json"));
                std::fs::write(file, fleet::agent(n % AGENTS).to_json()).unwrap();
            }
            settle();
            let started = Instant::now();
            sandbox.once("heartbeats");
            let rate = HEARTBEATS as f64 / started.elapsed().as_secs_f64();
            assert!(
                sandbox
                    .scheduler(&["--explain-target", "all"])
                    .stdout
                    .ends_with(format!("{AGENTS} agents\n").as_bytes())
            );
            rate
        });
        settle();
        let row = String::from_utf8(fleet::agent(0).to_json()).unwrap();
        let raw = raw::insert(&sandbox.path("raw.db"), HEARTBEATS, &row, mig::limits::BATCH_ENTRIES_MAX);
        raws.push(HEARTBEATS as f64 / raw.as_secs_f64());
    }
    rows("heartbeats, no whitelist", &rates, row(&raws, "rows into SQLite, synced per batch", Goal::AtLeast(5000.0)))
}
