//! Hostile files: one table of what people may drop, what agents may send, and what operators may put into the stages of
//! commands, each with what becomes of it.
//!
//! Every file lies beside a good one when the worker runs once. Whatever it is, the run ends soon, the good one goes on, a
//! refusal says word for word what is written here, and nothing outside is touched.

mod bench;
mod detached;
mod fields;
mod heartbeats;
mod kinds;
mod names;
mod operators;
mod results;
mod signatures;
mod strangers;
mod targets;
mod texts;

use crate::common::score::Score;
use crate::common::{Sandbox, names, text};
use bench::{Bench, Row};
use std::process::{Command, Output};

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
        detached::rows(&bench),
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
fn an_answer_counts_for_its_own_command_only() {
    let bench = Bench::new();
    try_all(Score::begin("hostile messages: results"), &bench, results::rows(&bench));
    results::what_was_kept_does_not_spoil_targets(&bench);
}

#[test]
fn a_heartbeat_registers_its_sender_or_is_dropped() {
    try_all(Score::begin("hostile messages: heartbeats"), &Bench::new(), heartbeats::rows());
}

#[test]
fn what_operators_put_into_the_wrong_place_is_told() {
    let bench = Bench::new();
    try_all(Score::begin("hostile messages: operators"), &bench, operators::rows(&bench));
}

/// Runs action-new once under strace, which makes a system call fail.
fn with_fault(sandbox: &Sandbox, fault: &str) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={fault}")]);
    command.arg(env!("CARGO_BIN_EXE_mig-scheduler")).arg("-c").arg(sandbox.scheduler_cfg());
    command.args(["--only", "action-new", "--once"]).output().unwrap()
}

fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    works.is_ok_and(|output| output.status.success())
}

#[test]
fn a_drop_that_cannot_be_replaced_holds_up_nobody() {
    let mut score = Score::begin("hostile drops: one that cannot be replaced");
    if !can_trace() {
        return score.skip("no strace here, or no right to trace");
    }
    let sandbox = Sandbox::new();
    sandbox.register(1);
    ["a.json", "b.json", "c.json"].iter().for_each(|file| sandbox.drop_action(file));
    // As when its owner has put a directory in its place, which only its owner may move. The first rename is the one in tmp at
    // the start.
    let output = with_fault(&sandbox, "renameat2:error=EACCES:when=2");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        sandbox.picture(),
        [("action/new".into(), 1), ("action/inflight".into(), 2), ("command/ready".into(), 2)]
    );
    assert!(text(&output).contains("a.json: Permission denied (os error 13); it stays, and is tried again"));
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight").len(), 3);
    assert!(names(&sandbox.path("spool/tmp")).is_empty());
    score.add_runs(1);
    score.end(&[], "");
}

/// A crash in the middle of an exchange with somebody's directory leaves that in tmp; only its owner may be able to delete its
/// content.
#[test]
fn a_directory_that_was_caught_in_an_exchange_stops_nobody() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    for number in 0..3 {
        std::fs::create_dir_all(sandbox.path(&format!("spool/tmp/action-new.{number}/theirs"))).unwrap();
    }
    std::fs::create_dir(sandbox.path("spool/tmp/action-new.3")).unwrap();
    sandbox.drop_action("good.json");
    let output = sandbox.scheduler(&["--only", "action-new", "--once"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("Directory not empty (os error 39); move it away by hand"), "{}", text(&output));
    assert_eq!(sandbox.names("action/inflight").len(), 1);
    assert_eq!(names(&sandbox.path("spool/tmp")), ["action-new.0", "action-new.1", "action-new.2"]);
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
