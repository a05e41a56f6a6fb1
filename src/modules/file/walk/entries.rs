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
        if self.walk.excludes && self.is_excluded(opened, name, &opened.active) {
            return self.take_excluded(opened, (name, is_root), kind, gathered);
        }
        gathered.count += 1;
        let entry = opened.entry(name, kind);
        if is_root && self.leads_to_file(&entry) {
            let root = self.walk.roots.take(&entry.path()).unwrap_or_default();
            self.evaluate(Some(opened), name, kind, &roots::merge(&opened.active, root).into());
        } else if self.evaluator.must_read(&entry, &opened.active) {
            gathered.files.push_back((name.to_owned(), kind));
        }
    }

    /// Whether a search excludes an entry.
    fn is_excluded(&self, opened: &OpenDirectory, name: &OsStr, active: &[Active]) -> bool {
        self.kept(opened, name, active).len() < active.len()
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

    /// Compares a file with the searches that do not exclude it.
    fn take_excluded(
        &mut self,
        opened: &Arc<OpenDirectory>,
        (name, is_root): (&OsStr, bool),
        kind: Kind,
        gathered: &mut Gathered,
    ) {
        let entry = opened.entry(name, kind);
        let mut active = opened.active.to_vec();
        if is_root && self.leads_to_file(&entry) {
            active = roots::merge(&active, self.walk.roots.take(&entry.path()).unwrap_or_default());
        }
        let kept = self.kept(opened, name, &active);
        if !kept.is_empty() {
            gathered.count += 1;
            self.evaluate(Some(opened), name, kind, &kept.into());
        }
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
