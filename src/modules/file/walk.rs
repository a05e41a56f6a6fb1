//! One walk over all paths of all searches, by several threads.
//!
//! Every directory carries the searches that cover it, so a directory inside two search paths is read once and its
//! files are compared once with each search. The threads take directories from one stack; a thread with many files
//! to read shares half of them when another is idle.
//!
//! Symbolic links to files are followed, links to directories are not, except that a path of a search may be one.
//! Network mounts are entered only by searches with the option `remotefs`.
//!
//! Memory is bounded for any width and depth of a tree: a directory with many subdirectories is read in parts, and
//! those found so far are walked first. Files that may take all the time are read last (`late.rs`).
//!
//! No crate does this: walkdir and ignore open by path, so what is deeper than PATH_MAX is lost to them (20 files of 30 were
//! seen in a tree of 6,000 bytes), and so is what is below a directory that is renamed meanwhile. Over the names in /usr
//! (medians of 5 runs) this walk, by one thread, took 0.9 of walkdir's time; ignore's, by two threads, took 1.2 of it.

use super::directory::{Directory, Location, OpenDirectory, Parent};
use super::entry::{Active, FileEntry, Kind};
use super::evaluate::{Evaluator, Outcome, Patience, Shared};
use super::expand;
use super::late::{Late, LateFile};
use super::limits;
use super::mounts::Place;
use super::open;
use super::roots::{self, Roots};
use super::tasks::Tasks;
use rustix::fs::{CWD, FileType, RawDir};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Why a mount is not entered.
const NETWORK: &str = "a network mount, see option remotefs";

enum Task {
    Root(PathBuf, Arc<[Active]>),
    Directory(Directory, Arc<[Active]>),
    /// The remaining entries of a directory.
    Rest(Arc<OpenDirectory>),
    Read(Arc<OpenDirectory>, VecDeque<(OsString, Kind)>),
    Late(LateFile),
}

/// State shared by the threads of a walk.
pub(super) struct Walk<'a> {
    roots: Roots,
    /// A search has paths that are not walked.
    excludes: bool,
    run: Shared<'a>,
    late: Late<Task>,
    open_count: Arc<AtomicUsize>,
}

impl<'a> Walk<'a> {
    /// A walk over the paths of the searches that are run.
    pub(super) fn new(run: Shared<'a>) -> Self {
        let roots =
            Roots::new(run.plan, |search| !run.findings.is_closed(search), |search| expand::paths(&run, search));
        let excludes = run.plan.searches.iter().any(|search| !search.exclude.is_empty());
        Walk { roots, excludes, run, late: Late::default(), open_count: Arc::default() }
    }

    /// Walks everything with `threads` threads; with one, in the calling thread.
    pub(super) fn search(&self, threads: usize) {
        let queue = Tasks::new();
        let mut walker = Walker::new(self, &queue);
        loop {
            // A path inside another is usually found by the walk of the other; one that was not (it is too deep, or
            // behind a link) is walked in a later round.
            let late = self.late.take();
            let tasks = if late.is_empty() { self.roots() } else { late };
            if tasks.is_empty() || self.run.findings.is_done() {
                return;
            }
            queue.push(tasks);
            self.work(&queue, &mut walker, threads);
        }
    }

    /// Returns the outermost paths that were not walked yet. The last one is walked first, and none is accessed before
    /// those ahead of it are walked: paths that may hang come last.
    fn roots(&self) -> Vec<Task> {
        let mut roots = self.roots.take_outermost();
        roots.sort_by_key(|(path, _)| std::cmp::Reverse(self.run.mounts.may_hang(path)));
        roots.into_iter().map(|(path, active)| Task::Root(path.to_owned(), active.into())).collect()
    }

    /// Works until the queue is empty.
    fn work(&self, queue: &Tasks<Task>, walker: &mut Walker, threads: usize) {
        if threads <= 1 {
            return queue.work(|task| walker.run(task));
        }
        std::thread::scope(|scope| {
            let work = || {
                let mut walker = Walker::new(self, queue);
                queue.work(|task| walker.run(task));
            };
            let handles: Vec<_> = (0..threads.min(limits::THREADS_MAX)).map(|_| scope.spawn(work)).collect();
            for handle in handles {
                if handle.join().is_err() {
                    self.run.findings.stop("by an internal error");
                }
            }
        });
    }
}

/// One thread of a walk.
struct Walker<'a> {
    walk: &'a Walk<'a>,
    queue: &'a Tasks<Task>,
    evaluator: Evaluator<'a>,
    /// For directory entries; only its capacity is used.
    buffer: Vec<u8>,
}

/// The entries collected while a directory is read.
struct Gathered {
    subdirectories: Vec<Task>,
    /// Files that must be read.
    files: VecDeque<(OsString, Kind)>,
    count: u64,
}

impl<'a> Walker<'a> {
    fn new(walk: &'a Walk<'a>, queue: &'a Tasks<Task>) -> Self {
        Walker {
            walk,
            queue,
            evaluator: Evaluator::new(walk.run),
            buffer: Vec::with_capacity(limits::DIRECTORY_BUFFER_BYTES),
        }
    }

