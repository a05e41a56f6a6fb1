//! SIGTERM ends a program within seconds, whatever it waits for.

use crate::common::{Background, PATIENCE, Sandbox};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a service manager and an operator wait for.
const TIME_MAX: Duration = Duration::from_secs(10);

/// A scheduler whose standard output is not read, and is full.
fn with_a_full_output(sandbox: &Sandbox, arguments: &[&str]) -> Background {
    for number in 0..2000 {
        sandbox.drop_bytes(&format!("refused-{number}.json"), b"{}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-scheduler"));
    command.arg("-c").arg(sandbox.scheduler_cfg()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let program = Background(command.spawn().unwrap());
    let (started, left) = (Instant::now(), || sandbox.names("action/new").len());
    loop {
        let before = left();
        assert!(before > 0, "all of it found room in the pipe");
        assert!(started.elapsed() < PATIENCE, "it does not fill");
        std::thread::sleep(Duration::from_secs(1));
        if before < 2000 && left() == before {
            return program;
        }
    }
}

fn end(mut program: Background) -> std::process::ExitStatus {
    let asked = Instant::now();
    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    while asked.elapsed() < TIME_MAX {
        if let Some(status) = program.0.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it has not ended after {:?}", asked.elapsed());
}

#[test]
fn a_scheduler_whose_log_is_not_read_ends_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let status = end(with_a_full_output(&sandbox, &[]));
    assert_eq!(status.code(), Some(75));
    sandbox.once("action-new");
    assert_eq!((sandbox.names("action/new").len(), sandbox.names("action/invalid").len()), (0, 4000));
}

#[test]
fn a_run_over_what_is_there_ends_at_once() {
    let status = end(with_a_full_output(&Sandbox::new(), &["--once"]));
    assert_eq!(status.signal(), Some(15));
}
