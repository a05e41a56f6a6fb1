//! Where spool and relay are: not mounted yet, mounted in the wrong place, made again, open to another group, and under any
//! umask.

use crate::common::score::Score;
use crate::common::{Sandbox, json_file, mounts, names, text};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

const SCHEDULER: &str = env!("CARGO_BIN_EXE_mig-scheduler");
const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program once, after a line of the shell.
fn once_after(sandbox: &Sandbox, line: &str, program: &str, cfg: &str) -> Output {
    let script = format!("{line}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", program, "-c", cfg, "--once"]).current_dir(sandbox.path(""));
    command.output().unwrap()
}

#[test]
fn what_may_only_be_missing_for_a_while_is_temporary_and_a_wrong_place_is_not() {
    let sandbox = Sandbox::new();
    let (scheduler, agent) = (sandbox.scheduler_cfg(), sandbox.agent_cfg(1));
    let rename = |from: &str, to: &str| std::fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
    let fails = |what: &str, line: &str, (program, cfg): (&str, &str), code: i32, says: &[&str]| {
        let output = once_after(&sandbox, line, program, cfg);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{what}: {said}");
        says.iter().for_each(|one| assert!(said.contains(one), "{what}: {said}"));
    };
    for (name, program, key) in [
        ("spool", (SCHEDULER, &*scheduler), "directories.spool: "),
        ("relay", (SCHEDULER, &*scheduler), "relay.directory: "),
        ("relay", (AGENT, &*agent), "agent.relay: "),
    ] {
        rename(name, "elsewhere");
        fails("not mounted", "true", program, 75, &[key, "it is missing; mount its file system, or make it"]);
        std::fs::write(sandbox.path(name), "").unwrap();
        fails("a file", "true", program, 78, &[key, "Not a directory"]);
        std::fs::remove_file(sandbox.path(name)).unwrap();
        rename("elsewhere", name);
    }
    rename("spool/command/done", "elsewhere");
    fails("a stage", "true", (SCHEDULER, &scheduler), 75, &["command/done: it is missing", "install-spool.sh makes"]);
    rename("elsewhere", "spool/command/done");
    std::fs::remove_dir_all(sandbox.path("agent-1")).unwrap();
    std::fs::write(sandbox.path("agent-1"), "").unwrap();
    fails("rundir", "true", (AGENT, &agent), 78, &["agent.rundir: ", "a file is in its place"]);
    std::fs::remove_file(sandbox.path("agent-1")).unwrap();
    for program in [(SCHEDULER, &*scheduler), (AGENT, &*agent)] {
        fails("descriptors", "ulimit -n 6", program, 75, &["Too many open files"]);
        let output = once_after(&sandbox, "true", program.0, program.1);
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn a_stage_that_is_a_mount_of_its_own_is_named_at_start() {
    let mut score = Score::begin("a stage that is a mount of its own");
    let sandbox = Sandbox::new();
    for stage in ["action/new", "command/done"] {
        let (directory, path) = (sandbox.path("box"), sandbox.spool().join(stage));
        std::fs::create_dir_all(&directory).unwrap();
        if let Err(why) = mounts::mount(&["--bind"], &directory, &path) {
            return score.skip(&why);
        }
        let output = sandbox.scheduler(&["--once"]);
        mounts::unmount(&path).unwrap();
        let named = format!("{} is not on the mount of", path.display());
        assert!(output.status.code() == Some(78) && text(&output).contains(&named), "{}", text(&output));
        score.add_runs(1);
    }
    assert!(sandbox.scheduler(&["--once"]).status.success());
    score.end(&[], "");
}

#[test]
fn a_stage_and_a_relay_that_were_made_again_are_used() {
    let sandbox = Sandbox::new();
    let scheduler = sandbox.start_scheduler();
    let agent = sandbox.start_agent(1);
    let selects = |s: &Sandbox| text(&s.scheduler(&["--explain-target", "all"])).contains("\n1 agents");
    sandbox.wait("registered", selects);
    sandbox.drop_action("first.json");
    sandbox.wait("done", |s| s.names("action/done").len() == 1 && s.names("command/done").len() == 1);
    std::fs::remove_dir_all(sandbox.path("spool/command/done")).unwrap();
    std::fs::rename(sandbox.path("spool/action/done"), sandbox.path("old")).unwrap();
    std::fs::rename(sandbox.path("relay"), sandbox.path("old relay")).unwrap();
    for directory in ["spool/command/done", "spool/action/done", "relay"] {
        std::fs::create_dir(sandbox.path(directory)).unwrap();
    }
    std::fs::remove_dir_all(sandbox.path("old relay")).unwrap();
    sandbox.wait("a queue again", |s| names(&s.path("relay")).iter().any(|name| name.starts_with("mig.agt.linux.")));
    sandbox.drop_action("second.json");
    sandbox.wait("in the new directories", |s| {
        s.names("action/done").len() == 1
            && s.names("command/done").len() == 1
            && s.names("command/returned").is_empty()
    });
    assert_eq!(sandbox.names("action/done").len() + names(&sandbox.path("old")).len(), 2);
    let log = std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap();
    assert!(log.contains("is another directory by now, opening it again"), "{log}");
    assert!(log.contains("opened the directories of"), "{log}");
    assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
}

#[test]
fn what_is_no_action_and_what_waits_is_logged_once() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    std::fs::remove_dir_all(sandbox.path("relay").join(agent_queue(&sandbox))).unwrap();
    for name in ["signed", "x.JSON", "y.json~", ".hidden"] {
        sandbox.drop_bytes(name, b"{}");
    }
    sandbox.drop_action("waits.json");
    let scheduler = sandbox.start_scheduler();
    let log = || std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap_or_default();
    sandbox.wait("tried again", |_| log().matches("the relay has no queue").count() > 2);
    for name in ["signed", "x.JSON", "y.json~", ".hidden"] {
        let times = log().matches(&format!("action/new/{name} is left alone")).count();
        assert_eq!(times, usize::from(name != ".hidden"), "{name}");
    }
    let news =
        log().lines().filter(|line| line.contains("[warning]") && line.contains("waits in command/ready")).count();
    assert_eq!(news, 1, "{}", log());
    let trace = |sandbox: &Sandbox| {
        let id = sandbox.names("action/inflight").remove(0);
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spool-trace"));
        text(&command.arg("-s").arg(sandbox.spool()).arg(id.trim_end_matches(".json")).output().unwrap())
    };
    let queue = format!("the relay has no queue {}", agent_queue_of(&sandbox));
    assert!(trace(&sandbox).contains(&queue), "{}", trace(&sandbox));
    drop(scheduler);
    assert!(trace(&sandbox).contains("not sent: command-ready does not run"), "{}", trace(&sandbox));
}

/// The agent's queue, as long as the relay has it.
fn agent_queue(sandbox: &Sandbox) -> String {
    names(&sandbox.path("relay")).into_iter().find(|name| name.starts_with("mig.agt.linux.")).unwrap()
}

/// The same, of the command that waits.
fn agent_queue_of(sandbox: &Sandbox) -> String {
    let (_, command) = sandbox.commands("command/ready").remove(0);
    format!("mig.agt.{}", command["agent"]["queueloc"].as_str().unwrap())
}

#[test]
fn a_done_action_that_is_dropped_again_and_selects_no_new_agent_is_done_at_once() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.drop_action("a.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    let (name, before) = (sandbox.names("action/done").remove(0), sandbox.only("action/done"));
    let stages = ["action/done", "action/new"].map(|stage| sandbox.spool().join(stage).join(&name));
    std::fs::rename(&stages[0], &stages[1]).unwrap();
    sandbox.once("action-new");
    let after = json_file(&stages[0]);
    assert_eq!((&after["counters"], &after["status"]), (&before["counters"], &before["status"]));
    assert_eq!(sandbox.picture(), [("action/done".to_owned(), 1), ("command/done".to_owned(), 1)]);
}

/// The modes of everything below a directory, by name.
fn modes(directory: &Path) -> Vec<(String, u32)> {
    let found = walkdir::WalkDir::new(directory).min_depth(1).into_iter().map(|entry| {
        let entry = entry.unwrap();
        (entry.path().strip_prefix(directory).unwrap().display().to_string(), entry.metadata().unwrap().mode() & 0o7777)
    });
    found.collect()
}

#[test]
fn modes_are_the_same_whatever_the_umask() {
    for umask in ["umask 0", "umask 077"] {
        let sandbox = Sandbox::new();
        std::fs::set_permissions(sandbox.path("relay"), PermissionsExt::from_mode(0o2770)).unwrap();
        std::fs::remove_dir_all(sandbox.path("agent-1")).ok();
        let (scheduler, agent) = (sandbox.scheduler_cfg(), sandbox.agent_cfg(1));
        let run = |program, cfg: &str| {
            let output = once_after(&sandbox, umask, program, cfg);
            assert!(output.status.success(), "{}", text(&output));
        };
        run(SCHEDULER, &scheduler);
        run(AGENT, &agent);
        run(SCHEDULER, &scheduler);
        sandbox.drop_action("a.json");
        run(SCHEDULER, &scheduler);
        for (name, mode) in modes(&sandbox.path("relay")) {
            assert_eq!(mode, if name.ends_with(".json") { 0o640 } else { 0o2770 }, "{umask}: {name}");
        }
        run(AGENT, &agent);
        run(SCHEDULER, &scheduler);
        for (name, mode) in modes(&sandbox.spool()).into_iter().filter(|(name, _)| name != "agents_whitelist.txt") {
            let is_made = name.contains('.') || name.starts_with("lock/") || name == "scheduler-id";
            assert!(!is_made || mode == 0o640, "{umask}: {name} {mode:o}");
        }
        for (name, mode) in modes(&sandbox.path("agent-1")) {
            let is_directory = sandbox.path("agent-1").join(&name).is_dir();
            let expected = if name == "lock" {
                0o750
            } else if is_directory {
                0o700
            } else {
                0o640
            };
            assert_eq!(mode, expected, "{umask}: {name}");
        }
        let mode = |name: &str| sandbox.path(name).metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("mig.db"), mode("spool/tmp"), mode("spool/lock")), (0o600, 0o700, 0o750), "{umask}");
    }
}

