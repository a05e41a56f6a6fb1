//! Persistent modules with the real programs: what changes below a path becomes JSON lines on the scheduler.

use crate::common::events::{batches, events, has, start_agent, watched};
use crate::common::score::Score;
use crate::common::{Background, PATIENCE, Sandbox, mounts, names};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// A scheduler that collects events, and a directory that its agent watches.
fn watching() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let watched = watched(&sandbox);
    (sandbox, watched)
}

fn start(sandbox: &Sandbox) -> Background {
    let agent = start_agent(sandbox);
    sandbox.wait("the first event", |sandbox| has(sandbox, "watching", "watched"));
    agent
}

/// The files of a directory, with what is in them.
fn copies(directory: &Path) -> Vec<(String, Vec<u8>)> {
    names(directory).into_iter().map(|name| (name.clone(), std::fs::read(directory.join(name)).unwrap())).collect()
}

#[test]
fn what_changes_becomes_lines_on_the_scheduler() {
    let (sandbox, watched) = watching();
    let scheduler = sandbox.start_scheduler();
    let agent = start(&sandbox);
    std::fs::write(watched.join("a file"), "text").unwrap();
    sandbox.wait("the event", |sandbox| has(sandbox, "modified", "/a file"));
    let line = events(&sandbox).into_iter().find(|line| line["event"]["event"] == "modified").unwrap();
    assert_eq!((&line["module"], &line["event"]["size"]), (&json!("fswatch"), &json!(4)));
    assert!(line["queueloc"].as_str().unwrap().starts_with("linux."), "{line}");
    sandbox.wait("nothing left on the agent", |sandbox| batches(sandbox) == 0);
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}

#[test]
fn without_a_scheduler_events_wait_and_an_agent_that_is_killed_sends_them_later() {
    let (sandbox, watched) = watching();
    sandbox.once("heartbeats");
    let agent = start_agent(&sandbox);
    // Nothing takes them yet: the relay has no such queue.
    sandbox.wait("the first batch", |sandbox| {
        let directory = sandbox.path("agent-1/events");
        directory.exists() && !names(&directory).is_empty()
    });
    std::fs::write(watched.join("waits"), "").unwrap();
    sandbox.wait("the second batch", |sandbox| batches(sandbox) >= 2);
    agent.kill();
    assert!(batches(&sandbox) >= 2);
    let kept = copies(&sandbox.path("agent-1/events"));
    sandbox.once("events");
    sandbox.agent_once(1);
    sandbox.once("events");
    assert!(has(&sandbox, "watching", "watched") && has(&sandbox, "created", "/waits"), "{:?}", events(&sandbox));
    assert_eq!(batches(&sandbox), 0);
    // A batch that comes again changes nothing; one that was taken away has its old name.
    let directory = sandbox.spool().join("event/new");
    let collected = copies(&directory);
    std::fs::remove_file(directory.join(&collected[0].0)).unwrap();
    for (name, bytes) in &kept {
        std::fs::write(sandbox.path("agent-1/events").join(name), bytes).unwrap();
    }
    sandbox.agent_once(1);
    sandbox.once("events");
    assert_eq!((copies(&directory), batches(&sandbox)), (collected, 0));
}

