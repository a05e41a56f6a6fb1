//! Hostile drops: one table of files and names that somebody may put into action/new, each with what becomes of it.
//!
//! Every drop lies beside a good action when action-new runs once. Whatever it is, the run ends soon, the good action goes
//! on, a refusal says word for word what is written here, and nothing outside the spool is touched.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod fields;
mod kinds;
mod names;
mod signatures;
mod strangers;
mod targets;
mod texts;

use bench::{Bench, Row};
use common::score::Score;

/// Tries rows, and tells of those that this machine cannot make.
fn try_all(score: Score, bench: &Bench, rows: Vec<Row>) {
    let (mut score, mut found, mut skipped) = (score, Vec::new(), Vec::new());
    for row in &rows {
        match bench.try_row(row) {
            Ok(violations) => {
                score.add_runs(1);
                found.extend(violations.into_iter().map(|text| format!("{}: {text}", row.what)));
            }
            Err(reason) => skipped.push(format!("{} ({reason})", row.what)),
        }
    }
    let note = if skipped.is_empty() { String::new() } else { format!("SKIPPED here: {}", skipped.join(", ")) };
    score.end(&found, &note);
}

#[test]
fn every_drop_has_its_outcome_and_harms_nobody() {
    let bench = Bench::new();
    let rows = [
        kinds::rows(),
        names::rows(&bench),
        texts::rows(&bench),
        fields::rows(&bench),
        signatures::rows(&bench),
        targets::rows(&bench),
    ];
    try_all(Score::begin("hostile drops"), &bench, rows.into_iter().flatten().collect());
}

#[test]
fn what_another_user_drops_has_its_outcome_too() {
    let score = Score::begin("hostile drops of another user");
    if !rustix::process::geteuid().is_root() {
        return score.skip("only root can drop as another user");
    }
    let bench = Bench::with_users();
    let rows = strangers::rows(&bench);
    try_all(score, &bench, rows);
}

#[test]
fn a_target_that_takes_too_long_is_refused_and_the_good_one_goes_on() {
    let bench = Bench::new();
    bench.register_many(400);
    // Four tables without a condition between them: 400^4 rows to look at.
    let target = "EXISTS (SELECT a.id FROM agents a, agents b, agents c, agents d WHERE a.id + b.id + c.id + d.id < 0)";
    let help = "the target takes longer than 10 s to evaluate; make it simpler, with fewer tables and subqueries";
    try_all(Score::begin("hostile drops: slow target"), &bench, vec![targets::row(&bench, target, help)]);
}
