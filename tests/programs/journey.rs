//! The journey of an action through the real programs, file by file.

use crate::common::every_module::EveryModule;
use crate::common::{Sandbox, broker_fleet, json_file, names, text};
use mig::limits::AGENTS_LOADED_MAX;
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Event, Queue, Relay};
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::time;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::process::Command;

#[test]
fn each_worker_moves_the_files_one_step() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    sandbox.drop_action("look.json");
    let picture = |expected: &[(&str, usize)]| {
        let expected: Vec<_> = expected.iter().map(|(stage, n)| ((*stage).to_owned(), *n)).collect();
        assert_eq!(sandbox.picture(), expected);
    };
    picture(&[("action/new", 1)]);
    sandbox.once("action-new");
    picture(&[("action/inflight", 1), ("command/ready", 2)]);
    sandbox.once("command-ready");
    picture(&[("action/inflight", 1), ("command/inflight", 2)]);
    sandbox.agent_once(1);
    sandbox.once("results");
    picture(&[("action/inflight", 1), ("command/inflight", 1), ("command/returned", 1)]);
    sandbox.once("command-returned");
    picture(&[("action/inflight", 1), ("command/inflight", 1), ("command/done", 1)]);
    sandbox.agent_once(2);
    sandbox.once("results");
    sandbox.once("command-returned");
    picture(&[("action/done", 1), ("command/done", 2)]);

    let action = sandbox.only("action/done");
    assert_eq!(action["status"], "completed");
    assert_eq!(action["counters"], json!({"sent": 2, "done": 2, "success": 2}));
    for (reference, command) in sandbox.commands("command/done") {
        assert_eq!(command["status"], "success");
        assert_eq!(command["action"]["id"], action["id"]);
        assert_eq!(command["id"].as_u64(), Some(reference.command.get()));
        let found = &command["results"][0]["elements"]["s1"][0]["file"];
        assert_eq!(found.as_str(), sandbox.path("tree/needle").to_str());
    }
    assert_eq!(names(&sandbox.spool().join("tmp")), Vec::<String>::new(), "no litter");
}

#[test]
fn one_signed_action_has_every_module_look_within_the_agents_limits() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let every = EveryModule::new(&sandbox.path("tree"));
    let _connection = every.connect();
    let mut draft = sandbox.draft("every module");
    draft["operations"] = json!(every.operations);
    sandbox.drop_bytes("every.json", sandbox.sign(draft).to_string().as_bytes());
    sandbox.once("action-new");
    sandbox.once("command-ready");
    sandbox.agent_once(1);
    ["results", "command-returned"].iter().for_each(|worker| sandbox.once(worker));
    let (_, command) = sandbox.commands("command/done").remove(0);
    assert_eq!(command["status"], "success", "{command}");
    every.assert_answered(&command["results"]);
}

#[test]
fn subscribers_receive_what_has_ended() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    let queue = Queue::worker("watcher");
    let mut relay = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    let mut told = || {
        let deliveries = relay.receive(&queue, 10, time::now()).unwrap();
        relay.acknowledge(&queue, &deliveries).unwrap();
        let mut bodies: Vec<Value> = deliveries.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect();
        bodies.sort_by_key(|body| (body["agent"].is_null(), body["id"].as_u64()));
        bodies
    };
    let mut subscriber = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    [Event::CommandFinished, Event::ActionFinished].into_iter().for_each(|e| subscriber.subscribe(&queue, e).unwrap());
    sandbox.drop_action("look.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    assert_eq!(told().len(), 1, "the action has not ended");
    sandbox.agent_once(2);
    sandbox.once("results,command-returned");
    let (action, told) = (sandbox.only("action/done"), told());
    assert_eq!(told.len(), 2);
    let (reference, command) = sandbox.commands("command/done").pop().unwrap();
    assert_eq!(told[0].as_object().unwrap().len(), 4, "no results: {}", told[0]);
    assert_eq!((&told[0]["status"], &told[0]["actionid"]), (&json!("success"), &action["id"]));
    let ended = sandbox.commands("command/done").iter().any(|(_, one)| one["agent"]["queueloc"] == told[0]["agent"]);
    assert!(ended && command["status"] == "success", "{reference}");
    assert_eq!(told[1], action);
}

