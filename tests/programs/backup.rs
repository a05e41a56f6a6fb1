//! A backup that is taken while actions are in flight, restored elsewhere: what was begun ends once, and spool and store agree.

use crate::common::{Sandbox, names, text};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

fn script(name: &str, arguments: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    Command::new(path).args(arguments).output().unwrap()
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

/// The `name` of every action in a stage.
fn actions(sandbox: &Sandbox, stage: &str) -> Vec<String> {
    let read = |name: &String| {
        let text = std::fs::read(sandbox.spool().join(stage).join(name)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["name"].as_str().unwrap().to_owned()
    };
    sandbox.names(stage).iter().map(read).collect()
}

#[test]
fn what_was_in_flight_at_the_backup_ends_once_after_the_restore() {
    let sandbox = Sandbox::new();
    let scheduler = sandbox.start_scheduler();
    let agent = sandbox.start_agent(1);
    sandbox.wait("registered", |s| text(&s.scheduler(&["--explain-target", "all"])).contains("\n1 agents"));
    (0..5).for_each(|n| sandbox.drop_action(&format!("done-{n}.json")));
    sandbox.wait("done", |s| s.names("action/done").len() == 5);
    agent.kill();
    (0..5).for_each(|n| sandbox.drop_action(&format!("sent-{n}.json")));
    sandbox.wait("sent", |s| s.names("command/inflight").len() == 5);
    let soon = mig::time::after(mig::time::now(), Duration::from_secs(8));
    let later =
        sandbox.sign_window(sandbox.draft("later.json"), soon, mig::time::after(soon, Duration::from_secs(900)));
    sandbox.drop_bytes("later.json", later.to_string().as_bytes());
    let agent = sandbox.start_agent(1);
    let path = |name: &str| sandbox.path(name).display().to_string();
    let (spool, db, backup) = (path("spool"), path("mig.db"), path("backup"));
    // Actions begin, and are answered, all the time.
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..12 {
                sandbox.drop_action(&format!("during-{n}.json"));
                std::thread::sleep(Duration::from_millis(70));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        script("spool-backup", &["-s", &spool, "--db", &db, &backup])
    });
    succeeds(&output);
    sandbox.wait("on", |s| s.names("action/done").len() >= 22);
    assert_eq!(scheduler.terminate(), Some(0));
    for name in ["spool", "mig.db", "mig.db-wal", "mig.db-shm", "scheduler.log"] {
        let _ = std::fs::rename(sandbox.path(name), sandbox.path(&format!("old {name}")));
    }

    succeeds(&script("install-spool.sh", &["-s", &spool]));
    let restore = ["-s", &spool, "--db", &db, "--resend", &backup];
    succeeds(&script("spool-restore", &restore));
    assert_eq!(script("spool-restore", &restore).status.code(), Some(1), "what is there is not overwritten");
    let known: Vec<String> =
        ["action/new", "action/inflight", "action/done"].iter().flat_map(|stage| actions(&sandbox, stage)).collect();
    let distinct: BTreeSet<&String> = known.iter().collect();
    assert!(distinct.len() >= 11, "{known:?}");
    let scheduler = sandbox.start_scheduler();
    sandbox.wait("at its end", |s| {
        let counts = ["action/new", "action/inflight", "command/ready", "command/inflight", "command/returned", "tmp"];
        s.names("action/done").len() == distinct.len() && counts.iter().all(|stage| s.names(stage).is_empty())
    });
    let ended = actions(&sandbox, "action/done");
    assert_eq!(ended.iter().collect::<BTreeSet<_>>(), distinct);
    assert_eq!(names(&sandbox.path("spool/action/invalid")), Vec::<String>::new());
    sandbox.drop_action("next.json");
    sandbox.wait("on", |s| s.names("action/done").len() == distinct.len() + 1);
    assert_eq!(scheduler.terminate(), Some(0));
    drop(agent);
    let checked = script("spool-check", &["-s", &spool, "--settled", "--db", &db]);
    assert!(checked.status.success() && text(&checked).contains("clean"), "{}", text(&checked));
}
