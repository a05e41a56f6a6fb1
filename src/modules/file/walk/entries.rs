//! The entries of a directory: which searches they belong to, and what is done with each.

use super::super::directory::{Directory, OpenDirectory, Parent};
use super::super::entry::{Active, Kind};
use super::super::open;
use super::super::roots;
use super::{Gathered, Task, Walker};
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Why a mount is not entered.
const NETWORK: &str = "a network mount, see option remotefs";

impl Walker<'_> {
    /// Settles one entry of a directory, or adds it to `gathered`.
    pub(super) fn take_entry(
        &mut self,
        opened: &Arc<OpenDirectory>,
        below: &Arc<[Active]>,
        (name, is_root): (&OsStr, bool),
        of: FileType,
        gathered: &mut Gathered,
    ) {
        let kind = match of {
            FileType::Directory => None,
            FileType::RegularFile => Some(Kind::Regular),
            FileType::Symlink => Some(Kind::Link),
            // A network mount is a directory, and is not accessed.
            FileType::Unknown if self.walk.run.mounts.contains(&opened.location.real().join(name)) => None,
            FileType::Unknown => match open::stat(opened.descriptor.as_fd(), name, false) {
                Ok(metadata) => metadata.kind(),
                Err(error) if open::is_gone(error) => return,
                Err(error) => {
                    return self.walk.run.findings.unreadable("stat", &opened.location.path.join(name), &error);
                }
            },
            _ => Some(Kind::Special),
        };
        let Some(kind) = kind else {
            return gathered.subdirectories.extend(self.subdirectory(opened, below, (name, is_root)));
        };
        // Its searches, if they are not those of the directory.
        let mut own = if is_root { self.begin_at(&opened.entry(name, kind), &opened.active) } else { None };
        if self.walk.excludes {
            let all = own.as_deref().unwrap_or(&opened.active);
            let kept = self.kept(opened, name, all);
            if kept.len() < all.len() {
                own = Some(kept);
            }
        }
        if own.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        gathered.count += 1;
        let (walk, own) = (self.walk, own.map(Arc::from));
        for way in walk.ways(&kind) {
            if let Some(own) = &own {
                self.evaluate(Some(opened), name, *way, own);
            } else if self.evaluator.must_read(&opened.entry(name, *way), &opened.active) {
                gathered.files.push_back((name.to_owned(), *way));
            }
        }
    }

    /// Returns the searches that do not exclude an entry, by the path that is walked or the one without links.
    fn kept(&self, opened: &OpenDirectory, name: &OsStr, active: &[Active]) -> Vec<Active> {
        let (path, real) = (opened.location.path.join(name), opened.location.real().join(name));
        let searches = &self.walk.run.plan.searches;
        let is_kept = |active: &&Active| {
            let exclude = &searches[active.search].exclude;
            exclude.is_empty() || !(exclude.holds(&path) || exclude.holds(&real))
        };
        active.iter().filter(is_kept).copied().collect()
    }

    /// Returns the task of walking a subdirectory, if a search covers it.
    fn subdirectory(
        &self,
        opened: &Arc<OpenDirectory>,
        below: &Arc<[Active]>,
        (name, is_root): (&OsStr, bool),
    ) -> Option<Task> {
        let root = if is_root { self.walk.roots.take(&opened.location.path.join(name)) } else { None };
        let mounts = self.walk.run.mounts;
        let real = opened.location.real().join(name);
        let remote = mounts.contains(&real);
        let mut active = below.clone();
        if root.is_some() || remote {
            let mut merged = roots::merge(below, root.unwrap_or_default());
            if remote && !self.keep_remote(&mut merged) {
                self.walk.run.findings.unread(NETWORK, &opened.location.path.join(name));
            }
            active = merged.into();
        }
        if self.walk.excludes {
            active = self.kept(opened, name, &active).into();
        }
        if active.is_empty() {
            return None;
        }
        let task = Task::Directory(Directory::In(Parent::of(opened), name.to_owned()), active);
        if mounts.is_served(&real) {
            return self.walk.late.add(u64::MAX, task).err();
        }
        Some(task)
    }
}
