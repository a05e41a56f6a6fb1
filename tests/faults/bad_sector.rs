//! A file that cannot be read any more: the others must not wait for it.

use crate::common::text;
use crate::matrix;
use crate::subject::Subject;

const FILES: usize = 3;

/// What is wrong when the first command of a stage cannot be read by `worker`, who should take so many to another stage.
fn violations(worker: &'static str, stage: &str, to: &str, taken: usize) -> Vec<String> {
    let sandbox = Subject::Worker(worker).prepare(FILES);
    let name = sandbox.names(stage).swap_remove(0);
    let bad = sandbox.spool().join(stage).join(&name).display().to_string();
    let options = format!("-f -P SPOOL/{stage}/{name} -e inject=read:error=EIO");
    let output = matrix::strace_worker(&sandbox, worker, &options).output().unwrap();
    let (log, mut violations) = (text(&output), Vec::new());
    if !output.status.success() {
        violations.push(format!("ends with {}: {log}", output.status));
    }
    if !log.contains(&format!("read {bad}: Input/output error")) {
        violations.push(format!("does not tell of it: {log}"));
    }
    let found = (sandbox.names(stage).len(), sandbox.names(to).len());
    if found != (FILES - taken, taken) {
        violations.push(format!("{found:?} in {stage} and {to} of {FILES}"));
    }
    violations
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other() {
    // The store has what is needed of a command that was sent.
    let cases = [
        ("command-ready", ("command/ready", "command/inflight", FILES - 1)),
        ("results", ("command/inflight", "command/returned", FILES)),
        ("command-returned", ("command/returned", "command/done", FILES - 1)),
    ];
    let cases = cases.map(|(worker, case)| (worker, (worker, case)));
    matrix::try_cases("a file that cannot be read", cases, |(worker, (stage, to, taken))| {
        violations(worker, stage, to, taken)
    });
}
