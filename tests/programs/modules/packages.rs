//! Packages, and documents that test them.

use super::limited;
use crate::common::mounts;
use crate::common::score::Score;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn pkg_reads_the_database_and_what_is_below_a_path() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("package.json");
    fs::write(&package, r#"{"name": "dpkg", "version": "1.2.3"}"#).unwrap();
    let result =
        limited("pkg", &json!({"pkgmatch": {"matches": ["^dpkg$"]}, "version": "<99", "paths": [directory.path()]}));
    let found: Vec<&Value> =
        result["elements"]["packages"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!((found, &result["errors"]), (vec![&json!("dpkg"), &json!("npm")], &json!(null)));
}

/// The header of a package of rpm, which has only texts.
fn header(fields: &[(u32, &str)]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, text) in fields {
        index.extend([*tag, 6, data.len() as u32, 1].map(u32::to_be_bytes).concat());
        data.extend([text.as_bytes(), b"\0"].concat());
    }
    let counts = [fields.len(), data.len()].map(|count| (count as u32).to_be_bytes());
    [counts.concat(), index, data].concat()
}

#[test]
fn pkg_reads_a_database_of_berkeley_db_and_says_that_rpm_is_changing_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = Path::new("/var/lib/rpm");
    let text = |bytes: &[u8]| format!(" {}\n", mig::hex::encode(bytes));
    let package = header(&[(1000, "openssl"), (1001, "1.0.2k"), (1002, "19.el7"), (1022, "x86_64")]);
    let pairs = [&[0; 4][..], &[1, 0, 0, 0], &[1, 0, 0, 0], &package].map(text).concat();
    let file = format!("VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n{pairs}DATA=END\n");
    let mut load = Command::new("db5.3_load");
    let mut load = load.arg(directory.path().join("Packages")).stdin(Stdio::piped()).spawn().expect("db5.3-util");
    load.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
    assert!(load.wait().unwrap().success());
    fs::write(directory.path().join(".rpm.lock"), "").unwrap();
    if let Err(why) = mounts::mount(&["--bind"], directory.path(), place) {
        return Score::begin("pkg").skip(&why);
    }
    let parameters = json!({"pkgmatch": {"matches": ["^openssl$"]}, "version": "<1.0.2k-20.el7", "types": ["rpm"]});
    let result = limited("pkg", &parameters);
    let expected = json!([{"name": "openssl", "version": "1.0.2k-19.el7", "type": "rpm", "arch": "x86_64"}]);
    assert_eq!((&result["elements"]["packages"], &result["errors"]), (&expected, &json!(null)));

    let script = "import fcntl, sys\nlock = open('/var/lib/rpm/.rpm.lock', 'r+')\nfcntl.lockf(lock, fcntl.LOCK_EX)\n\
                  print('.', end='', flush=True)\nsys.stdin.read()";
    let mut holder = Command::new("python3");
    holder.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let result = limited("pkg", &parameters);
    let said = format!("process {} holds /var/lib/rpm/.rpm.lock: packages are being changed", holder.id());
    assert!(result["errors"][0].as_str().unwrap().starts_with(&said), "{result}");
    assert_eq!(result["elements"]["packages"], expected);
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn scribe_tests_packages_and_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("app.conf"), "Version = 0.5\n").unwrap();
    let place = json!({"path": directory.path(), "file": "^app", "expression": "^Version = (\\S+)"});
    let document = json!({
        "objects": [{"object": "dpkg", "package": {"name": "dpkg"}}, {"object": "app", "filecontent": place}],
        "tests": [
            {"test": "old app", "object": "app", "evr": {"operation": "<", "value": "0.6"}, "if": ["dpkg"]},
            {"test": "dpkg", "object": "dpkg", "evr": {"operation": ">", "value": "1.0"}},
        ],
    });
    let result = limited("scribe", &json!({"scribedoc": document}));
    let tests = result["elements"]["results"].as_array().unwrap();
    assert!(tests.len() == 2 && tests.iter().all(|test| test["masterresult"] == true), "{result}");
}
