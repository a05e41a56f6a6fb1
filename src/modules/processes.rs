//! Processes of this machine, as `/proc` shows them.
//!
//! A process is held by its directory: a later process with the same id is never taken for it, it has just ended (`ESRCH`).
//! Its texts are bytes, bounded, and may be anything that it wrote there.

mod memory;
mod regions;
mod unread;

#[cfg(test)]
pub(super) use memory::PIECE_BYTES;
pub(super) use memory::{Memory, Parts, Piece, Range, Reader, Walk};
pub(super) use regions::{Devices, Region};
pub(super) use unread::Unread;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Bytes of `/proc/PID/stat` and of other short texts there.
const SHORT_BYTES_MAX: u64 = 16 << 10;
/// Bytes that are read at once: nearly all texts there are shorter, and each read of them costs as much as its text.
const USUAL_BYTES: usize = 4 << 10;
/// Bytes of `/proc/self/mountinfo`: tens of thousands of mounts.
const MOUNTS_BYTES_MAX: u64 = 16 << 20;
/// Descriptors of one process that are looked at; a process may have a million.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// What the kernel appends to the path of what has no name any more.
const DELETED: &[u8] = b" (deleted)";
/// Where the kernel says that a file is that memfd_create(2) has made.
const MEMFD: &[u8] = b"/memfd:";

/// All processes, as one directory.
pub(super) struct Processes {
    directory: OwnedFd,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    /// Its id.
    pub(super) pid: i32,
    directory: OwnedFd,
    /// One of its other threads, if its first one has ended: that one has no memory and no files any more.
    thread: Option<OwnedFd>,
}

/// What a process has open.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// Numbers, and where they lead.
    pub(super) list: Vec<(i32, PathBuf)>,
    /// Why some are missing.
    pub(super) error: Option<io::Error>,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its name: at most 15 bytes, which it may change.
    pub(super) name: Vec<u8>,
    /// R, S, D, Z, …
    pub(super) state: char,
    /// Its parent; 0 for none.
    pub(super) parent: i32,
    /// It is a thread of the kernel.
    pub(super) is_kernel: bool,
    /// When it was started, in ticks (1/100 s) since the machine was.
    pub(super) started_ticks: u64,
}

/// The program that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    /// Where it was started, in the process's own mount namespace.
    pub(super) path: PathBuf,
    /// It has no name any more: it was removed, or replaced by another one.
    pub(super) is_deleted: bool,
    /// It never had a name: it was made in memory.
    pub(super) is_memfd: bool,
}

impl Processes {
    /// Opens `/proc`.
    pub(super) fn open() -> io::Result<Processes> {
        Ok(Processes { directory: open(CWD, "/proc", OFlags::DIRECTORY)? })
    }

    /// The ids of all that are there now, ascending.
    pub(super) fn ids(&self) -> io::Result<Vec<i32>> {
        numbers(Dir::read_from(&self.directory)?)
    }

    /// One of them.
    pub(super) fn process(&self, pid: i32) -> io::Result<Process> {
        let directory = open(&self.directory, &pid.to_string(), OFlags::DIRECTORY)?;
        let mut process = Process { pid, directory, thread: None };
        if process.stat().is_ok_and(|stat| stat.state == 'Z') {
            process.thread = self.other_thread(&process);
        }
        Ok(process)
    }

    /// A thread of a process whose first one has ended. It is held by its directory in `/proc`, which is not listed, as that
    /// below `task` has no `map_files`.
    fn other_thread(&self, process: &Process) -> Option<OwnedFd> {
        let tasks = open(&process.directory, "task", OFlags::DIRECTORY).ok()?;
        let own = process.pid.to_string();
        Dir::read_from(&tasks).ok()?.filter_map(Result::ok).find_map(|entry| {
            let name = entry.file_name().to_str().ok()?;
            if name == own || name.parse::<i32>().is_err() {
                return None;
            }
            let thread = open(&self.directory, name, OFlags::DIRECTORY).ok()?;
            // Not another process, which has the number now.
            rustix::fs::statat(&tasks, name, AtFlags::empty()).ok()?;
            let stat = Stat::parse(&read(&thread, "stat", SHORT_BYTES_MAX).ok()?)?;
            (!matches!(stat.state, 'Z' | 'X')).then_some(thread)
        })
    }

