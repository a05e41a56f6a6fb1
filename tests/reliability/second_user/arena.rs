//! The place of the attack: programs and people as users of their own, and what must be so afterwards.

use crate::common::recorder::write_recorder;
use crate::common::{Background, PATIENCE, Sandbox, json_file, names, text};
use mig::action::Action;
use mig::command;
use mig::signature::Keyring;
use mig::time;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SCHEDULER: u32 = 4001;
const ATTACKER: u32 = 4002;
const GROUP: u32 = 4003;
const DROPPER: u32 = 4004;
/// Where commands are; in all but the last one they are on their way.
const COMMAND_STAGES: [&str; 4] = ["command/ready", "command/inflight", "command/returned", "command/done"];
/// The time from one good action to the next.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Arena {
    sandbox: Sandbox,
    dropped: Cell<usize>,
    outside: BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

/// Mode, time and content of every file below a directory.
fn see(directory: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    for name in names(directory) {
        let path = directory.join(name);
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        if metadata.is_dir() {
            seen.extend(see(&path));
        }
        seen.insert(path, (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), content));
    }
    seen
}

impl Arena {
    /// Installs everything; `mode` is that of action/new.
    pub fn new(mode: u32) -> Arena {
        let sandbox = Sandbox::new();
        sandbox.register(1);
        let path = |name: &str| sandbox.path(name);
        // Programs in a place that every user can reach.
        run(Command::new("cp").arg(env!("CARGO_BIN_EXE_mig-scheduler")).arg(path("mig-scheduler")));
        run(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(path("second-user")));
        std::fs::create_dir_all(path("outside/directory")).unwrap();
        std::fs::write(path("outside/shadow"), "root:$6$salt$hash:19000:0:99999:7:::\n").unwrap();
        std::fs::create_dir(path("attacker")).unwrap();
        std::fs::write(path("attacker/copied.json"), Arena::action(&sandbox, "copied").to_string()).unwrap();
        let script = format!("{}.sh", sandbox.agent_cfg(1));
        write_recorder(Path::new(&script), &path("agent-1/journal"));
        let mode_of = |name: &str, mode| {
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        run(Command::new("chown").args(["-R", &format!("{SCHEDULER}:{SCHEDULER}")]).arg(path("")));
        run(Command::new("chown").args(["-R", "0:0"]).arg(path("outside")));
        run(Command::new("chown").args(["-R", &format!("{ATTACKER}:{GROUP}")]).arg(path("attacker")));
        mode_of("", 0o755);
        mode_of("relay", 0o700);
        mode_of("agent-1", 0o700);
        mode_of("outside/shadow", 0o600);
        let install = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-spool.sh");
        let (owner, group) = (SCHEDULER.to_string(), GROUP.to_string());
        run(Command::new(install).arg("-s").arg(sandbox.spool()).args(["-o", &owner, "-g", &group]));
        mode_of("spool/action/new", mode);
        let outside = see(&path("outside"));
        Arena { sandbox, dropped: Cell::new(0), outside }
    }

    /// A signed action whose parameters say who it is.
    fn action(sandbox: &Sandbox, who: &str) -> serde_json::Value {
        let mut draft = sandbox.draft(who);
        draft["operations"] = json!([{"module": "file", "parameters": {"who": who}}]);
        sandbox.sign(draft)
    }

    /// Drops a good action as a third user does who can.
    fn drop_good(&self, who: &str) {
        let (made, name) = (self.sandbox.path("made"), self.sandbox.spool().join(format!("action/new/{who}.json")));
        std::fs::write(&made, Arena::action(&self.sandbox, who).to_string()).unwrap();
        chown(&made, Some(DROPPER), Some(GROUP)).unwrap();
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::rename(made, name).unwrap();
    }

    fn start(
        &self,
        program: &str,
        user: u32,
        group: u32,
        log: &str,
        configure: impl FnOnce(&mut Command),
    ) -> Background {
        let mut command = Command::new(self.sandbox.path(program));
        command.uid(user).gid(group).current_dir("/");
        configure(&mut command);
        Background::start(command, self.sandbox.path(log))
    }

    /// Has the attacker at work while good actions arrive, and one more afterwards. Returns how often the attacker struck.
    pub fn fight(&self, duration: Duration, seed: u64, violations: &mut Vec<String>) -> usize {
        let sandbox = &self.sandbox;
        let cfg = sandbox.scheduler_cfg();
        let mut scheduler = self.start("mig-scheduler", SCHEDULER, GROUP, "scheduler.log", |command| {
            command.arg("-c").arg(cfg);
        });
        let this_test = |name: &str| ["--exact".to_owned(), name.to_owned(), "--nocapture".to_owned()];
        let mut agent = self.start("second-user", SCHEDULER, SCHEDULER, "agent-1.log", |command| {
            command.args(this_test("agent_process")).env("MIG_TEST_AGENT", sandbox.path("agent-1.cfg"));
        });
        let mut attacker = self.start("second-user", ATTACKER, GROUP, "attacker.log", |command| {
            command.args(this_test("second_user::attacker_process")).env("MIG_TEST_ATTACKER", sandbox.path(""));
            command.env("MIG_TEST_SEED", seed.to_string());
        });
        let started = Instant::now();
        while started.elapsed() < duration {
            self.drop_good(&format!("good-{}", self.dropped.get()));
            self.dropped.set(self.dropped.get() + 1);
            std::thread::sleep(PAUSE);
        }
        let mut must_live = |name: &str, process: &mut Background| {
            if let Some(status) = process.0.try_wait().unwrap() {
                violations.push(format!("the {name} ended: {status}"));
            }
        };
        must_live("attacker", &mut attacker);
        attacker.kill();
        self.drop_good("last");
        let is_answered = self.await_last();
        must_live("scheduler", &mut scheduler);
        must_live("agent", &mut agent);
        if !is_answered {
            violations.push(format!("the last good action still waits: {:?}", sandbox.picture()));
        }
        if (scheduler.terminate(), agent.terminate()) != (Some(0), Some(0)) {
            violations.push("scheduler and agent did not end well".into());
        }
        let log = std::fs::read_to_string(sandbox.path("attacker.log")).unwrap();
        log.lines().filter_map(|line| line.strip_prefix("blows ")?.parse().ok()).next_back().unwrap_or(0)
    }

    /// Waits until the last good action was executed and no command is on its way; false when that takes too long.
    fn await_last(&self) -> bool {
        let started = Instant::now();
        let is_quiet = || COMMAND_STAGES[..3].iter().all(|stage| self.sandbox.names(stage).is_empty());
        while !(self.executed().contains_key("last") && is_quiet()) {
            if started.elapsed() > 2 * PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// How often whose actions were executed, as the journal has it.
    fn executed(&self) -> BTreeMap<String, usize> {
        let journal = std::fs::read_to_string(self.sandbox.path("agent-1/journal")).unwrap_or_default();
        let mut executed = BTreeMap::new();
        for line in journal.lines() {
            let who =
                serde_json::from_str::<serde_json::Value>(line).ok().and_then(|p| Some(p["who"].as_str()?.to_owned()));
            *executed.entry(who.unwrap_or_else(|| line.to_owned())).or_default() += 1;
        }
        executed
    }

    /// How many good actions were dropped during the attack.
    pub fn dropped(&self) -> usize {
        self.dropped.get()
    }

    /// What holds whatever the attacker may do.
    pub fn check(&self, violations: &mut Vec<String>) {
        let keyring = Keyring::parse(self.sandbox.keys.0.as_bytes()).unwrap();
        let is_signed = |action: &Action| {
            action.signatures.first().is_some_and(|s| keyring.verify(&action.signed_text(), s, time::now()).is_ok())
        };
        let mut commands: BTreeMap<String, usize> = BTreeMap::new();
        for stage in COMMAND_STAGES {
            for name in self.sandbox.names(stage) {
                let bytes = std::fs::read(self.sandbox.spool().join(stage).join(&name)).unwrap();
                match command::Command::parse(&bytes) {
                    Ok(command) if is_signed(&command.action) => {
                        *commands.entry(command.action.name.clone()).or_default() += 1
                    }
                    _ => violations.push(format!("{stage}/{name} is not what was signed")),
                }
            }
        }
        // A signed action may be dropped again by those who can read it, as a new one; each command is run once at most.
        for (who, times) in self.executed() {
            let ordered = commands.get(&who).copied().unwrap_or(0);
            if times > ordered {
                violations.push(format!("executed {times} times, ordered {ordered} times: {who}"));
            }
        }
        for log in ["scheduler.log", "agent-1.log"] {
            let text = std::fs::read_to_string(self.sandbox.path(log)).unwrap();
            violations.extend(text.lines().filter(|l| l.contains("panicked")).map(|line| format!("{log}: {line}")));
        }
        if see(&self.sandbox.path("outside")) != self.outside {
            violations.push("something outside the spool changed".into());
        }
        for entry in std::fs::read_dir(self.sandbox.path("spool/tmp")).unwrap() {
            let (path, metadata) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            if metadata.is_dir() && metadata.uid() == ATTACKER {
                // Exchanged for a drop, and closed before it could be put back: the log asks the operator to do this.
                std::fs::remove_dir_all(path).unwrap();
            } else {
                violations.push(format!("{} is left", path.display()));
            }
        }
    }

    /// What holds in addition where nobody can touch what others dropped.
    pub fn check_that_every_good_one_is_done(&self, violations: &mut Vec<String>) {
        let executed = self.executed();
        let done = self.sandbox.names("action/done");
        let mut ended = BTreeMap::new();
        for name in done {
            let action = json_file(&self.sandbox.spool().join("action/done").join(name));
            *ended.entry(action["name"].as_str().unwrap().to_owned()).or_insert(0) +=
                usize::from(action["counters"]["success"] == 1);
        }
        for who in (0..self.dropped()).map(|n| format!("good-{n}")).chain(["last".into()]) {
            let count = |of: &BTreeMap<String, usize>| of.get(&who).copied().unwrap_or(0);
            if count(&executed) == 0 || count(&ended) == 0 {
                violations.push(format!("{who}: executed {} times, done {}", count(&executed), count(&ended)));
            }
        }
    }

    /// The spool is in order.
    pub fn check_spool(&self, violations: &mut Vec<String>) {
        let check = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spool-check");
        let output = Command::new(check)
            .arg("--db")
            .arg(self.sandbox.path("mig.db"))
            .arg("-s")
            .arg(self.sandbox.spool())
            .output();
        let output = output.unwrap();
        if !output.status.success() {
            violations.push(format!("spool-check: {}", text(&output)));
        }
    }
}
