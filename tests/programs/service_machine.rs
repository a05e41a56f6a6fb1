//! `mig-agent --install` and `--uninstall` on a machine: in a mount namespace with directories of its own in place of those that are
//! written to, and a systemctl that notes what it is asked. Root only.

use crate::common::score::Score;
use crate::common::{Background, Sandbox, text, write_program};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");
/// What is mounted, and where.
const MOUNTS: [(&str, &str); 3] = [("units", "/etc/systemd/system"), ("local", "/usr/local"), ("run", "/run")];

struct Machine {
    sandbox: Sandbox,
}

impl Machine {
    /// None, with a line why: such a namespace cannot be made here.
    fn new(settings: &str) -> Option<Machine> {
        let machine = Machine { sandbox: Sandbox::new() };
        for directory in ["units", "local", "run/systemd/system", "bin"] {
            std::fs::create_dir_all(machine.path(directory)).unwrap();
        }
        let script = format!(
            "here='{}'\necho \"$*\" >>\"$here/calls\"\n[ ! -e \"$here/fails-$1\" ] || {{ echo 'it is broken' >&2; exit 1; }}\n\
             [ \"$1\" != show ] || cat \"$here/shown\"",
            machine.path("").display()
        );
        write_program(&machine.path("bin/systemctl"), &script);
        machine.shows(0, "no");
        let cfg = std::fs::read_to_string(machine.sandbox.agent_cfg(1)).unwrap();
        let cfg = cfg.replace("[logging]", &format!("isimmortal = off\n{settings}\n[logging]"));
        crate::common::write_private(&machine.path("agent.cfg"), &cfg);
        let output = machine.in_namespace("true", &[]).output().unwrap();
        if output.status.success() {
            return Some(machine);
        }
        Score::begin("a service on a machine").skip(&format!("a mount namespace: {}", text(&output)));
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    fn in_namespace(&self, program: &str, arguments: &[&str]) -> Command {
        let mounts = MOUNTS.map(|(own, at)| format!("mount --bind '{}' {at}; ", self.path(own).display())).concat();
        let script = format!("set -e; {mounts} exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh", program]).args(arguments);
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command
            .env("PATH", path)
            .env_remove("INVOCATION_ID")
            .env_remove("SYSTEMD_EXEC_PID")
            .env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null());
        command
    }

    fn agent(&self, arguments: &[&str]) -> Output {
        self.in_namespace(AGENT, arguments).output().unwrap()
    }

    fn install(&self) -> Output {
        self.agent(&["-c", self.path("agent.cfg").to_str().unwrap(), "--install"])
    }

    /// What systemctl was asked since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    /// What systemctl shows of the service.
    fn shows(&self, pid: u32, needs_reload: &str) {
        std::fs::write(self.path("shown"), format!("MainPID={pid}\nNeedDaemonReload={needs_reload}\n")).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.path("local/lib/mig-agent/mig-agent")
    }

    /// The installed program, running.
    fn running(&self) -> Running {
        let mut command = Command::new(self.program());
        let child =
            command.args(["-P", "fswatch", "-path"]).arg(self.path("bin")).stdout(Stdio::null()).spawn().unwrap();
        self.shows(child.id(), "no");
        Running(child)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const STARTED: [&str; 4] = [
    "show -p MainPID -p NeedDaemonReload mig-agent.service",
    "daemon-reload",
    "enable mig-agent.service",
    "restart mig-agent.service",
];

#[test]
fn what_is_installed_is_started_once_and_again_when_it_is_another() {
    let Some(machine) = Machine::new("") else { return };
    let output = machine.install();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.calls(), STARTED);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(machine.program()), mode(machine.path("local/lib/mig-agent"))), (0o755, 0o755));
    let unit = std::fs::read_to_string(machine.path("units/mig-agent.service")).unwrap();
    assert!(unit.contains("/usr/local/lib/mig-agent/mig-agent"), "{unit}");
    let link = std::fs::read_link(machine.path("local/sbin/mig-agent")).unwrap();
    assert_eq!(link, PathBuf::from("/usr/local/lib/mig-agent/mig-agent"));
    // It runs, and nothing changes.
    let running = machine.running();
    assert_eq!(machine.install().status.code(), Some(0));
    assert_eq!(machine.calls(), STARTED[..3]);
    machine.shows(running.0.id(), "yes");
    assert_eq!(machine.install().status.code(), Some(0));
    assert_eq!(machine.calls(), STARTED, "with another unit than the one that is there");
    machine.shows(std::process::id(), "no");
    assert_eq!(machine.install().status.code(), Some(0));
    assert_eq!(machine.calls(), STARTED, "another program runs");
}