#[test]
fn a_spool_that_an_older_program_left_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    // One action in each place of its way.
    let steps = ["action-new", "command-ready", "agent", "results", "command-returned"];
    for count in (0..=steps.len()).rev() {
        sandbox.drop_action(&format!("{count}.json"));
        for step in &steps[..count] {
            if *step == "agent" { drop(sandbox.agent_once(1)) } else { sandbox.once(step) }
        }
    }
    // Cut off before the release of a command, and in the middle of writing, by the names that older programs used.
    let spool = sandbox.spool();
    let ready = &sandbox.names("command/ready")[0];
    std::fs::rename(spool.join("command/ready").join(ready), spool.join("tmp").join(ready)).unwrap();
    for leftover in ["tmp/action-new.17", "tmp/results.0", "action/new/.drop-17-1732924800000000.0"] {
        std::fs::write(spool.join(leftover), "{").unwrap();
    }
    std::fs::write(sandbox.path("agent-1/tmp/run.3"), "{").unwrap();
    for step in steps.iter().chain(&["collector"]) {
        if *step == "agent" { drop(sandbox.agent_once(1)) } else { sandbox.once(step) }
    }
    // A drop that was cut off is its dropper's.
    assert_eq!(names(&spool.join("action/new")), [".drop-17-1732924800000000.0"]);
    assert_eq!((sandbox.names("action/done").len(), sandbox.names("command/done").len()), (6, 6));
    assert!(sandbox.commands("command/done").iter().all(|(_, command)| command["status"] == "success"));
    assert_eq!((names(&spool.join("tmp")), names(&sandbox.path("agent-1/tmp"))), (vec![], vec![]));
}

#[test]
fn a_running_system_answers_a_dropped_file() {
    let sandbox = Sandbox::new();
    let scheduler = sandbox.start_scheduler();
    let agents: Vec<_> = (1..=3).map(|number| sandbox.start_agent(number)).collect();
    let registered =
        |sandbox: &Sandbox| text(&sandbox.scheduler(&["--explain-target", "all"])).contains("\n3 agents\n");
    sandbox.wait("registered", registered);
    sandbox.drop_action("with spaces and ünicode.json");
    sandbox.wait("done", |s| s.names("action/done").len() == 1 && s.names("command/done").len() == 3);
    assert_eq!(sandbox.only("action/done")["counters"]["success"], 3);
    assert_eq!(scheduler.terminate(), Some(0), "SIGTERM is a clean end");
    for agent in agents {
        assert_eq!(agent.terminate(), Some(0));
    }
}

#[test]
fn a_target_reaches_only_those_it_selects() {
    let sandbox = Sandbox::new();
    sandbox.register(3);
    let mut draft = sandbox.draft("two of three");
    draft["target"] = "tags->>'number' IN ('1', '3') AND environment->>'os' = 'linux'".into();
    sandbox.drop_bytes("a.json", sandbox.sign(draft).to_string().as_bytes());
    sandbox.once("action-new");
    let mut numbers: Vec<_> = sandbox
        .commands("command/ready")
        .into_iter()
        .map(|(_, command)| command["agent"]["tags"]["number"].clone())
        .collect();
    numbers.sort_by_key(|number| number.to_string());
    assert_eq!(numbers, [json!("1"), json!("3")]);
}

