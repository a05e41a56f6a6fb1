//! The modules that look into processes.

use crate::RUNS;
use crate::report::{Goal, Row};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Processes that are listed.
const PROCESSES: usize = 1_000;
/// MiB of memory that are searched.
const MEMORY_MIB: usize = 1_024;

/// Ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a module; returns its result and the seconds that it took.
fn run(module: &str, search: &Value) -> (Value, f64) {
    let parameters = json!({"searches": {"s": search}}).to_string();
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_mig-agent")).args(["-m", module, &parameters]).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["success"], true, "{result}");
    (result, seconds)
}

/// All processes, with everything that is returned of them.
pub fn list() -> Vec<Row> {
    let sleep = || Running(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap());
    let running: Vec<Running> = (0..PROCESSES).map(|_| sleep()).collect();
    let search = json!({"names": ["."], "options": {"matchlimit": 1e6}});
    let values = (0..RUNS).map(|_| {
        let (result, seconds) = run("process", &search);
        let found = result["elements"]["s"].as_array().unwrap().len();
        assert!(found > running.len(), "{found}");
        seconds * 1000.0 * PROCESSES as f64 / found as f64
    });
    let (id, goal) = (format!("process, {PROCESSES} listed"), Goal::AtMost(100.0));
    vec![Row { id, values: values.collect(), unit: "ms", raw: vec![], raw_is: "", goal }]
}

/// The memory of one process, so by one thread; its text is that of a program.
pub fn memory() -> Vec<Row> {
    let program = "$| = 1; open F, $^X; binmode F; read F, $t, 1 << 20; $t x= $ARGV[0]; print qq(ready\\n); sleep 1000";
    let mut command = Command::new("perl");
    command.args(["-e", program, &MEMORY_MIB.to_string()]).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let many: Vec<String> = (0..100).map(|n| format!("evil-{n}[a-f]+\\.example")).collect();
    let searches = [
        ("one literal", json!(["-----BEGIN OPENSSH PRIVATE KEY-----"]), Goal::AtLeast(1.0)),
        ("one expression", json!(["https?://[a-z0-9.-]+\\.evil\\.example"]), Goal::AtLeast(1.0)),
        ("100 expressions", json!(many), Goal::Compare),
    ];
    let one = |(name, contents, goal): (&str, Value, Goal)| {
        let search = json!({"names": ["/perl$"], "contents": contents, "options": {"matchall": true}});
        let values = (0..RUNS).map(|_| {
            let (result, seconds) = run("memory", &search);
            let bytes = result["statistics"]["memoryread"].as_f64().unwrap();
            assert!(bytes >= (MEMORY_MIB << 20) as f64, "{result}");
            bytes / 1e9 / seconds
        });
        Row { id: format!("memory, {name}"), values: values.collect(), unit: "GB/s", raw: vec![], raw_is: "", goal }
    };
    searches.into_iter().map(one).collect()
}
