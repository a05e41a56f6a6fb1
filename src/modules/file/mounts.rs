//! Network mounts: their mount points, and which paths lead into them.
//!
//! If a server is unavailable, every system call on its mount hangs, even stat(2). So the list comes from
//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)), which contacts no server, and a path is resolved link by link up to
//! the mount and not into it. The root file system never counts as a network mount, or a diskless machine could not be
//! searched.
//!
//! Some links below `/proc` (`PID/exe`, `PID/cwd`, `PID/root`, `PID/fd/N`, `PID/map_files/A`, proc(5)), called jumps
//! here, do not lead where their text says: they lead to deleted files, to memory, into the mounts of a container. The
//! kernel follows them, unless the mountinfo of that process says that they lead into a network mount.

use super::limits;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

/// File systems whose data are on another machine. An `autofs` mount point triggers a mount when it is accessed.
const NETWORK_TYPES: [&str; 32] = [
    "nfs",
    "nfs3",
    "nfs4",
    "cifs",
    "smb",
    "smb2",
    "smb3",
    "smbfs",
    "ncp",
    "ncpfs",
    "9p",
    "afs",
    "coda",
    "ceph",
    "gfs",
    "gfs2",
    "ocfs2",
    "glusterfs",
    "lustre",
    "orangefs",
    "pvfs2",
    "beegfs",
    "gpfs",
    "davfs",
    "davfs2",
    "sshfs",
    "s3fs",
    "gcsfuse",
    "goofys",
    "mfs",
    "curlftpfs",
    "autofs",
];

/// FUSE file systems on another machine, named `fuse.<type>`, in addition to [`NETWORK_TYPES`].
const NETWORK_FUSE: [&str; 9] =
    ["rclone", "juicefs", "seaweedfs", "moosefs", "cephfs", "ceph-fuse", "hdfs", "gvfsd-fuse", "lizardfs"];

/// The mounts in the namespace of a process: per mount point, whether it is a network mount.
type Points = HashMap<PathBuf, bool>;

/// The mounts of this machine, as far as a walk needs them.
#[derive(Debug, Default)]
pub(in crate::modules) struct Mounts {
    own: Arc<Points>,
    /// The network mounts: of this process, and those of others by the paths that lead to them through `/proc`.
    network: RwLock<HashSet<PathBuf>>,
    /// Mount points of proc file systems.
    procs: Vec<PathBuf>,
    /// The mounts served by a program on this or another machine, which may hang: FUSE and network mounts.
    served: HashSet<PathBuf>,
    /// The mounts in other mount namespaces, by the name of the namespace.
    others: Mutex<HashMap<PathBuf, Arc<Points>>>,
}

/// A resolved path.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::modules) enum Place {
    /// This path, whose only links are jumps. Local, as far as the mounts are known.
    Local(PathBuf),
    /// Into the network mount at this path, or another at which resolving was to stop.
    Network(PathBuf),
}

