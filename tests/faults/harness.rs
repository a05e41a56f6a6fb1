//! Processes that are this test binary, started again for one test. That runs in a thread of the test harness, whose own
//! calls are not to be hit: strace counts those of each thread alone, so the test makes more of them first.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;

/// What strace is told to follow threads, and not the programs that they start.
pub const OPTIONS: [&str; 3] = ["-f", "-b", "execve"];
/// The calls that the harness makes too.
const SHARED: [&str; 4] = ["openat", "read", "write", "statx"];
/// More than it makes of any of them.
const CALLS: usize = 32;

/// Starts one test of this binary.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1", "--nocapture"]);
    command
}

/// The number of the first call of a kind that counts.
pub fn first(call: &str) -> usize {
    if SHARED.contains(&call) { CALLS + 1 } else { 1 }
}

/// Makes the calls that the harness makes too, more often than it does.
pub fn outnumber() {
    for _ in 0..CALLS {
        let mut file = File::options().read(true).write(true).open("/dev/null").unwrap();
        file.metadata().unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(file.read(&mut [0]).unwrap(), 0);
    }
}
