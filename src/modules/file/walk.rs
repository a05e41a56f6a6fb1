//! One walk over all paths of all searches, by several threads.
//!
//! Every directory carries the searches that cover it, so a directory inside two search paths is read once and its
//! files are compared once with each search. The threads take directories from one stack; a thread with many files
//! to read gives half of them away when another has nothing to do.
//!
//! Symbolic links to files are followed, links to directories are not, except that a path of a search may be one.
//! Network mounts are entered only by searches with the option `remotefs`.
//!
//! A tree cannot be made so wide or so deep that it takes all memory, and with it what else was found: a directory with
//! many others in it is read on when those were walked. Files that may take all the time are read last (`late.rs`).

use super::entry::{Active, Entry, Kind};
use super::evaluate::{Evaluator, Outcome, Patience, Run};
use super::late::{Late, LateFile};
use super::limits;
use super::mounts::Place;
use super::open;
use super::queue::Queue;
use super::roots::{self, Roots};
use rustix::fs::{CWD, FileType, RawDir};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Why a mount is not entered.
const NETWORK: &str = "a network mount, see option remotefs";

/// Where a directory is.
struct Location {
    path: PathBuf,
    /// The path as [`Place::Local`] has it, where that is another.
    real: Option<PathBuf>,
}

impl Location {
    fn join(&self, name: &OsStr) -> Location {
        Location { path: self.path.join(name), real: self.real.as_ref().map(|real| real.join(name)) }
    }

    fn real(&self) -> &Path {
        self.real.as_ref().unwrap_or(&self.path)
    }
}

/// A directory to be walked.
struct Directory {
    place: DirectoryPlace,
    active: Arc<[Active]>,
}

/// Siblings share what they have in common: there may be many of them, with a long path.
enum DirectoryPlace {
    /// A path of a search, which may be a symbolic link.
    Root(Location),
    In(Arc<Location>, OsString),
}

/// A directory that is being walked.
pub(super) struct OpenDirectory {
    descriptor: OwnedFd,
    location: Arc<Location>,
    active: Arc<[Active]>,
}

impl OpenDirectory {
    /// An entry of it.
    pub(super) fn entry<'e>(&'e self, name: &'e OsStr, kind: Kind) -> Entry<'e> {
        Entry { at: self.descriptor.as_fd(), directory: &self.location.path, name, kind }
    }
}

enum Task {
    Directory(Directory),
    /// The rest of its entries.
    Rest(Arc<OpenDirectory>),
    Read(Arc<OpenDirectory>, VecDeque<(OsString, Kind)>),
    Late(LateFile),
}

/// What the threads of a walk share.
pub(super) struct Walk<'a> {
    roots: Roots,
    /// What it shares with the comparing of files.
    run: Run<'a>,
    late: Late,
    /// Directories that are to be read on.
    rests: AtomicUsize,
}

impl<'a> Walk<'a> {
    /// Over the paths of the searches that are run.
    pub(super) fn new(run: Run<'a>) -> Self {
        let roots = Roots::new(run.plan, |search| !run.collector.is_closed(search));
        Walk { roots, run, late: Late::default(), rests: AtomicUsize::new(0) }
    }

    /// Walks everything with `threads` threads; with one, in the calling thread.
    pub(super) fn search(&self, threads: usize) {
        let queue = Queue::new();
        let mut walker = Walker::new(self, &queue);
        loop {
            // A path inside another is usually met in the walk of the other; what was not (it is too deep, or behind a
            // link) is walked in a later round.
            let seeds = self.roots.take_outermost();
            if seeds.is_empty() || self.run.collector.is_done() {
                break;
            }
            for (path, active) in seeds {
                walker.start(path, active);
            }
            self.work(&queue, &mut walker, threads);
        }
        queue.push(self.late.take().into_iter().map(Task::Late));
        self.work(&queue, &mut walker, threads);
    }

    /// Works until the queue is empty.
    fn work(&self, queue: &Queue<Task>, walker: &mut Walker, threads: usize) {
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
                    self.run.collector.error("search", Path::new("/"), &"a thread failed, its files are left out");
                }
            }
        });
    }
}

/// One thread of a walk.
struct Walker<'a> {
    walk: &'a Walk<'a>,
    queue: &'a Queue<Task>,
    evaluator: Evaluator<'a>,
    /// For directory entries; only its capacity is used.
    buffer: Vec<u8>,
}

