//! The private servers of `scripts/servers.sh`: one shared pair for most tests, servers of their own for those that end
//! them. Not every test needs all of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `scripts/servers.sh run` keeps the shared pair.
pub fn shared(server: &str) -> PathBuf {
    let directory = std::env::var_os("MIG_TEST_SERVERS")
        .expect("this test needs PostgreSQL and RabbitMQ: scripts/servers.sh run cargo test ...");
    Path::new(&directory).join(server)
}

/// The port in one of the files that the script keeps in a server's directory.
pub fn port(directory: &Path, file: &str) -> u16 {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().parse().unwrap()
}

/// A name that no other test of this run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs one of the project's scripts; gives what it printed.
pub fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    let output = Command::new(&path).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// `scripts/servers.sh SERVER COMMAND DIRECTORY`.
pub fn control(server: &str, command: &str, directory: &Path) {
    script("servers.sh", &[server, command, directory.to_str().unwrap()]);
}

/// `rabbitmqctl` of the broker in `directory`; gives what it printed.
pub fn rabbitmqctl(directory: &Path, arguments: &[&str]) -> String {
    script("servers.sh", &[&["rabbitmq", "ctl", directory.to_str().unwrap()], arguments].concat())
}
