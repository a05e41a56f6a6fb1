//! System calls by their numbers, those of x86-64: perl makes them.

use super::{RUNS, confined};
use crate::common::score::Score;
use mig::modules::Needs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// System calls that Rust has no safe functions for, by number and arguments that do no harm: each fails, or does nothing.
const RAW: &[(&str, &str)] = &[
    ("ptrace", "101, 16, 0x7fffffff, 0, 0"),
    ("personality", "135, 0xffffffff"),
    ("mount", "165, 0, 0, 0, 0, 0"),
    ("umount2", "166, 0, 0"),
    ("pivot_root", "155, 0, 0"),
    ("chroot", "161, 0"),
    ("setuid", "105, $<"),
    ("setgroups", "116, 70000, 0"),
    ("capset", "126, 0, 0"),
    ("reboot", "169, 0, 0, 0, 0"),
    ("swapon", "167, 0, 0"),
    ("sethostname", "170, 0, -1"),
    ("init_module", "175, 0, 0, 0"),
    ("finit_module", "313, -1, 0, 0"),
    ("kexec_load", "246, 0, -1, 0, 0"),
    ("bpf", "321, 99, 0, 0"),
    ("perf_event_open", "298, 0, 0, 0, 0, 0"),
    ("keyctl", "250, 99, 0, 0, 0, 0"),
    ("add_key", "248, 0, 0, 0, 0, 0"),
    ("userfaultfd", "323, 0x7fffffff"),
    ("unshare", "272, 0x7fffffff"),
    ("setns", "308, -1, 0"),
    ("clone3", "435, 0, 0"),
    ("openat2", "437, -1, 0, 0, 0"),
    ("io_uring_setup", "425, 0, 0"),
    ("io_uring_enter", "426, -1, 0, 0, 0, 0, 0"),
    ("open_by_handle_at", "304, -1, 0, 0"),
    ("process_vm_readv", "310, 1, 0, 0, 0, 0, 1"),
    ("process_vm_writev", "311, 1, 0, 0, 0, 0, 1"),
    ("pidfd_getfd", "438, -1, 0, 0"),
    ("seccomp", "317, 99, 0, 0"),
    ("truncate", "76, 0, 0"),
    ("creat", "85, 0, 0"),
    ("fchmodat2", "452, -1, 0, 0, 0"),
    ("fanotify_init", "300, 0x7fffffff, 0"),
    ("quotactl", "179, 0, 0, 0, 0"),
    ("settimeofday", "164, 1, 1"),
    ("adjtimex", "159, 0"),
    ("iopl", "172, 9"),
    ("shmget", "29, 0, 0, 0"),
    ("ioctl FS_IOC_SETFLAGS", "16, -1, 0x40086602, 0"),
    ("ioctl TIOCSTI", "16, -1, 0x5412, 0"),
    ("fcntl F_SETOWN", "72, -1, 8, 0"),
    ("prctl PR_SET_DUMPABLE", "157, 4, 9, 0, 0, 0"),
    ("prlimit64", "302, 0x7fffffff, 0, 1, 0"),
    ("mprotect writable and executable", "10, 1, 4096, 7"),
];

/// The error of each of [`RAW`] in a process with these needs; without, in one that is not confined.
fn raw_errors(needs: Option<Needs>) -> Option<Vec<i32>> {
    let calls: String =
        RAW.iter().map(|(_, call)| format!("$! = 0; syscall({call}); print $! + 0, qq(\\n);")).collect();
    let mut perl = Command::new("/usr/bin/perl");
    perl.arg("-e").arg(calls).stdin(Stdio::null());
    let output = match needs {
        Some(needs) => confined(needs, Path::new("/"), move || perl.output()),
        None => perl.output(),
    };
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect())
}

#[test]
fn dangerous_system_calls_do_not_exist_for_a_module() {
    let all = Needs { reads_files: true, opens_network: true, writes_program_directory: true, ..RUNS };
    let unconfined = raw_errors(None);
    let (Some(unconfined), Some(confined)) = (unconfined, raw_errors(Some(all))) else {
        return Score::begin("dangerous system calls").skip("no perl here");
    };
    const NONE: i32 = 38;
    assert_eq!((confined.len(), unconfined.len()), (RAW.len(), RAW.len()));
    for ((name, _), (confined, unconfined)) in RAW.iter().zip(confined.iter().zip(&unconfined)) {
        assert_eq!(*confined, NONE, "{name}");
        // A kernel may lack some of them; a filter around this test too.
        if *unconfined == NONE {
            println!("{name}: not here anyway");
        }
    }
    let lacking = unconfined.iter().filter(|error| **error == NONE).count();
    assert!(lacking < RAW.len() / 2, "the numbers are right: {unconfined:?}");
}
