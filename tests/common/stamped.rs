//! Agents with their configuration inside.

use super::{Sandbox, write_private};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A configuration of everything that the sandbox has.
pub fn configuration(sandbox: &Sandbox) -> String {
    let acl = std::fs::read_to_string(sandbox.path("acl.json")).unwrap();
    let acl: Vec<String> = serde_json::from_str::<Vec<serde_json::Value>>(&acl)
        .unwrap()
        .iter()
        .map(|permission| format!("'''{permission}'''"))
        .collect();
    format!(
        "amqpbroker = {}\nrundir = {}\nheartbeatfreq = '30s'\ntags = {{ number = 1, a = {{ b = [true] }} }}\n\
        agentacl = [{}]\npublicpgpkeys = ['''\n{}''']\nloggingconf = {{ level = 'debug' }}\n",
        json!(format!("dir://{}", sandbox.path("relay").display())),
        json!(sandbox.path("agent-1")),
        acl.join(", "),
        sandbox.keys.0
    )
}

/// Runs a program to its end.
pub fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Output {
    Command::new(program.as_ref()).args(arguments).output().unwrap()
}

/// Stamps the program with a text.
pub fn stamp(
    sandbox: &Sandbox,
    program: impl AsRef<Path>,
    configuration: &str,
    arguments: &[&str],
) -> (PathBuf, Output) {
    let (toml, output) = (sandbox.path("fleet.toml"), sandbox.path("mig-agent-fleet"));
    write_private(&toml, configuration);
    let named = ["--stamp", toml.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let done = run(program, &[&named[..], arguments].concat());
    (output, done)
}
