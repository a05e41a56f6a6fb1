//! Network mounts: where they are, and which paths lead there.
//!
//! A server that is gone makes every system call on its mount hang, stat(2) too. So the list comes from
//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)), which asks no server, and a path is followed link by link up to the
//! mount and not into it. The root of the system is never taken for a network mount, or a diskless machine could
//! not be searched.

use super::limits;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

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

/// The network mounts of this machine.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    points: HashSet<PathBuf>,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this path without links, on this machine as far as mounts tell.
    Local(PathBuf),
    /// Into the network mount at this path.
    Network(PathBuf),
}

impl Mounts {
    /// Reads the list of this process.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Mounts::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Reads the text of a mountinfo file; lines that are not understood are left out.
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        let mut top: HashMap<PathBuf, bool> = HashMap::new();
        for line in mountinfo.split(|&byte| byte == b'\n') {
            let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            let separator = words.iter().position(|word| *word == b"-");
            let kind = separator.and_then(|at| words.get(at + 1));
            if let (Some(point), Some(kind)) = (words.get(4), kind) {
                // A later mount on the same point covers the earlier: an automounted disk its autofs.
                top.insert(unescape(point), is_network(&String::from_utf8_lossy(kind)));
            }
        }
        let points = top.into_iter().filter(|(point, network)| *network && point != Path::new("/"));
        Mounts { points: points.map(|(point, _)| point).collect() }
    }

    /// No network mounts: nothing to look out for.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Whether `path`, which has no links in it, is a network mount.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.points.contains(path)
    }

    /// Follows `path`, and every symbolic link in it, up to the first network mount.
    pub(super) fn locate(&self, path: &Path) -> io::Result<Place> {
        let mut real = if path.is_absolute() { PathBuf::from("/") } else { std::env::current_dir()? };
        let mut rest: VecDeque<OsString> = words(path).collect();
        let mut links = 0;
        while let Some(word) = rest.pop_front() {
            if word == ".." {
                real.pop();
                continue;
            }
            real.push(&word);
            if self.points.contains(&real) {
                return Ok(Place::Network(real));
            }
            match std::fs::read_link(&real) {
                Ok(target) => {
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
                // EINVAL: not a link.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Place::Local(real))
    }
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
