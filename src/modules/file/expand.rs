//! Expands paths with wildcards on the machine that is searched, before the walk: bounded in directories that are read and in
//! memory, never into a network mount without `remotefs`, and not behind links for `**`.

use super::evaluate::Shared;
use super::limits;
use super::mounts::Place;
use super::open;
use super::wildcard::{Part, Wildcard};
use rustix::fs::{CWD, FileType, RawDir};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The expansion of the wildcards of one search.
struct Expansion<'a, 's> {
    run: &'s Shared<'a>,
    search: usize,
    directories: usize,
    bytes: usize,
    found: Vec<PathBuf>,
    /// Paths and the number of parts that they are made of.
    pending: Vec<(PathBuf, usize)>,
    buffer: Vec<u8>,
    /// Why it is not complete, if it is not.
    has_unread: bool,
    has_excluded: bool,
}

/// Returns the paths for the wildcards of a search. What could not be expanded is reported, and the search is incomplete.
pub(super) fn paths(run: &Shared, search: usize) -> Vec<PathBuf> {
    let (wildcards, buffer) = (&run.plan.searches[search].wildcards, Vec::new());
    let mut expansion = Expansion {
        run,
        search,
        directories: 0,
        bytes: 0,
        found: Vec::new(),
        pending: Vec::new(),
        buffer,
        has_unread: false,
        has_excluded: false,
    };
    for wildcard in wildcards {
        expansion.expand(wildcard);
    }
    expansion.found
}

impl Expansion<'_, '_> {
    fn expand(&mut self, wildcard: &Wildcard) {
        let before = self.found.len();
        (self.has_unread, self.has_excluded) = (false, false);
        self.buffer.reserve(limits::DIRECTORY_BUFFER_BYTES);
        self.pending = vec![(wildcard.parent.clone(), 0)];
        while let Some((path, done)) = self.pending.pop() {
            if self.run.findings.is_done() {
                return;
            }
            if self.directories > limits::EXPANDED_DIRECTORIES_MAX || self.bytes > limits::EXPANDED_BYTES_MAX {
                return self.unread(&wildcard.path, &"it has too many wildcards, or they match too much");
            }
            self.step(path, done, &wildcard.parts);
        }
        if self.found.len() == before && !self.has_unread {
            if self.has_excluded {
                return self.unread(&wildcard.path, &"everything that it matches is excluded");
            }
            self.run.findings.error("search", &wildcard.path, &"the wildcard matches nothing");
        }
    }

    /// Continues with a path that is made of `done` parts.
    fn step(&mut self, path: PathBuf, done: usize, parts: &[Part]) {
        if self.run.plan.searches[self.search].exclude.swallows(&path) {
            self.has_excluded = true;
            return;
        }
        let literals = parts[done..].iter().map_while(|part| match part {
            Part::Literal(name) => Some(name),
            _ => None,
        });
        let (mut path, mut next) = (path, done);
        for name in literals {
            path.push(name);
            next += 1;
        }
        match parts.get(next) {
            None if next == done => self.found.push(path),
            None => self.add_if_there(path),
            Some(part) => self.read(&path, next, part),
        }
    }

    /// Adds a path behind a wildcard; one on a network mount is not looked at, the walk decides about it.
    fn add_if_there(&mut self, path: PathBuf) {
        if self.run.plan.searches[self.search].exclude.swallows(&path) {
            self.has_excluded = true;
            return;
        }
        let is_there = match self.run.mounts.locate(&path) {
            Ok(Place::Network(_)) => Ok(()),
            Ok(Place::Local(_)) => open::stat(CWD, path.as_os_str(), false).map(drop).map_err(Into::into),
            Err(error) => Err(error),
        };
        match is_there {
            Ok(()) => self.found.push(path),
            // A link that leads nowhere is there, for a search of links.
            Err(error) if open::leads_nowhere(&error) => {
                let is_there = || open::stat(CWD, path.as_os_str(), false).is_ok();
                if self.run.plan.searches[self.search].options.links && is_there() {
                    self.found.push(path);
                }
            }
            Err(error) => self.unread(&path, &error),
        }
    }

    /// Adds what matches in a directory.
    fn read(&mut self, directory: &Path, next: usize, part: &Part) {
        self.directories += 1;
        match self.run.mounts.locate(directory) {
            Ok(Place::Network(_)) if !self.run.plan.searches[self.search].options.remotefs => {
                return self.unread(directory, &"it is on a network mount, see option remotefs");
            }
            Ok(_) => {}
            Err(error) if open::leads_nowhere(&error) => return,
            Err(error) => return self.unread(directory, &error),
        }
        if matches!(part, Part::Directories) {
            self.add(directory.to_owned(), next + 1);
        }
        let descriptor = match open::open_directory(CWD, directory, true) {
            Ok(descriptor) => descriptor,
            Err(error) if open::is_gone(error) => return,
            Err(error) => return self.unread(directory, &error),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(&descriptor, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unread(directory, &error);
                    break;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || self.bytes > limits::EXPANDED_BYTES_MAX {
                continue;
            }
            match part {
                Part::Directories => {
                    let is_directory = match entry.file_type() {
                        FileType::Unknown => open::stat(CWD, directory.join(name).as_os_str(), false)
                            .is_ok_and(|metadata| metadata.is_directory()),
                        kind => kind == FileType::Directory,
                    };
                    if is_directory {
                        self.add(directory.join(name), next);
                    }
                }
                Part::Pattern(pattern) if pattern.is_match(name.as_bytes()) => {
                    self.add(directory.join(name), next + 1);
                }
                Part::Pattern(_) | Part::Literal(_) => {}
            }
        }
        self.buffer = buffer;
    }

    fn add(&mut self, path: PathBuf, done: usize) {
        self.bytes += size_of::<(PathBuf, usize)>() + path.as_os_str().len();
        self.pending.push((path, done));
    }

    fn unread(&mut self, path: &Path, reason: &dyn std::fmt::Display) {
        self.has_unread = true;
        self.run.findings.unreadable("expand", path, reason);
        self.run.findings.skip_search(self.search);
    }
}