#[test]
fn what_is_refused_lies_in_invalid_with_a_reason() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let now = mig::time::now();
    let minute = std::time::Duration::from_secs(60);
    let good = sandbox.sign(sandbox.draft("good"));
    let mut altered = good.clone();
    altered["target"] = "all".into();
    let mut unsigned = good.clone();
    unsigned["pgpsignatures"] = json!([]);
    let mut nobody = sandbox.draft("nobody");
    nobody["target"] = "queueloc = 'linux.no.such'".into();
    let mut bad_target = sandbox.draft("bad target");
    bad_target["target"] = "1=1; DROP TABLE agents".into();
    let expired =
        sandbox.sign_window(sandbox.draft("old"), mig::time::before(now, minute * 9), mig::time::before(now, minute));
    let (_, stranger) = mig::signature::generate_key("Stranger").unwrap();
    let mut unknown = good.clone();
    let signed = mig::action::Action::parse(good.to_string().as_bytes()).unwrap().signed_text();
    unknown["pgpsignatures"] = json!([mig::signature::sign_with_key(&signed, stranger.as_bytes(), now).unwrap()]);
    let cases = [
        ("malformed.json", "{\"name\": ]".to_owned(), "not acceptable JSON: expected value at line 1 column 10"),
        ("unsigned.json", unsigned.to_string(), "field 'pgpsignatures': is missing: the action is not signed"),
        ("altered.json", altered.to_string(), "pgpsignatures[0] claims to be by Test Investigator"),
        ("unknown.json", unknown.to_string(), "which is not in the keyring"),
        ("expired.json", expired.to_string(), "field 'expireafter': the action expired at"),
        (
            "nobody.json",
            sandbox.sign(nobody).to_string(),
            "field 'target': it selects no agent; look at it with mig-scheduler --explain-target",
        ),
        ("bad-target.json", sandbox.sign(bad_target).to_string(), "field 'target': "),
        ("large.json", " ".repeat(2 << 20), "has 2097152 bytes, the limit is 1048576"),
    ];
    for (name, content, _) in &cases {
        sandbox.drop_bytes(name, content.as_bytes());
    }
    std::os::unix::fs::symlink("/etc/passwd", sandbox.spool().join("action/new/link.json")).unwrap();
    std::fs::create_dir(sandbox.spool().join("action/new/directory.json")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, sandbox.spool().join("action/new/pipe.json"), rustix::fs::Mode::RWXU)
        .unwrap();
    sandbox.drop_bytes("good.json", good.to_string().as_bytes());
    sandbox.drop_bytes(".hidden.json", b"not a drop");
    sandbox.drop_bytes("notes.txt", b"not a drop");
    sandbox.drop_bytes("half.json", &good.to_string().as_bytes()[..300]);
    sandbox.once("action-new");
    for (name, _, reason) in &cases {
        let found = sandbox.reason(name);
        assert!(found.contains(reason), "{name}: {found}");
        assert!(sandbox.names("action/invalid").contains(&(*name).to_owned()), "{name} is kept");
    }
    assert_eq!(sandbox.reason("link.json"), "is a symbolic link; drop the file itself");
    assert_eq!(sandbox.reason("directory.json"), "is a directory; drop a regular file");
    assert_eq!(sandbox.reason("pipe.json"), "is a pipe; drop a regular file");
    assert_eq!(sandbox.names("action/new"), [".hidden.json", "half.json", "notes.txt"], "the half-written one waits");
    assert_eq!(sandbox.names("action/inflight").len(), 1, "the good one went on");
}

#[test]
fn one_name_refused_twice_is_kept_twice() {
    let sandbox = Sandbox::new();
    for content in ["{]", "{[", "{}"] {
        sandbox.drop_bytes("same.json", content.as_bytes());
        sandbox.once("action-new");
    }
    let expected =
        ["same.json", "same.json.reason", "same~1.json", "same~1.json.reason", "same~2.json", "same~2.json.reason"];
    assert_eq!(sandbox.names("action/invalid"), expected);
    let long = format!("{}.json", "x".repeat(250));
    sandbox.drop_bytes(&long, b"{]");
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/invalid").len(), 8);
}