impl Mounts {
    /// Reads the mounts of this process.
    pub(in crate::modules) fn read() -> io::Result<Self> {
        Ok(Mounts::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Parses the text of a mountinfo file.
    pub(in crate::modules) fn parse(mountinfo: &[u8]) -> Self {
        let Listed { points: own, procs, served } = parse(mountinfo);
        let network = own.iter().filter(|(_, network)| **network).map(|(point, _)| point.clone()).collect();
        Mounts { own: Arc::new(own), network: RwLock::new(network), procs, served, others: Mutex::default() }
    }

    fn network(&self) -> RwLockReadGuard<'_, HashSet<PathBuf>> {
        self.network.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a link in `directory` must be resolved before it is accessed.
    pub(super) fn must_locate(&self, directory: &Path) -> bool {
        self.procs.iter().any(|proc| directory.starts_with(proc)) || !self.network().is_empty()
    }

    /// Whether a walk from `path` may enter a proc file system. A path that does not exist leads nowhere; what is behind a
    /// mount that may hang is not known.
    pub(super) fn leads_to_proc(&self, path: &Path) -> bool {
        match start_of(path).and_then(|start| self.reach(start, words(path).collect(), 0)) {
            Ok(real) => self.procs.iter().any(|proc| real.starts_with(proc) || proc.starts_with(&real)),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Whether the link `name` in the directory `at`, whose path without links is `real`, leads to a process below `/proc`.
    pub(super) fn leads_into_process(&self, at: BorrowedFd, real: &Path, name: &OsStr) -> bool {
        let target = text_of_link(at, name);
        let end = target.and_then(|target| self.reach(start_of_link(&target, real), words(&target).collect(), 1));
        end.is_ok_and(|end| self.is_process(&end))
    }

    /// Whether nothing is at `path`. What is behind a mount that may hang, or in a process, is not known: it counts as missing.
    pub(super) fn is_missing(&self, path: &Path) -> bool {
        let end = start_of(path).and_then(|start| self.reach(start, words(path).collect(), 0));
        end.map_or(true, |end| (self.is_served(&end) && !self.contains(&end)) || self.is_process(&end))
    }

    /// Resolves a path as far as nothing can hang: up to a mount that may, or to a process below `/proc`, with no system call
    /// there.
    fn reach(&self, start: PathBuf, rest: VecDeque<OsString>, links: usize) -> io::Result<PathBuf> {
        let stops = |path: &Path| self.is_served(path) || self.contains(path) || self.is_process(path);
        match self.follow_until(start, rest, links, &stops)? {
            Place::Local(end) | Place::Network(end) => Ok(end),
        }
    }

    /// Whether `path` is the directory of a process below `/proc`.
    fn is_process(&self, path: &Path) -> bool {
        let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
        path.file_name().is_some_and(is_number) && self.procs.iter().any(|proc| path.parent() == Some(proc.as_path()))
    }

    /// Whether a mount at `path` may hang.
    pub(in crate::modules) fn is_served(&self, path: &Path) -> bool {
        self.served.contains(path)
    }

    /// Whether `path` is below such a mount.
    pub(super) fn may_hang(&self, path: &Path) -> bool {
        path.ancestors().any(|ancestor| self.is_served(ancestor))
    }

    /// Whether `path`, as [`Place::Local`] has it, is a network mount.
    pub(in crate::modules) fn contains(&self, path: &Path) -> bool {
        self.network().contains(path)
    }

    /// Resolves `path`, and every symbolic link in it, up to the first network mount.
    pub(in crate::modules) fn locate(&self, path: &Path) -> io::Result<Place> {
        self.follow(start_of(path)?, words(path).collect(), 0)
    }

    /// Resolves the link `name` in the directory `at`, whose path without links is `real`.
    pub(in crate::modules) fn locate_link(&self, at: BorrowedFd, real: &Path, name: &OsStr) -> io::Result<Place> {
        let target = text_of_link(at, name)?;
        let link = real.join(name);
        if let Some(process) = self.process_of_jump(&link) {
            return Ok(self.network_mount_behind(&target, &process).map_or(Place::Local(link), Place::Network));
        }
        self.follow(start_of_link(&target, real), words(&target).collect(), 1)
    }

    fn follow(&self, real: PathBuf, rest: VecDeque<OsString>, links: usize) -> io::Result<Place> {
        self.follow_until(real, rest, links, &|path| self.contains(path))
    }

    /// Resolves `rest` from `real`, up to a path at which it `stops`: that is not accessed.
    fn follow_until(
        &self,
        mut real: PathBuf,
        mut rest: VecDeque<OsString>,
        mut links: usize,
        stops: &dyn Fn(&Path) -> bool,
    ) -> io::Result<Place> {
        while let Some(word) = rest.pop_front() {
            if word == ".." {
                // Only the kernel knows the parent of a jump's target.
                if real.ancestors().any(|path| self.process_of_jump(path).is_some()) {
                    real.push(word);
                } else {
                    real.pop();
                }
                continue;
            }
            real.push(&word);
            if stops(&real) {
                return Ok(Place::Network(real));
            }
            let target = match std::fs::read_link(&real) {
                Ok(target) => target,
                // EINVAL: not a link.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
                Err(error) => return Err(error),
            };
            if let Some(process) = self.process_of_jump(&real) {
                if let Some(point) = self.network_mount_behind(&target, &process) {
                    return Ok(Place::Network(point));
                }
                self.add_mounts_behind(&real, &target, &process);
                continue;
            }
            links += 1;
            if links > limits::LINKS_PER_PATH_MAX {
                return Err(rustix::io::Errno::LOOP.into());
            }
            real.pop();
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            for word in words(&target).rev() {
                rest.push_front(word);
            }
        }
        Ok(Place::Local(real))
    }

    /// Returns the directory below `/proc` of the process whose link `path` is, if it is a jump: `PID/exe`,
    /// `PID/task/TID/fd/N`.
    fn process_of_jump(&self, path: &Path) -> Option<PathBuf> {
        let proc = self.procs.iter().find(|proc| path.starts_with(proc))?;
        let below: Vec<&str> = path.strip_prefix(proc).ok()?.iter().map(OsStr::to_str).collect::<Option<_>>()?;
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let (process, link) = match below.as_slice() {
            [process, "task", thread, link @ ..] if is_number(thread) => (process, link),
            [process, link @ ..] => (process, link),
            [] => return None,
        };
        let jumps = matches!(link, ["exe" | "cwd" | "root"] | ["fd" | "map_files" | "ns", _]);
        (jumps && is_number(process)).then(|| proc.join(process))
    }

    /// Returns the network mount into which a jump of a process leads; `target` is the text of the link.
    fn network_mount_behind(&self, target: &Path, process: &Path) -> Option<PathBuf> {
        let points = self.points_of(process);
        // The text of a pipe, a socket or a namespace is not a path.
        let point = without_deleted(target).ancestors().find(|ancestor| points.contains_key(*ancestor))?;
        (points.get(point) == Some(&true)).then(|| point.to_owned())
    }

    /// Adds the network mounts below the target of the jump `path`, by their paths through it.
    fn add_mounts_behind(&self, path: &Path, target: &Path, process: &Path) {
        let points = self.points_of(process);
        let network = points.iter().filter(|(_, network)| **network);
        let behind =
            network.filter_map(|(point, _)| Some(path.join(point.strip_prefix(without_deleted(target)).ok()?)));
        self.network.write().unwrap_or_else(PoisonError::into_inner).extend(behind);
    }

    /// Returns the mounts in the namespace of a process; none if it has ended.
    fn points_of(&self, process: &Path) -> Arc<Points> {
        let Ok(namespace) = std::fs::read_link(process.join("ns/mnt")) else { return Arc::default() };
        if std::fs::read_link("/proc/self/ns/mnt").is_ok_and(|own| own == namespace) {
            return self.own.clone();
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(&namespace) {
            return known.clone();
        }
        let Ok(text) = std::fs::read(process.join("mountinfo")) else { return Arc::default() };
        others.entry(namespace).or_insert(Arc::new(parse(&text).points)).clone()
    }
}

/// Strips the suffix that the kernel adds to the text of a link below `/proc`.
fn without_deleted(target: &Path) -> &Path {
    let text = target.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(text.strip_suffix(b" (deleted)").unwrap_or(text)))
}

/// The contents of a mountinfo file.
#[derive(Default)]
struct Listed {
    points: Points,
    procs: Vec<PathBuf>,
    served: HashSet<PathBuf>,
}

/// A line of a mountinfo file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::modules) struct Mount {
    /// Its number, that of the mount that it is in, its device, and what of that is mounted.
    identity: [Vec<u8>; 4],
    /// Where it is.
    pub(in crate::modules) point: PathBuf,
    /// The type of its file system.
    pub(in crate::modules) kind: String,
}

/// The lines of a mountinfo file; malformed ones are skipped.
pub(in crate::modules) fn lines(mountinfo: &[u8]) -> impl Iterator<Item = Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let separator = words.iter().position(|word| *word == b"-")?;
        let (point, kind) = (words.get(4)?, words.get(separator + 1)?);
        let identity = [0, 1, 2, 3].map(|at| words[at].to_vec());
        Some(Mount { identity, point: unescape(point), kind: String::from_utf8_lossy(kind).into_owned() })
    })
}

