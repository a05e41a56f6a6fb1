//! Hostile messages: what agents may send, and what operators may put into the stages of commands, each with what becomes
//! of it. Beside every one lies a good one that goes on.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod heartbeats;
mod operators;
mod results;

use common::score::Score;

/// Tries every row and tells which were not as expected.
fn try_all<Row>(name: &str, rows: &[Row], attempt: impl Fn(&Row) -> Vec<String>) {
    let mut score = Score::begin(name);
    let found: Vec<String> = rows.iter().flat_map(attempt).collect();
    score.add_runs(rows.len());
    score.end(&found, "");
}

#[test]
fn an_answer_counts_for_its_own_command_only() {
    let bench = bench::Bench::new();
    try_all("hostile messages: results", &results::rows(&bench), |row| results::attempt(&bench, row));
    results::what_was_kept_does_not_spoil_targets(&bench);
}

#[test]
fn a_heartbeat_registers_its_sender_or_is_dropped() {
    let bench = bench::Bench::new();
    try_all("hostile messages: heartbeats", &heartbeats::rows(), |row| heartbeats::attempt(&bench, row));
}

#[test]
fn what_operators_put_into_the_wrong_place_is_told() {
    let bench = bench::Bench::new();
    try_all("hostile messages: operators", &operators::rows(&bench), |row| operators::attempt(&bench, row));
}
