//! What submitting an action, or starting a program, meets on a full disk: a refusal that says so, or a file that waits.

use super::disk::{DATABASE, Scarce, SmallDisk, sandbox_in};
use crate::common::score::Score;
use crate::common::{Sandbox, names, text};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

fn with_small(place: &str, scarce: Scarce) -> Option<(Sandbox, SmallDisk)> {
    let sandbox = sandbox_in(&std::env::temp_dir());
    let disk = SmallDisk::mount(&sandbox.path(place), scarce)?;
    Some((sandbox, disk))
}

fn cp(from: &Path, to: &Path) -> Output {
    Command::new("cp").arg(from).arg(to).output().unwrap()
}

#[test]
fn a_copy_that_found_no_room_is_left_alone_and_then_refused() {
    let mut score = Score::begin("cp onto a full spool");
    let Some((sandbox, disk)) = with_small("spool", Scarce::Space) else {
        return score.skip("nothing can be mounted here");
    };
    sandbox.register(1);
    let mut draft = sandbox.draft("large");
    draft["description"] = json!({"author": "x".repeat(50_000)});
    let action = sandbox.path("large.json");
    std::fs::write(&action, sandbox.sign(draft).to_string()).unwrap();
    let drop = sandbox.spool().join("action/new/large.json");
    disk.fill(4);
    assert!(text(&cp(&action, &drop)).contains("No space left on device"));
    let half = std::fs::read(&drop).unwrap();
    assert!(!half.is_empty() && half.len() < 50_000, "{} bytes", half.len());
    sandbox.once("action-new");
    assert_eq!(std::fs::read(&drop).unwrap(), half, "it may still be written: left alone");
    // Unchanged for longer than anybody writes. Its reason needs room, so it waits.
    assert!(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&drop).status().unwrap().success());
    let refusing = sandbox.scheduler(&["--only", "action-new", "--once"]);
    assert_eq!(refusing.status.code(), Some(75), "{}", text(&refusing));
    assert!(text(&refusing).contains("spool/tmp/action-new."), "{}", text(&refusing));
    assert!(text(&refusing).contains("No space left on device (os error 28), see df and df -i"), "{}", text(&refusing));
    assert_eq!(std::fs::read(&drop).unwrap(), half);
    assert_eq!(names(&sandbox.path("spool/action/invalid")), Vec::<String>::new());
    disk.empty();
    sandbox.once("action-new");
    assert_eq!(
        std::fs::read(sandbox.spool().join("action/invalid/large.json")).unwrap(),
        half,
        "nothing of it is lost"
    );
    assert!(sandbox.reason("large.json").contains("ends in the middle"), "{}", sandbox.reason("large.json"));
    // Dropped again, now that there is room, it goes its way; also over a half that is still there.
    std::fs::write(&drop, &half).unwrap();
    sandbox.once("action-new");
    assert!(cp(&action, &drop).status.success());
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 1, "done": 1, "success": 1}));
    score.add_runs(1);
    score.end(&[], "");
}

#[test]
fn the_generator_says_that_the_spool_is_full() {
    let mut score = Score::begin("generator onto a full spool");
    for scarce in [Scarce::Space, Scarce::Inodes] {
        let Some((sandbox, disk)) = with_small("spool", scarce) else {
            return score.skip("nothing can be mounted here");
        };
        std::fs::write(sandbox.path("draft.json"), sandbox.draft("generated").to_string()).unwrap();
        let generate = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mig-action-generator"));
            command.arg("-i").arg(sandbox.path("draft.json")).arg("-k").arg(sandbox.path("key"));
            command.arg("--spool").arg(sandbox.spool()).output().unwrap()
        };
        disk.fill(0);
        let refused = generate();
        assert_eq!(refused.status.code(), Some(74), "{}", text(&refused));
        let told = text(&refused);
        assert!(told.contains("spool/action/new") && told.contains("No space left on device"), "{told}");
        assert_eq!(sandbox.names("action/new"), Vec::<String>::new(), "no half of it is left");
        disk.empty();
        assert!(generate().status.success());
        assert_eq!(sandbox.names("action/new").len(), 1);
        score.add_runs(1);
    }
    score.end(&[], "");
}

#[test]
fn a_scheduler_that_starts_on_a_full_disk_asks_to_be_started_again() {
    let mut score = Score::begin("scheduler starts on a full disk");
    for scarce in [Scarce::Space, Scarce::Inodes] {
        let Some((sandbox, disk)) = with_small("store", scarce) else {
            return score.skip("nothing can be mounted here");
        };
        disk.fill(0);
        let output = sandbox.scheduler(&["--once"]);
        // 78 would say that the configuration is wrong, and a supervisor would give up.
        assert_eq!(output.status.code(), Some(75), "{}", text(&output));
        let told = text(&output);
        assert!(told.contains(DATABASE), "{told}");
        assert!(told.contains("No space left on device") || told.contains("disk is full"), "{told}");
        disk.empty();
        assert!(sandbox.scheduler(&["--once"]).status.success());
        score.add_runs(1);
    }
    score.end(&[], "");
}
