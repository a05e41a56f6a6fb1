//! The directory relay's two ends alone: this test binary, started again to send or to receive.

use super::common::{Sandbox, names, text};
use super::harness;
use mig::heartbeat::QueueLoc;
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Message, Queue, Relay, Sent};
use mig::time;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

fn queue() -> Queue {
    Queue::agent(&QueueLoc::parse("linux.end.example.net.1").unwrap())
}

fn body(n: usize) -> String {
    format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(3000))
}

fn send(relay: &Path, files: usize) {
    let expires = time::after(time::now(), Duration::from_secs(3600));
    let message = |n| Message { queue: queue(), body: body(n).into_bytes(), expires };
    let messages: Vec<Message> = (0..files).map(message).collect();
    let sent = DirectoryRelay::open(relay).and_then(|mut relay| relay.send(&messages, time::now()));
    if !sent.is_ok_and(|sent| sent.iter().all(|one| *one == Sent::Kept)) {
        std::process::exit(75);
    }
}

/// What was received is written to a journal, and synced, before it is acknowledged.
fn receive(relay: &Path, journal: &Path) {
    let Ok(mut relay) = DirectoryRelay::open(relay) else { std::process::exit(75) };
    loop {
        let Ok(deliveries) = relay.receive(&queue(), 2, time::now()) else { std::process::exit(75) };
        if deliveries.is_empty() {
            return;
        }
        let written = std::fs::OpenOptions::new().create(true).append(true).open(journal).and_then(|mut file| {
            deliveries.iter().try_for_each(|one| file.write_all(&[&one.body, b"\n".as_slice()].concat()))?;
            file.sync_all()?;
            std::fs::File::open(journal.parent().unwrap())?.sync_all()
        });
        if written.is_err() || relay.acknowledge(&queue(), &deliveries).is_err() {
            std::process::exit(75);
        }
    }
}

/// One end of the relay, as a process.
#[test]
fn relay_process() {
    let Ok(sandbox) = std::env::var("MIG_TEST_RELAY") else { return };
    let files = std::env::var("MIG_TEST_FILES").unwrap().parse().unwrap();
    let sandbox = Path::new(&sandbox);
    harness::outnumber();
    match std::env::var("MIG_TEST_END").as_deref() {
        Ok("receive") => receive(&sandbox.join("relay"), &sandbox.join("journal")),
        _ => send(&sandbox.join("relay"), files),
    }
}

/// Makes the queue; for the receiving end with messages in it.
pub fn prepare(sandbox: &Sandbox, receives: bool, files: usize) {
    DirectoryRelay::open(&sandbox.path("relay")).unwrap().declare(&queue()).unwrap();
    std::fs::write(sandbox.path("files"), files.to_string()).unwrap();
    if receives {
        send(&sandbox.path("relay"), files);
    }
}

/// Starts the process.
pub fn command(sandbox: &Sandbox, receives: bool) -> Command {
    let mut command = harness::command("relay_end::relay_process");
    command.env("MIG_TEST_RELAY", sandbox.path("")).env("MIG_TEST_END", if receives { "receive" } else { "send" });
    command.env("MIG_TEST_FILES", std::fs::read_to_string(sandbox.path("files")).unwrap());
    command
}

/// A message that was promised is there, whole; one that was received is in the journal, and none is left.
pub fn violations(sandbox: &Sandbox, receives: bool, files: usize, faulty: &[Output]) -> Vec<String> {
    let mut violations = Vec::new();
    let was_done = faulty.last().is_some_and(|output| output.status.success());
    if !was_done {
        let outcome = command(sandbox, receives).output().unwrap();
        if !outcome.status.success() {
            violations.push(format!("does not recover: {}", text(&outcome)));
        }
    }
    let mut relay = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    let waiting = relay.receive(&queue(), 100 * files, time::now()).unwrap();
    let waiting: Vec<String> = waiting.into_iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    let journal = std::fs::read_to_string(sandbox.path("journal")).unwrap_or_default();
    // The journal is the test's own: its last line may be cut off, and is written again.
    let found: BTreeSet<&str> =
        if receives { journal.lines().collect() } else { waiting.iter().map(String::as_str).collect() };
    let expected: Vec<String> = (0..files).map(body).collect();
    for (n, body) in expected.iter().enumerate() {
        if !found.contains(body.as_str()) {
            violations.push(format!("message {n} is lost"));
        }
    }
    violations
        .extend(waiting.iter().filter(|body| !expected.contains(body)).map(|body| format!("not whole: {body:.40}")));
    if receives && !waiting.is_empty() {
        violations.push(format!("{} are left", waiting.len()));
    }
    relay.tidy(Duration::ZERO, time::after(time::now(), Duration::from_secs(1))).unwrap();
    let left = [names(&sandbox.path("relay/tmp")), names(&sandbox.path("relay/dead"))].concat();
    if !left.is_empty() {
        violations.push(format!("left in the relay: {left:?}"));
    }
    violations
}