/// What is gathered while a directory is read.
struct Gathered {
    subdirectories: Vec<Task>,
    /// Files that must be read.
    files: VecDeque<(OsString, Kind)>,
    count: u64,
}

impl<'a> Walker<'a> {
    fn new(walk: &'a Walk<'a>, queue: &'a Queue<Task>) -> Self {
        Walker {
            walk,
            queue,
            evaluator: Evaluator::new(walk.run),
            buffer: Vec::with_capacity(limits::DIRECTORY_BUFFER_BYTES),
        }
    }

    /// Begins at a path of a search, which may be a file, a directory, or a link to one.
    fn start(&mut self, path: &Path, active: &[Active]) {
        let (collector, mounts) = (self.walk.run.collector, self.walk.run.mounts);
        let mut active = active.to_vec();
        let mut location = Location { path: path.to_owned(), real: None };
        if mounts.must_locate(path) {
            match mounts.locate(path) {
                Ok(Place::Local(real)) => location.real = (real != path).then_some(real),
                Ok(Place::Network(point)) => {
                    let reason = format!("it is on the network mount {}, see option remotefs", point.display());
                    if !self.keep_remote(&mut active) {
                        collector.error("search", path, &reason);
                    }
                }
                Err(error) => return collector.error("search", path, &error),
            }
        }
        if active.is_empty() {
            return;
        }
        match open::stat(CWD, path.as_os_str(), true) {
            Ok(metadata) if metadata.is_directory() => {
                let place = DirectoryPlace::Root(location);
                self.queue.push([Task::Directory(Directory { place, active: active.into() })]);
            }
            Ok(_) => {
                collector.add_files(1);
                self.evaluate(None, path.as_os_str(), Kind::Link, &active);
            }
            Err(error) if open::is_gone(error) => collector.error("search", path, &error),
            Err(error) => collector.failed("search", path, &error),
        }
    }

    /// Leaves only the searches that enter network mounts; false if that took any away.
    fn keep_remote(&self, active: &mut Vec<Active>) -> bool {
        let before = active.len();
        active.retain(|active| self.walk.run.plan.searches[active.search].options.remotefs);
        active.len() == before
    }

    fn run(&mut self, task: Task) {
        if self.walk.run.collector.is_done() {
            return;
        }
        match task {
            Task::Directory(directory) => self.walk_directory(directory),
            Task::Rest(opened) => {
                self.walk.rests.fetch_sub(1, Relaxed);
                self.read_directory(&opened);
            }
            Task::Read(directory, mut files) => self.read_files(&directory, &mut files),
            Task::Late(file) => {
                self.evaluator.evaluate(&file.entry(), &file.active, Patience::Until(self.walk.late.lease_end()));
            }
        }
    }

    fn walk_directory(&mut self, directory: Directory) {
        let collector = self.walk.run.collector;
        let (location, is_root) = match directory.place {
            DirectoryPlace::Root(location) => (location, true),
            DirectoryPlace::In(parent, name) => (parent.join(&name), false),
        };
        if location.path.as_os_str().len() > limits::WALKED_PATH_BYTES_MAX {
            let reason =
                format!("what is below is left out: its path is longer than {} bytes", limits::WALKED_PATH_BYTES_MAX);
            // The path would take the place of all other errors.
            let start: PathBuf = location.path.components().take(20).collect();
            return collector.failed("walk", &start.join("…"), &reason);
        }
        match open::open_directory(&location.path, is_root) {
            Ok(descriptor) => {
                let opened = OpenDirectory { descriptor, location: Arc::new(location), active: directory.active };
                self.read_directory(&Arc::new(opened));
            }
            Err(error) if open::is_gone(error) => {}
            Err(error) => collector.failed("open directory", &location.path, &error),
        }
    }

