//! A second user in the drop group renames, replaces, truncates, rewrites, exchanges, links and unlinks files in action/new
//! while good ones arrive: only what an investigator signed is ever executed, and what others dropped goes on.
//!
//! The spool is the one that scripts/install-spool.sh makes. Scheduler and agent run as a user without rights, the
//! attacker as another, and a third drops the good actions. `MIG_FAULTS=full` attacks for a minute;
//! `MIG_SECOND_USER_SEED` repeats a run as far as timing allows.

mod arena;
mod attacker;

use crate::common::{self, score::Score};
use arena::Arena;
use std::path::Path;
use std::time::Duration;

/// The attacker: this program, started again for this one test.
#[test]
fn attacker_process() {
    let Ok(root) = std::env::var("MIG_TEST_ATTACKER") else { return };
    attacker::attack(Path::new(&root), std::env::var("MIG_TEST_SEED").unwrap().parse().unwrap());
}

fn attack(name: &str, mode: u32, check: impl Fn(&Arena, &mut Vec<String>)) {
    let seed = common::seed("MIG_SECOND_USER_SEED");
    let mut score = Score::begin(name).with_seed(seed);
    if !rustix::process::geteuid().is_root() {
        return score.skip("only root can start programs as other users");
    }
    let arena = Arena::new(mode);
    let mut violations = Vec::new();
    let blows = arena.fight(Duration::from_secs(if common::is_full() { 60 } else { 10 }), seed, &mut violations);
    arena.check(&mut violations);
    check(&arena, &mut violations);
    score.add_runs(blows);
    score.end(&violations, &format!("{blows} blows, {} good actions", arena.dropped()));
}

#[test]
fn a_second_user_has_nothing_executed_that_was_not_signed() {
    attack("second user", 0o3770, |arena, violations| {
        // The directory is sticky: what another user dropped cannot be touched.
        arena.check_that_every_good_one_is_done(violations);
        arena.check_spool(violations);
    });
}

/// Not how the spool is installed: here the attacker may also replace what others dropped, and what is just adopted.
#[test]
fn nor_in_a_directory_that_is_not_sticky() {
    attack("second user, not sticky", 0o2770, |_, _| {});
}
