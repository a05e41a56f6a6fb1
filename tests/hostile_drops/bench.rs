//! One drop beside a good action: what is run, and what must be so afterwards.

use crate::common::{Background, Sandbox, ended_within, names};
use mig::action::Action;
use mig::heartbeat::Agent;
use mig::signature::Keyring;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::time;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A run over two files takes milliseconds. One that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(40);
/// Files above this are compared by their size only.
const COMPARED_BYTES_MAX: u64 = 4 << 20;
/// What the drop of a row is called unless its name is what it is about.
const NAME: &str = "hostile.json";
/// The user and the group that a scheduler runs as in these tests, and somebody else in the group.
pub const SCHEDULER: u32 = 4001;
pub const STRANGER: u32 = 4002;
pub const GROUP: u32 = 4003;

/// What becomes of a drop.
pub enum Outcome {
    /// It lies in action/invalid with this reason.
    Refused(String),
    /// It stays where it is: no drop, or not yet one.
    LeftAlone,
    /// It is in flight.
    Accepted,
}

/// Puts the drop at a path. What it gives must live as long as the drop; an error says why this machine cannot do it.
type Make = Box<dyn Fn(&Bench, &Path) -> Result<Box<dyn Any>, String>>;

/// One drop.
pub struct Row {
    pub what: String,
    name: OsString,
    kept_as: OsString,
    make: Make,
    outcome: Outcome,
    /// Refused so late that the file is ours already: the same action, written anew.
    is_adopted: bool,
}

/// A reason word for word.
pub fn refused(reason: impl Into<String>) -> Outcome {
    Outcome::Refused(reason.into())
}

/// A drop of plain content.
pub fn text(what: impl Into<String>, content: impl Into<Vec<u8>>, outcome: Outcome) -> Row {
    let content = content.into();
    made(what, move |_, path| std::fs::write(path, &content).map_err(|e| e.to_string()), outcome)
}

/// A drop that is more than its content.
pub fn made<T: Any>(
    what: impl Into<String>,
    make: impl Fn(&Bench, &Path) -> Result<T, String> + 'static,
    outcome: Outcome,
) -> Row {
    let make: Make = Box::new(move |bench, path| Ok(Box::new(make(bench, path)?)));
    Row { what: what.into(), name: NAME.into(), kept_as: NAME.into(), make, outcome, is_adopted: false }
}

impl Row {
    /// The same drop under another name.
    pub fn named(mut self, name: impl AsRef<OsStr>) -> Row {
        self.name = name.as_ref().to_owned();
        self.kept_as = self.name.clone();
        self
    }

    /// What it is called in action/invalid, where that is not its own name.
    pub fn kept_as(mut self, name: impl AsRef<OsStr>) -> Row {
        self.kept_as = name.as_ref().to_owned();
        self
    }

    /// The scheduler has adopted it before it is refused.
    pub fn adopted(mut self) -> Row {
        self.is_adopted = true;
        self
    }
}

/// All that can be told of a file, its content included.
#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: u32,
    size_bytes: u64,
    modified: (i64, i64),
    content: Vec<u8>,
}

fn see(path: &Path, metadata: &Metadata) -> Seen {
    let content = if metadata.is_symlink() {
        std::fs::read_link(path).unwrap().into_os_string().into_vec()
    } else if metadata.is_file() && metadata.len() <= COMPARED_BYTES_MAX {
        read_at_once(path)
    } else if metadata.is_dir() {
        names(path).join("\n").into_bytes()
    } else {
        Vec::new()
    };
    let size_bytes = if metadata.is_dir() { 0 } else { metadata.size() };
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Seen { mode: metadata.mode(), owner: metadata.uid(), size_bytes, modified, content }
}

/// Does not wait for whoever has a lease on the file; then there is nothing to compare.
fn read_at_once(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
    let _ = file.and_then(|mut file| file.read_to_end(&mut bytes));
    bytes
}

fn look(path: &Path) -> Option<Seen> {
    path.symlink_metadata().ok().map(|metadata| see(path, &metadata))
}

fn same_action(one: &[u8], other: &[u8]) -> bool {
    let [one, other] = [one, other].map(|bytes| Action::parse(bytes).unwrap());
    (one.signed_text(), one.signatures) == (other.signed_text(), other.signatures)
}

/// A sandbox with something outside its spool that nobody may touch.
pub struct Bench {
    pub sandbox: Sandbox,
    /// Whether the scheduler is a user of its own.
    has_users: bool,
    good: String,
}

