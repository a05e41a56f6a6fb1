//! The units: systemd takes them, they are as tight as they say, and the programs tell the service manager the truth.

use crate::common::score::Score;
use crate::common::{Background, PATIENCE, Sandbox, text};
use mig::failure::Failure;
use mig::spool::watch::Watch;
use mig::time::Timestamp;
use mig::wake::{Stop, Waker};
use mig::worker::{Pass, Worker, run};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs one of systemd's programs; none, and a line that says so, when it is not installed.
fn systemd(program: &str, arguments: &[&str], directory: &Path) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(directory).output() {
        Ok(output) => Some(output),
        Err(error) => {
            Score::begin(program).skip(&format!("{error}; it is in Debian's package systemd"));
            None
        }
    }
}

/// The units with the programs that were just built, for nothing may be installed here.
fn units() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(Path::new(ROOT).join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let built =
            [env!("CARGO_BIN_EXE_mig-scheduler"), env!("CARGO_BIN_EXE_mig-agent"), env!("CARGO_BIN_EXE_mig-api")];
        let mut unit = std::fs::read_to_string(&path).unwrap();
        for program in built {
            let name = Path::new(program).file_name().unwrap().to_str().unwrap();
            unit = unit.replace(&format!("/usr/local/bin/{name} "), &format!("\"{program}\" "));
        }
        std::fs::write(directory.path().join(path.file_name().unwrap()), unit).unwrap();
    }
    directory
}

#[test]
fn systemd_accepts_every_unit() {
    let units = units();
    for unit in [
        "mig-scheduler.service",
        "mig-scheduler@results.service",
        "mig-api.service",
        "mig-agent.service",
        "mig.target",
        "mig.slice",
    ] {
        let unit = format!("./{unit}");
        let Some(output) = systemd("systemd-analyze", &["verify", "--man=no", &unit], units.path()) else { return };
        assert!(output.status.success() && output.stderr.is_empty(), "{unit}: {}", text(&output));
    }
}

#[test]
fn exposure_is_as_low_as_the_units_say() {
    let units = units();
    for (unit, threshold) in [
        ("mig-scheduler.service", 20),
        ("mig-scheduler@.service", 20),
        ("mig-api.service", 20),
        ("mig-agent.service", 34),
    ] {
        let threshold = format!("--threshold={threshold}");
        let arguments = ["security", "--offline=true", &threshold, unit];
        let Some(output) = systemd("systemd-analyze", &arguments, units.path()) else { return };
        assert!(output.status.success(), "{unit}: {}", text(&output));
    }
}

#[test]
fn the_end_of_a_module_is_not_that_of_the_agents_service() {
    for (name, value) in [("KillMode", "mixed"), ("OOMPolicy", "continue"), ("Restart", "always")] {
        assert_eq!(setting("mig-agent.service", name), value, "{name}");
    }
}

#[test]
fn user_and_directories_are_made_by_systemd() {
    let (units, root) = (units(), tempfile::tempdir().unwrap());
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let option = format!("--root={}", root.path().display());
    let spool = Path::new(ROOT).join("spool-layout/mig-spool.conf");
    let fragment = |name: &str| units.path().join(name).display().to_string();
    let made = systemd("systemd-sysusers", &[&option, &fragment("mig-sysusers.conf")], units.path());
    let Some(made) = made else { return };
    assert!(made.status.success(), "{}", text(&made));
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.starts_with("mig:"), "{users}");
    let groups = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    let group = |name: &str| groups.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap().to_owned();
    assert!(group("mig-drop").ends_with(":mig") && group("mig").ends_with(':'), "{groups}");
    if !rustix::process::geteuid().is_root() {
        return Score::begin("systemd-tmpfiles").skip("only root can give directories away");
    }
    let fragments = [fragment("mig-tmpfiles.conf"), spool.display().to_string()];
    let made = systemd("systemd-tmpfiles", &["--create", &option, &fragments[0], &fragments[1]], units.path());
    assert!(made.as_ref().is_some_and(|made| made.status.success()), "{made:?}");
    for directory in ["etc/mig", "var/lib/mig/relay", "var/log/mig", "var/cache/mig/command/ready"] {
        assert!(root.path().join(directory).is_dir(), "{directory}");
    }
    // Who may drop may not read passwords, and not write into the relay.
    let id = |line: String| line.split(':').nth(2).unwrap().parse::<u32>().unwrap();
    let (service, drop) = (id(group("mig")), id(group("mig-drop")));
    for (directory, owner, mode) in [
        ("etc/mig", service, 0o750),
        ("var/lib/mig/relay", service, 0o2770),
        ("var/cache/mig/command/ready", drop, 0o2750),
        ("var/cache/mig/action/new", drop, 0o3770),
    ] {
        let look = std::fs::metadata(root.path().join(directory)).unwrap();
        assert_eq!((look.gid(), look.mode() & 0o7777), (owner, mode), "{directory}");
    }
}

