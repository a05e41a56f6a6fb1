//! What a module may do is what it declares: threads that are confined as a module's process is try the rest. Only the calls
//! that Rust has no safe way to make are made by another program, perl.

use crate::common::score::Score;
use mig::agent::os::confine;
use mig::modules::{self, Needs};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal};
use serde_json::json;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NOTHING: Needs = Needs {
    reads_files: false,
    reads_processes: false,
    opens_network: false,
    writes_program_directory: false,
    ends_processes: false,
    runs_programs: false,
};
const READS: Needs = Needs { reads_files: true, ..NOTHING };
const LOOKS: Needs = Needs { reads_processes: true, ..READS };
const CONNECTS: Needs = Needs { opens_network: true, ..NOTHING };
const WRITES: Needs = Needs { writes_program_directory: true, ..NOTHING };
const ENDS: Needs = Needs { ends_processes: true, ..NOTHING };
const RUNS: Needs = Needs { runs_programs: true, ..NOTHING };

/// Does something in a thread that is confined like a module with these needs whose program is in `directory`.
fn confined<T: Send + 'static>(needs: Needs, directory: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let directory = directory.to_owned();
    let thread = std::thread::spawn(move || {
        confine::confine_this_thread(needs, Some(&directory)).unwrap();
        work()
    });
    thread.join().unwrap()
}

/// A directory of the module's own program, another one, and another process.
struct Place {
    directory: tempfile::TempDir,
    other: Child,
}

struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        for own in ["own", "elsewhere"] {
            std::fs::create_dir(directory.path().join(own)).unwrap();
            std::fs::write(directory.path().join(own).join("file"), "text").unwrap();
        }
        std::fs::copy("/bin/true", directory.path().join("own/program")).unwrap();
        let other = Child(Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap());
        Place { directory, other }
    }

    fn own(&self) -> PathBuf {
        self.directory.path().join("own")
    }

    fn elsewhere(&self) -> PathBuf {
        self.directory.path().join("elsewhere")
    }
}

type Attempt = fn(&Path, Pid) -> io::Result<()>;

/// Ways to change files in a directory. Each works in a directory where that is permitted.
const CHANGES: &[(&str, Attempt)] = &[
    ("make a file", |at, _| std::fs::write(at.join("new"), "x")),
    ("write a file", |at, _| {
        io::Write::write_all(&mut std::fs::OpenOptions::new().write(true).open(at.join("file"))?, b"x")
    }),
    ("append to a file", |at, _| std::fs::OpenOptions::new().append(true).open(at.join("file")).map(drop)),
    ("truncate a file", |at, _| Ok(rustix::fs::openat(CWD, at.join("file"), OFlags::TRUNC, Mode::empty()).map(drop)?)),
    ("a file without a name", |at, _| {
        Ok(rustix::fs::openat(CWD, at, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR).map(drop)?)
    }),
    ("link a file", |at, _| std::fs::hard_link(at.join("file"), at.join("link"))),
    ("rename a file", |at, _| std::fs::rename(at.join("file"), at.join("renamed"))),
    ("remove a file", |at, _| std::fs::remove_file(at.join("file"))),
];

/// Changes that no module needs, wherever.
const NEVER: &[(&str, Attempt)] = &[
    ("make a directory", |at, _| std::fs::create_dir(at.join("directory"))),
    ("make a link", |at, _| symlink("file", at.join("symlink"))),
    ("make a fifo", |at, _| Ok(rustix::fs::mknodat(CWD, at.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)?)),
    ("make a socket", |at, _| UnixListener::bind(at.join("socket")).map(drop)),
    ("set times", |at, _| std::fs::File::open(at.join("file"))?.set_modified(std::time::UNIX_EPOCH)),
    ("set an attribute", |at, _| {
        Ok(rustix::fs::setxattr(at.join("file"), "user.x", b"x", rustix::fs::XattrFlags::empty())?)
    }),
    ("change the owner", |at, _| {
        std::os::unix::fs::chown(at.join("file"), Some(rustix::process::geteuid().as_raw()), None)
    }),
    ("memory that is a file", |_, _| Ok(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).map(drop)?)),
    ("listen", |_, _| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("set a limit", |_, _| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
        Ok(rustix::process::setrlimit(rustix::process::Resource::Core, limit)?)
    }),
    ("live without its parent", |_, _| Ok(rustix::process::set_parent_process_death_signal(None)?)),
    ("a process group of its own", |_, _| Ok(rustix::process::setpgid(None, None)?)),
    ("lock a file against others", |at, _| {
        let file = std::fs::File::open(at.join("file"))?;
        Ok(rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::Unlock)?)
    }),
];

