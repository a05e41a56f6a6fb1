//! Where a walk begins: the paths of searches, which may be files, directories, or links to them.

use super::super::directory::{Directory, Location};
use super::super::entry::{Active, FileEntry, Kind};
use super::super::mounts::Place;
use super::super::open;
use super::{Task, Walker};
use rustix::fs::CWD;
use std::io;
use std::path::Path;

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
            Err(error) => return self.cannot_start(path, active, &error),
        };
        if entering.is_empty() {
            return;
        }
        match open::stat(CWD, path.as_os_str(), true) {
            Ok(metadata) if metadata.is_directory() => {
                let directory = Directory::Root(Location::of_root(path, real));
                self.queue.push([Task::Directory(directory, entering.into())]);
            }
            Ok(_) => {
                findings.add_files(1);
                self.evaluate(None, path.as_os_str(), Kind::Link, &entering.into());
            }
            Err(error) => self.cannot_start(path, active, &error.into()),
        }
    }

    fn cannot_start(&self, path: &Path, active: &[Active], error: &io::Error) {
        let findings = self.walk.run.findings;
        if open::leads_nowhere(error) {
            // The path does not exist: the search is still complete.
            return findings.error("search", path, error);
        }
        findings.unreadable("search", path, error);
        findings.skip(active);
    }

    /// Keeps only the searches that enter network mounts; returns false if any was dropped.
    pub(super) fn keep_remote(&self, active: &mut Vec<Active>) -> bool {
        let before = active.len();
        active.retain(|active| self.walk.run.plan.searches[active.search].options.remotefs);
        active.len() == before
    }

    /// Whether a search path that was found during the walk is a file. A link to a directory and a dangling link are
    /// not: they are walked in a later round.
    pub(super) fn leads_to_file(&self, entry: &FileEntry) -> bool {
        if entry.kind != Kind::Link {
            return true;
        }
        let mounts = self.walk.run.mounts;
        if let Some(real) = entry.real.filter(|real| mounts.must_locate(real))
            && !matches!(mounts.locate_link(entry.at, real, entry.name), Ok(Place::Local(_)))
        {
            return false;
        }
        open::stat(entry.at, entry.name, true).is_ok_and(|metadata| !metadata.is_directory())
    }
}
