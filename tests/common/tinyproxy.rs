//! A real proxy, and agents that reach nothing without one.

use super::{Background, PATIENCE, Sandbox};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A private tinyproxy; it ends with the test.
pub struct Tinyproxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The process.
    pub process: Background,
    directory: tempfile::TempDir,
}

impl Tinyproxy {
    /// Starts one with further lines of its configuration.
    pub fn start(lines: &str) -> Tinyproxy {
        let directory = tempfile::tempdir().unwrap();
        let started = Instant::now();
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let configuration = directory.path().join("tinyproxy.conf");
            let text = format!("Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 600\nMaxClients 50\n{lines}\n");
            std::fs::write(&configuration, text).unwrap();
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(configuration);
            let mut process = Background::start(command, directory.path().join("log"));
            while process.0.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Tinyproxy { port, process, directory };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            // Another test may have taken the port meanwhile.
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
            assert!(started.elapsed() < PATIENCE / 10, "{log}");
        }
    }

    /// As proxies are configured, without a password.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

/// Why no agent can be put behind a proxy here, if so: it takes root.
pub fn cannot_be_behind() -> Option<String> {
    super::mounts::run("unshare", ["--mount", "true"]).err()
}

impl Sandbox {
    /// A command that starts an agent for which `localhost` is an address where nothing listens: only a proxy reaches what is
    /// configured by that name. The lines are added to `[agent]`; the environment names no proxy yet.
    pub fn agent_behind(&self, lines: &str) -> Command {
        let hosts = self.path("hosts");
        std::fs::write(&hosts, "127.9.9.9 localhost\n").unwrap();
        let cfg = PathBuf::from(self.agent_cfg(1));
        let text = std::fs::read_to_string(&cfg).unwrap().replace("@127.0.0.1:", "@localhost:");
        super::write_private(&cfg, &text.replacen("[agent]\n", &format!("[agent]\n{lines}\n"), 1));
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(hosts);
        command.args([env!("CARGO_BIN_EXE_mig-agent"), "-f", "-c"]).arg(cfg);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    /// What the store has of the newest agent's environment.
    pub fn stored_environment(&self) -> Value {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let Ok(store) = Connection::open_with_flags(self.path("mig.db"), flags) else { return Value::Null };
        let query = "SELECT environment FROM agents ORDER BY id DESC LIMIT 1";
        let text = store.query_row(query, [], |row| row.get::<_, String>(0));
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// The log of agent 1.
    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.path("agent-1.log")).unwrap_or_default()
    }
}