impl Bench {
    /// Scheduler and dropper are the same user.
    pub fn new() -> Bench {
        Bench::make(false)
    }

    /// The spool is installed for a scheduler without any rights, and a group that may drop. Only for root.
    pub fn with_users() -> Bench {
        let bench = Bench::make(true);
        let sandbox = &bench.sandbox;
        let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        // A program in a place where any user can reach it.
        run(Command::new("cp").arg(env!("CARGO_BIN_EXE_mig-scheduler")).arg(sandbox.path("mig-scheduler")));
        run(Command::new("chown").args(["-R", &format!("{SCHEDULER}:{GROUP}")]).arg(sandbox.path("")));
        run(Command::new("chown").args(["-R", "0:0"]).arg(sandbox.path("outside")));
        run(Command::new("chmod").arg("0755").arg(sandbox.path("")));
        let install = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install-spool.sh");
        let (owner, group) = (SCHEDULER.to_string(), GROUP.to_string());
        run(Command::new(install).arg("-s").arg(sandbox.spool()).args(["-o", &owner, "-g", &group]));
        bench
    }

    fn make(has_users: bool) -> Bench {
        let sandbox = Sandbox::new();
        sandbox.register(1);
        let outside = sandbox.path("outside");
        std::fs::create_dir_all(outside.join("directory/inner")).unwrap();
        std::fs::write(outside.join("directory/inner/file"), "nobody's business\n").unwrap();
        std::fs::write(outside.join("shadow"), "root:$6$salt$hash:19000:0:99999:7:::\n").unwrap();
        let mode =
            |name: &str, mode| std::fs::set_permissions(outside.join(name), Permissions::from_mode(mode)).unwrap();
        mode("shadow", 0o640);
        rustix::fs::mkfifoat(rustix::fs::CWD, outside.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let signed = |name: &str| sandbox.sign(sandbox.draft(name)).to_string();
        std::fs::write(outside.join("signed.json"), signed("hostile")).unwrap();
        let good = signed("good");
        Bench { sandbox, has_users, good }
    }

    /// A file that is no business of the scheduler's: shadow, pipe, signed.json, directory.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.sandbox.path("outside").join(name)
    }

    /// Has more agents known, without programs behind them.
    pub fn register_many(&self, count: usize) {
        let heartbeat = |n: usize| {
            let now = time::now().to_string();
            let agent = json!({"name": "many", "queueloc": format!("linux.many.{n}"), "pid": 1, "heartbeatts": now});
            Agent::parse_heartbeat(agent.to_string().as_bytes(), time::now(), LIMIT).unwrap()
        };
        let agents: Vec<Agent> = (0..count).map(heartbeat).collect();
        SqliteStore::open(&self.sandbox.path("mig.db")).unwrap().register(&agents, time::now()).unwrap();
    }

    /// A draft that, signed and dropped, is accepted.
    pub fn draft(&self) -> Value {
        self.sandbox.draft("hostile")
    }

    /// That draft, signed; its times are as long in every run, so that columns in reasons are the same.
    pub fn signed(&self) -> Value {
        let [from, until] = ["2020-01-01T00:00:00Z", "2098-01-01T00:00:00Z"].map(|text| text.parse().unwrap());
        self.sandbox.sign_window(self.draft(), from, until)
    }

    fn stage(&self, stage: &str) -> PathBuf {
        self.sandbox.spool().join(stage)
    }

    /// Runs action-new once; gives its log, or why that is no good run.
    pub fn run(&self) -> Result<String, String> {
        let log = self.sandbox.path("scheduler.log");
        let _ = std::fs::remove_file(&log);
        let program = if self.has_users {
            self.sandbox.path("mig-scheduler")
        } else {
            env!("CARGO_BIN_EXE_mig-scheduler").into()
        };
        let mut command = Command::new(program);
        command.arg("-c").arg(self.sandbox.scheduler_cfg()).args(["--only", "action-new", "--once"]);
        if self.has_users {
            command.uid(SCHEDULER).gid(GROUP);
        }
        ended_within(Background::start(command, log.clone()), &log, LIMIT)
    }

