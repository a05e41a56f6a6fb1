//! What is known of one process. Everything is read when it is asked for, and once.

use super::clock::Clock;
use super::users::Users;
use crate::modules::expressions::Texts;
use crate::modules::processes::{self, Executable, Process, Processes, Stat};
use sha2::{Digest, Sha256};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// Bytes of a command line or an environment: the kernel starts no program with more than 6 MiB of both.
const MEMORY_BYTES_MAX: u64 = 8 << 20;
/// Bytes of `status` and `cgroup`.
const SHORT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a program that are read at once, between looks at the clock.
const BLOCK_BYTES: usize = 256 << 10;
/// Programs whose hash is remembered: more than a machine runs.
const HASHES_MAX: usize = 100_000;
/// Namespaces that make a container.
const NAMESPACES: [&str; 5] = ["mnt", "pid", "net", "user", "uts"];

/// What texts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Its name, and the file name of its program.
    Name,
    /// The path of its program.
    Path,
    /// Its command line.
    CommandLine,
    /// The names of the variables of its environment.
    Variables,
    /// The names and numbers of its users.
    User,
    /// The id and the name of its parent.
    Parent,
    /// The paths of the files that it has open.
    OpenFiles,
}

/// Kinds of [`About`].
const KINDS: usize = 7;

/// A state of a file: device, inode, size, and the time of its last change.
type Version = (u64, u64, u64, i64, i64);

/// What is the same for all processes.
pub(super) struct Machine {
    /// All of them.
    pub(super) processes: Processes,
    /// When.
    pub(super) clock: Clock,
    /// When hashing ends at the latest.
    pub(super) deadline: Option<Instant>,
    users: io::Result<Users>,
    /// Our own.
    namespaces: Vec<(&'static str, Option<std::path::PathBuf>)>,
    /// Of programs.
    hashes: RefCell<HashMap<Version, String>>,
}

/// One process.
pub(super) struct Facts<'m> {
    /// It.
    pub(super) process: Process,
    /// Its state when it was first looked at.
    pub(super) stat: Stat,
    /// It ended while it was looked at.
    pub(super) has_ended: Cell<bool>,
    /// What could not be read.
    pub(super) errors: RefCell<Vec<(&'static str, io::Error)>>,
    machine: &'m Machine,
    executable: OnceCell<Option<Option<Executable>>>,
    users: OnceCell<Option<[u32; 2]>>,
    sha256: OnceCell<Option<Option<String>>>,
    texts: [OnceCell<Texts>; KINDS],
}

impl Machine {
    /// This one.
    pub(super) fn open(deadline: Option<Instant>) -> io::Result<Machine> {
        let processes = Processes::open()?;
        let own = processes.process(std::process::id().cast_signed())?;
        let namespaces = NAMESPACES.map(|name| (name, own.link(&format!("ns/{name}")).ok())).into();
        let users = Users::read(&crate::modules::files::Machine::this());
        Ok(Machine { processes, clock: Clock::now(), deadline, users, namespaces, hashes: RefCell::default() })
    }
}

impl<'m> Facts<'m> {
    /// Of a process. None: it has ended.
    pub(super) fn of(pid: i32, machine: &'m Machine) -> io::Result<Option<Facts<'m>>> {
        let opened = machine.processes.process(pid).and_then(|process| Ok((process.stat()?, process)));
        let (stat, process) = match opened {
            Err(error) if processes::has_ended(&error) => return Ok(None),
            opened => opened?,
        };
        Ok(Some(Facts {
            process,
            stat,
            has_ended: Cell::new(false),
            errors: RefCell::default(),
            machine,
            executable: OnceCell::new(),
            users: OnceCell::new(),
            sha256: OnceCell::new(),
            texts: Default::default(),
        }))
    }

    /// What messages call it: `12 (sshd)`.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.process.pid, String::from_utf8_lossy(&self.stat.name))
    }