#[test]
fn the_process_of_a_module_ends_with_a_killed_agent_and_a_killed_one_is_started_again() {
    let (sandbox, watched) = watching();
    let scheduler = sandbox.start_scheduler();
    let agent = start(&sandbox);
    let pid = agent.0.id();
    // A child belongs to the thread that started it.
    let module = || {
        let threads = names(&PathBuf::from(format!("/proc/{pid}/task")));
        let children = |thread: &String| {
            std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default()
        };
        threads.iter().map(children).find(|children| !children.is_empty()).map(|children| children.trim().to_owned())
    };
    let first = module().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    sandbox.wait("another process", |_| module().is_some_and(|pid| pid != first));
    sandbox.wait("a second beginning", |sandbox| {
        events(sandbox).iter().filter(|line| line["event"]["event"] == "watching").count() >= 2
    });
    std::fs::write(watched.join("after"), "").unwrap();
    sandbox.wait("the event", |sandbox| has(sandbox, "created", "/after"));
    let second = module().unwrap();
    agent.kill();
    sandbox.wait("the end of the process", |_| !PathBuf::from(format!("/proc/{second}")).exists());
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn after_an_agent_that_was_killed_a_watching_shows_the_gap() {
    let (sandbox, watched) = watching();
    let scheduler = sandbox.start_scheduler();
    start(&sandbox).kill();
    std::fs::write(watched.join("unnoticed"), "").unwrap();
    let agent = start_agent(&sandbox);
    let beginnings =
        |sandbox: &Sandbox| events(sandbox).iter().filter(|line| line["event"]["event"] == "watching").count();
    sandbox.wait("a second beginning", |sandbox| beginnings(sandbox) == 2);
    std::fs::write(watched.join("after"), "").unwrap();
    sandbox.wait("the event", |sandbox| has(sandbox, "created", "/after"));
    assert!(!has(&sandbox, "created", "/unnoticed"));
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}

/// The module as an agent runs it, over a directory.
struct Confined {
    child: Child,
    lines: Receiver<Value>,
    watched: PathBuf,
    heard: Vec<String>,
}

impl Confined {
    fn start(watched: &Path) -> Confined {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        command.args(["--limited", "-P", "fswatch", &json!({"paths": [watched]}).to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(serde_json::from_str(&line).unwrap()).is_ok())
        });
        let mut confined = Confined { child, lines, watched: watched.to_owned(), heard: Vec::new() };
        confined.until("watching ");
        confined
    }

    /// Waits for an event, as `event path reason`, with the path below the directory.
    fn until(&mut self, event: &str) {
        while !self.heard.last().is_some_and(|last| last.starts_with(event)) {
            let told = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {event}: {:?}", self.heard));
            let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
            let path = text("path").replace(self.watched.to_str().unwrap(), "");
            self.heard.push(format!("{} {path} {}", text("event"), text("reason")));
        }
    }

    /// Writes a file, and waits until it is noticed under its path.
    fn writes(&mut self, name: &str) {
        std::fs::write(self.watched.join(name), "").unwrap();
        self.until(&format!("modified /{name} "));
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn what_is_mounted_below_a_path_is_watched_and_what_it_covered_again_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let watched = directory.path().join("watched");
    for made in ["watched/m/below", "watched/a/below", "watched/b", "watched/o", "upper", "work"] {
        std::fs::create_dir_all(directory.path().join(made)).unwrap();
    }
    let at = |name: &str| watched.join(name);
    std::fs::write(at("file"), "").unwrap();
    if let Err(why) = mounts::mount(&["-t", "tmpfs"], Path::new("early"), &at("b")) {
        return Score::begin("mounts below a path").skip(&why);
    }
    let mut module = Confined::start(&watched);
    module.writes("b/early");
    mounts::unmount(&at("b")).unwrap();
    module.until("watching /b what is mounted there has changed");
    mounts::mount(&["-t", "tmpfs"], Path::new("tmpfs"), &at("m")).unwrap();
    module.until("watching /m what is mounted there has changed");
    module.writes("m/x");
    std::fs::create_dir(at("m/inside")).unwrap();
    module.until("created /m/inside");
    mounts::mount(&["-t", "tmpfs"], Path::new("tmpfs"), &at("m/inside")).unwrap();
    module.until("watching /m/inside ");
    module.writes("m/inside/x");
    mounts::detach(&at("m/inside"));
    mounts::detach(&at("m"));
    module.until("watching /m ");
    module.writes("m/below/again");
    // A directory with two paths has events with each, and the first is watched when the second is gone.
    mounts::mount(&["--bind"], &at("a"), &at("b")).unwrap();
    module.until("watching /b ");
    std::fs::write(at("b/below/x"), "").unwrap();
    module.until("modified /b/below/x ");
    assert!(module.heard.iter().any(|event| event.starts_with("modified /a/below/x ")), "{:?}", module.heard);
    mounts::unmount(&at("b")).unwrap();
    module.until("watching /b ");
    module.writes("a/below/y");
    module.writes("b/z");
    // What is written to in an overlay.
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("a").display(),
        directory.path().join("upper").display(),
        directory.path().join("work").display()
    );
    if mounts::mount(&["-t", "overlay", "-o", &layers], Path::new("overlay"), &at("o")).is_ok() {
        module.until("watching /o ");
        module.writes("o/below/x");
    }
    mounts::mount(&["--bind"], &at("a/below/x"), &at("file")).unwrap();
    module.until("unseen /file a file is mounted there");
    // A path of the configuration itself.
    mounts::mount(&["-t", "tmpfs"], Path::new("tmpfs"), &watched).unwrap();
    module.until("watching  ");
    module.writes("top");
    drop(module);
    ["", "file", "o"].iter().for_each(|name| mounts::detach(&at(name)));
}

