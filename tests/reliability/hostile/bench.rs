//! One rig for everything hostile: a file is put somewhere beside a good one, the worker that finds it runs once, and then all
//! must be as the row says, whatever the file is.

use crate::common::{self, Background, PATIENCE, Sandbox, ended_within, names};
use mig::action::Action;
use mig::command;
use mig::heartbeat::Agent;
use mig::id::CommandRef;
use mig::signature::Keyring;
use mig::store::Store;
use mig::store::sqlite::SqliteStore;
use mig::time;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Files above this are compared by their size only.
const COMPARED_BYTES_MAX: u64 = 4 << 20;
/// What the file of a row is called unless its name is what it is about.
const NAME: &str = "hostile.json";
/// The user and the group that a scheduler runs as in these tests, and somebody else in the group.
pub const SCHEDULER: u32 = 4001;
pub const STRANGER: u32 = 4002;
pub const GROUP: u32 = 4003;
/// The agents that heartbeats are from.
const HOSTILE_QUEUELOC: &str = "linux.host.1";
const GOOD_QUEUELOC: &str = "linux.good.1";
/// What a row may leave behind.
const CLEARED: [&str; 10] = [
    "spool/action/new",
    "spool/action/inflight",
    "spool/action/invalid",
    "spool/command/ready",
    "spool/command/inflight",
    "spool/command/returned",
    "spool/command/done",
    "relay/dead",
    "relay/mig.agt.results",
    "relay/mig.agt.heartbeats",
];

/// Where the file of a row is put.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// An action that is dropped.
    New,
    /// A command that is to be sent.
    Ready,
    /// A command that has come back.
    Returned,
    /// The queue of answers.
    Results,
    /// The queue of heartbeats.
    Heartbeats,
}

impl Place {
    fn worker(self) -> &'static str {
        match self {
            Place::New => "action-new",
            Place::Ready => "command-ready",
            Place::Returned => "command-returned",
            Place::Results => "results",
            Place::Heartbeats => "heartbeats",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Place::New => "spool/action/new",
            Place::Ready => "spool/command/ready",
            Place::Returned => "spool/command/returned",
            Place::Results => "relay/mig.agt.results",
            Place::Heartbeats => "relay/mig.agt.heartbeats",
        }
    }

    /// Where a refused file lies with its reason.
    fn refused(self) -> &'static str {
        match self {
            Place::New | Place::Ready | Place::Returned => "spool/action/invalid",
            Place::Results | Place::Heartbeats => "relay/dead",
        }
    }
}

/// What becomes of a file.
#[derive(PartialEq)]
pub enum Outcome {
    /// It is put aside, unchanged, with this reason.
    Refused(String),
    /// It stays where it is: none of the scheduler's business, or not yet.
    LeftAlone,
    /// It stays, and the log says this of it.
    Stays(&'static str),
    /// It is taken and changes nothing; the log says this.
    Discarded(String),
    /// It has its effect.
    Accepted,
}

/// Puts the file at a path. What it returns must live as long as the file; an error says why this machine cannot do it.
type Make = Box<dyn Fn(&Bench, &Path) -> Result<Box<dyn Any>, String>>;

/// One hostile file.
pub struct Row {
    pub what: String,
    place: Place,
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
    made(what, bytes(content), outcome)
}

/// A drop that is more than its content.
pub fn made<T: Any>(
    what: impl Into<String>,
    make: impl Fn(&Bench, &Path) -> Result<T, String> + 'static,
    outcome: Outcome,
) -> Row {
    let make: Make = Box::new(move |bench, path| Ok(Box::new(make(bench, path)?)));
    let name = OsString::from(NAME);
    Row { what: what.into(), place: Place::New, kept_as: name.clone(), name, make, outcome, is_adopted: false }
}

/// Makes a plain file.
pub type Put = Box<dyn Fn(&Bench, &Path) -> Result<(), String>>;

/// Makes a file with this content.
pub fn bytes(content: impl Into<Vec<u8>>) -> Put {
    let content = content.into();
    Box::new(move |_, path| in_words(std::fs::write(path, &content)))
}

/// The same, last written minutes ago.
pub fn old(content: impl Into<Vec<u8>>) -> Put {
    let make = bytes(content);
    Box::new(move |bench, path| {
        make(bench, path)?;
        let time = SystemTime::now() - Duration::from_secs(180);
        in_words(File::open(path).and_then(|file| file.set_modified(time)))
    })
}

/// An error in words.
pub fn in_words<T>(outcome: std::io::Result<T>) -> Result<T, String> {
    outcome.map_err(|e| e.to_string())
}

/// A pipe.
pub fn pipe(path: &Path) -> Result<(), String> {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).map_err(|e| e.to_string())
}

