//! Heartbeats into the store, with whitelists of several sizes.

use crate::common::Sandbox;
use crate::report::{Goal, Row};
use crate::workers::settle;
use crate::{RUNS, fleet, raw};
use std::fmt::Write;
use std::time::Instant;

const HEARTBEATS: usize = 20_000;
const AGENTS: usize = 10_000;

/// The whitelists: all by one rule, by 10,000 lines, and with 50 regular expressions before them.
fn whitelists() -> [(&'static str, String); 3] {
    let lines = (0..AGENTS).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", fleet::agent(n).queueloc).unwrap();
        text
    });
    let regexes = (0..50).fold(String::new(), |mut text, n| {
        writeln!(text, "re:^windows\\.[a-z]+{n}\\.(corp|dmz)\\.example\\.net\\.").unwrap();
        text
    });
    [
        ("heartbeats, no whitelist", "re:^linux\\.\n".into()),
        ("heartbeats, 10,000 lines", lines.clone()),
        ("heartbeats, 10,000 lines, 50 regexes", regexes + &lines),
    ]
}

/// The rates.
pub fn measure() -> Vec<Row> {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); 3];
    let mut raws = Vec::new();
    let whitelists = whitelists();
    for _ in 0..RUNS {
        let sandbox = Sandbox::new();
        fleet::register(&sandbox, AGENTS);
        for ((_, whitelist), rates) in whitelists.iter().zip(&mut rates) {
            std::fs::write(sandbox.spool().join("agents_whitelist.txt"), whitelist).unwrap();
            for n in 0..HEARTBEATS {
                let file = sandbox.path("relay/mig.agt.heartbeats").join(format!("{n:08}.json"));
                std::fs::write(file, fleet::agent(n % AGENTS).to_json()).unwrap();
            }
            settle();
            let started = Instant::now();
            sandbox.once("heartbeats");
            rates.push(HEARTBEATS as f64 / started.elapsed().as_secs_f64());
            assert!(
                sandbox
                    .scheduler(&["--explain-target", "all"])
                    .stdout
                    .ends_with(format!("{AGENTS} agents\n").as_bytes())
            );
        }
        settle();
        let row = String::from_utf8(fleet::agent(0).to_json()).unwrap();
        let raw = raw::insert(&sandbox.path("raw.db"), HEARTBEATS, &row, mig::limits::BATCH_ENTRIES_MAX);
        raws.push(HEARTBEATS as f64 / raw.as_secs_f64());
    }
    let none = rates[0].clone();
    let (rate, sqlite) = (Goal::AtLeast(5000.0), "rows into SQLite, synced per batch");
    let row = |index: usize, raw: &Vec<f64>, raw_is: &'static str, goal: Goal| {
        let id = whitelists[index].0.to_owned();
        Row { id, values: rates[index].clone(), unit: "heartbeats/s", raw: raw.clone(), raw_is, goal }
    };
    let within = Goal::RatioAtLeast(0.9);
    vec![row(0, &raws, sqlite, rate), row(1, &none, "no whitelist", within), row(2, &none, "no whitelist", within)]
}
