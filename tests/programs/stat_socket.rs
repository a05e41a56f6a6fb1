//! Questions to a running agent: who may ask what, and who cannot keep others from asking.

use crate::agent::deliver;
use crate::common::score::Score;
use crate::common::{Background, PATIENCE, Sandbox, text};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");

fn ask(cfg: &str, question: &[&str]) -> Output {
    Command::new(AGENT).args(["-c", cfg, "-q"]).args(question).output().unwrap()
}

/// The answer to a question that has one.
fn answer(cfg: &str, question: &[&str]) -> String {
    let output = ask(cfg, question);
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn is_answered(cfg: &str) -> bool {
    ask(cfg, &["pid"]).status.success()
}

/// Adds a line to the section `[agent]` of a configuration.
fn set(cfg: &str, line: &str) {
    let text = std::fs::read_to_string(cfg).unwrap();
    std::fs::write(cfg, text.replace("[logging]", &format!("{line}\n[logging]"))).unwrap();
}

/// An agent with that configuration, which answers.
fn start(sandbox: &Sandbox, cfg: &str) -> Background {
    let mut command = Command::new(AGENT);
    command.args(["-f", "-c", cfg]);
    let agent = Background::start(command, sandbox.path("agent-1.log"));
    sandbox.wait("answered", |_| is_answered(cfg));
    agent
}

#[test]
fn the_default_socket_says_what_the_agent_does() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let cfg = sandbox.agent_cfg(1);
    let none = ask(&cfg, &["status"]);
    assert_eq!(none.status.code(), Some(69), "{}", text(&none));
    assert!(text(&none).contains("does the agent run?"), "{}", text(&none));
    let agent = start(&sandbox, &cfg);
    let socket = sandbox.path("agent-1/agent.sock");
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(answer(&cfg, &["pid"]), format!("{}\n", agent.0.id()));
    sandbox.wait("connected", |_| answer(&cfg, &["status"]).contains("connected: true\n"));
    let before = answer(&cfg, &["status"]);
    for line in ["lastcommand: -\n", "failure: -\n", "received: 0\n", "queueloc: linux.", "version: "] {
        assert!(before.contains(line), "{line}: {before}");
    }
    assert!(!before.contains("lastheartbeat: -"), "{before}");
    deliver(&sandbox, 1, "c.json", sandbox.draft("good"), |_| {});
    sandbox.wait("run", |_| answer(&cfg, &["status"]).contains("lastcommand: 1000 1001 success 20"));
    let status: Value = serde_json::from_str(&answer(&cfg, &["status", "--json"])).unwrap();
    assert_eq!((&status["pid"], &status["connected"]), (&agent.0.id().into(), &true.into()));
    assert_eq!((&status["lastcommand"]["command"], &status["running"]), (&1001.into(), &0.into()));
    assert_eq!(answer(&cfg, &["status json"]).lines().count(), 1);
    // The relay goes away, and comes back.
    std::fs::rename(sandbox.path("relay"), sandbox.path("elsewhere")).unwrap();
    sandbox.wait("disconnected", |sandbox| {
        // A new message is what has the agent look; its notifications went with the directory.
        std::fs::read_dir(sandbox.path("elsewhere")).unwrap().flatten().for_each(|queue| {
            let _ = std::fs::write(queue.path().join("x.json"), "{}");
        });
        answer(&cfg, &["status"]).contains("connected: false\n")
    });
    let status = answer(&cfg, &["status"]);
    assert!(status.contains("mount its file system"), "{status}");
    std::fs::rename(sandbox.path("elsewhere"), sandbox.path("relay")).unwrap();
    sandbox.wait("connected again", |_| answer(&cfg, &["status"]).contains("connected: true\n"));
    // What a killed agent leaves behind is replaced.
    agent.kill();
    assert_eq!(ask(&cfg, &["pid"]).status.code(), Some(69));
    let agent = start(&sandbox, &cfg);
    assert_eq!(answer(&cfg, &["pid"]), format!("{}\n", agent.0.id()));
}

#[test]
fn what_cannot_be_asked_is_said_with_an_exit_code() {
    let sandbox = Sandbox::new();
    let cfg = sandbox.agent_cfg(1);
    for (arguments, code, says) in [
        (&["uptime"][..], 64, "no question 'uptime'; there are help, pid, status and shutdown"),
        (&["pid", "--json"], 64, "--json is for -q status"),
        (&["pid"], 69, "agent.sock: No such file or directory"),
    ] {
        let output = ask(&cfg, arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
    set(&cfg, "socket = \"\"");
    let off = ask(&cfg, &["pid"]);
    assert_eq!(off.status.code(), Some(69));
    assert!(text(&off).contains("agent.socket is empty"), "{}", text(&off));
}

#[test]
fn shutdown_ends_the_agent_as_sigterm_does() {
    let sandbox = Sandbox::new();
    let cfg = sandbox.agent_cfg(1);
    let mut agent = start(&sandbox, &cfg);
    assert_eq!(answer(&cfg, &["shutdown"]), "the agent ends\n");
    assert_eq!(agent.0.wait().unwrap().code(), Some(0));
    assert!(std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap().contains("mig-agent ends"));
}

#[test]
fn another_user_may_neither_ask_nor_end_the_agent() {
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !has_setpriv {
        return Score::begin("setpriv").skip("it takes root and setpriv (Debian's package util-linux)");
    }
    let sandbox = Sandbox::new();
    let (cfg, program) = (sandbox.agent_cfg(1), sandbox.path("mig-agent"));
    let agent = start(&sandbox, &cfg);
    std::fs::copy(AGENT, &program).unwrap();
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for open in ["", "agent-1", "mig-agent", "agent-1.cfg"] {
        allow(&sandbox.path(open), 0o755);
    }
    let as_other = |question: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64321", "--regid=64321", "--clear-groups"]).arg(&program);
        command.args(["-c", &cfg, "-q", question]).output().unwrap()
    };
    let refused = as_other("pid");
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("ask as root or as the agent's user"), "{}", text(&refused));
    // Also if the socket lets it in.
    allow(&sandbox.path("agent-1/agent.sock"), 0o666);
    assert_eq!(as_other("pid").stdout, format!("{}\n", agent.0.id()).as_bytes());
    let refused = as_other("shutdown");
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("refused: shutdown is for root and the agent's user"), "{}", text(&refused));
    assert!(is_answered(&cfg));
}

