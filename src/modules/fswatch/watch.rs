//! Watching with inotify(7): a watch for each directory.

#[cfg(test)]
mod tests;

use super::parameters::Plan;
use super::place::{by_descriptor, open_plain, place};
use crate::modules::notation;
use crate::modules::persistent::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories that are watched: the kernel takes about 1 KiB for each, and a path of ours.
pub(super) const DIRECTORIES_MAX: usize = 100_000;
/// Directories that are not watched and each have an event of their own; the others are counted.
const UNSEEN_MAX: usize = 20;
/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// How often it is looked whether each path of the plan leads to what is watched.
const PLACES_PAUSE: Duration = Duration::from_secs(10);

/// A directory that is watched.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Only these names in it; None for all.
    only: Option<HashSet<OsString>>,
}

/// A name that is gone, until it is known whether it comes up elsewhere.
struct Gone {
    path: PathBuf,
    cookie: u32,
    is_directory: bool,
}

/// See the module docs.
pub(super) struct Watcher<'w> {
    plan: &'w Plan,
    notice: &'w mut dyn FnMut(Event) -> bool,
    inotify: OwnedFd,
    watched: HashMap<i32, Watched>,
    /// Paths of the plan that are to be watched: at the beginning, or because they were not there, or lead elsewhere now.
    missing: Vec<PathBuf>,
    /// What each path of the plan leads to: device and inode of the directory that is watched.
    places: HashMap<PathBuf, (u64, u64)>,
    next_look: Instant,
    /// Directories that are not watched.
    unseen: usize,
    is_over: bool,
}

