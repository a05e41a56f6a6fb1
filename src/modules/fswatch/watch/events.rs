//! What the kernel reports.

use super::Watcher;
use rustix::fs::inotify::{ReadFlags, Reader};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// After this time of events without a pause other things have their turn.
const READING_MAX: Duration = Duration::from_secs(1);

/// An event of the kernel.
struct Heard {
    wd: i32,
    events: ReadFlags,
    cookie: u32,
    name: Option<OsString>,
}

impl Heard {
    fn is(&self, events: ReadFlags) -> bool {
        self.events.intersects(events)
    }

    fn is_of_directory(&self) -> bool {
        self.is(ReadFlags::ISDIR)
    }
}

/// A name that is gone, until it is known whether it comes up elsewhere.
struct Gone {
    path: PathBuf,
    cookie: u32,
    is_directory: bool,
}

impl Watcher<'_> {
    /// Reads the events that are there.
    pub(super) fn read(&mut self) -> rustix::io::Result<()> {
        let began = Instant::now();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let inotify = self.inotify.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut gone: Option<Gone> = None;
        while !self.is_over {
            let heard = match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    Heard { wd: event.wd(), events: event.events(), cookie: event.cookie(), name }
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let came_up = gone.take_if(|gone| heard.is(ReadFlags::MOVED_TO) && gone.cookie == heard.cookie);
            if let Some(gone) = gone.take() {
                self.removed(&gone);
            }
            gone = self.event(&heard, came_up);
            if gone.is_none() && reader.is_buffer_empty() && began.elapsed() >= READING_MAX {
                break;
            }
        }
        if let Some(gone) = gone {
            self.removed(&gone);
        }
        Ok(())
    }

    /// Handles one event. Returns a name that is gone and may come up elsewhere.
    fn event(&mut self, heard: &Heard, came_up: Option<Gone>) -> Option<Gone> {
        if heard.is(ReadFlags::QUEUE_OVERFLOW) {
            if !self.is_lost {
                self.unseen(Path::new("/"), "events came faster than they were read, some are lost");
            }
            self.is_lost = true;
            return None;
        }
        let watched = self.watches.get(heard.wd);
        let (Some(watched), Some(name)) = (watched, heard.name.as_deref()) else {
            if watched.is_some() {
                self.event_of_itself(heard);
            }
            came_up.into_iter().for_each(|gone| self.removed(&gone));
            return None;
        };
        if watched.only.as_ref().is_some_and(|only| !only.contains(name)) {
            // It is gone from where it is of interest.
            came_up.into_iter().for_each(|gone| self.removed(&gone));
            return None;
        }
        if heard.is(ReadFlags::MODIFY) && !heard.is_of_directory() {
            if watched.paths.iter().any(|directory| self.is_of_interest(&directory.join(name))) {
                let marks = self.marks.add(heard.wd, name, Instant::now());
                self.settle(marks, true);
            }
            return None;
        }
        let paths: Vec<PathBuf> = watched.paths.iter().map(|directory| directory.join(name)).collect();
        let names_change = ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        if heard.is(names_change | ReadFlags::CLOSE_WRITE) && self.marks.take(heard.wd, name) && heard.is(names_change)
        {
            self.settle(vec![(heard.wd, name.to_owned())], false);
        }
        let mut paths = paths.iter();
        let gone = paths.next().and_then(|path| self.event_at(path, heard, came_up));
        for path in paths {
            if let Some(gone) = self.event_at(path, heard, None) {
                self.removed(&gone);
            }
        }
        gone
    }

    /// The same, for one path of what it is about.
    fn event_at(&mut self, path: &Path, heard: &Heard, came_up: Option<Gone>) -> Option<Gone> {
        if self.plan.excludes(path) {
            came_up.into_iter().for_each(|gone| self.removed(&gone));
            return None;
        }
        let is_directory = heard.is_of_directory();
        if self.places.contains_key(path) && !heard.is(ReadFlags::ATTRIB) {
            // What has the name now is watched, if it is another.
            self.next_look = Instant::now();
        }
        if heard.is(ReadFlags::MOVED_FROM) {
            return Some(Gone { path: path.to_owned(), cookie: heard.cookie, is_directory });
        }
        if let Some(gone) = &came_up {
            self.moved(gone, path);
            return None;
        }
        for (flags, event) in [
            (ReadFlags::CREATE | ReadFlags::MOVED_TO, "created"),
            (ReadFlags::CLOSE_WRITE, "modified"),
            // Of a directory: its time was set.
            (ReadFlags::ATTRIB | ReadFlags::MODIFY, "attributes"),
            (ReadFlags::DELETE, "removed"),
        ] {
            if heard.is(flags) {
                self.tell_of(event, path, is_directory, json!({}));
            }
        }
        if heard.is(ReadFlags::CREATE | ReadFlags::MOVED_TO) && is_directory {
            self.watch_tree(path, true);
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

    /// A name came up here. Directories that move take their watches along, as far as they have them: those that were renamed
    /// before they were watched have none.
    fn moved(&mut self, gone: &Gone, path: &Path) {
        let is_taken = gone.is_directory && !self.watches.at_and_below(path).is_empty();
        if gone.is_directory && !is_taken {
            self.watches.rename(&gone.path, path);
        }
        if gone.is_directory || self.is_of_interest(path) || self.is_of_interest(&gone.path) {
            let metadata = fs::symlink_metadata(path).ok();
            self.tell("moved", path, metadata.as_ref(), json!({"from": gone.path.to_string_lossy()}));
        }
        if is_taken {
            // Two names were exchanged, or an empty directory was replaced.
            self.find_again([path, &gone.path]);
        } else if gone.is_directory {
            self.watch_tree(path, true);
        }
    }

    /// Something about a watched directory itself. Its parent tells too, unless it is a path of the plan.
    fn event_of_itself(&mut self, heard: &Heard) {
        let Some(watched) = self.watches.get(heard.wd) else { return };
        let (plan, paths) = (self.plan, watched.paths.clone());
        if let Some(path) = paths.iter().find(|path| plan.paths.contains(path)) {
            if heard.is(ReadFlags::ATTRIB | ReadFlags::MODIFY) && fs::symlink_metadata(path).is_ok() {
                self.tell_of("attributes", path, true, json!({}));
            }
            if heard.is(ReadFlags::MOVE_SELF) {
                self.next_look = Instant::now();
            }
        }
        if heard.is(ReadFlags::IGNORED) {
            let marks = self.marks.take_in(heard.wd);
            self.settle(marks, false);
            self.watches.remove(heard.wd);
            // Itself, or a file in it, or a link to it.
            let is_of = |path: &PathBuf| {
                paths.contains(path) || path.parent().is_some_and(|path| paths.iter().any(|p| p == path))
            };
            if plan.paths.iter().any(is_of) {
                self.check_places();
            }
        }
    }
}
