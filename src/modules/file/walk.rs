//! One walk over all paths of all searches, by several threads.
//!
//! Every directory carries the searches that cover it, so a directory inside two search paths is read once and its
//! files are compared once with each search. The threads take directories from one stack; a thread with many files
//! to read shares half of them when another is idle.
//!
//! Symbolic links to files are followed, links to directories are not, except that a path of a search may be one. Searches with
//! the option `links` look at links themselves: in a walk of both kinds of searches each link is compared both ways.
//! Network mounts are entered only by searches with the option `remotefs`.
//!
//! Memory is bounded for any width and depth of a tree: a directory with many subdirectories is read in parts, and
//! those found so far are walked first. Files that may take all the time are read last (`late.rs`).
//!
//! No crate does this: walkdir and ignore open by path, so what is deeper than PATH_MAX is lost to them (20 files of 30 were
//! seen in a tree of 6,000 bytes), and so is what is below a directory that is renamed meanwhile. Over the names in /usr
//! (medians of 5 runs) this walk, by one thread, took 0.9 of walkdir's time; ignore's, by two threads, took 1.2 of it.

mod entries;
mod files;
mod start;

use super::directory::{Directory, OpenDirectory};
use super::entry::{Active, Kind};
use super::evaluate::{Evaluator, Shared};
use super::expand;
use super::late::{Late, LateFile};
use super::limits;
use super::open;
use super::roots::{self, Roots};
use super::tasks::Tasks;
use rustix::fs::RawDir;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

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
    /// How links are looked at: each way that a search asks for.
    ways_of_links: Vec<Kind>,
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
        let is_asked = |way: &Kind| run.plan.searches.iter().any(|search| way.is_for(search.options.links));
        let ways_of_links = [Kind::Link, Kind::LinkItself].into_iter().filter(is_asked).collect();
        Walk { roots, excludes, ways_of_links, run, late: Late::default(), open_count: Arc::default() }
    }

    /// Each way in which an entry is looked at: a link may be followed by one search, and looked at itself by another.
    fn ways<'w>(&'w self, kind: &'w Kind) -> &'w [Kind] {
        if *kind == Kind::Link { &self.ways_of_links } else { std::slice::from_ref(kind) }
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
}
