//! What is mounted, and what of that has changed: `/proc/self/mountinfo`, which poll(2) says something of when it changes.

use crate::modules::file::mounts::{self, Mount};
use rustix::event::{PollFd, PollFlags};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// As many mounts as a kernel permits in a namespace (100,000), with long paths.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// File systems whose changes the kernel does not tell.
const KINDS_WITHOUT_EVENTS: [&str; 2] = ["proc", "sysfs"];

/// See the module docs.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// None: it could not be opened.
    file: Option<File>,
    all: HashSet<Mount>,
    /// The type of what is mounted at a path; of several mounts the last one counts.
    kinds: HashMap<PathBuf, String>,
    /// Where paths lead without asking a server.
    pub(super) ways: mounts::Mounts,
}

impl Mounts {
    /// What is to be polled.
    pub(super) fn polled(&self) -> Option<PollFd<'_>> {
        self.file.as_ref().map(|file| PollFd::new(file, PollFlags::PRI))
    }

    /// Reads what is mounted now. Returns where that has changed, without paths below another one.
    pub(super) fn look(&mut self) -> io::Result<Vec<PathBuf>> {
        let text = self.read()?;
        Ok(self.take(&text))
    }

    /// The text; the file stays open if it can be read.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => File::open("/proc/self/mountinfo")?,
        };
        file.rewind()?;
        let mut text = Vec::new();
        if (&file).take(TEXT_BYTES_MAX).read_to_end(&mut text)? as u64 == TEXT_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {TEXT_BYTES_MAX} bytes")));
        }
        self.file = Some(file);
        Ok(text)
    }

    /// Takes this text of a mountinfo file for the present one.
    pub(super) fn take(&mut self, text: &[u8]) -> Vec<PathBuf> {
        let listed: Vec<Mount> = mounts::lines(text).collect();
        self.kinds = listed.iter().map(|mount| (mount.point.clone(), mount.kind.clone())).collect();
        self.ways = mounts::Mounts::parse(text);
        let before = std::mem::replace(&mut self.all, listed.into_iter().collect());
        let mut changed: Vec<PathBuf> =
            before.symmetric_difference(&self.all).map(|mount| mount.point.clone()).collect();
        changed.sort();
        let mut above: Option<PathBuf> = None;
        changed.retain(|point| {
            let is_below = above.as_ref().is_some_and(|above| point.starts_with(above));
            if !is_below {
                above = Some(point.clone());
            }
            !is_below
        });
        changed
    }

    /// Why a mount is not entered that is found below a path.
    pub(super) fn bar(&self, point: &Path) -> Option<String> {
        let kind = self.kinds.get(point)?;
        if self.ways.contains(point) {
            return Some(format!("a network mount ({kind}) is not entered"));
        }
        if self.ways.is_served(point) {
            return Some(format!("a mount that a program serves ({kind}) is not entered unless it is asked for"));
        }
        if KINDS_WITHOUT_EVENTS.contains(&kind.as_str()) {
            return Some(format!("the kernel tells no changes of a file system of the type {kind}"));
        }
        let is_file = fs::symlink_metadata(point).is_ok_and(|metadata| !metadata.is_dir());
        is_file.then(|| "a file is mounted there: it is not noticed when it is written to".to_owned())
    }

    /// Whether a walk stops at this directory.
    pub(super) fn bars_directory(&self, path: &Path) -> bool {
        self.kinds.contains_key(path) && self.bar(path).is_some()
    }

    /// The mounts at a path and below it, in order.
    pub(super) fn below(&self, top: &Path) -> Vec<PathBuf> {
        let mut points: Vec<PathBuf> = self.kinds.keys().filter(|point| point.starts_with(top)).cloned().collect();
        points.sort();
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_changes_are_found_and_what_is_not_entered_is_known() {
        let mut mounts = Mounts::default();
        let root = "20 1 8:1 / / rw - ext4 /dev/sda rw\n";
        mounts.take(root.as_bytes());
        let with = |lines: &str| format!("{root}{lines}").into_bytes();
        let text = with(
            "30 20 0:5 / /t/a rw - tmpfs x rw\n31 30 0:6 / /t/a/b rw - tmpfs x rw\n32 20 0:7 / /t/ab\\040c rw - nfs4 s:/ rw\n33 20 0:8 / /t/p rw - proc p rw\n34 20 0:9 / /t/f rw - fuse.own o rw\nbad\n",
        );
        assert_eq!(mounts.take(&text), ["/t/a", "/t/ab c", "/t/f", "/t/p"].map(PathBuf::from));
        assert!(mounts.take(&text).is_empty());
        for (point, reason) in [
            ("/t/ab c", "a network mount (nfs4)"),
            ("/t/p", "the kernel tells no changes"),
            ("/t/f", "a mount that a program serves (fuse.own)"),
        ] {
            assert!(mounts.bar(Path::new(point)).unwrap().starts_with(reason), "{point}");
        }
        assert_eq!(mounts.bar(Path::new("/t/a")), None);
        assert_eq!(mounts.below(Path::new("/t/a")), ["/t/a", "/t/a/b"].map(PathBuf::from));
        // Other options are no other mount; another mount at the same place is one.
        let same = with("30 20 0:5 / /t/a ro,nosuid - tmpfs x ro\n35 30 0:6 / /t/a/b rw - tmpfs x rw\n");
        assert_eq!(mounts.take(&same), ["/t/a/b", "/t/ab c", "/t/f", "/t/p"].map(PathBuf::from));
        assert_eq!(mounts.take(b"20 1 8:1 / / rw - ext4 /dev/sda rw\n"), [PathBuf::from("/t/a")]);
        // A machine without disks.
        mounts.take(b"20 1 0:1 / / rw - nfs s:/ rw\n");
        assert_eq!(mounts.bar(Path::new("/")), None);
    }

    #[test]
    fn what_is_mounted_here_is_read_again_without_a_change() {
        let mut mounts = Mounts::default();
        assert!(!mounts.look().unwrap().is_empty());
        mounts.look().unwrap();
        assert!(mounts.polled().is_some() && mounts.kinds.contains_key(Path::new("/")));
    }
}