    /// Starts at a path of a search, which may be a file, a directory, or a link to one.
    fn start(&mut self, path: &Path, active: &[Active]) {
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
    fn keep_remote(&self, active: &mut Vec<Active>) -> bool {
        let before = active.len();
        active.retain(|active| self.walk.run.plan.searches[active.search].options.remotefs);
        active.len() == before
    }

    fn run(&mut self, task: Task) {
        if self.walk.run.findings.is_done() {
            return;
        }
        match task {
            Task::Root(path, active) => self.start(&path, &active),
            Task::Directory(directory, active) => self.walk_directory(directory, active),
            Task::Rest(opened) => self.read_directory(&opened),
            Task::Read(directory, mut files) => self.read_files(&directory, &mut files),
            Task::Late(file) => self.evaluate_late(&file),
        }
    }

    fn walk_directory(&mut self, directory: Directory, active: Arc<[Active]>) {
        let findings = self.walk.run.findings;
        let (location, is_root) = (directory.location(), directory.is_root());
        if location.path.as_os_str().len() > limits::WALKED_PATH_BYTES_MAX || location.level > limits::WALKED_LEVELS_MAX
        {
            let (bytes, levels) = (limits::WALKED_PATH_BYTES_MAX, limits::WALKED_LEVELS_MAX);
            let reason = format!("skipped, deeper than {levels} levels or {bytes} bytes of path");
            findings.skip(&active);
            return findings.unreadable("walk", &location.path, &reason);
        }
        let may_vanish = directory.may_vanish();
        match directory.open(active.clone(), &self.walk.open_count) {
            Ok(opened) => self.read_directory(&Arc::new(opened)),
            Err(error) if open::is_gone(error) && may_vanish => {}
            // It existed when its parent was read.
            Err(error) if open::is_gone(error) => {
                findings.unread("it was removed or renamed during the search", &location.path)
            }
            Err(error) => {
                findings.unreadable("open directory", &location.path, &error);
                if is_root {
                    findings.skip(&active);
                }
            }
        }
    }

    /// Reads the entries of a directory, from the current position.
    fn read_directory(&mut self, opened: &Arc<OpenDirectory>) {
        let findings = self.walk.run.findings;
        let below = roots::one_level_down(&opened.active);
        let inside = self.walk.roots.inside(&opened.location.path);
        let mut gathered = Gathered { subdirectories: Vec::new(), files: VecDeque::new(), count: 0 };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(&opened.descriptor, buffer.spare_capacity_mut());
        let mut has_rest = false;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if open::is_gone(error) => break,
                Err(error) => {
                    findings.unreadable("read directory", &opened.location.path, &error);
                    break;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let is_root = inside.is_some_and(|names| names.contains(name));
                self.take_entry(opened, &below, (name, is_root), entry.file_type(), &mut gathered);
            }
            if gathered.files.len() >= limits::FILES_PER_BATCH_MAX {
                self.read_files(opened, &mut gathered.files);
            }
            if findings.is_done() {
                break;
            }
            has_rest = entries.is_buffer_empty()
                && gathered.subdirectories.len() >= limits::SUBDIRECTORIES_AHEAD_MIN
                && opened.may_stay_open();
            if has_rest {
                break;
            }
        }
        self.buffer = buffer;
        findings.add_files(gathered.count);
        if has_rest {
            self.queue.push([Task::Rest(opened.clone())]);
        }
        if !gathered.subdirectories.is_empty() {
            self.queue.push(gathered.subdirectories);
        }
        self.read_files(opened, &mut gathered.files);
    }

    /// Settles one entry of a directory, or adds it to `gathered`.
    fn take_entry(
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

    /// Whether a search path that was found during the walk is a file. A link to a directory and a dangling link are
    /// not: they are walked in a later round.
    fn leads_to_file(&self, entry: &FileEntry) -> bool {
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

    fn read_files(&mut self, opened: &Arc<OpenDirectory>, files: &mut VecDeque<(OsString, Kind)>) {
        while let Some((name, kind)) = files.pop_front() {
            if self.walk.run.findings.is_done() {
                files.clear();
                return;
            }
            if self.queue.has_idle_threads() && !files.is_empty() {
                let half = files.split_off(files.len() / 2);
                self.queue.push([Task::Read(opened.clone(), half)]);
            }
            self.evaluate(Some(opened), &name, kind, &opened.active);
        }
    }

    /// Compares a file in a directory, or the one at a path, with its searches, or defers that.
    fn evaluate(&mut self, at: Option<&Arc<OpenDirectory>>, name: &OsStr, kind: Kind, active: &Arc<[Active]>) {
        let entry = at.map_or_else(|| FileEntry::of_path(name), |opened| opened.entry(name, kind));
        if let Outcome::Deferred(size_bytes) = self.evaluator.evaluate(&entry, active, Patience::Defer) {
            let directory = at.map(|opened| opened.location.clone());
            let late = LateFile { directory, name: name.to_owned(), kind, active: active.clone() };
            if self.walk.late.add(size_bytes, Task::Late(late)).is_err() {
                let reason = "skipped, too many files are large or leased";
                self.walk.run.findings.skip(active);
                self.walk.run.findings.unreadable("read", &entry.path(), &reason);
            }
        }
    }

    fn evaluate_late(&mut self, file: &LateFile) {
        let patience = Patience::Until(self.walk.late.lease_end());
        let Some(location) = &file.directory else {
            self.evaluator.evaluate(&FileEntry::of_path(&file.name), &file.active, patience);
            return;
        };
        match OpenDirectory::reopen(location, file.active.clone(), &self.walk.open_count) {
            Ok(opened) => {
                self.evaluator.evaluate(&opened.entry(&file.name, file.kind), &file.active, patience);
            }
            Err(error) => self.walk.run.findings.unreadable("open directory", &location.path, &error),
        }
    }
}
