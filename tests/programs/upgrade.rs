//! Upgrades: another version of the agent is installed by a signed action, takes over, and the old one is destroyed.

use crate::common::https::Https;
use crate::common::stamped::{configuration, run, stamp};
use crate::common::{Background, Sandbox, text};
use mig::signature::Keyring;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mig-agent");

/// A sandbox with a scheduler whose own actions agents run, an agent of version 1, and a server of further versions.
struct Fleet {
    sandbox: Sandbox,
    https: Https,
    settings: String,
}

impl Fleet {
    fn new() -> Fleet {
        let sandbox = Sandbox::new();
        let scheduler_key = scheduler_key(&sandbox);
        let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
        std::fs::write(sandbox.scheduler_cfg(), format!("{cfg}[periodic]\nfreq = \"200ms\"\n")).unwrap();
        let https = Https::start(&sandbox.path("certs"));
        let settings = configuration(&sandbox)
            .replace("heartbeatfreq = '30s'", "heartbeatfreq = '300ms'")
            .replace("publicpgpkeys = ['''", &format!("publicpgpkeys = ['''\n{scheduler_key}''', '''"));
        let settings = format!("{settings}cacert = '''\n{}'''\n", std::fs::read_to_string(&https.ca).unwrap());
        std::fs::create_dir(sandbox.path("bin")).unwrap();
        let fleet = Fleet { sandbox, https, settings };
        std::fs::rename(fleet.stamped("v1", &fleet.settings), fleet.program()).unwrap();
        fleet
    }

    /// Where the agent is installed.
    fn program(&self) -> PathBuf {
        self.sandbox.path("bin/mig-agent")
    }

    /// A program of another version with these settings inside.
    fn stamped(&self, environment: &str, settings: &str) -> PathBuf {
        let (program, output) = stamp(&self.sandbox, PROGRAM, settings, &["--buildenv", environment]);
        assert!(output.status.success(), "{}", text(&output));
        program
    }

    /// Offers a program; returns the parameters that install it.
    fn release(&self, environment: &str, program: &Path) -> Value {
        let bytes = std::fs::read(program).unwrap();
        let checksum = sum(&bytes);
        let location = self.https.offer(environment, bytes);
        json!({(PLATFORM): {"to_version": version(environment), "location": location, "checksum": checksum}})
    }

    fn start_agent(&self) -> Background {
        let agent = self.start_program(self.program(), 1);
        self.wait("registered", || self.online().len() == 1);
        agent
    }

    /// Starts a program of the agent; the number is its log's.
    fn start_program(&self, program: PathBuf, number: usize) -> Background {
        let mut command = Command::new(program);
        command.args(["-f", "-c", ""]);
        Background::start(command, self.sandbox.path(&format!("agent-{number}.log")))
    }

    /// What the program says that is installed.
    fn version_at_path(&self) -> String {
        String::from_utf8(run(self.program(), &["-V"]).stdout).unwrap().trim().to_owned()
    }

    /// Starts it and the scheduler.
    fn start(&self) -> (Background, Background) {
        let scheduler = self.sandbox.start_scheduler();
        self.wait("ready", || self.sandbox.path("relay/mig.agt.heartbeats").exists());
        (scheduler, self.start_agent())
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        self.sandbox.wait(what, |_| condition());
    }

    /// The registrations, the first one first: version, status, process.
    fn agents(&self) -> Vec<(String, String, u32)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let Ok(store) = Connection::open_with_flags(self.sandbox.path("mig.db"), flags) else { return Vec::new() };
        let query = || -> rusqlite::Result<_> {
            let mut statement = store.prepare("SELECT version, status, pid FROM agents ORDER BY id")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        query().unwrap_or_default()
    }

    /// The versions that are online.
    fn online(&self) -> Vec<String> {
        self.agents().into_iter().filter(|(_, status, _)| status == "online").map(|(version, ..)| version).collect()
    }