#[test]
fn an_action_keeps_its_id_and_gets_one_command_per_agent_however_often_it_is_scheduled() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.drop_action("first.json");
    sandbox.once("action-new");
    let id = sandbox.only("action/inflight")["id"].clone();
    assert!(id.as_u64().unwrap() < 1 << 53);
    // As after a crash before the commit point: the adopted drop is still in action/new.
    let inflight = sandbox.names("action/inflight").remove(0);
    let (from, to) =
        (sandbox.spool().join("action/inflight").join(&inflight), sandbox.spool().join("action/new/first.json"));
    std::fs::rename(from, to).unwrap();
    let commands = sandbox.names("command/ready");
    sandbox.once("action-new");
    assert_eq!(sandbox.only("action/inflight")["id"], id);
    assert_eq!(sandbox.names("command/ready"), commands);
}

#[test]
fn replaying_a_done_action_reaches_only_agents_that_came_since() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let finish = || {
        sandbox.once("action-new,command-ready");
        (1..=2).for_each(|number| drop(sandbox.agent_once(number)));
        sandbox.once("heartbeats,results,command-returned,collector");
    };
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    assert_eq!(sandbox.names("command/done").len(), 1);
    sandbox.register(2);
    let replay = || {
        let name = sandbox.names("action/done").remove(0);
        std::fs::rename(
            sandbox.spool().join("action/done").join(&name),
            sandbox.spool().join("action/new").join(&name),
        )
        .unwrap();
    };
    replay();
    finish();
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 2, "done": 2, "success": 2}));
    replay();
    finish();
    assert_eq!(sandbox.names("command/done").len(), 2, "nobody new: nothing is sent");
    assert_eq!(sandbox.names("action/done").len(), 1);
}

#[test]
fn replaying_a_done_command_brings_the_kept_answer() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    let (name, before) = (sandbox.names("command/done").remove(0), sandbox.only("command/done"));
    std::fs::write(sandbox.path("tree/needle2"), "").unwrap();
    std::fs::rename(
        sandbox.spool().join("command/done").join(&name),
        sandbox.spool().join("command/ready").join(&name),
    )
    .unwrap();
    sandbox.once("command-ready");
    let log = text(&sandbox.agent_once(1));
    assert!(log.contains("came again, the kept answer is sent"), "{log}");
    sandbox.once("results,command-returned");
    assert_eq!(sandbox.only("command/done")["results"], before["results"]);
    assert_eq!(sandbox.names("action/done").len(), 1);
}

#[test]
fn a_command_without_answer_ends_as_expired() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    let now = mig::time::now();
    let seconds = |n| mig::time::after(now, std::time::Duration::from_secs(n));
    let action = sandbox.sign_window(
        sandbox.draft("short"),
        mig::time::before(now, std::time::Duration::from_secs(5)),
        seconds(20),
    );
    sandbox.drop_bytes("a.json", action.to_string().as_bytes());
    sandbox.once("action-new");
    // One is sent, the other has no queue: both end.
    let queue = names(&sandbox.path("relay")).into_iter().find(|name| name.starts_with("mig.agt.linux")).unwrap();
    std::fs::remove_dir(sandbox.path("relay").join(queue)).unwrap();
    sandbox.once("command-ready");
    assert_eq!(
        sandbox.picture(),
        [("action/inflight".to_owned(), 1), ("command/ready".to_owned(), 1), ("command/inflight".to_owned(), 1)]
    );
    sandbox.wait("expired", |s| {
        s.once("collector,command-returned");
        s.names("command/done").len() == 2
    });
    assert_eq!(sandbox.only("action/done")["counters"], json!({"sent": 2, "done": 2, "expired": 2}));
    assert_eq!(sandbox.picture(), [("action/done".to_owned(), 1), ("command/done".to_owned(), 2)]);
    let commands = sandbox.commands("command/done");
    let mut errors: Vec<_> = commands.iter().map(|(_, one)| one["results"][0]["errors"][0].as_str().unwrap()).collect();
    errors.sort();
    let never_sent = "never sent, as far as is known, before the action expired";
    assert_eq!(errors, [never_sent, "no answer before the action expired"]);
}

