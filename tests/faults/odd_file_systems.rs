//! File systems that cannot rename without replacing: NFS, sshfs, ntfs, most of FUSE. A directory relay may be there, and
//! whoever drops may be; a spool is refused.

use super::common::{Sandbox, text};
use super::matrix::{Fault, strace, try_cases};
use super::subject::Subject::{self, Agent, RelayReceive, RelaySend, Scheduler};
use std::process::{Command, Output};

const FILES: usize = 3;

fn cases<T: Copy>(of: &[(&'static str, T)]) -> Vec<(&'static str, (&'static str, T))> {
    ["EINVAL", "ENOSYS"].iter().flat_map(|errno| of.iter().map(|(what, case)| (*what, (*errno, *case)))).collect()
}

/// Runs a program whose renames may not have flags.
fn run(errno: &str, program: Command) -> Output {
    let inject = format!("inject=renameat2:error={errno}");
    strace(program, &["-f", "-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject]).output().unwrap()
}

#[test]
fn a_directory_relay_works_there() {
    try_cases("a relay without exclusive renames", cases(&[("send", RelaySend), ("receive", RelayReceive)]), |case| {
        let (errno, subject): (&str, Subject) = case;
        let sandbox = subject.prepare(FILES);
        let output = run(errno, subject.command(&sandbox));
        let mut violations = subject.violations(&sandbox, FILES, std::slice::from_ref(&output), Fault::Error);
        if !output.status.success() {
            violations.push(text(&output));
        }
        violations
    });
}

#[test]
fn a_spool_is_refused_there_by_name() {
    try_cases("a spool without exclusive renames", cases(&[("scheduler", Scheduler), ("agent", Agent)]), |case| {
        let (errno, subject): (&str, Subject) = case;
        let sandbox = Sandbox::new();
        let said = text(&run(errno, subject.command(&sandbox)));
        let (spool, key) = if subject == Agent { ("agent-1", "agent.rundir") } else { ("spool", "directories.spool") };
        let expected =
            format!("{key}: the file system of {}/tmp cannot rename without replacing", sandbox.path(spool).display());
        let is_right = said.starts_with("exit status: 78") && said.contains(&expected);
        if is_right { Vec::new() } else { vec![said] }
    });
}

#[test]
fn a_drop_from_there_arrives() {
    try_cases("a drop without exclusive renames", cases(&[("generator", ())]), |(errno, ())| {
        let sandbox = Sandbox::new();
        let draft = sandbox.draft("dropped").to_string();
        std::fs::write(sandbox.path("draft.json"), draft).unwrap();
        let mut generator = Command::new(env!("CARGO_BIN_EXE_mig-action-generator"));
        let (draft, key, spool) = (sandbox.path("draft.json"), sandbox.path("key"), sandbox.spool());
        generator.arg("-i").arg(draft).arg("-k").arg(key).args(["-expireafter", "10m", "--spool"]).arg(spool);
        let output = run(errno, generator);
        let found = sandbox.names("action/new");
        if output.status.success() && found.len() == 1 {
            Vec::new()
        } else {
            vec![format!("{found:?}: {}", text(&output))]
        }
    });
}