    /// Reads the entries of a directory, from where it was left.
    fn read_directory(&mut self, opened: &Arc<OpenDirectory>) {
        let collector = self.walk.run.collector;
        let below = one_level_down(&opened.active);
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
                    collector.failed("read directory", &opened.location.path, &error);
                    break;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let is_root = roots::holds(inside, name);
                self.take_entry(opened, &below, (name, is_root), entry.file_type(), &mut gathered);
            }
            if gathered.files.len() >= limits::FILES_PER_BATCH_MAX {
                self.read_files(opened, &mut gathered.files);
            }
            if collector.is_done() {
                break;
            }
            has_rest = entries.is_buffer_empty()
                && gathered.subdirectories.len() >= limits::SUBDIRECTORIES_AHEAD_MIN
                && self.walk.rests.load(Relaxed) < limits::RESTS_MAX;
            if has_rest {
                break;
            }
        }
        self.buffer = buffer;
        collector.add_files(gathered.count);
        if has_rest {
            self.walk.rests.fetch_add(1, Relaxed);
            self.queue.push([Task::Rest(opened.clone())]);
        }
        if !gathered.subdirectories.is_empty() {
            self.queue.push(gathered.subdirectories);
        }
        self.read_files(opened, &mut gathered.files);
    }

    /// One entry of a directory: settled, or put where it will be.
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
            // A mount is not touched to learn what it is.
            FileType::Unknown if self.is_remote(opened, name) => None,
            FileType::Unknown => match open::stat(opened.descriptor.as_fd(), name, false) {
                Ok(metadata) => metadata.kind(),
                Err(_) => return,
            },
            _ => Some(Kind::Special),
        };
        let Some(kind) = kind else {
            return gathered.subdirectories.extend(self.subdirectory(opened, below, (name, is_root)));
        };
        gathered.count += 1;
        let entry = opened.entry(name, kind);
        if is_root && self.leads_to_file(&entry) {
            let root = self.walk.roots.take(&entry.path()).unwrap_or_default();
            self.evaluate(Some(opened), name, kind, &roots::merge(&opened.active, root));
        } else if self.evaluator.must_read(&entry, &opened.active) {
            gathered.files.push_back((name.to_owned(), kind));
        }
    }

    /// The task of walking a directory in another, if a search goes there.
    fn subdirectory(
        &self,
        opened: &OpenDirectory,
        below: &Arc<[Active]>,
        (name, is_root): (&OsStr, bool),
    ) -> Option<Task> {
        let root = if is_root { self.walk.roots.take(&opened.location.path.join(name)) } else { None };
        let remote = self.is_remote(opened, name);
        let mut active = below.clone();
        if root.is_some() || remote {
            let mut merged = roots::merge(below, root.unwrap_or_default());
            if remote && !self.keep_remote(&mut merged) {
                self.walk.run.collector.unread(NETWORK, &opened.location.path.join(name));
            }
            active = merged.into();
        }
        let place = DirectoryPlace::In(opened.location.clone(), name.to_owned());
        (!active.is_empty()).then_some(Task::Directory(Directory { place, active }))
    }

    fn is_remote(&self, opened: &OpenDirectory, name: &OsStr) -> bool {
        let mounts = self.walk.run.mounts;
        mounts.must_locate(opened.location.real()) && mounts.contains(&opened.location.real().join(name))
    }

    /// Whether a path of a search that was met on the way is a file. A link to a directory, or to nowhere, is not: it
    /// begins a round of its own.
    fn leads_to_file(&self, entry: &Entry) -> bool {
        if entry.kind != Kind::Link {
            return true;
        }
        let mounts = self.walk.run.mounts;
        if mounts.must_locate(entry.directory) && !matches!(mounts.locate(&entry.path()), Ok(Place::Local(_))) {
            return false;
        }
        open::stat(entry.at, entry.name, true).is_ok_and(|metadata| !metadata.is_directory())
    }

    fn read_files(&mut self, opened: &Arc<OpenDirectory>, files: &mut VecDeque<(OsString, Kind)>) {
        while let Some((name, kind)) = files.pop_front() {
            if self.walk.run.collector.is_done() {
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

    /// Compares a file in a directory, or the one at a path, with its searches, or puts that off.
    fn evaluate(&mut self, at: Option<&Arc<OpenDirectory>>, name: &OsStr, kind: Kind, active: &[Active]) {
        let late = || LateFile { directory: at.cloned(), name: name.to_owned(), kind, active: active.to_vec() };
        let entry = at.map_or_else(|| Entry::of_path(name), |opened| opened.entry(name, kind));
        if let Outcome::PutOff(size_bytes) = self.evaluator.evaluate(&entry, active, Patience::PutOff)
            && !self.walk.late.add(size_bytes, late)
        {
            self.evaluator.evaluate(&entry, active, Patience::Until(Instant::now()));
        }
    }
}

/// The searches that go on below a directory.
fn one_level_down(active: &Arc<[Active]>) -> Arc<[Active]> {
    if active.iter().all(|active| active.levels == u64::MAX) {
        return active.clone();
    }
    let deeper = active.iter().filter(|active| active.levels > 1);
    deeper
        .map(|active| match active.levels {
            u64::MAX => *active,
            levels => Active { search: active.search, levels: levels - 1 },
        })
        .collect()
}
