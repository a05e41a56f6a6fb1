//! `mig console`, its lines from a pipe.

use crate::common::text;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn console(lines: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig"));
    command.arg("console").env("HOME", home.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn lines_are_run_one_after_the_other_whatever_became_of_the_last() {
    let output = console("nonsense\nfile -t local -path /etc -name '^passwd$' -maxdepth 1\nhelp status\nexit\nhelp\n");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("'nonsense' is neither a module nor a verb"), "{said}");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("/etc/passwd [lastmodified:") && out.contains("mig status - "), "{out}");
    assert!(!out.contains("mig - asks many machines"), "nothing runs behind the end: {out}");
}

#[test]
fn the_parameters_of_a_module_are_asked_for() {
    // A name, the end of the names, no other filter and no option.
    let answers = ["user -t local", "^root$"].join("\n") + &"\n".repeat(60) + "exit\n";
    let output = console(&answers);
    let out = text(&output);
    assert!(out.contains("/root") && out.contains("in search 's1'"), "{out}");
    assert_eq!(output.status.code(), Some(0), "{out}");
    // The end in the middle of the questions runs nothing.
    let out = text(&console("file -t local\n/etc\n"));
    assert!(!out.contains("passwd") && !out.contains("error"), "{out}");
}