#[test]
fn an_install_that_was_cut_is_repaired_by_the_next() {
    let Some(machine) = Machine::new("") else { return };
    std::fs::write(machine.path("fails-daemon-reload"), "").unwrap();
    let output = machine.install();
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(text(&output).contains("systemctl daemon-reload: "), "{}", text(&output));
    machine.calls();
    std::fs::remove_file(machine.path("fails-daemon-reload")).unwrap();
    assert_eq!(machine.install().status.code(), Some(0));
    assert_eq!(machine.calls(), STARTED);
}

#[test]
fn what_is_uninstalled_is_what_was_installed_whatever_the_configuration_is() {
    let Some(machine) = Machine::new("installdir = /usr/local/lib/other") else { return };
    assert_eq!(machine.install().status.code(), Some(0));
    machine.calls();
    let program = machine.path("local/lib/other/mig-agent");
    assert!(program.exists());
    std::fs::remove_file(machine.path("agent.cfg")).unwrap();
    let output = machine.agent(&["-c", "", "--uninstall"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.calls(), ["disable --now mig-agent.service", "daemon-reload"]);
    for gone in [program, machine.path("local/sbin/mig-agent"), machine.path("units/mig-agent.service")] {
        assert!(std::fs::symlink_metadata(&gone).is_err(), "{}", gone.display());
    }
}

#[test]
fn a_program_that_others_may_read_or_change_is_replaced() {
    let Some(machine) = Machine::new("") else { return };
    assert_eq!(machine.install().status.code(), Some(0));
    std::fs::set_permissions(machine.program(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = machine.install();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(std::fs::metadata(machine.program()).unwrap().permissions().mode() & 0o7777, 0o755);
    let directory = machine.path("local/lib/mig-agent");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = machine.install();
    assert_ne!(output.status.code(), Some(0), "others may put a program there: {}", text(&output));
}

#[test]
fn the_first_start_installs_and_where_that_fails_the_agent_runs_here() {
    let Some(machine) = Machine::new("installservice = on") else { return };
    let cfg = machine.path("agent.cfg").display().to_string();
    let output = machine.agent(&["-c", &cfg]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.calls(), STARTED);
    // Started by something that a service started: it is none itself.
    let mut command = machine.in_namespace(AGENT, &["-c", &cfg]);
    let output = command.env("INVOCATION_ID", "0123").env("SYSTEMD_EXEC_PID", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(machine.calls(), STARTED);
    std::fs::write(machine.path("fails-enable"), "").unwrap();
    let agent = Background::start(machine.in_namespace(AGENT, &["-c", &cfg]), machine.path("agent-1.log"));
    machine.sandbox.wait("running here", |sandbox| sandbox.path("agent-1/agent.sock").exists());
    assert_eq!(agent.terminate(), Some(0));
    let log = std::fs::read_to_string(machine.path("agent-1.log")).unwrap();
    assert!(log.contains("agent.installservice: ") && log.contains("systemctl enable"), "{log}");
}

#[test]
fn an_agent_that_checks_in_is_no_service_and_one_thing_is_done_at_a_time() {
    let Some(machine) = Machine::new("checkin = on") else { return };
    let output = machine.install();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("/etc/cron.d/mig-agent"), "{}", text(&output));
    assert!(machine.calls().is_empty() && !machine.path("units/mig-agent.service").exists());
    for pair in [["--install", "--uninstall"], ["--install", "--checkin"], ["--once", "--checkin"]] {
        assert_eq!(machine.agent(&pair).status.code(), Some(64), "{pair:?}");
    }
}