/// A program as a user with a group of its own and these others.
fn as_user(user: u32, group: u32, others: u32, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--groups", &others.to_string()]);
    command.arg(program).args(arguments).current_dir("/").output().unwrap()
}

#[test]
fn members_of_the_drop_group_drop_and_neither_read_passwords_nor_write_into_the_relay() {
    const USER: u32 = 4001;
    const SERVICE: u32 = 4002;
    const DROP: u32 = 4003;
    const DROPPER: u32 = 4005;
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return Score::begin("two groups").skip("becoming other users needs root and setpriv");
    }
    let sandbox = Sandbox::new();
    sandbox.register(1);
    std::fs::set_permissions(sandbox.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::copy(SCHEDULER, sandbox.path("mig-scheduler")).unwrap();
    let owned = Command::new("chown").args(["-R", &format!("{USER}:{SERVICE}")]).arg(sandbox.path("")).status();
    assert!(owned.unwrap().success());
    let cfg = sandbox.path("scheduler.cfg");
    chown(&cfg, Some(0), Some(SERVICE)).unwrap();
    for (name, mode) in [("scheduler.cfg", 0o640), ("relay", 0o2770)] {
        std::fs::set_permissions(sandbox.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-spool.sh");
    let (owner, group) = (USER.to_string(), DROP.to_string());
    let installed = Command::new(install).arg("-s").arg(sandbox.spool()).args(["-o", &owner, "-g", &group]).output();
    assert!(installed.as_ref().unwrap().status.success(), "{installed:?}");
    let action = sandbox.sign(sandbox.draft("dropped")).to_string();
    std::fs::write(sandbox.path("action"), action).unwrap();
    let shell = |script: &str| {
        let script = format!("umask 027; cd \"$1\"; {script}");
        let sandbox = sandbox.path("").display().to_string();
        as_user(DROPPER, DROPPER, DROP, Path::new("/bin/sh"), &["-c", &script, "sh", &sandbox])
    };
    assert!(shell("cp action spool/action/new/a.json").status.success());
    for forbidden in
        ["cat scheduler.cfg", "touch relay/x", "ls relay", "touch spool/command/ready/x", "rm spool/lock/*"]
    {
        assert!(text(&shell(forbidden)).contains("Permission denied"), "{forbidden}: {}", text(&shell(forbidden)));
    }
    let arguments = ["-c", cfg.to_str().unwrap(), "--only", "action-new,command-ready", "--once"];
    let output = as_user(USER, SERVICE, DROP, &sandbox.path("mig-scheduler"), &arguments);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sandbox.names("command/inflight").len(), 1, "{}", text(&output));
    // Who dropped reads what became of it.
    assert!(shell("cat spool/action/inflight/*.json").status.success());
}

#[test]
fn what_cannot_be_read_for_the_moment_is_no_wrong_configuration() {
    let sandbox = Sandbox::new();
    let agent = sandbox.agent_cfg(1);
    let scheduler = sandbox.scheduler_cfg();
    let keyring = sandbox.path("key.pub").display().to_string();
    for (program, configuration, file) in [
        (SCHEDULER, &scheduler, &scheduler),
        (SCHEDULER, &scheduler, &keyring),
        (AGENT, &agent, &agent),
        (AGENT, &agent, &keyring),
        (AGENT, &agent, &sandbox.path("acl.json").display().to_string()),
    ] {
        for (error, code) in [("EMFILE", 75), ("EIO", 75), ("ENOMEM", 75), ("EACCES", 78)] {
            let inject = format!("inject=openat:error={error}");
            let traced = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat", "-e", &inject, "-P", file])
                .args([program, "-c", configuration, "--once"])
                .output()
                .unwrap();
            assert_eq!(traced.status.code(), Some(code), "{program}: {file}: {error}: {}", text(&traced));
            assert!(text(&traced).contains(file.as_str()), "{}", text(&traced));
        }
    }
}