/// A port of this machine that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends a line over TCP; returns the answer.
fn ask_port(port: u16, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn over_tcp_the_originals_questions_are_answered_and_nobody_may_end_the_agent() {
    let sandbox = Sandbox::new();
    let (cfg, port) = (sandbox.agent_cfg(1), free_port());
    set(&cfg, &format!("socket = localhost:{port}"));
    let agent = start(&sandbox, &cfg);
    assert_eq!(ask_port(port, "pid\n"), agent.0.id().to_string(), "without a line end, as nc(1) shows it");
    for line in ["help\n", "nonsense\n"] {
        let help = ask_port(port, line);
        assert!(help.starts_with("Welcome to the MIG agent socket. The commands are:\n"), "{help}");
        assert!(help.contains("pid\treturns the PID of the running agent\n"), "{help}");
    }
    assert_eq!(ask_port(port, "shutdown\n"), "refused: shutdown needs the Unix socket\n");
    assert_eq!(ask(&cfg, &["shutdown"]).status.code(), Some(77));
    assert!(is_answered(&cfg) && !sandbox.path("agent-1/agent.sock").exists());
}

#[test]
fn a_default_socket_that_cannot_be_made_is_a_line_and_a_configured_one_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let cfg = sandbox.agent_cfg(1);
    std::fs::create_dir(sandbox.path("agent-1/agent.sock")).unwrap();
    let mut command = Command::new(AGENT);
    command.args(["-f", "-c", &cfg]);
    let agent = Background::start(command, sandbox.path("agent-1.log"));
    deliver(&sandbox, 1, "c.json", sandbox.draft("good"), |_| {});
    sandbox.wait("run", |sandbox| sandbox.path("agent-1/done/1000-1001.json").exists());
    let log = std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap();
    assert_eq!(log.matches("no stat socket: listen on ").count(), 1, "{log}");
    assert_eq!(agent.terminate(), Some(0));
    std::fs::write(sandbox.path("file"), "mine").unwrap();
    for socket in ["file", "missing/agent.sock"] {
        let cfg = sandbox.agent_cfg(1);
        set(&cfg, &format!("socket = {}", sandbox.path(socket).display()));
        let output = Command::new(AGENT).args(["-f", "-c", &cfg]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        assert!(text(&output).contains("agent.socket: listen on "), "{}", text(&output));
    }
    assert_eq!(std::fs::read(sandbox.path("file")).unwrap(), b"mine");
}

/// A client that does not do what it should, over any kind of socket.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

type Client = Box<dyn Stream>;
type Behaviour = fn(Client) -> Option<Client>;
type Connect<'a> = &'a dyn Fn() -> Option<Client>;

/// What hostile clients do with a new connection; they keep what is returned.
const HOSTILE: [(&str, Behaviour); 4] = [
    ("silent", Some),
    ("without a line end", |mut stream| {
        let _ = stream.write_all(b"pi");
        Some(stream)
    }),
    ("endless", |mut stream| {
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
        None
    }),
    ("gone before the answer", |mut stream| {
        let _ = stream.write_all(b"status\n");
        None
    }),
];

#[test]
fn hostile_clients_keep_nobody_from_asking() {
    let sandbox = Sandbox::new();
    let (cfg, port) = (sandbox.agent_cfg(1), free_port());
    let over_tcp = sandbox.path("tcp.cfg").display().to_string();
    std::fs::copy(&cfg, &over_tcp).unwrap();
    set(&over_tcp, &format!("socket = 127.0.0.1:{port}"));
    let path = sandbox.path("agent-1/agent.sock");
    let unix = || Some(Box::new(UnixStream::connect(&path).ok()?) as Client);
    let tcp = || Some(Box::new(TcpStream::connect(("127.0.0.1", port)).ok()?) as Client);
    let connects: [(&str, Connect); 2] = [(&cfg, &unix), (&over_tcp, &tcp)];
    for (cfg, connect) in connects {
        let agent = start(&sandbox, cfg);
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", agent.0.id())).unwrap().count();
        let before = descriptors();
        let mut kept = Vec::new();
        for (what, behave) in HOSTILE {
            kept.extend((0..100).filter_map(|_| behave(connect()?)));
            let started = Instant::now();
            assert_eq!(answer(cfg, &["pid"]), format!("{}\n", agent.0.id()), "{what}");
            assert!(started.elapsed() < Duration::from_secs(4), "{what}: as if it waited for the time of one");
        }
        // A few more than there may be clients: those that wait are the kernel's.
        assert!(kept.len() == 200 && descriptors() <= before + 20, "{} descriptors", descriptors());
        sandbox.wait("closed", |_| descriptors() <= before);
        assert_eq!(agent.terminate(), Some(0));
    }
}

#[test]
fn a_line_counts_when_its_sender_says_no_more() {
    let sandbox = Sandbox::new();
    let cfg = sandbox.agent_cfg(1);
    let agent = start(&sandbox, &cfg);
    let mut stream = UnixStream::connect(sandbox.path("agent-1/agent.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"pid").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, agent.0.id().to_string());
}