    /// Something that was read; `empty` if the process has none, as it has no memory. None: it could not be read.
    fn tried<T>(&self, what: &'static str, empty: T, read: io::Result<T>) -> Option<T> {
        match read {
            Ok(read) => return Some(read),
            Err(error) if processes::has_ended(&error) => match self.process.nothing::<()>() {
                Ok(()) => return Some(empty),
                Err(error) if processes::has_ended(&error) => self.has_ended.set(true),
                Err(error) => self.errors.borrow_mut().push((what, error)),
            },
            Err(error) => self.errors.borrow_mut().push((what, error)),
        }
        None
    }

    /// Its program. None: unknown; none within: it has none.
    pub(super) fn executable(&self) -> Option<&Option<Executable>> {
        self.executable.get_or_init(|| self.tried("exe", None, self.process.executable())).as_ref()
    }

    /// The numbers of its real and its effective user.
    fn users(&self) -> Option<[u32; 2]> {
        let read = || {
            let text = self.process.read("status", SHORT_BYTES_MAX)?;
            users(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its users cannot be read"))
        };
        *self.users.get_or_init(|| self.tried("status", None, read().map(Some)).flatten())
    }

    /// Texts about it.
    pub(super) fn texts(&self, about: About) -> &Texts {
        self.texts[about as usize].get_or_init(|| match about {
            About::Name => self.names(),
            About::Path => match self.executable() {
                None => Texts::default(),
                Some(executable) => all(vec![executable.as_ref().map_or(Vec::new(), |exe| bytes(&exe.path))]),
            },
            About::CommandLine => self.memory("cmdline", |text| vec![command_line(text)]),
            About::Variables => self.memory("environ", variables),
            About::User => self.user_texts(),
            About::Parent => self.parent(),
            About::OpenFiles => self.open_files(),
        })
    }

    fn names(&self) -> Texts {
        let mut known = vec![self.stat.name.clone()];
        let executable = self.executable();
        let file_name = executable.and_then(|executable| executable.as_ref()?.path.file_name());
        known.extend(file_name.map(|name| name.as_bytes().to_vec()));
        Texts { known, are_all: executable.is_some() }
    }

    /// Texts in its memory.
    fn memory(&self, file: &'static str, parts: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Texts {
        let read = self.tried(file, Vec::new(), self.process.read(file, MEMORY_BYTES_MAX));
        let Some(text) = read else { return Texts::default() };
        let are_all = (text.len() as u64) < MEMORY_BYTES_MAX;
        if !are_all {
            let reason = format!("it has more than {MEMORY_BYTES_MAX} bytes, of which the first were looked at");
            self.errors.borrow_mut().push((file, io::Error::other(reason)));
        }
        Texts { known: parts(&text), are_all }
    }

    fn user_texts(&self) -> Texts {
        let Some(ids) = self.users() else { return Texts::default() };
        let mut texts = all(ids.iter().map(|id| id.to_string().into_bytes()).collect());
        match &self.machine.users {
            Ok(users) => {
                texts.known.extend(ids.iter().filter_map(|id| users.name(*id)).map(|name| name.as_bytes().to_vec()));
                texts.are_all = ids.iter().all(|id| users.knows(*id));
                if !texts.are_all {
                    let reason = "/etc/passwd does not have the user, and this machine has other sources of names";
                    self.errors.borrow_mut().push(("the user's name", io::Error::other(reason)));
                }
            }
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("/etc/passwd and nsswitch.conf: {error}"));
                self.errors.borrow_mut().push(("the user's name", error));
                texts.are_all = false;
            }
        }
        texts
    }

    fn parent(&self) -> Texts {
        let mut texts = all(vec![self.stat.parent.to_string().into_bytes()]);
        let parent = self.machine.processes.process(self.stat.parent).and_then(|parent| parent.stat());
        match parent {
            Ok(stat) => texts.known.push(stat.name),
            // It has ended, or is outside of this PID namespace.
            Err(error) if processes::has_ended(&error) => {}
            Err(error) => {
                self.errors.borrow_mut().push(("the parent", error));
                texts.are_all = false;
            }
        }
        texts
    }