#[test]
fn actions_for_more_agents_than_are_loaded_at_once_reach_each_of_them() {
    const AGENTS: usize = AGENTS_LOADED_MAX + 1;
    let sandbox = Sandbox::new();
    let mut store = SqliteStore::open(&sandbox.path("mig.db")).unwrap();
    broker_fleet::register(&mut store, AGENTS);
    ["one.json", "two.json"].iter().for_each(|name| sandbox.drop_action(name));
    sandbox.once("action-new");
    let mut reached = HashSet::new();
    for (reference, command) in sandbox.commands("command/ready") {
        let queueloc = command["agent"]["queueloc"].as_str().unwrap().to_owned();
        assert_eq!(store.find_commands(&[reference]).unwrap()[0].as_ref().unwrap().queueloc, queueloc);
        assert!(reached.insert((reference.action, queueloc)), "{reference} is one too many");
    }
    assert_eq!(reached.len(), 2 * AGENTS);
    assert_eq!(sandbox.names("tmp"), Vec::<String>::new());
}

#[test]
fn an_action_waits_for_its_window() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let now = mig::time::now();
    let hour = std::time::Duration::from_secs(3600);
    let action =
        sandbox.sign_window(sandbox.draft("later"), mig::time::after(now, hour), mig::time::after(now, hour * 2));
    sandbox.drop_bytes("later.json", action.to_string().as_bytes());
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/new"), ["later.json"]);
}

#[test]
fn agents_that_the_whitelist_does_not_name_are_not_registered() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.spool().join("agents_whitelist.txt"), "linux.other.host.1\nre:(\n").unwrap();
    sandbox.once("heartbeats,results");
    sandbox.agent_once(1);
    let output = sandbox.scheduler(&["--only", "heartbeats", "--once"]);
    let log = text(&output);
    assert!(log.contains("[warning] getHeartbeats(): Agent 'linux.") && log.contains("is not authorized"), "{log}");
    assert!(log.contains("agents_whitelist.txt:2: '(' is no regular expression"), "{log}");
    assert!(text(&sandbox.scheduler(&["--explain-target", "all"])).contains("\n0 agents\n"));
}

#[test]
fn a_second_scheduler_on_one_spool_is_refused() {
    let sandbox = Sandbox::new();
    let scheduler = sandbox.start_scheduler();
    sandbox.wait("locked", |s| !std::fs::read_to_string(s.path("spool/lock/periodic")).unwrap_or_default().is_empty());
    let second = sandbox.scheduler(&["--once"]);
    assert_eq!(second.status.code(), Some(69), "{}", text(&second));
    let expected = format!("is locked by process {}: another heartbeats works on this spool", scheduler.0.id());
    assert!(text(&second).contains(&expected), "{}", text(&second));
    scheduler.kill();
    assert!(sandbox.scheduler(&["--once"]).status.success(), "kill -9 lets go of the locks");
}

