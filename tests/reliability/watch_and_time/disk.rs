//! A small disk: a tmpfs over a directory, that can be filled up and emptied.

use crate::common::Sandbox;
use crate::common::mounts::{self, run};
use std::path::{Path, PathBuf};

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scarce {
    /// Pages of 4 KiB.
    Space,
    /// Inodes: a disk with room on it and no file more.
    Inodes,
}

/// Where the store lies in a sandbox whose store may have a disk of its own.
pub const DATABASE: &str = "store/mig.db";

/// A sandbox in which spool, relay, store and each agent may have a disk of their own.
pub fn sandbox_in(parent: &Path) -> Sandbox {
    let sandbox = Sandbox::new_in(parent);
    for directory in ["store", "agent-1"] {
        std::fs::create_dir(sandbox.path(directory)).unwrap();
    }
    let cfg = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), cfg.replace("/mig.db", &format!("/{DATABASE}"))).unwrap();
    sandbox
}

/// What a file of ours takes of it.
const PAGE_BYTES: usize = 4096;

/// See the module docs. It is unmounted when it is dropped.
pub struct SmallDisk {
    path: PathBuf,
    scarce: Scarce,
}

impl SmallDisk {
    /// Mounts one over a directory, with what is in it. None where nothing can be mounted: that takes root.
    pub fn mount(path: &Path, scarce: Scarce) -> Option<SmallDisk> {
        let options = match scarce {
            Scarce::Space => "size=2m",
            Scarce::Inodes => "size=64m,nr_inodes=300",
        };
        let kept = tempfile::tempdir().unwrap();
        let copy = |from: &Path, to: &Path| run("cp", [Path::new("-a"), &from.join("."), to]).unwrap();
        copy(path, kept.path());
        if let Err(why) = mounts::mount(&["-t", "tmpfs", "-o", options], Path::new("mig-test"), path) {
            eprintln!("{why}");
            return None;
        }
        let disk = SmallDisk { path: path.to_owned(), scarce };
        copy(kept.path(), path);
        Some(disk)
    }

    fn filler(&self) -> PathBuf {
        self.path.join(".filler")
    }

    /// Fills it up, but for so many files of ours.
    pub fn fill(&self, files_left: usize) {
        std::fs::create_dir_all(self.filler()).unwrap();
        let mut names = (0..).map(|n| self.filler().join(n.to_string()));
        let content: &[u8] = match self.scarce {
            Scarce::Space => &[b'x'; PAGE_BYTES],
            Scarce::Inodes => &[],
        };
        // A page at a time: whatever has a name there when nothing more fits is one file of ours.
        let mut filled: Vec<PathBuf> =
            names.by_ref().take_while(|path| std::fs::write(path, content).is_ok()).collect();
        let _ = std::fs::remove_file(self.filler().join(filled.len().to_string()));
        for _ in 0..files_left {
            std::fs::remove_file(filled.pop().unwrap()).unwrap();
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_dir_all(self.filler()).unwrap();
    }

    /// How many files of ours fit.
    pub fn files_free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.path).unwrap();
        match self.scarce {
            Scarce::Space => stat.f_bavail,
            Scarce::Inodes => stat.f_favail,
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        mounts::detach(&self.path);
    }
}
