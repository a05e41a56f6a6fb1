//! The module netstat on a machine with 10,000 sockets, as the agent runs it, beside ss: the whole program, its start included.

use crate::RUNS;
use crate::report::{Goal, Row};
use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

/// Both ends of as many connections on loopback.
const CONNECTIONS: usize = 5_000;
/// What one address accepts of them: each has ports of its own.
const CONNECTIONS_PER_LISTENER: usize = 100;

fn connections() -> Vec<(TcpStream, TcpStream)> {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let mut connections = Vec::new();
    while connections.len() < CONNECTIONS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..CONNECTIONS_PER_LISTENER {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            connections.push((stream, listener.accept().unwrap().0));
        }
    }
    connections
}

/// How long an operation takes, and how much it finds.
fn search(network: &str) -> (f64, usize) {
    let started = Instant::now();
    let parameters = json!({"connectedip": [network]}).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_mig-agent"))
        .args(["--limited", "-m", "netstat", &parameters])
        .output()
        .unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["statistics"].get("partial"), None, "{}", result["errors"]);
    (seconds, result["elements"]["connectedip"][network].as_array().unwrap().len())
}

fn ss(flags: &str) -> f64 {
    let started = Instant::now();
    assert!(Command::new("ss").arg(flags).output().unwrap().status.success());
    started.elapsed().as_secs_f64()
}

/// The times.
pub fn measure() -> Vec<Row> {
    let connections = connections();
    let measure = |(id, network, flags, least): (&str, &str, &str, usize)| {
        let (mut values, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (seconds, found) = search(network);
            assert!(found >= least, "{found} of {least}");
            values.push(seconds);
            raw.push(ss(flags));
        }
        Row { id: id.into(), values, unit: "s", raw, raw_is: "ss", goal: Goal::AtMost(0.1) }
    };
    let rows = [
        ("netstat, one address among 10,000 sockets", "203.0.113.1", "-Htuan", 0),
        ("netstat, 10,000 sockets with their processes", "127.0.0.0/8", "-Htuanp", 2 * CONNECTIONS),
    ];
    let rows = rows.into_iter().map(measure).collect();
    drop(connections);
    rows
}
