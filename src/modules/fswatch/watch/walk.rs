//! Watching directories and those below them, and no longer.

use super::super::place::{by_descriptor, leads_to, open_plain};
use super::super::watches::DIRECTORIES_MAX;
use super::Watcher;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

impl Watcher<'_> {
    /// Watches one name in a directory, whatever file has it.
    pub(super) fn watch_name(&mut self, path: &Path) {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name())
            && let Some((wd, held)) = self.add(directory)
        {
            self.watches.add_name(wd, directory, name, |path| leads_to(path, &held));
            // Another directory had this path.
            let before = self.watches.with_name(directory, name).into_iter().map(|(before, _)| before);
            before.filter(|before| *before != wd).for_each(|before| self.end_name(before, name));
        }
    }

    /// Watches a directory and those below it. `is_new`: what is in those that were not watched before was made since.
    pub(super) fn watch_tree(&mut self, top: &Path, is_new: bool) {
        let mut directories = vec![top.to_owned()];
        while let Some(directory) = directories.pop() {
            if self.plan.excludes(&directory) || self.is_over {
                continue;
            }
            let Some((wd, held)) = self.add(&directory) else { continue };
            let is_new = is_new && !self.watches.has(wd, &directory);
            self.watches.add(wd, &directory, |path| leads_to(path, &held));
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
                if is_directory && self.mounts.bars_directory(&path) {
                    continue;
                }
                if is_new && !self.plan.excludes(&path) {
                    self.tell_of("created", &path, is_directory, json!({}));
                }
                if is_directory && directories.len() < DIRECTORIES_MAX {
                    directories.push(path);
                } else if is_directory {
                    self.unseen(&path, &format!("{DIRECTORIES_MAX} directories wait to be watched"));
                }
            }
        }
    }

    /// Watches a directory, and returns it held: no link on its path is followed.
    fn add(&mut self, directory: &Path) -> Option<(i32, OwnedFd)> {
        let what = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        if let Some(reason) = self.watches.is_full_for(directory) {
            self.unseen(directory, &reason);
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

    /// Ends the watches of a directory by this path, and of those below it: it was moved away, or something is mounted over it.
    pub(super) fn forget_below(&mut self, top: &Path) {
        let taken = self.take_paths(top);
        self.end_without_path(&taken);
    }

    /// Ends the watch of one name.
    pub(super) fn forget_name(&mut self, path: &Path) {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
        for (wd, paths) in self.watches.with_name(directory, name) {
            self.end_name(wd, name);
            // The same directory by other paths.
            let others = self.take_places(|place| paths.iter().any(|other| place.is_in(&other.join(name))));
            self.missing.extend(others);
        }
    }

    fn end_name(&mut self, wd: i32, name: &OsStr) {
        if self.marks.take(wd, name) {
            self.settle(vec![(wd, name.to_owned())], false);
        }
        if self.watches.forget_name(wd, name) {
            let _ = inotify::remove_watch(&self.inotify, wd);
        }
    }

    /// It is not known which directories have these paths now: they are found again, with their watches, so that no event that
    /// waits is missed.
    pub(super) fn find_again(&mut self, tops: [&Path; 2]) {
        let taken: Vec<i32> = tops.into_iter().flat_map(|top| self.take_paths(top)).collect();
        tops.into_iter().for_each(|top| self.watch_tree(top, true));
        self.end_without_path(&taken);
    }

    fn take_paths(&mut self, top: &Path) -> Vec<i32> {
        let below = self.watches.at_and_below(top);
        for wd in &below {
            let marks = self.marks.take_in(*wd);
            self.settle(marks, false);
            self.watches.take_paths(*wd, top);
        }
        below
    }

    fn end_without_path(&mut self, taken: &[i32]) {
        for wd in taken {
            if self.watches.remove_without_path(*wd) {
                // It fails if the directory was removed meanwhile.
                let _ = inotify::remove_watch(&self.inotify, *wd);
            }
        }
    }
}