/// A line of a unit: `UMask=0027`.
fn setting(unit: &str, name: &str) -> String {
    let text = std::fs::read_to_string(Path::new(ROOT).join("systemd").join(unit)).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().to_owned()
}

/// Numbers for the user and the group mig, which no other user has.
const MIG: u32 = 64_321;

/// Runs a program with the user, groups, umask and capabilities of its unit, to its end.
fn as_service(unit: &str, sandbox: &Sandbox, program: &str, cfg: &str) -> Output {
    let group = |name: &str| (setting(unit, name) == "mig").then_some(MIG);
    let mut command = Command::new("setpriv");
    command.args(["--no-new-privs", "--inh-caps=-all"]);
    match group("User") {
        Some(user) => command.args([format!("--reuid={user}"), format!("--regid={}", group("Group").unwrap())]),
        None => command.arg("--regid=0"),
    };
    match group("SupplementaryGroups") {
        Some(group) => command.arg(format!("--groups={group}")),
        None => command.arg("--clear-groups"),
    };
    let capabilities = setting(unit, "CapabilityBoundingSet").to_lowercase().replace("cap_", "+");
    let kept = capabilities.split_whitespace().fold("-all".to_owned(), |all, one| format!("{all},{one}"));
    let script = format!("umask {}; exec \"$0\" -c \"$1\" --once", setting(unit, "UMask"));
    let program = sandbox.path(program);
    command.arg(format!("--bounding-set={kept}")).args(["sh", "-c", &script]).arg(program).arg(sandbox.path(cfg));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{unit}: {}", text(&output));
    output
}

#[test]
fn scheduler_and_agent_share_the_shipped_relay_as_their_units_run_them() {
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !has_setpriv {
        return Score::begin("setpriv").skip("it takes root and setpriv (Debian's package util-linux)");
    }
    let sandbox = Sandbox::new();
    for program in [env!("CARGO_BIN_EXE_mig-scheduler"), env!("CARGO_BIN_EXE_mig-agent")] {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        std::fs::copy(program, sandbox.path(name)).unwrap();
    }
    sandbox.agent_cfg(1);
    std::fs::create_dir(sandbox.path("agent-1")).unwrap();
    let place = |path: &Path, mode: u32| {
        std::os::unix::fs::chown(path, Some(MIG), Some(MIG)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // As mig-tmpfiles.conf makes them; the store is in the sandbox itself.
    place(&sandbox.path(""), 0o755);
    place(&sandbox.path("relay"), 0o2770);
    place(&sandbox.path("scheduler.cfg"), 0o600);
    for directory in walkdir::WalkDir::new(sandbox.spool()) {
        let directory = directory.unwrap();
        let mode = if directory.file_type().is_dir() { 0o2750 } else { 0o640 };
        place(directory.path(), mode);
    }
    let scheduler = || as_service("mig-scheduler.service", &sandbox, "mig-scheduler", "scheduler.cfg");
    let agent = || as_service("mig-agent.service", &sandbox, "mig-agent", "agent-1.cfg");
    scheduler();
    agent();
    scheduler();
    sandbox.drop_action("look.json");
    scheduler();
    agent();
    let last = scheduler();
    assert_eq!(sandbox.picture(), [("action/done".into(), 1), ("command/done".into(), 1)], "{}", text(&last));
    assert_eq!(sandbox.only("command/done")["status"], "success");
}

/// `RestrictSUIDSGID=` has openat2(2) fail, as its mode cannot be seen by a filter.
#[test]
fn scheduler_and_agent_work_without_openat2_which_their_units_take_away() {
    let traced = |program: &str, cfg: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS"]);
        command.args([program, "-c", cfg, "--once"]).output()
    };
    let sandbox = Sandbox::new();
    let (scheduler, agent) = (sandbox.scheduler_cfg(), sandbox.agent_cfg(1));
    let run = |program, cfg: &str| match traced(program, cfg) {
        Ok(output) if text(&output).contains("ptrace") => None,
        Ok(output) => {
            assert!(output.status.success(), "{}", text(&output));
            Some(())
        }
        Err(_) => None,
    };
    let both = || {
        run(env!("CARGO_BIN_EXE_mig-scheduler"), &scheduler)?;
        run(env!("CARGO_BIN_EXE_mig-agent"), &agent)?;
        run(env!("CARGO_BIN_EXE_mig-scheduler"), &scheduler)
    };
    if both().is_none() {
        return Score::begin("strace").skip("it takes strace, and the right to trace");
    }
    sandbox.drop_action("look.json");
    (0..2).for_each(|_| both().unwrap());
    assert_eq!(sandbox.picture(), [("action/done".into(), 1), ("command/done".into(), 1)]);
    assert_eq!(sandbox.only("command/done")["status"], "success");
}

/// What a program told the service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    fn new(directory: &Path) -> Manager {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Manager { socket, path, heard: Vec::new() }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.heard.extend(message.lines().map(str::to_owned));
        }
    }

    fn wait_for(&mut self, line: &str, times: usize) {
        let started = Instant::now();
        while self.heard.iter().filter(|heard| heard.starts_with(line)).count() < times {
            assert!(started.elapsed() < PATIENCE, "{line} did not come {times} times: {:?}", self.heard);
            self.listen();
        }
    }
}

