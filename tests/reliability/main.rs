//! Crashes, hostile input, clocks, full disks: each test tries many cases, and reports to `scripts/scoreboard.sh`.

#[path = "../common/mod.rs"]
mod common;
mod crash;
#[allow(dead_code, reason = "the targets are called by name")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../gnupg/mod.rs"]
mod gnupg;
mod hostile;
mod parsers;
mod second_user;
mod signature_table;
mod target_table;
mod watch_and_time;

/// The agent of these tests: this program, started again for this one test.
#[test]
fn agent_process() {
    common::agent_process();
}
