//! The README's first command, as an ordinary user would run it.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn quickstart_once_shows_the_answers_and_leaves_nothing() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/scripts/quickstart.sh"));
    let command = command.arg("--once").current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().unwrap();
    let sandbox = format!("{root}/sandbox/once-{}", process.id());
    let output = process.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("minutes on two cores"), "it says how long that may take: {text}");
    assert!(!text.contains("Compiling"), "no line for each crate where nobody watches: {text}");
    assert!(text.contains("completed: 3 done, 3 sent, 3 success"), "{text}");
    assert_eq!(text.matches(": success\n").count(), 3, "an answer per agent: {text}");
    assert!(text.matches("setuid  u").count() >= 3, "{text}");
    assert!(text.contains("worldwritable  -rw-rw-rw-"), "{text}");
    assert!(text.contains("mig: 3 of 3 agents found something"), "the same over the API: {text}");
    assert!(text.contains(&sandbox) && !Path::new(&sandbox).exists(), "it cleans up {sandbox}: {text}");
}