#[test]
fn a_program_says_that_it_is_ready_alive_and_about_to_end() {
    let sandbox = Sandbox::new();
    let mut manager = Manager::new(&sandbox.path(""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-scheduler"));
    command.args(["-c", &sandbox.scheduler_cfg()]).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "300000");
    let program = Background::start(command, sandbox.path("scheduler.log"));
    manager.wait_for("WATCHDOG=1", 3);
    assert_eq!(manager.heard[0], "READY=1");
    assert!(manager.heard[1].starts_with("STATUS=working: heartbeats, action-new,"), "{:?}", manager.heard);
    assert_eq!(program.terminate(), Some(0));
    manager.listen();
    assert_eq!(manager.heard[manager.heard.len() - 2..], ["STOPPING=1", "STATUS=stopping"]);
}

/// Works well once, then never comes back from a pass.
struct Stuck {
    passes: u32,
}

impl Worker for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }

    fn watch(&mut self, _waker: Waker) -> Result<Option<Watch>, Failure> {
        Ok(None)
    }

    fn pass(&mut self, _now: Timestamp) -> Result<Pass, Failure> {
        self.passes += 1;
        if self.passes > 1 {
            std::thread::sleep(PATIENCE * 2);
        }
        Ok(Pass { handled: 0, again: None })
    }
}

#[test]
#[ignore = "the program that the next test runs"]
fn a_program_with_a_stuck_worker() {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let workers: Vec<(Box<dyn Worker>, Duration)> = vec![(Box::new(Stuck { passes: 0 }), Duration::from_secs(1))];
        let stop = Stop::default();
        let _ = run::threads("stuck", workers, Duration::from_secs(1), &stop);
    }
}

#[test]
fn nobody_feeds_the_watchdog_while_a_worker_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let mut manager = Manager::new(directory.path());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "systemd::a_program_with_a_stuck_worker"]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "500000");
    let _program = Background::start(command, directory.path().join("log"));
    manager.wait_for("STATUS=stuck hangs", 1);
    let fed = manager.heard.iter().filter(|line| *line == "WATCHDOG=1").count();
    assert!(fed >= 2, "{:?}", manager.heard);
    // Two periods more: systemd would have ended it.
    std::thread::sleep(Duration::from_secs(1));
    manager.listen();
    let fed_since = manager.heard.iter().filter(|line| *line == "WATCHDOG=1").count() - fed;
    assert_eq!(fed_since, 0, "{:?}", manager.heard);
}