    fn status_of(&self, environment: &str) -> String {
        let agents = self.agents();
        let found = agents.iter().find(|(found, ..)| *found == version(environment));
        found.map_or_else(String::new, |(_, status, _)| status.clone())
    }

    /// Has the agents run an operation; returns the answer.
    fn ask(&self, name: &str, module: &str, parameters: Value) -> Value {
        self.order(name, module, parameters);
        self.answer(name)
    }

    /// Has the agents run an operation. Its answer may wait until one of them reaches the relay.
    fn order(&self, name: &str, module: &str, parameters: Value) {
        let mut draft = self.sandbox.draft(name);
        draft["operations"] = json!([{"module": module, "parameters": parameters}]);
        self.sandbox.drop_bytes(&format!("{name}.json"), self.sandbox.sign(draft).to_string().as_bytes());
    }

    fn answer(&self, name: &str) -> Value {
        let find = || {
            let commands = self.sandbox.commands("command/done").into_iter().map(|(_, command)| command);
            let mut found: Vec<Value> = commands.filter(|command| command["action"]["name"] == name).collect();
            assert!(found.len() <= 1, "{name}: {found:?}");
            found.pop()
        };
        self.wait(&format!("answered: {name}"), || find().is_some());
        find().unwrap()
    }

    /// Looks for the needle, which every agent finds.
    fn look(&self, name: &str) {
        let parameters = self.sandbox.draft(name)["operations"][0]["parameters"].clone();
        let answer = self.ask(name, "file", parameters);
        assert_eq!((&answer["status"], &answer["results"][0]["foundanything"]), (&json!("success"), &json!(true)));
    }

    /// The process that has the run directory, by what it wrote.
    fn owner(&self) -> u32 {
        let text = std::fs::read_to_string(self.sandbox.path("agent-1/lock/agent")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.sandbox.path("agent-1.log")).unwrap()
    }

    /// Each command ran once, whichever process ran it.
    fn assert_at_most_once(&self) {
        let log = self.log();
        let mut ran: Vec<&str> = log.lines().filter_map(|line| line.split("running '").nth(1)).collect();
        let count = ran.len();
        ran.sort_unstable();
        ran.dedup();
        assert_eq!(ran.len(), count, "{log}");
    }