/// Parses the text of a mountinfo file.
fn parse(mountinfo: &[u8]) -> Listed {
    let mut listed = Listed::default();
    for Mount { point, kind, .. } in lines(mountinfo) {
        if kind == "proc" {
            listed.procs.push(point.clone());
        }
        // A later mount on the same point hides the earlier one: an automounted disk hides its autofs.
        let is_below_root = point != Path::new("/");
        if is_below_root && (is_network(&kind) || kind.starts_with("fuse")) {
            listed.served.insert(point.clone());
        } else {
            listed.served.remove(&point);
        }
        listed.points.insert(point, is_below_root && is_network(&kind));
    }
    listed
}

/// Where resolving a path begins.
fn start_of(path: &Path) -> io::Result<PathBuf> {
    if path.is_absolute() { Ok("/".into()) } else { std::env::current_dir() }
}

/// Where resolving the target of a link in `directory` begins.
fn start_of_link(target: &Path, directory: &Path) -> PathBuf {
    if target.is_absolute() { "/".into() } else { directory.to_owned() }
}

fn text_of_link(at: BorrowedFd, name: &OsStr) -> io::Result<PathBuf> {
    Ok(OsString::from_vec(rustix::fs::readlinkat(at, name, Vec::new())?.into_bytes()).into())
}

fn words(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(word) => Some(word.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn is_network(kind: &str) -> bool {
    match kind.strip_prefix("fuse.") {
        Some(fuse) => NETWORK_TYPES.contains(&fuse) || NETWORK_FUSE.contains(&fuse),
        None => NETWORK_TYPES.contains(&kind),
    }
}

/// Decodes octal escapes: mountinfo writes a space as `\040`, likewise tab, newline and backslash.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut at = 0;
    while at < word.len() {
        let octal = word.get(at + 1..at + 4).filter(|_| word[at] == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(word[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(bytes))
}
