//! Verifying an action's signature and weighing it against the access list, on one core.

use crate::RUNS;
use crate::report::{Goal, Row};
use mig::acl::Acl;
use mig::agent::Trust;
use mig::command::Command as MigCommand;
use mig::id::CommandId;
use mig::signature::Keyring;
use mig::time;
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

const DURATION: Duration = Duration::from_secs(1);

/// How often OpenSSL verifies with a key of that size in a second.
fn openssl() -> f64 {
    let output = Command::new("openssl").args(["speed", "-mr", "-seconds", "1", "rsa2048"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("+F2:")).unwrap_or_else(|| panic!("{text}"));
    let last: f64 = line.split(':').next_back().unwrap().trim().parse().unwrap();
    // Seconds of one verification, or verifications of one second, as the version has it.
    if last < 1.0 { 1.0 / last } else { last }
}

/// The rate.
pub fn measure() -> Vec<Row> {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    let keyring = std::fs::read(format!("{samples}/keys/test-investigator.asc")).unwrap();
    let keyring = Keyring::parse(&keyring).unwrap();
    let fingerprint = keyring.investigators().next().unwrap().fingerprint.clone();
    let investigators = json!({"Test": {"fingerprint": fingerprint, "weight": 1}});
    let acl = json!([{"default": {"minimumweight": 1, "investigators": investigators}}]);
    let acl = Acl::parse(acl.to_string().as_bytes()).unwrap();
    let action = std::fs::read(format!("{samples}/action-signed-by-one.json")).unwrap();
    let mut action = mig::action::Action::parse(&action).unwrap();
    action.id = mig::id::ActionId::new(1);
    let now = time::now();
    let agent = crate::fleet::agent(1);
    let command = MigCommand::new(CommandId::new(1).unwrap(), action.into(), agent, now).unwrap();
    let trust = Trust { keyring: &keyring, acl: &acl };
    let (mut values, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < DURATION {
            trust.judge(&command, now).unwrap();
            count += 1;
        }
        values.push(count as f64 / started.elapsed().as_secs_f64());
        raw.push(openssl());
    }
    let id = "verify signature and access, RSA-2048".into();
    let raw_is = "OpenSSL, the public key operation alone";
    vec![Row { id, values, unit: "actions/s", raw, raw_is, goal: Goal::AtLeast(5000.0) }]
}