    /// Everything in the sandbox that is not the scheduler's to write.
    fn surroundings(&self) -> BTreeMap<PathBuf, Seen> {
        let mut seen = BTreeMap::new();
        let mut directories = vec![self.sandbox.path("")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                let name = entry.file_name().to_string_lossy().into_owned();
                let ours = ["spool", "scheduler.log", "mig-scheduler"].contains(&name.as_str());
                if ours || name.starts_with("mig.db") {
                    continue;
                }
                if metadata.is_dir() {
                    directories.push(path.clone());
                }
                seen.insert(path.clone(), see(&path, &metadata));
            }
        }
        seen
    }

    /// Drops a row's file beside a good one and runs. Gives what is wrong, or why the row cannot be tried here.
    pub fn try_row(&self, row: &Row) -> Result<Vec<String>, String> {
        self.clear();
        let path = self.stage("action/new").join(&row.name);
        let _kept_alive = (row.make)(self, &path)?;
        let dropped = look(&path).unwrap_or_else(|| panic!("{}: nothing was dropped", row.what));
        self.sandbox.drop_bytes("a good one.json", self.good.as_bytes());
        let before = self.surroundings();
        let log = match self.run() {
            Ok(log) => log,
            Err(problem) => return Ok(vec![problem]),
        };
        let mut violations = self.violations_of_outcome(row, &dropped, &log);
        if self.surroundings() != before {
            violations.push(format!("something outside changed: {before:?} {:?}", self.surroundings()));
        }
        let litter = names(&self.stage("tmp"));
        if !litter.is_empty() {
            violations.push(format!("tmp holds {litter:?}"));
        }
        if log.chars().any(|c| c.is_control() && c != '\n') {
            violations.push(format!("control characters in the log: {log:?}"));
        }
        Ok(violations)
    }

    /// The names of the actions in flight, all of which must be what the investigator signed.
    fn in_flight(&self) -> Vec<String> {
        let keyring = Keyring::parse(&std::fs::read(self.sandbox.path("key.pub")).unwrap()).unwrap();
        let read = |name: &String| {
            let action = Action::parse(&std::fs::read(self.stage("action/inflight").join(name)).unwrap()).unwrap();
            keyring.verify(&action.signed_text(), &action.signatures[0], time::now()).unwrap();
            action.name
        };
        self.sandbox.names("action/inflight").iter().map(read).collect()
    }

    fn violations_of_outcome(&self, row: &Row, dropped: &Seen, log: &str) -> Vec<String> {
        let mut violations = Vec::new();
        let mut expect = |what: &str, holds: bool| {
            if !holds {
                violations.push(format!("{what}; log: {}", log.lines().last().unwrap_or_default()));
            }
        };
        let (new, invalid) = (self.stage("action/new").join(&row.name), self.stage("action/invalid"));
        let in_flight = self.in_flight();
        let count = |name: &str| in_flight.iter().filter(|found| *found == name).count();
        expect("the good one is not in flight", count("good") == 1);
        let accepted = usize::from(matches!(row.outcome, Outcome::Accepted));
        expect(&format!("in flight: {in_flight:?}"), count("hostile") == accepted);
        let refusals = names(&invalid);
        match &row.outcome {
            Outcome::Accepted => {
                expect("it is still in action/new", look(&new).is_none());
                expect(&format!("action/invalid holds {refusals:?}"), refusals.is_empty());
            }
            Outcome::LeftAlone => {
                expect("it did not stay as it was", look(&new).as_ref() == Some(dropped));
                expect(&format!("action/invalid holds {refusals:?}"), refusals.is_empty());
            }
            Outcome::Refused(reason) => {
                expect("it is still in action/new", look(&new).is_none());
                let kept = look(&invalid.join(&row.kept_as));
                let is_same = match kept {
                    Some(kept) if row.is_adopted => same_action(&kept.content, &dropped.content),
                    kept => kept.as_ref() == Some(dropped),
                };
                expect(&format!("{refusals:?} lacks it or it was changed"), is_same);
                let mut reason_file = row.kept_as.as_bytes().to_vec();
                reason_file.extend(b".reason");
                let text = std::fs::read_to_string(invalid.join(OsStr::from_bytes(&reason_file))).unwrap_or_default();
                let is_right = matches!(text.lines().collect::<Vec<_>>()[..],
                    [when, why] if when.parse::<time::Timestamp>().is_ok() && why == reason);
                expect(&format!("the reason is\n  {}\nnot\n  {reason}", text.trim_end()), is_right);
            }
        }
        violations
    }

    /// Takes away what the last row left, so that each begins alike.
    fn clear(&self) {
        for stage in ["action/new", "action/inflight", "action/invalid", "command/ready"] {
            for entry in std::fs::read_dir(self.stage(stage)).unwrap() {
                let (path, is_dir) = entry.map(|e| (e.path(), e.file_type().unwrap().is_dir())).unwrap();
                if is_dir {
                    std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
                    std::fs::remove_dir_all(path).unwrap();
                } else {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
    }
}
