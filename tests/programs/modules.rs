//! Modules in the process that the agent runs them in, against what there is on a machine.

use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

/// Runs an operation, confined.
fn limited(module: &str, parameters: &Value) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    let output = command.args(["--limited", "-m", module, &parameters.to_string()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

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
fn service_reads_units_of_this_machine() {
    let result =
        limited("service", &json!({"searches": {"s": {"kinds": ["service"], "names": ["^systemd-journald"]}}}));
    let entries = result["elements"]["s"].as_array().unwrap();
    let journald = entries.iter().find(|entry| entry["name"] == "systemd-journald.service").unwrap();
    assert_eq!((&journald["state"], journald.get("missing")), (&json!("static"), None), "{journald}");
    assert!(journald["commands"][0].as_str().unwrap().ends_with("/systemd-journald"), "{journald}");
}
