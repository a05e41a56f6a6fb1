//! What the integration tests share: a sandbox with a spool, a relay, a store and keys, and the real programs in it.
#![allow(dead_code, reason = "each test file uses its part of it")]

pub mod agents;
pub mod api;
pub mod broker_fleet;
pub mod events;
pub mod every_module;
pub mod https;
pub mod mounts;
pub mod proxy;
pub mod recorder;
pub mod score;
pub mod servers;
pub mod stamped;
pub mod status;
pub mod store;
pub mod tinyproxy;

pub use servers::PATIENCE;

use mig::action::Action;
use mig::agent::execute::Executor;
use mig::agent::{Mode, start};
use mig::config::agent::AgentConfig;
use mig::error::ExitClass;
use mig::id::CommandRef;
use mig::signature;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The stages of a scheduler's spool.
pub const STAGES: [&str; 8] = [
    "action/new",
    "action/inflight",
    "action/done",
    "action/invalid",
    "command/ready",
    "command/inflight",
    "command/returned",
    "command/done",
];

/// A directory with everything that an embedded installation has. Its name has a space in it. Relay and store may be
/// servers instead.
pub struct Sandbox {
    directory: tempfile::TempDir,
    /// When the relay is a broker: the section of the scheduler's configuration, `agent.relay`, the agents' `[certs]`.
    broker: Option<(String, String, String)>,
    /// The section with the store, when that is a database server.
    database: Option<String>,
    /// The sections with the store, and with the relay, of the API's configuration, where they are other ones.
    pub api_sections: Option<String>,
    /// The public and the secret key of the investigator.
    pub keys: (String, String),
}

impl Sandbox {
    /// Makes one; nothing runs yet.
    pub fn new() -> Sandbox {
        Sandbox::new_in(&std::env::temp_dir())
    }

    /// Makes one below a directory.
    pub fn new_in(parent: &Path) -> Sandbox {
        let directory = tempfile::Builder::new().prefix("mig test ").tempdir_in(parent).unwrap();
        let keys = signature::generate_key("Test Investigator <test@example.net>").unwrap();
        let sandbox = Sandbox { directory, keys, broker: None, database: None, api_sections: None };
        for stage in STAGES {
            std::fs::create_dir_all(sandbox.spool().join(stage)).unwrap();
        }
        std::fs::create_dir_all(sandbox.path("relay")).unwrap();
        std::fs::create_dir_all(sandbox.path("tree")).unwrap();
        std::fs::write(sandbox.path("tree/needle"), "found me\n").unwrap();
        std::fs::write(sandbox.spool().join("agents_whitelist.txt"), "re:linux\\..*\n").unwrap();
        std::fs::write(sandbox.path("key"), &sandbox.keys.1).unwrap();
        std::fs::write(sandbox.path("key.pub"), &sandbox.keys.0).unwrap();
        let keyring = signature::Keyring::parse(sandbox.keys.0.as_bytes()).unwrap();
        let fingerprint = &keyring.investigators().next().unwrap().fingerprint;
        let investigators = json!({"Test": {"fingerprint": fingerprint, "weight": 1}});
        let acl = json!([{"default": {"minimumweight": 1, "investigators": investigators}}]);
        std::fs::write(sandbox.path("acl.json"), acl.to_string()).unwrap();
        sandbox.write_scheduler_cfg();
        sandbox
    }

    /// Has the relay at a broker.
    pub fn with_broker(mut self, broker: &servers::Broker) -> Sandbox {
        self.broker = Some((broker.scheduler_section(), broker.agent_url(), broker.agent_certificates()));
        self.write_scheduler_cfg();
        self
    }

    /// Has the store in a database server; the text is the section of the scheduler's configuration.
    pub fn with_database(mut self, section: &str) -> Sandbox {
        self.database = Some(section.to_owned());
        self.write_scheduler_cfg();
        self
    }

    /// Shares another one's keys, so that one action is good for both.
    pub fn with_keys_of(mut self, other: &Sandbox) -> Sandbox {
        self.keys = other.keys.clone();
        for file in ["key", "key.pub", "acl.json"] {
            std::fs::copy(other.path(file), self.path(file)).unwrap();
        }
        self
    }

    fn write_scheduler_cfg(&self) {
        write_private(&self.path("scheduler.cfg"), &self.scheduler_configuration());
    }

    fn scheduler_configuration(&self) -> String {
        format!(
            "[agent]\nheartbeatfreq = \"30s\"\ntimeout = \"10m\"\n[collector]\nfreq = \"1s\"\n[directories]\nspool = \"{}\"\n\
            [investigators]\nkeyring = \"{}\"\n{}\n{}\n[logging]\nlevel = \"debug\"\n",
            self.spool().display(),
            self.path("key.pub").display(),
            self.broker.as_ref().map_or_else(
                || format!("[relay]\ndirectory = \"{}\"", self.path("relay").display()),
                |(section, ..)| section.clone()
            ),
            self.store_section(),
        )
    }