#[test]
fn a_mount_that_may_hang_is_named_and_not_entered() {
    let directory = tempfile::tempdir().unwrap();
    let watched = directory.path().join("watched");
    for made in ["watched/before", "watched/net", "watched/program"] {
        std::fs::create_dir_all(directory.path().join(made)).unwrap();
    }
    let mut servers = Vec::new();
    match mounts::mount_hanging("fuse.sshfs", &watched.join("before")) {
        Ok(server) => servers.push(server),
        Err(why) => return Score::begin("a network mount below a path").skip(&why),
    }
    let mut module = Confined::start(&watched);
    module.until("unseen /before a network mount (fuse.sshfs) is not entered");
    servers.push(mounts::mount_hanging("fuse.sshfs", &watched.join("net")).unwrap());
    module.until("unseen /net a network mount (fuse.sshfs) is not entered");
    servers.push(mounts::mount_hanging("fuse", &watched.join("program")).unwrap());
    module.until("unseen /program a mount that a program serves (fuse) is not entered");
    module.writes("file");
    mounts::detach(&watched.join("net"));
    module.until("watching /net ");
    module.writes("net/file");
    let asked = Command::new(env!("CARGO_BIN_EXE_mig-agent"))
        .args(["--limited", "-P", "fswatch", &json!({"paths": [watched.join("before/x")]}).to_string()])
        .stdout(Stdio::piped())
        .spawn();
    let mut asked = asked.unwrap();
    let mut line = String::new();
    BufReader::new(asked.stdout.take().unwrap()).read_line(&mut line).unwrap();
    asked.kill().and_then(|()| asked.wait()).unwrap();
    assert!(line.contains("it leads into the network mount") && line.contains("unseen"), "{line}");
    drop((module, servers));
    ["before", "program"].iter().for_each(|name| mounts::detach(&watched.join(name)));
}

#[test]
fn a_module_is_tried_by_hand_and_is_none_of_actions() {
    let directory = tempfile::tempdir().unwrap();
    let agent = || Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    let mut command = agent();
    command.args(["-P", "fswatch", "-path"]).arg(directory.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["path"]), (&json!("watching"), &json!(directory.path())));
    child.kill().and_then(|()| child.wait()).unwrap();
    let output = agent().args(["-P", "fswatch", "help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("[persistent]") && help.contains("\n  mig-agent -P fswatch -path <path>"), "{help}");
    for (arguments, code) in [(["-m", "fswatch", "-path", "/etc"], 64), (["-P", "file", "-path", "/etc"], 64)] {
        assert_eq!(agent().args(arguments).output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn events_that_nothing_takes_away_are_deleted_in_the_end_also_when_none_are_collected_any_longer() {
    let (sandbox, _) = watching();
    sandbox.once("events");
    let directory = sandbox.spool().join("event/new");
    std::fs::write(directory.join("1.jsonl"), "{}\n").unwrap();
    sandbox.once("collector");
    assert_eq!(names(&directory).len(), 1, "it came just now");
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    let cfg = cfg.replace("[collector]", "[collector]\ndeleteafter = \"1s\"");
    for cfg in [cfg.clone(), cfg.replace("collect = on", "collect = off")] {
        std::fs::write(sandbox.scheduler_cfg(), cfg).unwrap();
        std::fs::write(directory.join("1.jsonl"), "{}\n").unwrap();
        sandbox.wait("its deletion", |sandbox| {
            sandbox.once("collector");
            names(&directory).is_empty()
        });
    }
}

#[test]
fn the_worker_that_is_asked_for_by_name_collects_without_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.once("events");
    let batch = json!({"id": "0001764167531123-0123456789abcdef", "queueloc": "linux.web.x1", "module": "fswatch", "events": [{"n": 1}]});
    std::fs::write(sandbox.path("relay/mig.agt.events/1.json"), batch.to_string()).unwrap();
    sandbox.once("events");
    assert_eq!(sandbox.names("event/new"), ["0001764167531123-0123456789abcdef.jsonl"]);
    assert_eq!(events(&sandbox), [json!({"queueloc": "linux.web.x1", "module": "fswatch", "event": {"n": 1}})]);
}