impl<'w> Watcher<'w> {
    /// One that watches nothing yet.
    pub(super) fn new(plan: &'w Plan, notice: &'w mut dyn FnMut(Event) -> bool) -> Result<Watcher<'w>, String> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| format!("watch files: {e}; fs.inotify.max_user_instances may be too small"))?;
        Ok(Watcher {
            plan,
            notice,
            inotify,
            watched: HashMap::new(),
            missing: plan.paths.clone(),
            places: HashMap::new(),
            next_look: Instant::now() + PLACES_PAUSE,
            unseen: 0,
            is_over: false,
        })
    }

    /// Watches until what it notices is not wanted any longer.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.begin();
        for path in self.missing.clone() {
            self.unseen(&path, "is not there; it is watched when it is");
        }
        while !self.is_over {
            let pause = self.next_look.saturating_duration_since(Instant::now());
            match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Timespec::try_from(pause).ok().as_ref()) {
                Ok(_) => self.read().map_err(|e| format!("read events: {e}"))?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(format!("wait for events: {errno}")),
            }
            if Instant::now() >= self.next_look {
                self.check_places();
                self.next_look = Instant::now() + PLACES_PAUSE;
            }
            self.begin();
        }
        Ok(())
    }

    /// Watches the paths that are missing, if they are there now.
    fn begin(&mut self) {
        for path in std::mem::take(&mut self.missing) {
            if let Err(error) = self.begin_path(&path) {
                if error.kind() != io::ErrorKind::NotFound {
                    self.unseen(&path, &error.to_string());
                }
                self.missing.push(path);
            }
        }
    }

    /// Watches a path of the plan: the name, and what it leads to.
    fn begin_path(&mut self, path: &Path) -> io::Result<()> {
        let itself = fs::symlink_metadata(path)?;
        let metadata = fs::metadata(path)?;
        self.places.insert(path.to_owned(), place(path)?);
        self.tell("watching", path, Some(&itself), json!({}));
        let real = fs::canonicalize(path)?;
        if let (false, Some(parent), Some(name)) = (itself.is_dir(), path.parent(), path.file_name()) {
            self.watch_name(&fs::canonicalize(parent)?, name);
        }
        match (metadata.is_dir(), real.parent(), real.file_name()) {
            (true, ..) => self.watch_tree(&real, false),
            (false, Some(parent), Some(name)) => self.watch_name(parent, name),
            _ => {}
        }
        Ok(())
    }

    /// Looks whether each path of the plan still leads to what is watched: a directory above it may have been renamed, or
    /// something mounted over it.
    fn check_places(&mut self) {
        let leads_elsewhere =
            |(path, before): (&PathBuf, &(u64, u64))| (place(path).ok() != Some(*before)).then(|| path.clone());
        let elsewhere: Vec<PathBuf> = self.places.iter().filter_map(leads_elsewhere).collect();
        elsewhere.iter().for_each(|path| self.lost(path));
    }

    /// Watches one name in a directory, whatever file has it.
    fn watch_name(&mut self, directory: &Path, name: &OsStr) {
        let Some((wd, _)) = self.add(directory) else { return };
        let watched = self.watched.entry(wd);
        let watched = watched.or_insert_with(|| Watched { path: directory.to_owned(), only: Some(HashSet::new()) });
        if let Some(names) = &mut watched.only {
            names.insert(name.to_owned());
        }
    }

    /// Watches a directory and those below it. `is_new`: what is in them was made since the directory was.
    fn watch_tree(&mut self, top: &Path, is_new: bool) {
        let mut directories = vec![top.to_owned()];
        while let Some(directory) = directories.pop() {
            if self.plan.excludes(&directory) || self.is_over {
                continue;
            }
            let Some((wd, held)) = self.add(&directory) else { continue };
            self.watched.insert(wd, Watched { path: directory.clone(), only: None });
            let entries = match fs::read_dir(by_descriptor(&held)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.unseen(&directory, &error.to_string());
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = directory.join(entry.file_name());
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_new && !self.plan.excludes(&path) {
                    self.tell_of("created", &path, is_directory, json!({}));
                }
                if is_directory {
                    directories.push(path);
                }
            }
        }
    }

    /// Watches a directory, and returns it held: no link on its path is followed.
    fn add(&mut self, directory: &Path) -> Option<(i32, OwnedFd)> {
        let what = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        if self.watched.len() >= DIRECTORIES_MAX {
            self.unseen(directory, &format!("{DIRECTORIES_MAX} directories are watched already"));
            return None;
        }
        let held = open_plain(directory);
        match held.and_then(|held| Ok((inotify::add_watch(&self.inotify, by_descriptor(&held), what)?, held))) {
            Ok(added) => Some(added),
            // Gone, or something else by now: its directory tells.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(Errno::NOSPC) => {
                self.unseen(directory, "the kernel has no room for another watch: fs.inotify.max_user_watches");
                None
            }
            Err(errno) => {
                self.unseen(directory, &errno.to_string());
                None
            }
        }
    }

    /// Reads all events that are there.
    fn read(&mut self) -> rustix::io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let inotify = self.inotify.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut gone: Option<Gone> = None;
        loop {
            let (wd, events, cookie, name) = match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    (event.wd(), event.events(), event.cookie(), name)
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let came_up = gone.take_if(|gone| events.contains(ReadFlags::MOVED_TO) && gone.cookie == cookie);
            if let Some(gone) = gone.take() {
                self.removed(&gone);
            }
            gone = self.event(wd, events, cookie, name.as_deref(), came_up);
            if self.is_over {
                return Ok(());
            }
        }
        if let Some(gone) = gone {
            self.removed(&gone);
        }
        Ok(())
    }

    /// Handles one event. Returns a name that is gone and may come up elsewhere.
    fn event(
        &mut self,
        wd: i32,
        events: ReadFlags,
        cookie: u32,
        name: Option<&OsStr>,
        came_up: Option<Gone>,
    ) -> Option<Gone> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.unseen(Path::new("/"), "events came faster than they were read, some are lost");
            self.missing = self.plan.paths.clone();
            return None;
        }
        let watched = self.watched.get(&wd)?;
        let directory = watched.path.clone();
        let Some(name) = name else {
            self.event_of_itself(wd, events, &directory);
            return None;
        };
        let path = directory.join(name);
        if watched.only.as_ref().is_some_and(|only| !only.contains(name)) || self.plan.excludes(&path) {
            // It is gone from where it is of interest.
            came_up.into_iter().for_each(|gone| self.removed(&gone));
            return None;
        }
        let is_directory = events.contains(ReadFlags::ISDIR);
        if self.places.contains_key(&path) && !events.contains(ReadFlags::ATTRIB) {
            // What has the name now is watched, if it is another.
            self.next_look = Instant::now();
        }
        if events.contains(ReadFlags::MOVED_FROM) {
            return Some(Gone { path, cookie, is_directory });
        }
        if events.contains(ReadFlags::MOVED_TO) {
            match &came_up {
                Some(gone) => self.moved(gone, &path),
                None => {
                    self.tell_of("created", &path, is_directory, json!({}));
                    if is_directory {
                        self.watch_tree(&path, true);
                    }
                }
            }
        }
        for (flag, event) in [
            (ReadFlags::CREATE, "created"),
            (ReadFlags::CLOSE_WRITE, "modified"),
            (ReadFlags::ATTRIB, "attributes"),
            (ReadFlags::DELETE, "removed"),
        ] {
            if events.contains(flag) {
                self.tell_of(event, &path, is_directory, json!({}));
            }
        }
        if events.contains(ReadFlags::CREATE) && is_directory {
            self.watch_tree(&path, true);
        }
        None
    }

    /// A name is gone, and came up nowhere.
    fn removed(&mut self, gone: &Gone) {
        if gone.is_directory {
            self.forget_below(&gone.path);
        }
        self.tell_of("removed", &gone.path, gone.is_directory, json!({}));
    }

    /// A name came up here. Directories that move take their watches along.
    fn moved(&mut self, gone: &Gone, path: &Path) {
        for watched in self.watched.values_mut() {
            if let Ok(below) = watched.path.strip_prefix(&gone.path) {
                watched.path = if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) };
            }
        }
        let is_of_interest = |path: &Path| path.file_name().is_none_or(|name| self.plan.has_name(name));
        if gone.is_directory || is_of_interest(path) || is_of_interest(&gone.path) {
            let metadata = fs::symlink_metadata(path).ok();
            self.tell("moved", path, metadata.as_ref(), json!({"from": gone.path.to_string_lossy()}));
        }
    }

    /// Something about a watched directory itself. Its parent tells too, unless it is a path of the plan.
    fn event_of_itself(&mut self, wd: i32, events: ReadFlags, directory: &Path) {
        let is_of_plan = self.plan.paths.iter().any(|path| path == directory);
        if is_of_plan && events.contains(ReadFlags::ATTRIB) && fs::symlink_metadata(directory).is_ok() {
            self.tell_of("attributes", directory, true, json!({}));
        }
        if events.contains(ReadFlags::MOVE_SELF) && is_of_plan {
            self.next_look = Instant::now();
        }
        if events.contains(ReadFlags::UNMOUNT) {
            self.unseen(directory, "what was mounted there is not any more; what is there now is not watched");
        }
        if events.contains(ReadFlags::IGNORED) && self.watched.remove(&wd).is_some() {
            let plan = self.plan;
            // Itself, or a file in it, or a link to it.
            if plan.paths.iter().any(|path| path == directory || path.parent() == Some(directory)) {
                self.check_places();
            }
        }
    }

    /// A path of the plan is gone; it is watched again when it is back.
    fn lost(&mut self, path: &Path) {
        if self.places.remove(path).is_some() {
            self.forget_below(path);
            self.tell("removed", path, None, json!({}));
            self.missing.push(path.to_owned());
        }
    }

    /// Ends the watches of a directory that was moved away, and of those below it.
    fn forget_below(&mut self, top: &Path) {
        let inotify = &self.inotify;
        self.watched.retain(|wd, watched| {
            let is_below = watched.path.starts_with(top);
            if is_below {
                // It fails if the directory was removed meanwhile.
                let _ = inotify::remove_watch(inotify, *wd);
            }
            !is_below
        });
    }

    fn unseen(&mut self, path: &Path, reason: &str) {
        self.unseen += 1;
        match self.unseen {
            ..=UNSEEN_MAX => self.tell("unseen", path, None, json!({"reason": reason})),
            count if count.is_power_of_two() => {
                let reason = format!("{count} times until now, the last time: {reason}");
                self.tell("unseen", path, None, json!({"reason": reason}));
            }
            _ => {}
        }
    }

    /// An event about a name, if it is of interest.
    fn tell_of(&mut self, event: &str, path: &Path, is_directory: bool, more: Value) {
        if is_directory || path.file_name().is_none_or(|name| self.plan.has_name(name)) {
            let metadata = if event == "removed" { None } else { fs::symlink_metadata(path).ok() };
            self.tell(event, path, metadata.as_ref(), more);
        }
    }

    fn tell(&mut self, event: &str, path: &Path, metadata: Option<&Metadata>, more: Value) {
        let mut told = json!({"event": event, "time": crate::time::now(), "path": path.to_string_lossy()});
        if let Some(metadata) = metadata {
            told["type"] = json!(kind(metadata.file_type()));
            told["size"] = json!(metadata.size());
            told["mode"] = json!(notation::mode(metadata.mode()));
            told["uid"] = json!(metadata.uid());
            told["gid"] = json!(metadata.gid());
            let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
            told["modified"] = json!(notation::time(metadata.mtime(), nanoseconds));
        }
        if let (Value::Object(mut told), Value::Object(more)) = (told, more) {
            told.extend(more);
            self.is_over |= !(self.notice)(told);
        }
    }
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "directory",
        kind if kind.is_file() => "file",
        kind if kind.is_symlink() => "link",
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    }
}
