//! What a module may do is what it declares: threads that are confined as a module's process is try the rest. Only the calls
//! that Rust has no safe way to make are made by another program, perl.

#[cfg(target_arch = "x86_64")]
mod raw;

use mig::agent::installed;
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
    watches_files: false,
    reads_processes: false,
    opens_network: false,
    sends_echoes: false,
    reads_sockets: false,
    writes_program_directory: false,
    removes_programs: false,
    ends_processes: false,
    runs_programs: false,
};
const READS: Needs = Needs { reads_files: true, ..NOTHING };
const LOOKS: Needs = Needs { reads_processes: true, ..READS };
const CONNECTS: Needs = Needs { opens_network: true, ..NOTHING };
const ECHOES: Needs = Needs { sends_echoes: true, ..CONNECTS };
const ASKS: Needs = Needs { reads_sockets: true, ..NOTHING };
const WRITES: Needs = Needs { writes_program_directory: true, ..NOTHING };
const REMOVES: Needs = Needs { removes_programs: true, ..NOTHING };
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
    ("lock a file", |at, _| {
        Ok(rustix::fs::flock(std::fs::File::open(at.join("file"))?, rustix::fs::FlockOperation::NonBlockingLockShared)?)
    }),
    ("remove a file", |at, _| std::fs::remove_file(at.join("file"))),
];

/// Changes that no module needs, wherever.
const NEVER: &[(&str, Attempt)] = &[
    ("make a directory", |at, _| std::fs::create_dir(at.join("directory"))),
    ("make a link", |at, _| symlink("file", at.join("symlink"))),
    ("make a fifo", |at, _| Ok(rustix::fs::mknodat(CWD, at.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)?)),
    ("talk with a service of the machine", |_, _| {
        let socket = rustix::net::AddressFamily::UNIX;
        Ok(rustix::net::socket(socket, rustix::net::SocketType::STREAM, None).map(drop)?)
    }),
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
    let without = [NOTHING, READS, LOOKS, CONNECTS, ECHOES, ASKS, ENDS, RUNS];
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
        let place = Place::new();
        for (at, removes) in [(place.elsewhere(), false), (place.own(), *name == "remove a file")] {
            let tried = tried(REMOVES, &place, at);
            assert_eq!(tried.is_ok(), removes, "{name}: {tried:?}");
        }
    }
}

