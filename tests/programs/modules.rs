//! Modules in the process that the agent runs them in, with what the kernel leaves them, against what there is on a machine.

mod accounts;
mod files;
mod packages;
mod sockets;
mod yara;

use serde_json::Value;
use std::process::Command;

/// Runs an operation, confined.
fn limited(module: &str, parameters: &Value) -> Value {
    run(Command::new(env!("CARGO_BIN_EXE_mig-agent")), module, parameters)
}

/// The same, by a command that runs the agent's program with its last words.
fn run(mut command: Command, module: &str, parameters: &Value) -> Value {
    let output = command.args(["--limited", "-m", module, &parameters.to_string()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}