    /// Whether a process that was looked at is still there and has memory, maybe that of another program.
    pub(super) fn has_memory(&self, process: &Process) -> bool {
        let now = process.stat().and_then(|_| self.process(process.pid)?.executable());
        now.map_or_else(|error| !has_ended(&error), |executable| executable.is_some())
    }

    /// Why processes may be missing from [`Processes::ids`]: `/proc` shows only those of one's own user (`hidepid`).
    pub(super) fn hidden(&self) -> Option<String> {
        // Only who may look into all of them sees all of them.
        let has_all =
            |capabilities: rustix::thread::CapabilitySets| capabilities.effective.contains(CapabilitySet::SYS_PTRACE);
        if rustix::thread::capabilities(None).is_ok_and(has_all) {
            return None;
        }
        let uid = rustix::process::geteuid();
        let text = read(&self.directory, "self/mountinfo", MOUNTS_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The last one is on top.
        let mount = text.lines().rfind(|line| line.contains(" /proc ") && line.contains(" - proc "))?;
        let options = mount.rsplit(' ').next()?.split(',').find(|option| option.starts_with("hidepid="))?;
        let is_open = ["hidepid=0", "hidepid=off"].contains(&options);
        (!is_open).then(|| {
            format!("/proc is mounted with {options}: processes of other users than {} are not seen", uid.as_raw())
        })
    }
}

impl Process {
    /// Where its memory and its files are.
    fn own(&self) -> &OwnedFd {
        self.thread.as_ref().unwrap_or(&self.directory)
    }

    /// Its threads. The first one may have ended before the others.
    pub(super) fn threads(&self) -> io::Result<Vec<i32>> {
        numbers(Dir::read_from(open(&self.directory, "task", OFlags::DIRECTORY)?)?)
    }

    /// One of its threads, which may have descriptors and namespaces of its own.
    pub(super) fn thread(&self, id: i32) -> io::Result<Process> {
        let directory = open(&self.directory, &format!("task/{id}"), OFlags::DIRECTORY)?;
        Ok(Process { pid: self.pid, directory, thread: None })
    }

    /// A file of it: `environ`, `task/12/comm`.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        Ok(File::from(open(self.own(), name, OFlags::empty())?))
    }

    /// The beginning of a file of it.
    pub(super) fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        read(self.own(), name, bytes_max)
    }

    /// Where a link of it leads: `exe`, `fd/3`. The kernel appends ` (deleted)` to what has no name any more.
    pub(super) fn link(&self, name: &str) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self.own(), name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The program that it runs; None for a thread of the kernel, and for one that waits to be buried.
    pub(super) fn executable(&self) -> io::Result<Option<Executable>> {
        let link = match self.link("exe") {
            // Or it has ended, and then it has no state either.
            Err(error) if has_ended(&error) => return self.nothing(),
            link => link?,
        };
        let text = link.as_os_str().as_bytes();
        let path = match text.strip_suffix(DELETED) {
            Some(path) if !self.is_executable_at(&link) => path,
            _ => return Ok(Some(Executable { path: link, is_deleted: false, is_memfd: false })),
        };
        let is_memfd = path.starts_with(MEMFD);
        Ok(Some(Executable { path: OsStr::from_bytes(path).into(), is_deleted: true, is_memfd }))
    }

    /// What is known when it has nothing of what was asked for: it has no memory, or has ended.
    pub(super) fn nothing<T: Default>(&self) -> io::Result<T> {
        self.stat()?;
        match self.thread {
            // Another one may go on.
            Some(_) => Err(io::Error::other("the thread that was looked at has ended")),
            None => Ok(T::default()),
        }
    }

    /// Whether its program has this name, as the process sees files: a name may end as the kernel's mark does.
    fn is_executable_at(&self, path: &std::path::Path) -> bool {
        let id = |name: &OsStr| {
            let stat = rustix::fs::statat(self.own(), name, AtFlags::NO_AUTOMOUNT)?;
            Ok::<_, Errno>((stat.st_dev, stat.st_ino))
        };
        let below_root = [b"root", path.as_os_str().as_bytes()].concat();
        id(OsStr::new("exe")).is_ok_and(|own| id(OsStr::from_bytes(&below_root)) == Ok(own))
    }

    /// Its state.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        let text = read(&self.directory, "stat", SHORT_BYTES_MAX)?;
        Stat::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its stat cannot be read"))
    }

    /// Its open descriptors and where they lead. One that was closed meanwhile is left out.
    pub(super) fn descriptors(&self) -> io::Result<Descriptors> {
        let directory = open(self.own(), "fd", OFlags::DIRECTORY)?;
        let mut found = Descriptors { list: Vec::new(), error: None };
        for (count, entry) in Dir::read_from(&directory)?.enumerate() {
            if count == DESCRIPTORS_MAX {
                found.error = Some(io::Error::other("it has too many, of which the first were looked at"));
                break;
            }
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            match rustix::fs::readlinkat(&directory, entry.file_name(), Vec::new()) {
                Ok(target) => found.list.push((number, PathBuf::from(OsString::from_vec(target.into_bytes())))),
                Err(Errno::NOENT) => {}
                Err(Errno::SRCH) => return Err(Errno::SRCH.into()),
                // The kernel writes no path of more than 4 KiB.
                Err(errno) => found.error = Some(errno.into()),
            }
        }
        Ok(found)
    }
}

