//! Watching with inotify(7): a watch for each directory.

use super::parameters::Plan;
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
use std::time::Duration;

/// Directories that are watched: the kernel takes about 1 KiB for each, and a path of ours.
pub(super) const DIRECTORIES_MAX: usize = 100_000;
/// Directories that are not watched and each have an event of their own; the others are counted.
const UNSEEN_MAX: usize = 20;
/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// How often a path that is missing is looked for.
const MISSING_PAUSE: Duration = Duration::from_secs(10);

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
    /// Paths of the plan that are not there.
    missing: Vec<PathBuf>,
    /// Directories that are not watched.
    unseen: usize,
    is_over: bool,
}

impl<'w> Watcher<'w> {
    /// One that watches nothing yet.
    pub(super) fn new(plan: &'w Plan, notice: &'w mut dyn FnMut(Event) -> bool) -> Result<Watcher<'w>, String> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| format!("watch files: {e}; fs.inotify.max_user_instances may be too small"))?;
        let (watched, missing) = (HashMap::new(), plan.paths.clone());
        Ok(Watcher { plan, notice, inotify, watched, missing, unseen: 0, is_over: false })
    }

    /// Watches until what it notices is not wanted any longer.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.begin();
        while !self.is_over {
            let timeout = (!self.missing.is_empty()).then(|| Timespec::try_from(MISSING_PAUSE).ok()).flatten();
            match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref()) {
                Ok(_) => self.read().map_err(|e| format!("read events: {e}"))?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(format!("wait for events: {errno}")),
            }
            if !self.missing.is_empty() {
                self.begin();
            }
        }
        Ok(())
    }

    /// Watches the paths that are missing, if they are there now.
    fn begin(&mut self) {
        for path in std::mem::take(&mut self.missing) {
            match fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    self.tell("watching", &path, Some(&metadata), json!({}));
                    match (metadata.is_dir(), path.parent(), path.file_name()) {
                        (false, Some(parent), Some(name)) => self.watch_name(parent, name),
                        _ => self.watch_tree(&path, false),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.missing.push(path),
                Err(error) => {
                    self.unseen(&path, &error.to_string());
                    self.missing.push(path);
                }
            }
        }
    }

    /// Watches one name in a directory, whatever file has it.
    fn watch_name(&mut self, directory: &Path, name: &OsStr) {
        let Some(wd) = self.add(directory) else { return };
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
            let Some(wd) = self.add(&directory) else { continue };
            self.watched.insert(wd, Watched { path: directory.clone(), only: None });
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.unseen(&directory, &error.to_string());
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = entry.path();
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

    fn add(&mut self, directory: &Path) -> Option<i32> {
        let what = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
            | WatchFlags::EXCL_UNLINK;
        if self.watched.len() >= DIRECTORIES_MAX {
            self.unseen(directory, &format!("{DIRECTORIES_MAX} directories are watched already"));
            return None;
        }
        match inotify::add_watch(&self.inotify, directory, what) {
            Ok(wd) => Some(wd),
            // Gone, or something else by now: its directory tells.
            Err(Errno::NOENT | Errno::NOTDIR) => None,
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
                self.tell_of("removed", &gone.path, gone.is_directory, json!({}));
            }
            gone = self.event(wd, events, cookie, name.as_deref(), came_up);
            if self.is_over {
                return Ok(());
            }
        }
        if let Some(gone) = gone {
            self.tell_of("removed", &gone.path, gone.is_directory, json!({}));
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
            return None;
        }
        let is_directory = events.contains(ReadFlags::ISDIR);
        if events.contains(ReadFlags::MOVED_FROM) {
            if is_directory {
                self.forget_below(&path);
            }
            return Some(Gone { path, cookie, is_directory });
        }
        if events.contains(ReadFlags::MOVED_TO) {
            match &came_up {
                Some(gone) => {
                    self.tell_of("moved", &path, is_directory, json!({"from": gone.path.to_string_lossy()}));
                }
                None => self.tell_of("created", &path, is_directory, json!({})),
            }
            if is_directory {
                self.watch_tree(&path, came_up.is_none());
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

    /// Something about a watched directory itself. Its parent tells too, unless it is a path of the plan.
    fn event_of_itself(&mut self, wd: i32, events: ReadFlags, directory: &Path) {
        let is_of_plan = self.plan.paths.iter().any(|path| path == directory);
        if is_of_plan && events.contains(ReadFlags::ATTRIB) && fs::symlink_metadata(directory).is_ok() {
            self.tell_of("attributes", directory, true, json!({}));
        }
        if events.contains(ReadFlags::MOVE_SELF) && is_of_plan {
            self.forget_below(directory);
            self.lost(directory);
        }
        if events.contains(ReadFlags::IGNORED) && self.watched.remove(&wd).is_some() {
            let plan = self.plan;
            // Itself, or a file in it.
            let is_lost = |path: &&PathBuf| *path == directory || path.parent() == Some(directory);
            plan.paths.iter().filter(is_lost).for_each(|path| self.lost(path));
        }
    }

    /// A path of the plan is gone; it is watched again when it is back.
    fn lost(&mut self, path: &Path) {
        if !self.missing.iter().any(|missing| missing == path) {
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

#[cfg(test)]
mod tests {
    use super::super::{FsWatch, parameters};
    use super::*;
    use crate::modules::persistent::Persistent;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::JoinHandle;

    /// A watcher in a thread of its own; it ends when it notices a file called `end`.
    struct Running {
        events: Receiver<Event>,
        thread: JoinHandle<()>,
    }

    impl Running {
        fn begin(parameters: Value) -> Running {
            let (sender, events) = channel();
            let thread = std::thread::spawn(move || {
                FsWatch
                    .run(&parameters, &mut |event| {
                        let is_end = event["path"].as_str().is_some_and(|path| path.ends_with("/end"));
                        !is_end && sender.send(event).is_ok()
                    })
                    .unwrap();
            });
            Running { events, thread }
        }

        /// The next event, as `event path`, with the path below `top`.
        fn next(&self, top: &Path) -> String {
            let event = self.events.recv_timeout(Duration::from_secs(60)).unwrap();
            let below = |path: &Value| path.as_str().unwrap().trim_start_matches(top.to_str().unwrap()).to_owned();
            let from = event.get("from").map_or(String::new(), |from| format!("{} ", below(from)));
            format!("{} {from}{}", event["event"].as_str().unwrap(), below(&event["path"]))
        }

        /// Events until this one.
        fn until(&self, top: &Path, last: &str) -> Vec<String> {
            let mut events = Vec::new();
            while events.last().is_none_or(|event| event != last) {
                events.push(self.next(top));
            }
            events
        }

        fn end(self, directory: &Path) {
            fs::write(directory.join("end"), "").unwrap();
            self.thread.join().unwrap();
        }
    }

    #[test]
    fn what_changes_in_a_tree_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(top.join("not")).unwrap();
        fs::write(top.join("a/b/old"), "x").unwrap();
        let running = Running::begin(json!({"paths": [top], "exclude": [top.join("not")]}));
        assert_eq!(running.next(top), "watching ");
        // The watches are there once something of the deepest directory is noticed.
        fs::write(top.join("a/b/new"), "text").unwrap();
        let event = std::iter::repeat_with(|| running.events.recv_timeout(Duration::from_secs(60)).unwrap());
        let event = event.into_iter().find(|event| event["event"] == "modified").unwrap();
        assert_eq!((&event["size"], &event["type"], &event["mode"]), (&json!(4), &json!("file"), &json!("-rw-r--r--")));
        fs::write(top.join("not/noticed"), "").unwrap();
        fs::rename(top.join("a/b/new"), top.join("a/moved")).unwrap();
        assert_eq!(running.next(top), "moved /a/b/new /a/moved");
        fs::remove_file(top.join("a/b/old")).unwrap();
        assert_eq!(running.next(top), "removed /a/b/old");
        // A directory that moves takes its watch along.
        fs::rename(top.join("a/b"), top.join("c")).unwrap();
        assert_eq!(running.next(top), "moved /a/b /c");
        fs::write(top.join("c/x"), "").unwrap();
        assert!(running.until(top, "modified /c/x").contains(&"created /c/x".to_owned()));
        // What is made in a new directory before it is watched is not missed.
        fs::create_dir_all(top.join("d/e/f")).unwrap();
        fs::write(top.join("d/e/f/deep"), "").unwrap();
        assert!(running.until(top, "created /d/e/f/deep").contains(&"created /d/e".to_owned()));
        running.end(top);
    }

    #[test]
    fn a_path_that_goes_is_watched_again_when_it_is_back_and_a_file_is_watched_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        fs::write(top.join("file"), "").unwrap();
        fs::create_dir(top.join("tree")).unwrap();
        let plan = parameters::parse(&json!({"paths": [top.join("file"), top.join("tree")]})).unwrap();
        let mut events: Vec<String> = Vec::new();
        let mut notice = |event: Event| {
            events.push(
                format!("{} {}", event["event"], event["path"]).replace(top.to_str().unwrap(), "").replace('"', ""),
            );
            true
        };
        let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
        watcher.begin();
        // As an editor does it.
        fs::write(top.join("other"), "").unwrap();
        fs::write(top.join(".file"), "").unwrap();
        fs::rename(top.join(".file"), top.join("file")).unwrap();
        watcher.read().unwrap();
        fs::remove_dir(top.join("tree")).unwrap();
        watcher.read().unwrap();
        assert_eq!(watcher.missing, [top.join("tree")]);
        fs::create_dir(top.join("tree")).unwrap();
        watcher.begin();
        fs::write(top.join("tree/x"), "").unwrap();
        watcher.read().unwrap();
        drop(watcher);
        let expected =
            ["watching /file", "watching /tree", "created /file", "removed /tree", "watching /tree", "created /tree/x"];
        assert_eq!(events[..6], expected, "{events:?}");
    }

    #[test]
    fn what_is_not_watched_is_named_a_limited_number_of_times() {
        let directory = tempfile::tempdir().unwrap();
        let plan = parameters::parse(&json!({"paths": [directory.path()]})).unwrap();
        let mut count = 0;
        let mut notice = |event: Event| {
            count += usize::from(event["event"] == "unseen" && event["reason"].as_str().unwrap().contains("no room"));
            true
        };
        let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
        (0..10_000).for_each(|_| watcher.unseen(directory.path(), "no room"));
        drop(watcher);
        assert!((UNSEEN_MAX..UNSEEN_MAX + 10).contains(&count), "{count}");
    }
}
