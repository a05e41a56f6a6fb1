//! One walk over all paths of all searches, by several threads.
//!
//! Every directory carries the searches that cover it, so a directory inside two search paths is read once and its
//! files are compared once with each search. The threads take directories from one stack; a thread with many files
//! to read gives half of them away when another has nothing to do.
//!
//! Symbolic links to files are followed, links to directories are not, except that a path of a search may be one.
//! Network mounts are entered only by searches with the option `remotefs`.

use super::entry::{Active, Entry, Kind};
use super::evaluate::{Evaluator, Run};
use super::limits;
use super::mounts::Place;
use super::open;
use super::queue::Queue;
use super::roots::{self, Roots};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory to be walked.
struct Directory {
    path: PathBuf,
    /// The path without links, as the list of mounts has it; known only where there are network mounts.
    real: Option<PathBuf>,
    active: Arc<[Active]>,
    /// It is a path of a search, and may be a symbolic link.
    is_root: bool,
}

/// A directory that is being walked.
struct OpenDirectory {
    descriptor: OwnedFd,
    path: PathBuf,
    active: Arc<[Active]>,
}

enum Task {
    Directory(Directory),
    Read(Arc<OpenDirectory>, VecDeque<(OsString, Kind)>),
}

/// What the threads of a walk share.
pub(super) struct Walk<'a> {
    /// The paths of the searches.
    pub(super) roots: Roots,
    /// What it shares with the comparing of files.
    pub(super) run: Run<'a>,
}

impl Walk<'_> {
    /// Walks everything with `threads` threads; with one, in the calling thread.
    pub(super) fn search(&self, threads: usize) {
        let queue = Queue::new();
        let mut walker = Walker::new(self, &queue);
        loop {
            // A path inside another is usually met in the walk of the other; what was not (it is too deep, or behind a
            // link) is walked in a later round.
            let seeds = self.roots.take_outermost();
            if seeds.is_empty() || self.run.collector.is_done() {
                return;
            }
            for (path, active) in seeds {
                walker.start(path, active);
            }
            if threads <= 1 {
                queue.work(|task| walker.run(task));
                continue;
            }
            std::thread::scope(|scope| {
                let work = || {
                    let mut walker = Walker::new(self, &queue);
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
        let collector = self.walk.run.collector;
        let mut active = active.to_vec();
        let mut real = None;
        if !self.walk.run.mounts.is_empty() {
            match self.walk.run.mounts.locate(path) {
                Ok(Place::Local(path)) => real = Some(path),
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
                let directory = Directory { path: path.to_owned(), real, active: active.into(), is_root: true };
                self.push([Task::Directory(directory)], path);
            }
            Ok(_) => {
                collector.add_files(1);
                let entry = Entry { at: CWD, directory: Path::new(""), name: path.as_os_str(), kind: Kind::Link };
                self.evaluator.evaluate(&entry, &active);
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

    fn push(&self, tasks: impl IntoIterator<Item = Task>, path: &Path) {
        if !self.queue.push(tasks) {
            self.walk.run.collector.failed("walk", path, &"too many directories wait to be walked, some are left out");
        }
    }

    fn run(&mut self, task: Task) {
        if self.walk.run.collector.is_done() {
            return;
        }
        match task {
            Task::Directory(directory) => self.walk_directory(directory),
            Task::Read(directory, mut files) => self.read_files(&directory, &mut files),
        }
    }

    fn walk_directory(&mut self, directory: Directory) {
        let Directory { path, real, active, is_root } = directory;
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if !is_root {
            flags |= OFlags::NOFOLLOW;
        }
        let descriptor = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(error) if open::is_gone(error) => return,
            Err(error) => return self.walk.run.collector.failed("open directory", &path, &error),
        };
        let below = one_level_down(&active);
        let opened = Arc::new(OpenDirectory { descriptor, path, active });
        let mut gathered = Gathered { subdirectories: Vec::new(), files: VecDeque::new(), count: 0 };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(&opened.descriptor, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if open::is_gone(error) => break,
                Err(error) => {
                    self.walk.run.collector.failed("read directory", &opened.path, &error);
                    break;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                self.take_entry(&opened, real.as_deref(), &below, name, entry.file_type(), &mut gathered);
            }
            if gathered.files.len() >= limits::FILES_PER_BATCH_MAX {
                self.read_files(&opened, &mut gathered.files);
            }
            if self.walk.run.collector.is_done() {
                break;
            }
        }
        self.buffer = buffer;
        self.walk.run.collector.add_files(gathered.count);
        if !gathered.subdirectories.is_empty() {
            self.push(gathered.subdirectories, &opened.path);
        }
        self.read_files(&opened, &mut gathered.files);
    }

    /// One entry of a directory: settled, or put where it will be.
    fn take_entry(
        &mut self,
        opened: &OpenDirectory,
        real: Option<&Path>,
        below: &Arc<[Active]>,
        name: &OsStr,
        of: FileType,
        gathered: &mut Gathered,
    ) {
        let is_root = roots::holds(self.walk.roots.inside(&opened.path), name);
        let real = real.map(|real| real.join(name));
        let remote = real.as_ref().is_some_and(|real| self.walk.run.mounts.contains(real));
        let kind = match of {
            FileType::Directory => None,
            FileType::RegularFile => Some(Kind::Regular),
            FileType::Symlink => Some(Kind::Link),
            // A mount is not touched to learn what it is.
            FileType::Unknown if remote => None,
            FileType::Unknown => match open::stat(opened.descriptor.as_fd(), name, false) {
                Ok(metadata) => metadata.kind(),
                Err(_) => return,
            },
            _ => Some(Kind::Special),
        };
        let Some(kind) = kind else {
            let path = opened.path.join(name);
            let root = if is_root { self.walk.roots.take(&path) } else { None };
            let mut active = below.clone();
            if root.is_some() || remote {
                let mut merged = roots::merge(below, root.unwrap_or_default());
                if remote {
                    self.keep_remote(&mut merged);
                }
                active = merged.into();
            }
            if !active.is_empty() {
                gathered.subdirectories.push(Task::Directory(Directory { path, real, active, is_root: false }));
            }
            return;
        };
        gathered.count += 1;
        let entry = Entry { at: opened.descriptor.as_fd(), directory: &opened.path, name, kind };
        if is_root && self.leads_to_file(&entry) {
            let root = self.walk.roots.take(&entry.path()).unwrap_or_default();
            self.evaluator.evaluate(&entry, &roots::merge(&opened.active, root));
        } else if self.evaluator.must_read(&entry, &opened.active) {
            gathered.files.push_back((name.to_owned(), kind));
        }
    }

    /// Whether a path of a search that was met on the way is a file. A link to a directory, or to nowhere, is not: it
    /// begins a round of its own.
    fn leads_to_file(&self, entry: &Entry) -> bool {
        if entry.kind != Kind::Link {
            return true;
        }
        if !self.walk.run.mounts.is_empty()
            && !matches!(self.walk.run.mounts.locate(&entry.path()), Ok(Place::Local(_)))
        {
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
                self.push([Task::Read(opened.clone(), half)], &opened.path);
            }
            let (at, directory) = (opened.descriptor.as_fd(), opened.path.as_path());
            self.evaluator.evaluate(&Entry { at, directory, name: &name, kind }, &opened.active);
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