    fn open_files(&self) -> Texts {
        let is_over = || self.machine.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let read = self.tried("fd", Default::default(), self.process.open_files(&is_over));
        let Some((paths, error)) = read else { return Texts::default() };
        let mut known = Vec::new();
        for path in paths {
            let path = bytes(&path);
            let bare = processes::without_mark(&path);
            if bare.len() < path.len() {
                known.push(bare.to_vec());
            }
            known.push(path);
        }
        known.sort_unstable();
        known.dedup();
        let are_all = error.is_none();
        self.errors.borrow_mut().extend(error.map(|error| ("fd", error)));
        Texts { known, are_all }
    }

    /// The digits of the hash of its program. None: unknown; none within: it has none.
    pub(super) fn sha256(&self) -> Option<&Option<String>> {
        let read = || match self.executable()? {
            None => Some(None),
            Some(_) => self.tried("the program", None, self.hash().map(Some)),
        };
        self.sha256.get_or_init(read).as_ref()
    }

    /// The hash, if it was asked for.
    pub(super) fn known_sha256(&self) -> Option<&str> {
        self.sha256.get()?.as_ref()?.as_deref()
    }

    fn hash(&self) -> io::Result<String> {
        let mut file = self.process.open("exe")?;
        let metadata = file.metadata()?;
        let id = (metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
        if let Some(known) = self.machine.hashes.borrow().get(&id) {
            return Ok(known.clone());
        }
        let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK_BYTES]);
        loop {
            if self.machine.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the time limit was reached"));
            }
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(count) => hash.update(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let digits = crate::hex::encode(&hash.finalize());
        let mut hashes = self.machine.hashes.borrow_mut();
        if hashes.len() < HASHES_MAX {
            hashes.insert(id, digits.clone());
        }
        Ok(digits)
    }

    /// The name of its effective user, and of its real one if that is another; a number where there is no name.
    pub(super) fn user_names(&self) -> Option<(String, u32, Option<String>)> {
        let [real, effective] = self.users()?;
        let known = |id: u32| self.machine.users.as_ref().ok().and_then(|users| users.name(id));
        let name = |id: u32| known(id).map_or_else(|| id.to_string(), str::to_owned);
        Some((name(effective), effective, (real != effective).then(|| name(real))))
    }

    /// The namespaces that are not ours.
    pub(super) fn namespaces(&self) -> Vec<&'static str> {
        let is_other = |(name, own): &&(&'static str, Option<std::path::PathBuf>)| {
            own.is_some() && self.process.link(&format!("ns/{name}")).is_ok_and(|other| Some(&other) != own.as_ref())
        };
        self.machine.namespaces.iter().filter(is_other).map(|(name, _)| *name).collect()
    }

    /// Its control group, which a container's runtime names after the container.
    pub(super) fn control_group(&self) -> Option<String> {
        let text = self.process.read("cgroup", SHORT_BYTES_MAX).ok()?;
        let text = String::from_utf8_lossy(&text);
        let path = |line: &str| Some(line.splitn(3, ':').nth(2)?.to_owned());
        // That of the unified hierarchy, `0::/path`, is the last one.
        text.lines().rev().filter_map(path).find(|path| path != "/")
    }
}

fn all(known: Vec<Vec<u8>>) -> Texts {
    Texts { known, are_all: true }
}

fn bytes(path: &std::path::Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// Arguments, each of which ends with a NUL, with spaces between them.
fn command_line(text: &[u8]) -> Vec<u8> {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text[..end].iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

/// The names of variables; what is not `NAME=value` is none.
fn variables(text: &[u8]) -> Vec<Vec<u8>> {
    let name = |entry: &[u8]| {
        let end = entry.iter().position(|byte| *byte == b'=')?;
        Some(entry[..end].to_vec())
    };
    text.split(|byte| *byte == 0).filter_map(name).collect()
}

/// The real and the effective user, of `Uid:\t0\t0\t0\t0`.
fn users(status: &[u8]) -> Option<[u32; 2]> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut ids = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse::<u32>);
    Some([ids.next()?.ok()?, ids.next()?.ok()?])
}