/// What a module may do or not, from the directory of its program; in this order, as the last ones change what is there.
const TRIES: &[(&str, Attempt)] = &[
    ("reads files", |at, _| std::fs::read(at.join("../elsewhere/file")).map(drop)),
    ("notices changes of files", |_, _| {
        let inotify = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC)?;
        let watch = rustix::fs::inotify::WatchFlags::CREATE;
        Ok(rustix::fs::inotify::add_watch(inotify, "/proc/self", watch).map(drop)?)
    }),
    ("looks into processes", |_, pid| std::fs::read_link(format!("/proc/{pid}/exe")).map(drop)),
    ("writes into processes", |_, pid| {
        std::fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")).map(drop)
    }),
    ("connects", |_, _| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("accepts connections", |_, _| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("sends signals", |_, pid| Ok(rustix::process::kill_process(pid, Signal::CONT)?)),
    ("runs programs beside its own", |at, _| {
        Command::new(at.join("mig-agent")).arg("-V").stdout(Stdio::null()).status().map(drop)
    }),
    ("runs others", |_, _| Command::new("/bin/true").status().map(drop)),
    ("writes beside its program", |at, _| std::fs::write(at.join("new"), "x")),
    ("writes elsewhere", |at, _| std::fs::write(at.join("../elsewhere/new"), "x")),
    ("removes beside its program", |at, _| std::fs::remove_file(at.join("file"))),
    ("removes elsewhere", |at, _| std::fs::remove_file(at.join("../elsewhere/file"))),
];

#[test]
fn each_module_of_this_build_can_do_what_it_is_known_to_do_and_no_more() {
    let ordered = modules::all().iter().map(|module| (module.name(), module.needs()));
    let persistent = modules::persistent::all().iter().map(|module| (module.form().name, module.needs()));
    for (name, needs) in ordered.chain(persistent) {
        let known: &[&str] = match name {
            "file" | "memory" | "process" | "netstat" | "pkg" | "scribe" | "yara" => {
                &["reads files", "looks into processes"]
            }
            "kernelmodule" | "service" | "sshkey" | "user" => &["reads files"],
            "ping" | "timedrift" => &["connects"],
            "connected" => &[],
            "fswatch" => &["reads files", "notices changes of files"],
            "upgrade" => {
                &["connects", "runs programs beside its own", "writes beside its program", "removes beside its program"]
            }
            // Without Landlock.
            "agentdestroy" => &[
                "reads files",
                "looks into processes",
                "sends signals",
                "removes beside its program",
                "removes elsewhere",
            ],
            other => panic!("say here and in SECURITY.md what {other} can do"),
        };
        let place = Place::new();
        let (at, pid) = (place.own(), Pid::from_child(&place.other.0));
        copy_of_the_agent(&at.join("mig-agent"));
        let did: Vec<&str> = confined(needs, &place.own(), move || {
            TRIES.iter().filter(|(_, attempt)| attempt(&at, pid).is_ok()).map(|(name, _)| *name).collect()
        });
        assert_eq!(did, known, "{name}");
    }
}

#[test]
fn no_module_does_what_none_needs() {
    let all = Needs {
        reads_files: true,
        watches_files: true,
        reads_processes: true,
        opens_network: true,
        sends_echoes: true,
        reads_sockets: true,
        writes_program_directory: true,
        removes_programs: true,
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
    type Try = Box<dyn Fn() -> io::Result<()> + Send + Sync>;
    let tries: [(&str, Try); 4] = [
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
        for (needs, expected) in
            [(READS, false), (WRITES, false), (RUNS, false), (ENDS, false), (CONNECTS, true), (ECHOES, true)]
        {
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
fn a_module_asks_the_kernel_for_sockets_and_changes_nothing() {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink};
    let place = Place::new();
    let open = |protocol| move || rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, protocol).map(drop);
    for protocol in [None, Some(netlink::SOCK_DIAG)] {
        assert_eq!(confined(ASKS, &place.own(), open(protocol)), Ok(()), "{protocol:?}");
    }
    assert_eq!(confined(CONNECTS, &place.own(), open(Some(netlink::SOCK_DIAG))), Err(Errno::NOSYS));
    for protocol in [netlink::AUDIT, netlink::KOBJECT_UEVENT, netlink::NETFILTER, netlink::GENERIC] {
        assert_eq!(confined(ASKS, &place.own(), open(Some(protocol))), Err(Errno::NOSYS), "{protocol:?}");
    }
    for family in [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX, AddressFamily::PACKET] {
        let open = move || rustix::net::socket(family, SocketType::DGRAM, None).map(drop);
        assert_eq!(confined(ASKS, &place.own(), open), Err(Errno::NOSYS), "{family:?}");
    }
    let tried = confined(ASKS, &place.own(), || {
        let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
        let other = netlink::SocketAddrNetlink::new(1, 0);
        let sent = rustix::net::sendto(&socket, b"x", SendFlags::empty(), &other).map(drop);
        let bound = rustix::net::bind(&socket, &other);
        // RTM_NEWLINK with NLM_F_REQUEST and NLM_F_ACK, and what would make no change to the first interface.
        let mut request = [32_u32.to_ne_bytes(), [16, 0, 5, 0]].concat();
        request.extend([0; 12]);
        request.extend(1_u32.to_ne_bytes());
        request.extend([0; 8]);
        rustix::net::send(&socket, &request, SendFlags::empty()).unwrap();
        let mut answer = [0; 256];
        rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).unwrap();
        let code = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
        (sent, bound, u16::from_ne_bytes([answer[4], answer[5]]), Errno::from_raw_os_error(-code))
    });
    assert_eq!(tried, (Err(Errno::NOSYS), Err(Errno::NOSYS), 2, Errno::PERM));
}

#[test]
fn a_module_has_raw_sockets_for_echo_requests_only_if_it_declares_it() {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, sockopt};
    let place = Place::new();
    let open =
        |family, protocol: Protocol| move || rustix::net::socket(family, SocketType::RAW, Some(protocol)).map(drop);
    let (v4, v6) = (AddressFamily::INET, AddressFamily::INET6);
    let permitted = if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Errno::PERM) };
    for (family, protocol, expected) in [
        (v4, ipproto::ICMP, permitted),
        (v6, ipproto::ICMPV6, permitted),
        (v4, ipproto::TCP, Err(Errno::NOSYS)),
        (v4, ipproto::RAW, Err(Errno::NOSYS)),
        (v6, ipproto::UDP, Err(Errno::NOSYS)),
        (AddressFamily::PACKET, ipproto::ICMP, Err(Errno::NOSYS)),
    ] {
        assert_eq!(confined(ECHOES, &place.own(), open(family, protocol)), expected, "{family:?} {protocol:?}");
        assert_eq!(confined(CONNECTS, &place.own(), open(family, protocol)), Err(Errno::NOSYS));
    }
    let options = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        (socket.set_read_timeout(None).is_ok(), sockopt::set_ip_ttl(&socket, 9))
    };
    assert_eq!(confined(ECHOES, &place.own(), options), (true, Err(Errno::NOSYS)), "as IP_HDRINCL");
    assert_eq!(confined(CONNECTS, &place.own(), options), (true, Ok(())));
}

