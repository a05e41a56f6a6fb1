//! Keys, accounts and services.

use super::{limited, run};
use crate::common::score::Score;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

#[test]
fn sshkey_finds_keys_also_by_links() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f", "id"]).current_dir(path).stdin(Stdio::null());
    assert!(command.status().unwrap().success());
    fs::create_dir(path.join(".ssh")).unwrap();
    std::os::unix::fs::symlink("../id", path.join(".ssh/link")).unwrap();
    let output = Command::new("ssh-keygen").args(["-lf", "id"]).current_dir(path).output().unwrap();
    let fingerprint = String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
    let result = limited("sshkey", &json!({"paths": [path], "fingerprints": [fingerprint]}));
    let found: Vec<&Value> = result["elements"]["keys"].as_array().unwrap().iter().map(|key| &key["path"]).collect();
    assert_eq!(found, [&json!(path.join("id")), &json!(path.join("id.pub")), &json!(path.join(".ssh/link"))]);
    assert_eq!((&result["errors"], &result["success"]), (&json!(null), &json!(true)));
}

#[test]
fn user_reads_what_only_root_may() {
    let result = limited(
        "user",
        &json!({"searches": {"s": {"uids": ["0"], "names": ["^root$"], "options": {"matchall": true}}}}),
    );
    let root = &result["elements"]["s"][0];
    assert_eq!((&root["name"], &root["home"]), (&json!("root"), &json!("/root")));
    let is_known = ["set", "locked", "empty"].contains(&root["password"]["state"].as_str().unwrap());
    assert_eq!(is_known, rustix::process::geteuid().is_root(), "{root}");
}

#[test]
fn user_reads_databases_of_logins_and_files_that_were_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["lib/lastlog", "lib/wtmpdb", "log"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    let database = |name: &str, text: &str| {
        rusqlite::Connection::open(path(name)).unwrap().execute_batch(text).unwrap();
    };
    database(
        "lib/lastlog/lastlog2.db",
        "CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT);
         INSERT INTO Lastlog2 VALUES ('root', 1700000000, 'tty1', NULL, 'login')",
    );
    database(
        "lib/wtmpdb/wtmp.db",
        "CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER,
         TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT;
         INSERT INTO wtmp (Type, User, Login, TTY, RemoteHost) VALUES (3, 'root', 3000000000000000, 'pts/3', '192.0.2.7')",
    );
    fs::write(path("log/wtmp.1"), [0; 1000]).unwrap();
    let gzip = Command::new("gzip").arg(path("log/wtmp.1")).status();
    assert!(gzip.unwrap().success());
    let script = "mount --bind \"$1/lib\" /var/lib && mount --bind \"$1/log\" /var/log && shift && exec \"$@\"";
    let machine = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(directory.path()).arg(env!("CARGO_BIN_EXE_mig-agent"));
        command
    };
    if !machine().arg("-V").output().is_ok_and(|output| output.status.success()) {
        return Score::begin("databases of logins").skip("this user may not mount");
    }
    let result = run(machine(), "user", &json!({"searches": {"s": {"names": ["^root$"], "lastlogins": ["<1d"]}}}));
    let last = json!({"time": "2065-01-24 05:20:00 +0000 UTC", "line": "pts/3", "from": "192.0.2.7"});
    assert_eq!(result["elements"]["s"][0]["lastlogin"], last, "{result}");
    assert!(!result["errors"].to_string().contains("/var/"), "{result}");
}

#[test]
fn service_reads_units_of_this_machine() {
    let result =
        limited("service", &json!({"searches": {"s": {"kinds": ["service"], "names": ["^systemd-journald"]}}}));
    let entries = result["elements"]["s"].as_array().unwrap();
    let journald = entries.iter().find(|entry| entry["name"] == "systemd-journald.service").unwrap();
    assert_eq!((&journald["state"], journald.get("missing")), (&json!("static"), None), "{journald}");
    assert!(journald["commands"][0].as_str().unwrap().ends_with("/systemd-journald"), "{journald}");
}
