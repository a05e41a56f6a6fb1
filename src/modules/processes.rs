//! Processes of this machine, as `/proc` shows them.
//!
//! A process is held by its directory: a later process with the same id is never taken for it, it has just ended (`ESRCH`).
//! Its texts are bytes, bounded, and may be anything that it wrote there.

mod ids;
mod memory;
mod regions;
#[cfg(test)]
mod tests;
mod unread;

pub(super) use ids::Ids;
#[cfg(test)]
pub(super) use memory::PIECE_BYTES;
pub(super) use memory::{Memory, Parts, Piece, Range, Reader, Walk};
pub(super) use regions::{Devices, Region};
pub(super) use unread::Unread;

use super::files;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::collections::BTreeSet;
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
        let directory = open(&self.directory, pid.to_string(), OFlags::DIRECTORY)?;
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
            stat.runs().then_some(thread)
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
        let directory = open(&self.directory, format!("task/{id}"), OFlags::DIRECTORY)?;
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
            Some(_) if self.has_thread_that_runs()? => Err(io::Error::other("the thread that was looked at has ended")),
            _ => Ok(T::default()),
        }
    }

    fn has_thread_that_runs(&self) -> io::Result<bool> {
        let runs = |id| self.thread(id).and_then(|thread| thread.stat()).is_ok_and(|stat| stat.runs());
        Ok(self.threads()?.into_iter().any(runs))
    }

    /// Whether its program has this name, as the process sees files: a name may end as the kernel's mark does. No link is followed
    /// on the way: the kernel's path has none, and one that is there now may lead to a mount that hangs.
    fn is_executable_at(&self, path: &std::path::Path) -> bool {
        let find = || {
            let own = rustix::fs::statat(self.own(), "exe", AtFlags::NO_AUTOMOUNT)?;
            if own.st_nlink == 0 {
                return Ok(false);
            }
            let place = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
            let root = rustix::fs::openat(self.own(), "root", place, Mode::empty())?;
            let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
            let directory = files::descend(root, above, OFlags::PATH)?;
            let found = rustix::fs::statat(&directory, name, AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW)?;
            Ok::<_, Errno>((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino))
        };
        find().unwrap_or(false)
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

    /// How many descriptors there are to look at, in all its threads.
    pub(super) fn count_descriptors(&self) -> io::Result<usize> {
        let of_one = Dir::read_from(open(self.own(), "fd", OFlags::DIRECTORY)?)?.count();
        Ok(of_one.saturating_mul(self.threads()?.len()))
    }

    /// Where the descriptors of all its threads lead, of which each may have a table of its own, and why some are missing.
    pub(super) fn open_files(&self, is_over: &dyn Fn() -> bool) -> io::Result<(BTreeSet<PathBuf>, Option<io::Error>)> {
        let Descriptors { list, mut error } = self.descriptors()?;
        let mut paths: BTreeSet<PathBuf> = list.into_iter().map(|(_, path)| path).collect();
        for id in self.threads()?.into_iter().filter(|id| *id != self.pid) {
            if is_over() {
                error = Some(io::Error::other("there was no time for all of its threads"));
                break;
            }
            match self.thread(id).and_then(|thread| thread.descriptors()) {
                Ok(of_thread) => {
                    paths.extend(of_thread.list.into_iter().map(|(_, path)| path));
                    error = of_thread.error.or(error);
                }
                Err(ended) if has_ended(&ended) => {}
                Err(other) => error = Some(other),
            }
        }
        Ok((paths, error))
    }
}

impl Stat {
    /// Whether it has not ended.
    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

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

fn open(directory: impl rustix::fd::AsFd, name: impl rustix::path::Arg, kind: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | kind;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// The beginning of a file.
fn read(directory: impl rustix::fd::AsFd, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::from(open(directory, name, OFlags::empty())?).take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