#[test]
fn a_module_ends_processes_and_runs_programs_only_if_it_declares_it() {
    let mut place = Place::new();
    let pid = Pid::from_child(&place.other.0);
    let program = place.own().join("program");
    for needs in [READS, LOOKS, CONNECTS, WRITES, REMOVES, RUNS] {
        let kill = move || rustix::process::kill_process(pid, Signal::KILL).is_ok();
        assert!(!confined(needs, &place.own(), kill), "{needs:?}");
        let by_descriptor = move || {
            let descriptor = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
            rustix::process::pidfd_send_signal(descriptor, Signal::KILL)
        };
        assert!(confined(needs, &place.own(), by_descriptor).is_err(), "{needs:?}");
        if !needs.runs_programs {
            let program = program.clone();
            let run = move || Command::new(program).status().is_ok();
            assert!(!confined(needs, &place.own(), run), "{needs:?}");
        }
    }
    assert!(place.other.0.try_wait().unwrap().is_none());
    let agent = Path::new(env!("CARGO_BIN_EXE_mig-agent"));
    for needs in [RUNS, Needs { reads_files: true, ..RUNS }, Needs { writes_program_directory: true, ..RUNS }] {
        // With a directory, the library starts it in another way.
        for directory in [None, Some("/")] {
            let run = move || {
                let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
                directory.map(|directory| command.current_dir(directory));
                command.arg("-V").stdin(Stdio::null()).output()
            };
            let output = confined(needs, agent.parent().unwrap(), run).unwrap();
            assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
        }
        assert!(
            !confined(needs, agent.parent().unwrap(), || Command::new("/bin/true").status().is_ok()),
            "another one"
        );
    }
    assert!(confined(ENDS, &place.own(), move || rustix::process::kill_process(pid, Signal::KILL).is_ok()));
    place.other.0.wait().unwrap();
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
        (ECHOES, CapabilitySet::NET_RAW),
        (ASKS, CapabilitySet::empty()),
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

/// A copy that can be started: this process, whose tests start others, never has it open for writing.
pub fn copy_of_the_agent(to: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_mig-agent")).arg(to).status().unwrap().success());
}

#[test]
fn the_module_upgrade_can_do_what_it_declares() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig-agent");
    copy_of_the_agent(&path);
    let needs = modules::by_name("upgrade").unwrap().needs();
    let version = confined(needs, directory.path(), {
        let path = path.clone();
        move || {
            let mut draft = installed::draft(&path).unwrap();
            io::copy(&mut std::fs::File::open(&path).unwrap(), &mut draft).unwrap();
            let draft = installed::finish(draft, installed::mode(&path)).unwrap();
            let mut asking = Command::new(&draft);
            asking
                .arg("-V")
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            // Another test may be starting a program, which has this file open for writing until it runs.
            let mut child = loop {
                match asking.spawn() {
                    Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                    child => break child.unwrap(),
                }
            };
            let mut version = String::new();
            io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut version).unwrap();
            let _ = child.kill();
            child.wait().unwrap();
            installed::install(&draft, &path).unwrap();
            version
        }
    });
    assert_eq!(version, format!("{}\n", mig::cli::version()));
    assert!(installed::previous(&path).exists());
}

#[test]
fn the_module_agentdestroy_can_do_what_it_declares() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig-agent");
    copy_of_the_agent(&path);
    // It waits for its parameters.
    let mut other = Command::new(&path).args(["-m", "file", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let parameters = json!({"pid": other.id(), "version": mig::cli::version()}).to_string();
    let running = directory.path().join("running");
    copy_of_the_agent(&running);
    let ending = Command::new(&running).args(["--limited", "-m", "agentdestroy", &parameters]).output();
    let result: serde_json::Value = serde_json::from_slice(&ending.unwrap().stdout).unwrap();
    assert_eq!((&result["success"], path.exists()), (&json!(true), false), "{result}");
    assert!(!other.wait().unwrap().success());
}

#[test]
fn the_modules_of_this_build_declare_what_they_need() {
    let upgrade = Needs { writes_program_directory: true, runs_programs: true, ..CONNECTS };
    let destroy = Needs { removes_programs: true, reads_processes: true, ..ENDS };
    for (name, needs) in [("upgrade", upgrade), ("agentdestroy", destroy)] {
        let module = modules::by_name(name).unwrap();
        assert_eq!((module.needs(), module.needs_for(&json!({}))), (needs, needs), "{name}");
    }
    let netstat = modules::by_name("netstat").unwrap();
    let all = Needs { reads_sockets: true, ..LOOKS };
    for (parameters, needs) in [
        (json!({"localip": ["::1"], "neighbormac": ["."]}), ASKS),
        (json!({"localip": ["::1"], "namespaces": true}), all),
        (json!({"listeningport": ["22"]}), all),
        (json!("nonsense"), ASKS),
    ] {
        assert_eq!((netstat.needs(), netstat.needs_for(&parameters)), (all, needs), "{parameters}");
    }
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
