//! Where a walk begins: the paths of searches, which may be files, directories, or links to them.

use super::super::directory::{Directory, Location};
use super::super::entry::{Active, FileEntry, Kind};
use super::super::mounts::Place;
use super::super::{open, roots};
use super::{Task, Walker};
use rustix::fs::CWD;
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Walker<'_> {
    /// Starts at a path of a search, which may be a file, a directory, or a link to one.
    pub(super) fn start(&mut self, path: &Path, active: &[Active]) {
        let (findings, mounts) = (self.walk.run.findings, self.walk.run.mounts);
        let mut entering = active.to_vec();
        let real = match mounts.locate(path) {
            Ok(Place::Local(real)) => {
                let searches = &self.walk.run.plan.searches;
                entering.retain(|active| {
                    let is_excluded = searches[active.search].exclude.swallows(&real);
                    if is_excluded {
                        findings.error("search", path, &"it leads to a path that is excluded");
                        findings.skip(&[*active]);
                    }
                    !is_excluded
                });
                real
            }
            Ok(Place::Network(point)) => {
                let reason = format!("it is on the network mount {}, see option remotefs", point.display());
                if !self.keep_remote(&mut entering) {
                    findings.error("search", path, &reason);
                    findings.skip(active);
                }
                path.to_owned()
            }
            Err(error) => return self.settle_unreached(path, active, &error),
        };
        if entering.is_empty() {
            return;
        }
        match open::stat(CWD, path.as_os_str(), true) {
            Ok(metadata) if metadata.is_directory() => {
                self.compare_link(path, &entering);
                let directory = Directory::Root(Location::of_root(path, real));
                self.queue.push([Task::Directory(directory, entering.into())]);
            }
            Ok(_) => self.compare_path(path, &entering.into()),
            Err(error) => self.settle_unreached(path, &entering, &error.into()),
        }
    }

    /// Compares a path of searches that is not, and does not lead to, a directory.
    fn compare_path(&mut self, path: &Path, active: &Arc<[Active]>) {
        let walk = self.walk;
        walk.run.findings.add_files(1);
        let kind = if is_link(path) { Kind::Link } else { Kind::Named };
        for way in walk.ways(&kind) {
            self.evaluate(None, path.as_os_str(), *way, active);
        }
    }

    /// Settles a path of searches that cannot be reached; a link there can be looked at itself.
    fn settle_unreached(&mut self, path: &Path, active: &[Active], error: &io::Error) {
        self.cannot_start(path, active, error, is_link(path));
        self.compare_link(path, active);
    }

    /// Compares a path of searches that is a link with those that look at links themselves.
    fn compare_link(&mut self, path: &Path, active: &[Active]) {
        if self.walk.ways(&Kind::Link).contains(&Kind::LinkItself) && is_link(path) {
            self.walk.run.findings.add_files(1);
            self.evaluate(None, path.as_os_str(), Kind::LinkItself, &active.into());
        }
    }

    /// Reports that a path cannot be reached.
    fn cannot_start(&self, path: &Path, active: &[Active], error: &io::Error, is_link: bool) {
        let (findings, searches) = (self.walk.run.findings, &self.walk.run.plan.searches);
        if !open::leads_nowhere(error) {
            findings.unreadable("search", path, error);
            findings.skip(active);
        } else if !is_link || active.iter().any(|active| !searches[active.search].options.links) {
            // The path does not exist: the search is still complete.
            findings.error("search", path, error);
        }
    }

    /// Keeps only the searches that enter network mounts; returns false if any was dropped.
    pub(super) fn keep_remote(&self, active: &mut Vec<Active>) -> bool {
        let before = active.len();
        active.retain(|active| self.walk.run.plan.searches[active.search].options.remotefs);
        active.len() == before
    }

    /// Returns the searches of an entry that is a path of searches, beside those that cover it; `None` if these begin in a later
    /// round, as it may lead to a directory.
    pub(super) fn begin_at(&self, entry: &FileEntry, covering: &[Active]) -> Option<Vec<Active>> {
        let unreached = match self.reach(entry) {
            Ok(true) => None,
            Ok(false) => return None,
            Err(error) => Some(error),
        };
        let path = entry.path();
        let root = self.walk.roots.take(&path)?;
        if let Some(error) = unreached {
            self.cannot_start(&path, root, &error, entry.kind == Kind::Link);
        }
        Some(roots::merge(covering, root))
    }

    /// Whether an entry is, or leads to, what is not a directory; what is on a network mount may be one.
    fn reach(&self, entry: &FileEntry) -> io::Result<bool> {
        if entry.kind != Kind::Link {
            return Ok(true);
        }
        let mounts = self.walk.run.mounts;
        if let Some(real) = entry.real.filter(|real| mounts.must_locate(real))
            && matches!(mounts.locate_link(entry.at, real, entry.name)?, Place::Network(_))
        {
            return Ok(false);
        }
        Ok(!open::stat(entry.at, entry.name, true)?.is_directory())
    }
}

/// Whether a path is a link; everything before its last name may be accessed.
fn is_link(path: &Path) -> bool {
    open::stat(CWD, path.as_os_str(), false).is_ok_and(|metadata| metadata.is_link())
}
