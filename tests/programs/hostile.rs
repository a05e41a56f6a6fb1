//! What a dropper, an agent or an operator can do without stopping anybody else, and without a command that never ends.

use crate::common::{Sandbox, broker_fleet, json_file, names, text};
use mig::limits::{BATCH_ENTRIES_MAX, PARALLEL_ENTRIES_MIN, TRIAL_ENTRIES_MAX};
use mig::store::sqlite::SqliteStore;
use mig::time;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// An action that expires twenty seconds from now.
fn short(sandbox: &Sandbox, name: &str) -> Value {
    let now = time::now();
    let from = time::before(now, Duration::from_secs(60));
    sandbox.sign_window(sandbox.draft(name), from, time::after(now, Duration::from_secs(20)))
}

fn rename(sandbox: &Sandbox, from: &str, to: &str) {
    std::fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
}

fn configure(sandbox: &Sandbox, from: &str, to: &str) {
    let text = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    assert!(text.contains(from));
    std::fs::write(sandbox.scheduler_cfg(), text.replace(from, to)).unwrap();
}

#[test]
fn a_store_that_is_looked_at_from_outside_keeps_its_log() {
    let sandbox = Sandbox::new();
    let _scheduler = sandbox.start_scheduler();
    sandbox.wait("writing", |s| s.path("mig.db-wal").exists());
    for _ in 0..3 {
        drop(SqliteStore::open(&sandbox.path("mig.db")).unwrap());
        assert!(text(&sandbox.scheduler(&["--explain-target", "all"])).contains("agents\n"));
    }
    assert!(sandbox.path("mig.db-wal").exists(), "closing it elsewhere must not take the log from under the scheduler");
    let maps = Path::new("/proc").join(_scheduler.0.id().to_string()).join("fd");
    let deleted = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap_or_default();
        target.to_string_lossy().contains("mig.db") && target.to_string_lossy().contains("deleted")
    };
    assert!(!std::fs::read_dir(maps).unwrap().any(deleted));
}

#[test]
fn one_id_dropped_twice_goes_out_once() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    let mut action = sandbox.sign(sandbox.draft("same id"));
    action["id"] = 7.into();
    sandbox.drop_bytes("a.json", action.to_string().as_bytes());
    action["description"] = json!({"author": "somebody else"});
    sandbox.drop_bytes("b.json", action.to_string().as_bytes());
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight"), ["7.json"]);
    assert_eq!(sandbox.names("command/ready").len(), 2);
    assert!(sandbox.reason("b.json").starts_with("action 7 is in flight already"));
    // Later, when a new agent is there: still refused, and nothing is promised to that agent.
    sandbox.register(3);
    sandbox.drop_bytes("c.json", action.to_string().as_bytes());
    sandbox.once("action-new,command-ready");
    assert!(sandbox.reason("c.json").starts_with("action 7 is in flight already"));
    (1..=3).for_each(|number| drop(sandbox.agent_once(number)));
    sandbox.once("results,command-returned");
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 2, "done": 2, "success": 2}));
}

#[test]
fn one_id_dropped_twice_in_batches_of_which_one_runs_ahead_is_begun_once() {
    let sandbox = Sandbox::new();
    broker_fleet::register(&mut SqliteStore::open(&sandbox.path("mig.db")).unwrap(), 1);
    let mut same = sandbox.sign(sandbox.draft("same id"));
    same["id"] = 7.into();
    let first_of_second = TRIAL_ENTRIES_MAX + BATCH_ENTRIES_MAX;
    for number in 0..first_of_second + PARALLEL_ENTRIES_MIN {
        let name = format!("{number:04}.json");
        if [first_of_second - 1, first_of_second].contains(&number) {
            sandbox.drop_bytes(&name, same.to_string().as_bytes());
        } else {
            sandbox.drop_action(&name);
        }
    }
    let log = text(&sandbox.scheduler(&["--only", "action-new", "--once"]));
    assert_eq!(log.matches("'same id' goes to").count(), 1, "{log}");
    assert!(sandbox.reason(&format!("{first_of_second:04}.json")).starts_with("action 7 is in flight already"));
    assert_eq!(sandbox.commands("command/ready").len(), first_of_second + PARALLEL_ENTRIES_MIN - 1);
}