#[test]
fn a_wrong_configuration_is_refused_before_anything_is_touched() {
    let sandbox = Sandbox::new();
    let good = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    assert!(text(&sandbox.scheduler(&["--check"])).contains(": ok"));
    for (from, to, error) in [
        ("freq = \"1s\"", "freq = \"1 fortnight\"", "scheduler.cfg:5: collector.freq: '1 fortnight' is not a duration"),
        ("[sqlite]", "[sqlight]", "[postgres] and [sqlite] are both missing; one of them is needed"),
        ("timeout = ", "timeuot = ", "scheduler.cfg:3: agent.timeuot: unknown key"),
    ] {
        std::fs::write(sandbox.scheduler_cfg(), good.replace(from, to)).unwrap();
        for arguments in [&["--check"][..], &["--once"]] {
            let output = sandbox.scheduler(arguments);
            assert_eq!(output.status.code(), Some(78), "{}", text(&output));
            assert!(text(&output).contains(error), "{}", text(&output));
        }
    }
    assert!(!sandbox.path("mig.db").exists() && !sandbox.path("spool/lock").exists(), "nothing was touched");
    std::fs::write(sandbox.scheduler_cfg(), good.replace("/spool\"", "/nowhere\"")).unwrap();
    let output = sandbox.scheduler(&["--once"]);
    assert_eq!(output.status.code(), Some(75), "it may only not be mounted yet");
    assert!(
        text(&output).contains("directories.spool: open directory") && text(&output).contains("install-spool.sh"),
        "{}",
        text(&output)
    );
}

#[test]
fn every_program_explains_itself() {
    for program in [
        env!("CARGO_BIN_EXE_mig-scheduler"),
        env!("CARGO_BIN_EXE_mig-agent"),
        env!("CARGO_BIN_EXE_mig-action-generator"),
        env!("CARGO_BIN_EXE_mig-action-verifier"),
    ] {
        for help in ["--help", "-help", "-h"] {
            let output = Command::new(program).arg(help).output().unwrap();
            assert!(output.status.success() && text(&output).contains("Exit codes: "), "{program}: {}", text(&output));
        }
        let output = Command::new(program).arg("-V").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), env!("CARGO_PKG_VERSION"));
        let output = Command::new(program).arg("--no-such-option").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    }
}

#[test]
fn modules_run_by_hand() {
    let sandbox = Sandbox::new();
    let agent = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_mig-agent")).args(arguments).output().unwrap();
    let tree = sandbox.path("tree");
    let parameters = json!({"searches": {"s1": {"paths": [tree], "names": ["^needle$"]}}}).to_string();
    let output = agent(&["-m", "file", &parameters]);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["foundanything"], true, "{result}");
    let output = agent(&["-m", "file", "-path", tree.to_str().unwrap(), "-name", "^needle$", "-content", "found"]);
    assert!(text(&output).contains("needle [lastmodified:"), "{}", text(&output));
    let bad = agent(&["-m", "file", r#"{"searches":{"s1":{"paths":["/etc"],"names":["("]}}}"#]);
    let result: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert!(
        bad.status.success()
            && result["success"] == false
            && result["errors"][0].as_str().unwrap().contains("searches.s1.names[0]"),
        "{result}"
    );
    assert_eq!(agent(&["-m", "nothing", "{}"]).status.code(), Some(64));
    assert!(text(&agent(&["-m", "file", "help"])).contains("-matchall"));
    let action = sandbox.path("draft.json");
    std::fs::write(&action, sandbox.draft("tried out").to_string()).unwrap();
    let output = agent(&["-i", action.to_str().unwrap()]);
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results[0]["success"], true, "{}", text(&output));
}

#[test]
fn a_lost_store_is_filled_again_from_the_spool() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    (1..=2).for_each(|number| drop(sandbox.agent_once(number)));
    sandbox.once("results,command-returned");
    for file in names(&sandbox.path("")).iter().filter(|name| name.starts_with("mig.db")) {
        std::fs::remove_file(sandbox.path(file)).unwrap();
    }
    for name in sandbox.names("command/done") {
        std::fs::rename(
            sandbox.spool().join("command/done").join(&name),
            sandbox.spool().join("command/returned").join(&name),
        )
        .unwrap();
    }
    sandbox.once("command-returned");
    assert_eq!(sandbox.names("command/done").len(), 2);
    let action = json_file(&sandbox.spool().join("action/done").join(&sandbox.names("action/done")[0]));
    assert_eq!(action["counters"]["success"], 2);
}