impl Row {
    /// The same file elsewhere.
    pub fn at(mut self, place: Place) -> Row {
        self.place = place;
        self
    }

    /// The same file under another name.
    pub fn named(mut self, name: impl AsRef<OsStr>) -> Row {
        self.name = name.as_ref().to_owned();
        self.kept_as = self.name.clone();
        self
    }

    /// What it is called among the refused ones, where that is not its own name.
    pub fn kept_as(mut self, name: impl AsRef<OsStr>) -> Row {
        self.kept_as = name.as_ref().to_owned();
        self
    }

    /// The scheduler has adopted it before it is refused.
    pub fn adopted(mut self) -> Row {
        self.is_adopted = true;
        self
    }

    pub fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// Puts the file where it belongs.
    pub fn put(&self, bench: &Bench) -> Result<Box<dyn Any>, String> {
        (self.make)(bench, &self.path(bench))
    }

    fn path(&self, bench: &Bench) -> PathBuf {
        bench.path(self.place.directory()).join(&self.name)
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

/// Does not wait for the holder of a lease on the file; then there is nothing to compare.
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

/// A command as its agent answers it, changed.
pub fn answer(command: &(CommandRef, Value), change: impl FnOnce(&mut Value)) -> Value {
    let mut answer = command.1.clone();
    answer["status"] = "success".into();
    answer["results"] =
        json!([{"foundanything": true, "success": true, "elements": {"x": 1}, "statistics": null, "errors": null}]);
    change(&mut answer);
    answer
}

/// A heartbeat of an agent that is not known yet.
pub fn heartbeat() -> Value {
    let now = time::now().to_string();
    json!({"name": "host", "queueloc": HOSTILE_QUEUELOC, "mode": "daemon", "version": "1", "pid": 7, "starttime": now,
        "destructiontime": "9998-01-11T11:11:11Z", "heartbeatts": now, "environment": {"os": "linux"}, "tags": {}})
}

/// A sandbox with two agents, each of which owes the answer to one command; and files outside its spool that are not the
/// scheduler's.
pub struct Bench {
    pub sandbox: Sandbox,
    /// The command that rows are about, as it was sent, and another agent's.
    pub ours: (CommandRef, Value),
    pub other: (CommandRef, Value),
    /// A command that has ended and has no file any more.
    pub ended: (CommandRef, Value),
    /// Whether the scheduler is a user of its own.
    has_users: bool,
    /// A signed action.
    good: String,
}

impl Bench {
    /// The good action that lies beside each drop.
    pub fn good(&self) -> &str {
        &self.good
    }

    /// The scheduler and the owner of the files are the same user.
    pub fn new() -> Bench {
        let sandbox = Sandbox::new();
        sandbox.register(2);
        sandbox.drop_action("ended.json");
        sandbox.once("action-new,command-ready");
        (1..=2).for_each(|number| drop(sandbox.agent_once(number)));
        sandbox.once("results,command-returned");
        let ended = sandbox.commands("command/done").remove(0);
        sandbox.drop_action("waiting.json");
        sandbox.once("action-new,command-ready");
        let mut sent = sandbox.commands("command/inflight");
        let (other, ours) = (sent.pop().unwrap(), sent.pop().unwrap());
        let outside = sandbox.path("outside");
        std::fs::create_dir_all(outside.join("directory/inner")).unwrap();
        std::fs::write(outside.join("directory/inner/file"), "nobody's business\n").unwrap();
        std::fs::write(outside.join("shadow"), "root:$6$salt$hash:19000:0:99999:7:::\n").unwrap();
        std::fs::set_permissions(outside.join("shadow"), Permissions::from_mode(0o640)).unwrap();
        pipe(&outside.join("pipe")).unwrap();
        let signed = |name: &str| sandbox.sign(sandbox.draft(name)).to_string();
        std::fs::write(outside.join("signed.json"), signed("hostile")).unwrap();
        let good = signed("good");
        let bench = Bench { sandbox, ours, other, ended, has_users: false, good };
        bench.reset();
        bench
    }

    /// The spool is installed for a scheduler without any rights, and a group that may drop. Only for root.
    pub fn with_users() -> Bench {
        let bench = Bench { has_users: true, ..Bench::new() };
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// A file that is none of the scheduler's business: shadow, pipe, signed.json, directory.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.path("outside").join(name)
    }

    /// Has more agents known, without programs behind them.
    pub fn register_many(&self, count: usize) {
        let heartbeat = |n: usize| {
            let now = time::now().to_string();
            let agent = json!({"name": "many", "queueloc": format!("linux.many.{n}"), "pid": 1, "heartbeatts": now});
            Agent::parse_heartbeat(agent.to_string().as_bytes(), time::now(), PATIENCE).unwrap()
        };
        let agents: Vec<Agent> = (0..count).map(heartbeat).collect();
        SqliteStore::open(&self.path("mig.db")).unwrap().register(&agents, time::now()).unwrap();
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

    /// Our command with an answer, changed.
    pub fn answer(&self, change: impl FnOnce(&mut Value)) -> Value {
        answer(&self.ours, change)
    }

    /// A command in a stage, if it is there. Results may be JSON that no other parser here can read.
    fn command(&self, stage: &str, reference: CommandRef) -> Option<command::Command> {
        let path = self.path("spool/command").join(stage).join(reference.file_name());
        std::fs::read(path).ok().map(|bytes| command::Command::parse(&bytes).unwrap())
    }

    fn remove_command(&self, (reference, _): &(CommandRef, Value)) {
        std::fs::remove_file(self.path("spool/command/inflight").join(reference.file_name())).unwrap();
    }

    /// How many agents a target selects.
    pub fn selects(&self, target: &str) -> String {
        common::text(&self.sandbox.scheduler(&["--explain-target", target]))
    }

    fn store(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("mig.db")).unwrap()
    }

    /// Takes away what the last row left, and brings back the two commands in flight.
    pub fn reset(&self) {
        for directory in CLEARED {
            for entry in std::fs::read_dir(self.path(directory)).unwrap() {
                let (path, is_dir) = entry.map(|e| (e.path(), e.file_type().unwrap().is_dir())).unwrap();
                if is_dir {
                    std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
                    std::fs::remove_dir_all(path).unwrap();
                } else {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        for (reference, command) in [&self.ours, &self.other] {
            let file = self.path("spool/command/inflight").join(reference.file_name());
            std::fs::write(file, command.to_string()).unwrap();
        }
    }

    /// Runs one worker over what is there; returns its log, or why that is no good run.
    pub fn run(&self, worker: &str) -> Result<String, String> {
        let log = self.path("scheduler.log");
        let _ = std::fs::remove_file(&log);
        let program =
            if self.has_users { self.path("mig-scheduler") } else { env!("CARGO_BIN_EXE_mig-scheduler").into() };
        let mut command = Command::new(program);
        command.arg("-c").arg(self.sandbox.scheduler_cfg()).args(["--only", worker, "--once"]);
        if self.has_users {
            command.uid(SCHEDULER).gid(GROUP);
        }
        let log = ended_within(Background::start(command, log.clone()), &log, PATIENCE)?;
        if log.chars().any(|c| c.is_control() && c != '\n') {
            return Err(format!("control characters in the log: {log:?}"));
        }
        Ok(log)
    }

    /// Everything in the sandbox that is not the scheduler's to write; queues are, when it takes messages from them or sends
    /// some.
    fn surroundings(&self, place: Place) -> BTreeMap<PathBuf, Seen> {
        let mut seen = BTreeMap::new();
        let mut directories = vec![self.path("")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                let name = entry.file_name().to_string_lossy().into_owned();
                let ours = ["spool", "scheduler.log", "mig-scheduler"].contains(&name.as_str());
                if ours || name.starts_with("mig.db") || (name == "relay" && place != Place::New) {
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

    /// Puts a good file beside that of a row, and what else it takes.
    fn put_good(&self, place: Place) {
        let directory = self.path(place.directory());
        let answer = || answer(&self.other, |_| {}).to_string();
        match place {
            Place::New => self.sandbox.drop_bytes("a good one.json", self.good.as_bytes()),
            Place::Ready | Place::Returned => {
                self.remove_command(&self.ours);
                self.remove_command(&self.other);
                let good = if place == Place::Ready { self.other.1.to_string() } else { answer() };
                std::fs::write(directory.join(self.other.0.file_name()), good).unwrap();
            }
            Place::Results => std::fs::write(directory.join("good.json"), answer()).unwrap(),
            Place::Heartbeats => {
                self.store().execute("DELETE FROM agents", []).unwrap();
                let mut good = heartbeat();
                good["queueloc"] = GOOD_QUEUELOC.into();
                std::fs::write(directory.join("good.json"), good.to_string()).unwrap();
            }
        }
    }

    /// Puts a row's file beside a good one and runs. Returns what is wrong, or why the row cannot be tried here.
    pub fn try_row(&self, row: &Row) -> Result<Vec<String>, String> {
        self.reset();
        let place = row.place;
        let _kept_alive = row.put(self)?;
        let put = look(&row.path(self)).unwrap_or_else(|| panic!("{}: there is no file", row.what));
        let waiting = self.command("inflight", self.ours.0).map(|command| command.to_json());
        self.put_good(place);
        let before = self.surroundings(place);
        let log = match self.run(place.worker()) {
            Ok(log) => log,
            Err(problem) => return Ok(vec![problem]),
        };
        let mut violations = self.violations_of_outcome(row, &put, &log);
        violations.extend(match place {
            Place::New => self.violations_in_flight(row.is_accepted()),
            Place::Ready => self.violations_of_stage("inflight"),
            Place::Returned => self.violations_of_stage("done"),
            Place::Results => self.violations_of_answer(row.is_accepted(), waiting.as_deref()),
            Place::Heartbeats => self.violations_of_agents(row.is_accepted()),
        });
        if self.surroundings(place) != before {
            violations.push(format!("something outside changed: {before:?} {:?}", self.surroundings(place)));
        }
        let litter = [names(&self.path("spool/tmp")), names(&self.path("relay/tmp"))].concat();
        if !litter.is_empty() {
            violations.push(format!("tmp holds {litter:?}"));
        }
        let last = log.lines().last().unwrap_or_default();
        violations.iter_mut().for_each(|violation| violation.push_str(&format!("; log: {last}")));
        Ok(violations)
    }

    /// What is wrong with the file and the log.
    fn violations_of_outcome(&self, row: &Row, put: &Seen, log: &str) -> Vec<String> {
        let mut violations = Violations::default();
        let path = row.path(self);
        let stays = matches!(row.outcome, Outcome::LeftAlone | Outcome::Stays(_));
        let left = names(path.parent().unwrap());
        let expected: &[OsString] = if stays { std::slice::from_ref(&row.name) } else { &[] };
        let expected: Vec<_> = expected.iter().map(|name| name.to_string_lossy()).collect();
        violations.check(left == expected, || format!("{left:?} are left, not {expected:?}"));
        violations.check(!stays || look(&path).as_ref() == Some(put), || "it did not stay as it was".into());
        let directory = self.path(row.place.refused());
        let refusals = names(&directory);
        let mut reason_file = row.kept_as.clone();
        reason_file.push(".reason");
        let expected = match row.outcome {
            Outcome::Refused(_) => vec![row.kept_as.to_string_lossy(), reason_file.to_string_lossy()],
            _ => Vec::new(),
        };
        violations.check(refusals == expected, || format!("{refusals:?} are refused, not {expected:?}"));
        match &row.outcome {
            Outcome::Refused(reason) => {
                let is_same = match look(&directory.join(&row.kept_as)) {
                    Some(kept) if row.is_adopted => same_action(&kept.content, &put.content),
                    kept => kept.as_ref() == Some(put),
                };
                violations.check(is_same, || "what was refused was changed".into());
                let text = std::fs::read_to_string(directory.join(reason_file)).unwrap_or_default();
                let is_right = matches!(text.lines().collect::<Vec<_>>()[..],
                    [when, why] if when.parse::<time::Timestamp>().is_ok() && why == reason);
                violations.check(is_right, || format!("the reason is\n  {}\nnot\n  {reason}", text.trim_end()));
            }
            Outcome::Stays(words) => {
                let stage = row.place.directory().trim_start_matches("spool/");
                let told = format!("{}: {stage}/{}: {words}", row.place.worker(), row.name.display());
                violations.check(log.contains(&told), || format!("the log lacks\n  {told}"));
            }
            Outcome::Discarded(words) => violations.check(log.contains(words), || format!("the log lacks\n  {words}")),
            Outcome::LeftAlone | Outcome::Accepted => {}
        }
        violations.0
    }

    /// The good action is in flight, the hostile one when it was accepted; both as the investigator signed them.
    fn violations_in_flight(&self, is_accepted: bool) -> Vec<String> {
        let keyring = Keyring::parse(&std::fs::read(self.path("key.pub")).unwrap()).unwrap();
        let read = |name: &String| {
            let action = Action::parse(&std::fs::read(self.path("spool/action/inflight").join(name)).unwrap()).unwrap();
            keyring.verify(&action.signed_text(), &action.signatures[0], time::now()).unwrap();
            action.name
        };
        let in_flight: Vec<String> = self.sandbox.names("action/inflight").iter().map(read).collect();
        let count = |name: &str| in_flight.iter().filter(|found| *found == name).count();
        let mut violations = Violations::default();
        let is_right = count("good") == 1 && count("hostile") == usize::from(is_accepted);
        violations.check(is_right, || format!("in flight: {in_flight:?}"));
        violations.0
    }

    /// The good command has gone on, alone.
    fn violations_of_stage(&self, next: &str) -> Vec<String> {
        let mut violations = Violations::default();
        let found = self.sandbox.names(&format!("command/{next}"));
        violations.check(found == [self.other.0.file_name()], || format!("{next} holds {found:?}"));
        violations.0
    }

    /// The good answer is kept; so is ours when it was accepted, otherwise the command is as before.
    fn violations_of_answer(&self, is_accepted: bool, before: Option<&[u8]>) -> Vec<String> {
        let mut violations = Violations::default();
        let is_kept = self.command("returned", self.other.0).is_some();
        violations.check(is_kept, || "the good answer is not kept".into());
        let returned = self.command("returned", self.ours.0);
        let waiting = self.command("inflight", self.ours.0).map(|command| command.to_json());
        if is_accepted {
            violations.check(waiting.is_none(), || "it is still waited for".into());
            violations.check(returned.is_some_and(|kept| self.is_ours(kept)), || "what is kept is not ours".into());
        } else {
            violations.check(returned.is_none(), || "it was kept".into());
            violations.check(waiting.as_deref() == before, || "the command that is waited for changed".into());
        }
        violations.0
    }

    /// Whether a kept answer is our command in everything but status, results and the time of its end.
    fn is_ours(&self, mut kept: command::Command) -> bool {
        let is_final = kept.status.is_final();
        let sent = command::Command::parse(self.ours.1.to_string().as_bytes()).unwrap();
        (kept.status, kept.results, kept.finish_time) = (sent.status, sent.results.clone(), sent.finish_time);
        is_final && kept.to_json() == sent.to_json()
    }

    /// The good agent is registered; the hostile one when it was accepted; and no other.
    fn violations_of_agents(&self, is_accepted: bool) -> Vec<String> {
        let mut violations = Violations::default();
        let store = self.store();
        let mut statement = store.prepare("SELECT queueloc, status FROM agents ORDER BY queueloc").unwrap();
        let row = |row: &rusqlite::Row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let found: Vec<(String, String)> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
        let expected = [GOOD_QUEUELOC, HOSTILE_QUEUELOC].map(|queueloc| (queueloc.to_owned(), "online".to_owned()));
        let expected = &expected[..1 + usize::from(is_accepted)];
        violations.check(found == expected, || format!("the agents are {found:?}"));
        violations.0
    }
}

/// What is wrong.
#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}