#[test]
fn an_id_of_another_action_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    for (file, name) in [("a.json", "one"), ("b.json", "another")] {
        let mut action = sandbox.sign(sandbox.draft(name));
        action["id"] = 8.into();
        sandbox.drop_bytes(file, action.to_string().as_bytes());
        sandbox.once("action-new,command-ready");
        sandbox.agent_once(1);
        sandbox.once("results,command-returned");
    }
    assert_eq!(
        sandbox.reason("b.json"),
        "the id 8 belongs to another action; drop this one without an id, and it gets a new one"
    );
}

#[test]
fn a_command_whose_file_is_lost_still_ends() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    sandbox.drop_bytes("a.json", short(&sandbox, "lost files").to_string().as_bytes());
    sandbox.once("action-new");
    for name in sandbox.names("command/ready") {
        std::fs::remove_file(sandbox.spool().join("command/ready").join(name)).unwrap();
    }
    sandbox.wait("ended", |s| {
        s.once("collector,command-returned");
        s.names("action/done").len() == 1
    });
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 2, "done": 2, "expired": 2}));
    assert_eq!(sandbox.names("command/done").len(), 2);
}

#[test]
fn an_answer_stays_when_its_command_is_replayed_too_late() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.drop_bytes("a.json", short(&sandbox, "late replay").to_string().as_bytes());
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    let (name, before) = (sandbox.names("command/done").remove(0), sandbox.only("command/done"));
    rename(&sandbox, &format!("spool/command/done/{name}"), &format!("spool/command/ready/{name}"));
    sandbox.wait("back", |s| {
        s.once("collector,command-returned");
        s.names("command/done").len() == 1
    });
    assert_eq!(sandbox.only("command/done"), before);
}

#[test]
fn a_lost_store_does_not_end_an_action_early() {
    let sandbox = Sandbox::new();
    sandbox.register(3);
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    for file in names(&sandbox.path("")).iter().filter(|name| name.starts_with("mig.db")) {
        std::fs::remove_file(sandbox.path(file)).unwrap();
    }
    sandbox.agent_once(1);
    sandbox.once("results,command-returned,collector");
    assert_eq!(sandbox.names("action/done"), Vec::<String>::new(), "two are still out");
    (2..=3).for_each(|number| drop(sandbox.agent_once(number)));
    sandbox.once("results,command-returned");
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 3, "done": 3, "success": 3}));
}

#[test]
fn what_is_dropped_as_a_directory_does_not_stop_the_collector() {
    let sandbox = Sandbox::new();
    configure(&sandbox, "freq = \"1s\"", "freq = \"1s\"\ndeleteafter = \"1s\"");
    std::fs::create_dir(sandbox.spool().join("action/new/empty.json")).unwrap();
    std::fs::create_dir_all(sandbox.spool().join("action/new/full.json/inside")).unwrap();
    sandbox.drop_bytes("bad.json", b"{]");
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/invalid").len(), 6);
    sandbox.wait("deleted", |s| {
        s.once("collector");
        s.names("action/invalid") == ["full.json"]
    });
}

#[test]
fn an_agent_that_spoils_the_relay_stops_nobody_else() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    sandbox.drop_action("a.json");
    sandbox.once("action-new");
    let relay = sandbox.path("relay");
    for queue in ["mig.agt.results", "mig.agt.heartbeats"] {
        std::fs::create_dir(relay.join(queue).join("0000000000000001.0000000000000001.x.json")).unwrap();
        std::fs::create_dir_all(relay.join(queue).join("0000000000000001.9000000000000001.y.json/full")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", relay.join(queue).join("zero.json")).unwrap();
    }
    std::fs::write(relay.join("mig-stray"), "").unwrap();
    std::fs::create_dir_all(relay.join("dead/directory.json/full")).unwrap();
    // One agent makes a plain file of its queue.
    let queue = names(&relay).into_iter().find(|name| name.starts_with("mig.agt.linux")).unwrap();
    std::fs::remove_dir(relay.join(&queue)).unwrap();
    std::fs::write(relay.join(&queue), "").unwrap();
    sandbox.once("command-ready");
    assert_eq!(sandbox.names("command/inflight").len(), 1, "the other one's command is sent");
    sandbox.once("heartbeats");
    let spoiled = queue.rsplit('.').next().unwrap();
    let good = (1..=2)
        .find(|n| std::fs::read_to_string(sandbox.path(&format!("agent-{n}/agent.id"))).unwrap().trim() != spoiled);
    sandbox.agent_once(good.unwrap());
    sandbox.once("results,command-returned,collector");
    assert_eq!(sandbox.names("command/done").len(), 1);
}