    /// The processes that run a program of this fleet.
    fn processes(&self) -> Vec<u32> {
        let ids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(self.sandbox.path("bin")))
        };
        ids.filter(is_ours).collect()
    }

    fn files(&self) -> Vec<String> {
        crate::common::names(&self.sandbox.path("bin"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // A program that took over is no child of this process.
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
}

const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };

fn version(environment: &str) -> String {
    format!("{}.{environment}", env!("CARGO_PKG_VERSION"))
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// The schedulers' key, as an operator gets it, which the access list then permits to destroy agents. Returns its certificate.
fn scheduler_key(sandbox: &Sandbox) -> String {
    let printed = sandbox.scheduler(&["--print-key"]);
    assert!(printed.status.success(), "{}", text(&printed));
    let public_key = String::from_utf8(printed.stdout).unwrap();
    let fingerprint =
        Keyring::parse(public_key.as_bytes()).unwrap().signers(mig::time::now()).into_iter().next().unwrap();
    assert!(String::from_utf8(printed.stderr).unwrap().contains(fingerprint.as_str()));
    let mut acl: Value = serde_json::from_slice(&std::fs::read(sandbox.path("acl.json")).unwrap()).unwrap();
    let investigators = json!({"MIG Scheduler": {"fingerprint": fingerprint, "weight": 1}});
    let permission = json!({"agentdestroy": {"minimumweight": 1, "investigators": investigators}});
    acl.as_array_mut().unwrap().push(permission);
    std::fs::write(sandbox.path("acl.json"), acl.to_string()).unwrap();
    public_key
}

#[test]
fn the_schedulers_key_is_made_at_the_first_start_and_printed() {
    let sandbox = Sandbox::new();
    let stored = |sandbox: &Sandbox| -> Option<String> {
        let store = Connection::open(sandbox.path("mig.db")).ok()?;
        let query = "SELECT publickey FROM investigators WHERE name = 'migscheduler'";
        store.query_row(query, [], |row| row.get(0)).ok()
    };
    let _scheduler = sandbox.start_scheduler();
    sandbox.wait("having a key", |sandbox| stored(sandbox).is_some());
    let stored = stored(&sandbox).unwrap();
    let printed = String::from_utf8(sandbox.scheduler(&["--print-key"]).stdout).unwrap();
    assert_eq!(printed.trim_end(), stored.trim_end());
    assert!(!printed.contains("PRIVATE"), "{printed}");
}

#[test]
fn a_signed_upgrade_is_installed_takes_over_and_the_old_process_is_destroyed() {
    let fleet = Fleet::new();
    let second = fleet.stamped("v2", &fleet.settings);
    let (scheduler, mut first) = fleet.start();
    fleet.look("before");
    let old = first.0.id();
    let answer = fleet.ask("upgrade", "upgrade", fleet.release("v2", &second));
    assert_eq!(answer["status"], "success", "{answer}");
    assert_eq!(answer["results"][0]["elements"], json!({"oldpid": old, "newversion": version("v2")}));
    fleet.wait("taken over", || fleet.owner() != old);
    fleet.wait("upgraded and destroyed", || fleet.status_of("v1") == "destroyed");
    let new = fleet.owner();
    assert_eq!(
        fleet.agents().iter().map(|(version, _, pid)| (version.clone(), *pid)).collect::<Vec<_>>(),
        [(version("v1"), old), (version("v2"), new)]
    );
    assert_eq!(first.0.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read(fleet.program()).unwrap(), std::fs::read(&second).unwrap());
    fleet.wait("removed", || fleet.files() == ["mig-agent"]);
    assert_eq!(fleet.online(), [version("v2")]);
    fleet.look("after");
    let destroyed = fleet.sandbox.commands("command/done").into_iter().map(|(_, command)| command);
    let destroyed: Vec<Value> =
        destroyed.filter(|one| one["action"]["operations"][0]["module"] == "agentdestroy").collect();
    assert_eq!(destroyed.len(), 1, "one action is enough");
    let elements = &destroyed[0]["results"][0]["elements"];
    assert_eq!((&elements["pid"], &elements["version"]), (&json!(old), &json!(version("v1"))));
    let again = fleet.ask("again", "upgrade", fleet.release("v2", &second));
    let error = again["results"][0]["errors"][0].as_str().unwrap();
    assert_eq!(
        (&again["status"], error),
        (&json!("failed"), &*format!("version {} runs here already; nothing is installed", version("v2")))
    );
    fleet.assert_at_most_once();
    assert_eq!(fleet.processes(), [new]);
    signal(new, Signal::TERM);
    fleet.wait("ended", || fleet.processes().is_empty());
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn a_parent_follows_the_version_that_takes_over_and_starts_that_one_again() {
    let fleet = Fleet::new();
    let second = fleet.stamped("v2", &fleet.settings);
    let scheduler = fleet.sandbox.start_scheduler();
    fleet.wait("ready", || fleet.sandbox.path("relay/mig.agt.heartbeats").exists());
    let mut command = Command::new(fleet.program());
    command.args(["-c", ""]);
    ["INVOCATION_ID", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"].iter().for_each(|name| {
        command.env_remove(name);
    });
    let mut parent = Background::start(command, fleet.sandbox.path("agent-1.log"));
    fleet.wait("registered", || fleet.online().len() == 1);
    let old = fleet.owner();
    assert_ne!(old, parent.0.id());
    let answer = fleet.ask("upgrade", "upgrade", fleet.release("v2", &second));
    assert_eq!(answer["status"], "success", "{answer}");
    fleet.wait("upgraded and destroyed", || fleet.status_of("v1") == "destroyed");
    let new = fleet.owner();
    assert!(new != old && parent.0.try_wait().unwrap().is_none(), "the parent goes on");
    signal(new, Signal::KILL);
    fleet.wait("started again", || ![0, old, new].contains(&fleet.owner()));
    let again = fleet.owner();
    let exe = std::fs::read(format!("/proc/{again}/exe")).unwrap();
    assert_eq!(exe, std::fs::read(&second).unwrap(), "not the version that the parent was started as");
    fleet.look("after");
    signal(parent.0.id(), Signal::TERM);
    assert_eq!(parent.0.wait().unwrap().code(), Some(0), "{}", fleet.log());
    fleet.wait("ended", || fleet.processes().is_empty());
    assert_eq!(scheduler.terminate(), Some(0));
}

#[test]
fn the_old_program_goes_on_where_the_new_one_does_not_work() {
    let fleet = Fleet::new();
    let wrong = fleet.settings.replace(&json!(fleet.sandbox.path("agent-1")).to_string(), "'/proc/no/agent'");
    let broken = fleet.stamped("broken", &wrong);
    let (_scheduler, first) = fleet.start();
    let old = std::fs::read(fleet.program()).unwrap();
    let answer = fleet.ask("upgrade", "upgrade", fleet.release("broken", &broken));
    assert_eq!(answer["status"], "success", "{answer}");
    fleet.wait("undone", || fleet.log().contains("before it took over; this program goes on"));
    fleet.look("after");
    assert_eq!((fleet.owner(), fleet.files()), (first.0.id(), vec!["mig-agent".to_owned()]));
    assert!(std::fs::read(fleet.program()).unwrap() == old);
    assert_eq!(fleet.online(), [version("v1")]);
    fleet.assert_at_most_once();
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn a_new_program_that_reaches_no_relay_is_undone() {
    let fleet = Fleet::new();
    let relay = json!(format!("dir://{}", fleet.sandbox.path("relay").display())).to_string();
    // Nobody listens there.
    let lost = fleet.stamped("lost", &fleet.settings.replace(&relay, "'amqp://guest:guest@127.0.0.1:9/'"));
    let (_scheduler, first) = fleet.start();
    fleet.order("upgrade", "upgrade", fleet.release("lost", &lost));
    fleet.wait("undone", || fleet.log().contains("has sent no heartbeat for 3s"));
    fleet.look("after");
    assert_eq!((fleet.owner(), fleet.processes()), (first.0.id(), vec![first.0.id()]));
    assert_eq!((fleet.online(), fleet.files()), (vec![version("v1")], vec!["mig-agent".to_owned()]));
    fleet.assert_at_most_once();
}

#[test]
fn of_both_the_process_that_is_not_killed_goes_on() {
    for is_old in [true, false] {
        let mut fleet = Fleet::new();
        // The old one is not destroyed.
        fleet.settings = fleet.settings.replace("agentdestroy", "nothing");
        let second = fleet.stamped("v2", &fleet.settings);
        let (_scheduler, mut first) = fleet.start();
        let old = first.0.id();
        fleet.ask("upgrade", "upgrade", fleet.release("v2", &second));
        fleet.wait("taken over", || fleet.log().contains("has taken over"));
        let new = fleet.owner();
        assert_eq!(fleet.files(), ["mig-agent"], "proven");
        let _again = if is_old {
            signal(old, Signal::KILL);
            first.0.wait().unwrap();
            None
        } else {
            signal(new, Signal::KILL);
            assert_eq!(first.0.wait().unwrap().code(), Some(0), "what was proven is not undone");
            Some(fleet.start_program(fleet.program(), 2))
        };
        fleet.wait("alone", || fleet.online() == [version("v2")]);
        fleet.look("after");
        assert_eq!(fleet.processes(), [fleet.owner()]);
        assert_eq!(fleet.version_at_path(), version("v2"));
        fleet.assert_at_most_once();
    }
}

/// A fleet whose agent hands over to a program that takes the run directory, and cannot send a heartbeat. Its process.
fn on_probation() -> (Fleet, Background, Background, u32) {
    let mut fleet = Fleet::new();
    // The old one waits for a long time.
    fleet.settings = fleet.settings.replace("'300ms'", "'30s'");
    std::fs::rename(fleet.stamped("v1", &fleet.settings), fleet.program()).unwrap();
    let relay = json!(format!("dir://{}", fleet.sandbox.path("relay").display())).to_string();
    let mute = fleet.settings.replace(&relay, "'amqp://guest:guest@127.0.0.1:9/'");
    assert_ne!(mute, fleet.settings);
    let mute = fleet.stamped("mute", &mute);
    let (scheduler, first) = fleet.start();
    fleet.order("upgrade", "upgrade", fleet.release("mute", &mute));
    fleet.wait("has the lock", || ![0, first.0.id()].contains(&fleet.owner()));
    let new = fleet.owner();
    assert_eq!(fleet.files(), [".mig-agent.previous", "mig-agent"]);
    assert!(!fleet.log().contains("has taken over"), "{}", fleet.log());
    (fleet, scheduler, first, new)
}

#[test]
fn a_new_program_that_ends_before_its_first_heartbeat_has_not_taken_over() {
    let (fleet, _scheduler, first, new) = on_probation();
    signal(new, Signal::KILL);
    fleet.wait("undone", || fleet.log().contains("; this program goes on"));
    fleet.look("after");
    assert_eq!((fleet.owner(), fleet.files()), (first.0.id(), vec!["mig-agent".to_owned()]));
    assert_eq!(fleet.version_at_path(), version("v1"));
    fleet.assert_at_most_once();
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn an_agent_that_shall_end_ends_the_program_on_probation_too() {
    let (fleet, _scheduler, first, _new) = on_probation();
    assert_eq!(first.terminate(), Some(0));
    fleet.wait("ended", || fleet.processes().is_empty());
}

#[test]
fn an_upgrade_that_was_cut_short_is_undone_by_the_program_before() {
    for is_by_unit in [true, false] {
        let (fleet, _scheduler, mut first, new) = on_probation();
        [first.0.id(), new].into_iter().for_each(|pid| signal(pid, Signal::KILL));
        first.0.wait().unwrap();
        fleet.wait("dead", || fleet.processes().is_empty());
        let previous = fleet.sandbox.path("bin/.mig-agent.previous");
        let again = if is_by_unit {
            let undone = run(&previous, &["--undo-upgrade"]);
            assert!(undone.status.success() && text(&undone).contains("was cut short"), "{}", text(&undone));
            let nothing = run(fleet.program(), &["--undo-upgrade"]);
            assert!(nothing.status.success() && text(&nothing).contains("no upgrade"), "{}", text(&nothing));
            fleet.start_program(fleet.program(), 2)
        } else {
            fleet.start_program(previous, 2)
        };
        fleet.look("after");
        assert_eq!((fleet.files(), fleet.version_at_path()), (vec!["mig-agent".to_owned()], version("v1")));
        assert_eq!(again.terminate(), Some(0));
    }
}

#[test]
fn a_retired_process_ends_with_the_one_that_took_over() {
    let mut fleet = Fleet::new();
    fleet.settings = fleet.settings.replace("agentdestroy", "nothing");
    let second = fleet.stamped("v2", &fleet.settings);
    let (_scheduler, mut first) = fleet.start();
    fleet.ask("upgrade", "upgrade", fleet.release("v2", &second));
    fleet.wait("taken over", || fleet.log().contains("has taken over"));
    signal(fleet.owner(), Signal::TERM);
    assert_eq!(first.0.wait().unwrap().code(), Some(0));
    fleet.wait("ended", || fleet.processes().is_empty());
}