impl Stat {
    /// Reads the line. The name stands in brackets and may have any bytes, also brackets.
    fn parse(text: &[u8]) -> Option<Stat> {
        /// The flag of a thread of the kernel (`PF_KTHREAD`).
        const KERNEL_THREAD: u64 = 0x0020_0000;
        let (begin, end) = (text.iter().position(|byte| *byte == b'(')?, text.iter().rposition(|byte| *byte == b')')?);
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Stat {
            name: text.get(begin + 1..end)?.to_vec(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            is_kernel: fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
            started_ticks: fields.get(19)?.parse().ok()?,
        })
    }
}

/// A path without the kernel's mark.
pub(super) fn without_mark(path: &[u8]) -> &[u8] {
    path.strip_suffix(DELETED).unwrap_or(path)
}

/// Whether a process ended while it was looked at: that is no error.
pub(super) fn has_ended(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::SRCH | Errno::NOENT))
}

/// The names in a directory that are numbers, ascending.
fn numbers(directory: Dir) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in directory {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn open(directory: impl rustix::fd::AsFd, name: &str, kind: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | kind;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// The beginning of a file.
fn read(directory: impl rustix::fd::AsFd, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::from(open(directory, name, OFlags::empty())?).take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_read_and_not_mistaken_for_a_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a) b (c");
        crate::modules::copy_program("/bin/sleep", &path);
        let file = File::open("/etc/passwd").unwrap();
        let mut command = Command::new(&path);
        let mut child = crate::modules::start(command.arg0("other").arg("60").stdin(Stdio::from(file)));
        let processes = Processes::open().unwrap();
        let pid = child.id().cast_signed();
        assert!(processes.ids().unwrap().contains(&pid));
        let process = processes.process(pid).unwrap();
        let stat = process.stat().unwrap();
        assert_eq!((stat.name.as_slice(), stat.parent), (b"a) b (c".as_slice(), std::process::id().cast_signed()));
        assert!(stat.started_ticks > 0 && !stat.is_kernel);
        assert_eq!(process.read("cmdline", 100).unwrap(), b"other\x0060\0");
        assert_eq!(process.link("exe").unwrap(), path.canonicalize().unwrap());
        assert!(process.descriptors().unwrap().list.contains(&(0, PathBuf::from("/etc/passwd"))));
        child.kill().and_then(|()| child.wait()).unwrap();
        assert!(has_ended(&process.stat().unwrap_err()));
        assert!(has_ended(&process.descriptors().unwrap_err()));
        assert!(has_ended(&processes.process(pid).unwrap_err()));
    }

    #[test]
    fn a_program_without_a_name_is_known_by_what_it_is_and_not_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let processes = Processes::open().unwrap();
        let started = |path: &std::path::Path| {
            let child = Command::new(path).arg("60").spawn().unwrap();
            let process = processes.process(child.id().cast_signed()).unwrap();
            (child, process)
        };
        let mut memfd = File::from(rustix::fs::memfd_create("x y", rustix::fs::MemfdFlags::empty()).unwrap());
        io::copy(&mut File::open("/bin/sleep").unwrap(), &mut memfd).unwrap();
        let memfd = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memfd.as_raw_fd()));
        let [plain, marked] = ["plain", "marked (deleted)"].map(|name| directory.path().join(name));
        for path in [&plain, &marked] {
            crate::modules::copy_program("/bin/sleep", path);
        }
        let path = |path: &std::path::Path| path.canonicalize().unwrap();
        let (plain_path, marked_path) = (path(&plain), path(&marked));
        let mut children = [started(&plain), started(&marked), started(&memfd)];
        let found = |process: &Process| {
            let Executable { path, is_deleted, is_memfd } = process.executable().unwrap().unwrap();
            (path, is_deleted, is_memfd)
        };
        assert_eq!(found(&children[0].1), (plain_path.clone(), false, false));
        assert_eq!(found(&children[1].1), (marked_path.clone(), false, false));
        assert_eq!(found(&children[2].1), ("/memfd:x y".into(), true, true));
        crate::modules::copy_program("/bin/true", directory.path().join("other"));
        std::fs::rename(directory.path().join("other"), &plain).unwrap();
        std::fs::remove_file(&marked).unwrap();
        assert_eq!(found(&children[0].1), (plain_path, true, false));
        assert_eq!(found(&children[1].1), (marked_path, true, false));
        for (child, _) in &mut children {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_seen_through_another_one() {
        // exit(2) ends one thread only.
        let program = r#"use threads; $| = 1; $t = async { sleep 1 while 1 }; print "ready\n"; require "syscall.ph"; syscall(60, 0)"#;
        let program = if cfg!(target_arch = "x86_64") { program.to_owned() } else { program.replace("60", "93") };
        let program = program.replace(r#"require "syscall.ph"; "#, "");
        let file = File::open("/etc/passwd").unwrap();
        let mut command = Command::new("/usr/bin/perl");
        let mut child = command.args(["-e", &program]).stdin(Stdio::from(file)).stdout(Stdio::null()).spawn().unwrap();
        let processes = Processes::open().unwrap();
        let pid = child.id().cast_signed();
        while processes.process(pid).unwrap().stat().unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        let process = processes.process(pid).unwrap();
        let executable = process.executable().unwrap().unwrap();
        assert_eq!(executable.path, std::fs::canonicalize("/usr/bin/perl").unwrap());
        assert!(process.descriptors().unwrap().list.contains(&(0, PathBuf::from("/etc/passwd"))));
        assert!(!process.regions().unwrap().list.is_empty() && processes.has_memory(&process));
        let name = process.stat().unwrap().name;
        assert_eq!(
            (name.as_slice(), process.read("cmdline", 13).unwrap().as_slice()),
            (&b"perl"[..], &b"/usr/bin/perl"[..])
        );
        child.kill().and_then(|()| child.wait()).unwrap();
        assert!(has_ended(&process.executable().unwrap_err()) && !processes.has_memory(&process));
    }

    #[test]
    fn a_path_that_is_too_long_hides_no_other_open_file() {
        let directory = tempfile::tempdir().unwrap();
        // Each one is opened in the one before: as a whole no path is that long.
        let mut deepest = open(CWD, directory.path().to_str().unwrap(), OFlags::DIRECTORY).unwrap();
        for _ in 0..20 {
            let name = "d".repeat(250);
            rustix::fs::mkdirat(&deepest, name.as_str(), Mode::RWXU).unwrap();
            deepest = open(&deepest, &name, OFlags::DIRECTORY).unwrap();
        }
        let mut command = Command::new("sleep");
        let file = File::open("/etc/passwd").unwrap();
        let mut child = command.arg("60").stdin(deepest).stdout(Stdio::from(file)).spawn().unwrap();
        let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
        let found = process.descriptors().unwrap();
        assert!(found.list.contains(&(1, PathBuf::from("/etc/passwd"))), "{found:?}");
        assert_eq!(Errno::from_io_error(&found.error.unwrap()), Some(Errno::NAMETOOLONG));
        child.kill().and_then(|()| child.wait()).unwrap();
    }

    #[test]
    fn a_stat_is_read_whatever_the_name_is() {
        let line = b"7 (\xff) R 1 ()) S 3 7 7 0 -1 2129984 0 0 0 0 1 2 3 4 20 0 1 0 99 5 6 7";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.name, b"\xff) R 1 ()");
        assert_eq!((stat.state, stat.parent, stat.is_kernel, stat.started_ticks), ('S', 3, true, 99));
        for broken in
            [&b""[..], b"7 (a", b"7 a) S 1", b"7 (a) S", b")(", b"7 (a) S x 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99"]
        {
            assert_eq!(Stat::parse(broken), None, "{broken:?}");
        }
    }
}