    fn store_section(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("[sqlite]\nfile = \"{}\"", self.path("mig.db").display()))
    }

    /// A path in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The scheduler's spool.
    pub fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// The configuration of the scheduler.
    pub fn scheduler_cfg(&self) -> String {
        self.path("scheduler.cfg").display().to_string()
    }

    /// Writes the configuration of an agent; returns its path.
    pub fn agent_cfg(&self, number: usize) -> String {
        let path = self.path(&format!("agent-{number}.cfg"));
        let text = format!(
            "[agent]\nrelay = \"{}\"\nkeyring = \"{}\"\nacl = \"{}\"\nrundir = \"{}\"\nheartbeatfreq = \"30s\"\n\
            tags = \"number={number}\"\n{}[logging]\nlevel = \"debug\"\n",
            self.broker
                .as_ref()
                .map_or_else(|| format!("dir://{}", self.path("relay").display()), |(_, url, _)| url.clone()),
            self.path("key.pub").display(),
            self.path("acl.json").display(),
            self.path(&format!("agent-{number}")).display(),
            self.broker.as_ref().map_or("", |(.., certificates)| certificates)
        );
        write_private(&path, &text);
        path.display().to_string()
    }

    /// Runs the scheduler to its end.
    pub fn scheduler(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-scheduler"));
        command.arg("-c").arg(self.scheduler_cfg()).args(arguments).output().unwrap()
    }

    /// Runs one worker over what is there now.
    pub fn once(&self, worker: &str) {
        let output = self.scheduler(&["--only", worker, "--once"]);
        assert!(output.status.success(), "{worker}: {}", text(&output));
    }

    /// Lets an agent register and handle what is there now.
    pub fn agent_once(&self, number: usize) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        let output = command.arg("-c").arg(self.agent_cfg(number)).arg("--once").output().unwrap();
        assert!(output.status.success(), "agent {number}: {}", text(&output));
        output
    }

    /// Has agents registered, and the relay's queues made.
    pub fn register(&self, agents: usize) {
        self.once("heartbeats,results");
        (1..=agents).for_each(|number| drop(self.agent_once(number)));
        self.once("heartbeats");
    }

    /// Starts the scheduler in the background.
    pub fn start_scheduler(&self) -> Background {
        self.start_scheduler_with(&[])
    }

    /// Starts it with further arguments.
    pub fn start_scheduler_with(&self, arguments: &[&str]) -> Background {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-scheduler"));
        command.arg("-c").arg(self.scheduler_cfg()).args(arguments);
        Background::start(command, self.path("scheduler.log"))
    }

    /// Starts an agent in the background.
    pub fn start_agent(&self, number: usize) -> Background {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        // As a service manager does it: no other process than this one.
        command.arg("-f").arg("-c").arg(self.agent_cfg(number));
        Background::start(command, self.path(&format!("agent-{number}.log")))
    }

    /// An unsigned action that looks for a name in the sandbox's tree.
    pub fn draft(&self, name: &str) -> Value {
        let search = json!({"paths": [self.path("tree")], "names": ["^needle$"], "options": {"matchall": true}});
        json!({
            "name": name,
            "target": "queueloc LIKE 'linux.%'",
            "operations": [{"module": "file", "parameters": {"searches": {"s1": search}}}],
            "syntaxversion": 2
        })
    }

    /// Signs a draft, valid from a minute ago for half an hour.
    pub fn sign(&self, draft: Value) -> Value {
        let now = mig::time::now();
        let minute = Duration::from_secs(60);
        self.sign_window(draft, mig::time::before(now, minute), mig::time::after(now, minute * 30))
    }

    /// Signs a draft for a window.
    pub fn sign_window(&self, mut draft: Value, from: mig::time::Timestamp, until: mig::time::Timestamp) -> Value {
        draft["validfrom"] = from.to_string().into();
        draft["expireafter"] = until.to_string().into();
        let text = Action::parse_draft(draft.to_string().as_bytes()).unwrap().signed_text();
        let signature = signature::sign_with_key(&text, self.keys.1.as_bytes(), mig::time::now()).unwrap();
        draft["pgpsignatures"] = json!([signature]);
        draft
    }

    /// Drops bytes as `cp` would: in place, without care.
    pub fn drop_bytes(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.spool().join("action/new").join(name), bytes).unwrap();
    }

    /// Signs and drops an action.
    pub fn drop_action(&self, file: &str) {
        let action = self.sign(self.draft(file));
        self.drop_bytes(file, action.to_string().as_bytes());
    }

    /// The names in a directory of the spool, sorted.
    pub fn names(&self, stage: &str) -> Vec<String> {
        names(&self.spool().join(stage))
    }

    /// The stages that are not empty, with their files: a picture.
    pub fn picture(&self) -> Vec<(String, usize)> {
        let count = |stage: &str| (stage.to_owned(), self.names(stage).len());
        STAGES.iter().map(|stage| count(stage)).filter(|(_, n)| *n > 0).collect()
    }

    /// The JSON of the only file in a stage.
    pub fn only(&self, stage: &str) -> Value {
        let names = self.names(stage);
        assert_eq!(names.len(), 1, "{stage}: {names:?}");
        json_file(&self.spool().join(stage).join(&names[0]))
    }

    /// Every command in a stage.
    pub fn commands(&self, stage: &str) -> Vec<(CommandRef, Value)> {
        let read = |name: &String| {
            (CommandRef::from_file_name(name).unwrap(), json_file(&self.spool().join(stage).join(name)))
        };
        self.names(stage).iter().map(read).collect()
    }

    /// The reason beside a refused file.
    pub fn reason(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.spool().join("action/invalid").join(format!("{name}.reason")));
        let text = text.unwrap_or_else(|e| panic!("{name}.reason: {e}; {:?}", self.names("action/invalid")));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "time and cause, one line each: {text}");
        lines[0].parse::<mig::time::Timestamp>().unwrap();
        lines[1].to_owned()
    }

    /// Waits until the spool satisfies a condition.
    pub fn wait(&self, what: &str, condition: impl Fn(&Sandbox) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            if started.elapsed() > PATIENCE {
                let log = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
                panic!("still not {what}: {:?}\n{}\n{}", self.picture(), log("scheduler.log"), log("agent-1.log"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A number in the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Whether everything is to be tried, however long it takes.
pub fn is_full() -> bool {
    std::env::var("MIG_FAULTS").is_ok_and(|value| value == "full")
}

/// The agent whose configuration `MIG_TEST_AGENT` names, to its end; nothing without one. Its modules' process is the
/// script beside the configuration. Called by a test that a test binary starts itself again for.
pub fn agent_process() {
    let Ok(cfg) = std::env::var("MIG_TEST_AGENT") else { return };
    let config = AgentConfig::read(Path::new(&cfg)).unwrap();
    let executor = Executor { program: format!("{cfg}.sh").into(), ..Executor::new(Duration::from_secs(60)) };
    mig::logging::start(start::NAME, &config.logging).unwrap();
    let Err(error) = start::run(&config, executor, Mode::Daemon, false) else { std::process::exit(0) };
    eprintln!("{}", error.text);
    if error.class == ExitClass::Unavailable {
        // An agent that was killed while it started a process: until that one is another program, it has the lock.
        std::thread::sleep(Duration::from_millis(10));
        let again = Command::new(std::env::current_exe().unwrap()).args(std::env::args().skip(1)).exec();
        eprintln!("start again: {again}");
    }
    std::process::exit(error.class as i32);
}

/// Waits until a program that was started with its output in `log` has ended; returns the log when it ended well.
pub fn ended_within(mut process: Background, log: &Path, limit: Duration) -> Result<String, String> {
    let started = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > limit {
            return Err(format!("still runs after {limit:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let log = std::fs::read_to_string(log).unwrap();
    if status.success() && !log.contains("panicked") { Ok(log) } else { Err(format!("{status}: {log}")) }
}

/// The seed in the environment, or one that was not tried before.
pub fn seed(name: &str) -> u64 {
    number(name).unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003)
}

/// A small random generator: the same seed gives the same run, as far as the machine's timing allows.
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The names in a directory, sorted; lossy where they are not UTF-8.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A JSON file.
pub fn json_file(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The values of a text of JSON lines; none if a line is not whole.
pub fn json_lines(text: &str) -> Option<Vec<Value>> {
    let lines = text.split_inclusive('\n').map(|line| serde_json::from_str(line.strip_suffix('\n')?).ok());
    lines.collect()
}

/// What a program printed.
pub fn text(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A process that ends with the test.
pub struct Background(pub Child);

impl Background {
    /// Starts a command with its output in a log file.
    pub fn start(mut command: Command, log: PathBuf) -> Background {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        Background(child.unwrap())
    }

    /// Memory that it has (VmRSS), or had at most (VmHWM).
    pub fn mebibytes(&self, name: &str) -> f64 {
        status::mebibytes(self.0.id(), name)
    }

    /// Seconds of processor time that it has used, with its threads that ended.
    pub fn processor_seconds(&self) -> f64 {
        // Ticks of a second there, on every machine that the programs are built for.
        const USER_HZ: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // After the name, which may hold anything: user time is the 12th field, system time the 13th.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / USER_HZ
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends it as an operator does, and returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a program: a script of the shell.
pub fn write_program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// Writes a file that may hold a password.
pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