#[test]
fn a_module_changes_files_only_beside_its_program_and_only_if_it_declares_it() {
    let without = [NOTHING, READS, LOOKS, CONNECTS, ENDS, RUNS];
    for (name, attempt) in CHANGES {
        let tried = |needs: Needs, place: &Place, at: PathBuf| {
            let (attempt, pid) = (*attempt, Pid::from_child(&place.other.0));
            confined(needs, &place.own(), move || attempt(&at, pid))
        };
        let place = Place::new();
        for needs in without {
            for at in [place.own(), place.elsewhere()] {
                assert!(tried(needs, &place, at).is_err(), "{name} with {needs:?}");
            }
        }
        assert!(tried(WRITES, &place, place.elsewhere()).is_err(), "{name} elsewhere");
        // The attempt is one that works where nothing forbids it, and beside the program.
        tried(WRITES, &place, place.own()).unwrap_or_else(|e| panic!("{name} beside the program: {e}"));
        let place = Place::new();
        attempt(&place.own(), Pid::from_child(&place.other.0)).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn no_module_does_what_none_needs() {
    let all = Needs {
        reads_files: true,
        reads_processes: true,
        opens_network: false,
        writes_program_directory: true,
        ends_processes: true,
        runs_programs: true,
    };
    for (name, attempt) in NEVER {
        let place = Place::new();
        let (at, pid) = (place.own(), Pid::from_child(&place.other.0));
        let forbidden = confined(all, &place.own(), {
            let at = at.clone();
            move || attempt(&at, pid)
        });
        assert!(forbidden.is_err(), "{name}");
        attempt(&at, pid).unwrap_or_else(|e| panic!("{name}, not confined: {e}"));
    }
}

#[test]
fn a_module_reads_what_it_declares() {
    let place = Place::new();
    let file = place.elsewhere().join("file");
    let exe = format!("/proc/{}/exe", place.other.0.id());
    let reads = |needs: Needs, path: &Path| {
        let path = path.to_owned();
        confined(needs, &place.own(), move || std::fs::read(path).is_ok())
    };
    for needs in [CONNECTS, WRITES, RUNS] {
        assert!(!reads(needs, &file), "{needs:?}");
        assert!(!reads(needs, Path::new("/etc/passwd")), "{needs:?}");
        assert!(reads(needs, Path::new("/proc/self/stat")) && reads(needs, &place.own().join("program")), "{needs:?}");
    }
    assert!(reads(CONNECTS, Path::new("/etc/hosts")) && !reads(NOTHING, Path::new("/etc/hosts")));
    assert!(reads(READS, &file) && reads(LOOKS, &file));
    assert!(!reads(READS, Path::new(&exe)), "another process's program");
    assert!(reads(LOOKS, Path::new(&exe)), "another process's program");
}

#[test]
fn a_module_opens_the_network_only_if_it_declares_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place::new();
    let tries: [(&str, Box<dyn Fn() -> io::Result<()> + Send + Sync>); 4] = [
        ("TCP by name", Box::new(move || TcpStream::connect(("localhost", address.port())).map(drop))),
        ("TCP", Box::new(move || TcpStream::connect(address).map(drop))),
        ("UDP", Box::new(|| UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", "127.0.0.1:9").map(drop))),
        (
            "the addresses of the machine",
            Box::new(|| {
                Ok(rustix::net::socket(rustix::net::AddressFamily::NETLINK, rustix::net::SocketType::RAW, None)
                    .map(drop)?)
            }),
        ),
    ];
    for (name, attempt) in tries {
        let attempt = std::sync::Arc::new(attempt);
        for (needs, expected) in [(READS, false), (WRITES, false), (RUNS, false), (ENDS, false), (CONNECTS, true)] {
            let attempt = attempt.clone();
            let tried = confined(needs, &place.own(), move || attempt());
            assert_eq!(tried.is_ok(), expected, "{name} with {needs:?}: {tried:?}");
        }
    }
    let raw = || {
        let made = rustix::net::socket(rustix::net::AddressFamily::PACKET, rustix::net::SocketType::RAW, None);
        made.map(drop).map_err(|e| e.raw_os_error())
    };
    let refused = Err(rustix::io::Errno::NOSYS.raw_os_error());
    assert_eq!(confined(CONNECTS, &place.own(), raw), refused, "packets");
    assert_ne!(raw(), refused);
}

#[test]
fn a_module_ends_processes_and_runs_programs_only_if_it_declares_it() {
    let mut place = Place::new();
    let pid = Pid::from_child(&place.other.0);
    let program = place.own().join("program");
    for needs in [READS, LOOKS, CONNECTS, WRITES] {
        let kill = move || rustix::process::kill_process(pid, Signal::KILL).is_ok();
        assert!(!confined(needs, &place.own(), kill), "{needs:?}");
        let descriptor = move || rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).is_ok();
        assert!(!confined(needs, &place.own(), descriptor), "{needs:?}");
        let program = program.clone();
        let run = move || Command::new(program).status().is_ok();
        assert!(!confined(needs, &place.own(), run), "{needs:?}");
    }
    // What runs programs may end its own only, where the kernel tells them apart (Linux 6.12).
    if confine::facts()["landlock"].as_i64() >= Some(6) {
        assert!(!confined(RUNS, &place.own(), move || rustix::process::kill_process(pid, Signal::KILL).is_ok()));
    }
    assert!(place.other.0.try_wait().unwrap().is_none());
    let agent = Path::new(env!("CARGO_BIN_EXE_mig-agent"));
    for needs in [RUNS, Needs { reads_files: true, ..RUNS }, Needs { writes_program_directory: true, ..RUNS }] {
        let run = || Command::new(env!("CARGO_BIN_EXE_mig-agent")).arg("-V").stdin(Stdio::null()).output();
        let output = confined(needs, agent.parent().unwrap(), run).unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
        assert!(
            !confined(needs, agent.parent().unwrap(), || Command::new("/bin/true").status().is_ok()),
            "another one"
        );
    }
    assert!(confined(ENDS, &place.own(), move || rustix::process::kill_process(pid, Signal::KILL).is_ok()));
    place.other.0.wait().unwrap();
}

/// System calls that Rust has no safe functions for, by number and arguments that do no harm: each fails, or does nothing.
#[cfg(target_arch = "x86_64")]
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
#[cfg(target_arch = "x86_64")]
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
#[cfg(target_arch = "x86_64")]
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

#[test]
fn capabilities_that_are_not_needed_are_gone() {
    use rustix::thread::{CapabilitySet, capabilities};
    let place = Place::new();
    let before = capabilities(None).unwrap().permitted;
    for (needs, kept) in [
        (NOTHING, CapabilitySet::empty()),
        (READS, CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER),
        (ENDS, CapabilitySet::KILL),
        (CONNECTS, CapabilitySet::empty()),
    ] {
        let (after, privileges) =
            confined(needs, &place.own(), || (capabilities(None).unwrap(), rustix::thread::no_new_privs().unwrap()));
        assert_eq!((after.permitted, after.effective), (before & kept, before & kept), "{needs:?}");
        assert!(after.inheritable.is_empty() && privileges);
    }
}

#[test]
fn a_module_can_only_be_confined_further() {
    let place = Place::new();
    let (own, file) = (place.own(), place.own().join("file"));
    let written = confined(READS, &place.own(), move || {
        let again = confine::confine_this_thread(WRITES, Some(&own));
        (again.is_ok(), std::fs::write(file, "x").is_ok())
    });
    assert!(!written.1, "{written:?}");
}

#[test]
fn the_modules_of_this_build_declare_what_they_need() {
    let file = modules::by_name("file").unwrap();
    assert_eq!(file.needs(), LOOKS);
    let searching = |path: &str| json!({"searches": {"s": {"paths": [path], "names": ["x"]}}});
    let link = tempfile::tempdir().unwrap();
    symlink("/proc/1", link.path().join("link")).unwrap();
    let link = link.path().join("link").display().to_string();
    for (path, looks) in
        [("/etc", false), ("/etc/none", false), ("/", true), ("/proc", true), ("/proc/1/exe", true), (&link, true)]
    {
        let expected = if looks { LOOKS } else { READS };
        assert_eq!(file.needs_for(&searching(path)), expected, "{path}");
    }
    assert_eq!(file.needs_for(&json!({"Searches": {"s": {"PATHS": ["/etc", "/proc"]}}})), LOOKS);
    assert_eq!(file.needs_for(&json!("nonsense")), READS);
}
