//! The module pkg on a machine with 2,000 packages of dpkg, as the agent runs it, beside dpkg-query: the whole program, its start
//! included. Another database is mounted over that of this machine: its own packages, over and over again under new names.

use crate::RUNS;
use crate::common::mounts::mount;
use crate::report::{Goal, Row};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Packages that are installed.
const PACKAGES: usize = 2_000;
/// The database.
const PLACE: &str = "/var/lib/dpkg";

/// A database of as many packages as are wanted.
fn database() -> tempfile::TempDir {
    let status = std::fs::read_to_string(Path::new(PLACE).join("status")).unwrap();
    let stanzas = status.split("\n\n").filter(|stanza| stanza.contains("\nStatus: install ok installed\n"));
    let stanzas = stanzas.cycle().take(PACKAGES).enumerate();
    let renamed = |(number, stanza): (usize, &str)| {
        let (name, rest) = stanza.split_once('\n').unwrap();
        format!("{name}-{number}\n{rest}\n\n")
    };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("updates")).unwrap();
    std::fs::write(directory.path().join("status"), stanzas.map(renamed).collect::<String>()).unwrap();
    directory
}

/// How long a program takes, and how many packages it finds.
fn time(program: &str, arguments: &[&str], count: fn(&[u8]) -> usize) -> f64 {
    let started = Instant::now();
    let output = Command::new(program).args(arguments).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(count(&output.stdout), PACKAGES, "{}", String::from_utf8_lossy(&output.stderr));
    seconds
}

fn search() -> f64 {
    let parameters = json!({"pkgmatch": {"matches": ["."]}, "version": "!=0-never", "types": ["dpkg"]}).to_string();
    let arguments = ["--limited", "-m", "pkg", &parameters];
    time(env!("CARGO_BIN_EXE_mig-agent"), &arguments, |output| {
        let result: Value = serde_json::from_slice(output).unwrap();
        assert_eq!(result["statistics"].get("partial"), None, "{}", result["errors"]);
        result["elements"]["packages"].as_array().unwrap().len()
    })
}

fn dpkg_query() -> f64 {
    let format = "${Package} ${Version} ${Architecture}\n";
    time("dpkg-query", &["-W", "-f", format], |output| output.split(|byte| *byte == b'\n').count() - 1)
}

/// The times; in a thread of its own, which alone sees the other database.
pub fn measure() -> Vec<Row> {
    let measured = std::thread::spawn(|| {
        let database = database();
        mount(&["--bind"], database.path(), Path::new(PLACE)).unwrap();
        let (values, raw) = (0..RUNS).map(|_| (search(), dpkg_query())).unzip();
        let id = format!("pkg, {PACKAGES} packages of dpkg");
        vec![Row { id, values, unit: "s", raw, raw_is: "dpkg-query", goal: Goal::AtMost(0.05) }]
    });
    measured.join().unwrap()
}
