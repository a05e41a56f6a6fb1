//! Network mounts: where they are, and which paths lead there.
//!
//! A server that is gone makes every system call on its mount hang, stat(2) too. So the list comes from
//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)), which asks no server, and a path is followed link by link up to the
//! mount and not into it. The root of the system is never taken for a network mount, or a diskless machine could
//! not be searched.
//!
//! Some links below `/proc` (`PID/exe`, `PID/cwd`, `PID/root`, `PID/fd/N`, `PID/map_files/A`, proc(5)) lead where their text
//! does not: to deleted files, to memory, into the mounts of a container. They are left to the kernel, unless the list of
//! mounts of that process says that they lead into a network mount.

use super::limits;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

/// File systems whose data are on another machine. `autofs` stands for a mount that would be made by looking at it.
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

/// FUSE file systems that are on another machine, named `fuse.<one of these>` too, beside [`NETWORK_TYPES`].
const NETWORK_FUSE: [&str; 9] =
    ["rclone", "juicefs", "seaweedfs", "moosefs", "cephfs", "ceph-fuse", "hdfs", "gvfsd-fuse", "lizardfs"];

/// The mounts that a process sees: per mount point, whether it is a network mount.
type Points = HashMap<PathBuf, bool>;

/// The mounts of this machine that matter to a walk.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    own: Arc<Points>,
    /// The network mounts: of this process, and those of others in the paths that lead to them through `/proc`.
    network: RwLock<HashSet<PathBuf>>,
    /// Where proc file systems are.
    procs: Vec<PathBuf>,
    /// The mounts that a program of this or another machine serves, which may not answer: FUSE and network mounts.
    served: HashSet<PathBuf>,
    /// What processes in other mount namespaces see, by the name of the namespace.
    others: Mutex<HashMap<PathBuf, Arc<Points>>>,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this path, which has no links in it but those that only the kernel can follow. On this machine as far as mounts
    /// tell.
    Local(PathBuf),
    /// Into the network mount at this path.
    Network(PathBuf),
}

impl Mounts {
    /// Reads the list of this process.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Mounts::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Reads the text of a mountinfo file.
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        let Listed { points: own, procs, served } = parse(mountinfo);
        let network = own.iter().filter(|(_, network)| **network).map(|(point, _)| point.clone()).collect();
        Mounts { own: Arc::new(own), network: RwLock::new(network), procs, served, others: Mutex::default() }
    }

    fn network(&self) -> RwLockReadGuard<'_, HashSet<PathBuf>> {
        self.network.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether where an entry of `directory` leads must be looked up before it is touched.
    pub(super) fn must_locate(&self, directory: &Path) -> bool {
        self.procs.iter().any(|proc| directory.starts_with(proc)) || !self.network().is_empty()
    }

    /// Whether something is mounted at `path` that may not answer.
    pub(super) fn is_served(&self, path: &Path) -> bool {
        self.served.contains(path)
    }

    /// Whether `path` is below such a mount.
    pub(super) fn may_hang(&self, path: &Path) -> bool {
        path.ancestors().any(|ancestor| self.is_served(ancestor))
    }

    /// Whether `path`, as [`Place::Local`] has it, is a network mount.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.network().contains(path)
    }

    /// Follows `path`, and every symbolic link in it, up to the first network mount.
    pub(super) fn locate(&self, path: &Path) -> io::Result<Place> {
        let start = if path.is_absolute() { PathBuf::from("/") } else { std::env::current_dir()? };
        self.follow(start, words(path).collect(), 0)
    }

    /// Follows the link `name` in the directory `at`, which is at `real`, a path without links.
    pub(super) fn locate_link(&self, at: BorrowedFd, real: &Path, name: &OsStr) -> io::Result<Place> {
        let target = PathBuf::from(OsString::from_vec(rustix::fs::readlinkat(at, name, Vec::new())?.into_bytes()));
        let link = real.join(name);
        if let Some(process) = self.process_of_jump(&link) {
            return Ok(self.network_mount_behind(&target, &process).map_or(Place::Local(link), Place::Network));
        }
        let start = if target.is_absolute() { PathBuf::from("/") } else { real.to_owned() };
        self.follow(start, words(&target).collect(), 1)
    }

    fn follow(&self, mut real: PathBuf, mut rest: VecDeque<OsString>, mut links: usize) -> io::Result<Place> {
        while let Some(word) = rest.pop_front() {
            if word == ".." {
                // What is above the end of a jump only the kernel knows.
                if real.ancestors().any(|path| self.process_of_jump(path).is_some()) {
                    real.push(word);
                } else {
                    real.pop();
                }
                continue;
            }
            real.push(&word);
            if self.contains(&real) {
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

    /// The directory below `/proc` of the process whose link `path` is, if it is one that only the kernel can follow:
    /// `PID/exe`, `PID/task/TID/fd/N`.
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

    /// The network mount into which a link of a process leads that has this text.
    fn network_mount_behind(&self, target: &Path, process: &Path) -> Option<PathBuf> {
        let points = self.points_of(process);
        // Of a pipe, a socket or a namespace the text is no path.
        let point = without_deleted(target).ancestors().find(|ancestor| points.contains_key(*ancestor))?;
        (points.get(point) == Some(&true)).then(|| point.to_owned())
    }

    /// From now on the network mounts below where the link `path` leads are known by the path through it.
    fn add_mounts_behind(&self, path: &Path, target: &Path, process: &Path) {
        let points = self.points_of(process);
        let network = points.iter().filter(|(_, network)| **network);
        let behind =
            network.filter_map(|(point, _)| Some(path.join(point.strip_prefix(without_deleted(target)).ok()?)));
        self.network.write().unwrap_or_else(PoisonError::into_inner).extend(behind);
    }

    /// The mounts that a process sees; of one that has ended, none.
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

/// The text of a link below `/proc` without what the kernel adds to it.
fn without_deleted(target: &Path) -> &Path {
    let text = target.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(text.strip_suffix(b" (deleted)").unwrap_or(text)))
}

/// What a mountinfo file lists.
#[derive(Default)]
struct Listed {
    points: Points,
    procs: Vec<PathBuf>,
    served: HashSet<PathBuf>,
}

/// Reads the text of a mountinfo file; lines that are not understood are left out.
fn parse(mountinfo: &[u8]) -> Listed {
    let mut listed = Listed::default();
    for line in mountinfo.split(|&byte| byte == b'\n') {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let separator = words.iter().position(|word| *word == b"-");
        let kind = separator.and_then(|at| words.get(at + 1));
        if let (Some(point), Some(kind)) = (words.get(4), kind) {
            let (point, kind) = (unescape(point), String::from_utf8_lossy(kind));
            if kind == "proc" {
                listed.procs.push(point.clone());
            }
            // A later mount on the same point covers the earlier: an automounted disk its autofs.
            let is_below_root = point != Path::new("/");
            if is_below_root && (is_network(&kind) || kind.starts_with("fuse")) {
                listed.served.insert(point.clone());
            } else {
                listed.served.remove(&point);
            }
            listed.points.insert(point, is_below_root && is_network(&kind));
        }
    }
    listed
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

/// Space, tab, newline and backslash are written as `\040` in mountinfo.
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