#[test]
fn an_agent_does_not_run_again_what_it_has_answered() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    let name = names(&sandbox.path("agent-1/done")).remove(0);
    // As a crash between writing a refusal and taking the command away leaves it.
    std::fs::copy(sandbox.path("agent-1/done").join(&name), sandbox.path("agent-1/received").join(&name)).unwrap();
    let log = text(&sandbox.agent_once(1));
    assert!(!log.contains("running '"), "{log}");
    assert!(names(&sandbox.path("agent-1/received")).is_empty());
    // Two different answers: the first stays, and nothing is sent for ever.
    std::fs::write(sandbox.path("agent-1/answered").join(&name), {
        let mut other = json_file(&sandbox.path("agent-1/done").join(&name));
        other["status"] = "failed".into();
        other.to_string()
    })
    .unwrap();
    sandbox.agent_once(1);
    assert!(names(&sandbox.path("agent-1/answered")).is_empty());
    assert_eq!(json_file(&sandbox.path("agent-1/done").join(&name))["status"], "success");
}

#[test]
fn a_scheduler_without_keys_does_not_start() {
    let sandbox = Sandbox::new();
    sandbox.drop_action("a.json");
    rename(&sandbox, "key.pub", "elsewhere");
    let output = sandbox.scheduler(&["--once"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(
        text(&output).contains("investigators.keyring: ") && text(&output).contains("cannot be used"),
        "{}",
        text(&output)
    );
    assert_eq!(sandbox.names("action/new"), ["a.json"], "nothing was refused for it");
}

#[test]
fn batches_of_bad_files_do_not_hold_up_the_good_one() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let bad = 2 * mig::limits::BATCH_ENTRIES_MAX;
    for n in 0..bad {
        sandbox.drop_bytes(&format!("{n:04}.json"), b"{]");
    }
    sandbox.drop_action("good.json");
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight").len(), 1);
    assert_eq!(sandbox.names("action/invalid").len(), 2 * bad);
    assert_eq!(names(&sandbox.path("spool/tmp")), Vec::<String>::new());
}

#[test]
fn an_agent_that_spoils_its_queue_delays_its_own_commands_only() {
    let sandbox = Sandbox::new();
    sandbox.register(3);
    let queues: Vec<String> =
        names(&sandbox.path("relay")).into_iter().filter(|name| name.starts_with("mig.agt.linux.")).collect();
    assert_eq!(queues.len(), 3);
    let path = |index: usize| sandbox.path("relay").join(&queues[index]);
    std::fs::rename(path(1), sandbox.path("spoiled")).unwrap();
    std::fs::write(path(1), "not a directory").unwrap();
    sandbox.drop_action("for-all.json");
    sandbox.once("action-new");
    for _ in 0..3 {
        let output = sandbox.scheduler(&["--only", "command-ready", "--once"]);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(
            text(&output).matches(&format!("queue {}: open directory", queues[1])).count(),
            1,
            "{}",
            text(&output)
        );
    }
    assert_eq!([0, 2].map(|index| names(&path(index)).len()), [1, 1], "each has its command once");
    assert_eq!((sandbox.names("command/ready").len(), sandbox.names("command/inflight").len()), (1, 2));
    std::fs::remove_file(path(1)).unwrap();
    std::fs::rename(sandbox.path("spoiled"), path(1)).unwrap();
    sandbox.once("command-ready");
    assert_eq!([0, 1, 2].map(|index| names(&path(index)).len()), [1, 1, 1]);
}
