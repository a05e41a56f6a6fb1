//! Watching directories and those below them, and no longer.

use super::super::place::{leads_to, open_plain};
use super::super::watches::DIRECTORIES_MAX;
use super::Watcher;
use crate::modules::files::by_descriptor;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

impl Watcher<'_> {
    /// Watches one name in a directory, whatever file has it.
    pub(super) fn watch_name(&mut self, path: &Path) -> io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let (wd, held) = self.add(directory)?;
        self.watches.add_name(wd, directory, name, |path| leads_to(path, &held));
        // Another directory had this path.
        let before = self.watches.with_name(directory, name).into_iter().map(|(before, _)| before);
        before.filter(|before| *before != wd).for_each(|before| self.end_name(before, name));
        Ok(())
    }

    /// Watches a directory and those below it. `is_new`: what is in those that were not watched before was made since.
    pub(super) fn watch_tree(&mut self, top: &Path, is_new: bool) {
        if let Err(error) = self.begin_tree(top, is_new) {
            self.unseen_unless_gone(top, &error);
        }
    }

    /// The same. An error says that the directory itself is not watched; others are told.
    pub(super) fn begin_tree(&mut self, top: &Path, is_new: bool) -> io::Result<()> {
        let mut waiting = Vec::new();
        self.watch_directory(top, is_new, &mut waiting)?;
        while let Some(directory) = waiting.pop() {
            if let Err(error) = self.watch_directory(&directory, is_new, &mut waiting) {
                self.unseen_unless_gone(&directory, &error);
            }
        }
        Ok(())
    }

    /// Watches a directory. Those in it wait then.
    fn watch_directory(&mut self, directory: &Path, is_new: bool, waiting: &mut Vec<PathBuf>) -> io::Result<()> {
        if self.plan.excludes(directory) || self.is_over {
            return Ok(());
        }
        let (wd, held) = self.add(directory)?;
        let is_new = is_new && !self.watches.has(wd, directory);
        self.watches.add(wd, directory, |path| leads_to(path, &held));
        let entries = fs::read_dir(by_descriptor(&held))?;
        let named = entries.map(|entry| entry.map(|entry| (entry.file_name(), entry.file_type())));
        self.enter(directory, is_new, named, waiting);
        Ok(())
    }

    /// Takes what is in a directory that is watched.
    pub(super) fn enter(
        &mut self,
        directory: &Path,
        is_new: bool,
        entries: impl Iterator<Item = io::Result<(OsString, io::Result<FileType>)>>,
        waiting: &mut Vec<PathBuf>,
    ) {
        for entry in entries {
            let (name, kind) = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unseen(
                        directory,
                        &format!("read the directory: {error}; directories in it may not be watched"),
                    );
                    continue;
                }
            };
            let path = directory.join(name);
            let is_directory = match kind {
                Ok(kind) => kind.is_dir(),
                Err(error) => {
                    self.unseen_unless_gone(&path, &error);
                    false
                }
            };
            if is_directory && self.mounts.bars_directory(&path) {
                continue;
            }
            if is_new && !self.plan.excludes(&path) {
                self.tell_of("created", &path, is_directory, json!({}));
            }
            if is_directory && waiting.len() < DIRECTORIES_MAX {
                waiting.push(path);
            } else if is_directory {
                self.unseen(&path, &format!("{DIRECTORIES_MAX} directories wait to be watched"));
            }
        }
    }

    /// Watches a directory, and returns it held: no link on its path is followed.
    fn add(&mut self, directory: &Path) -> io::Result<(i32, OwnedFd)> {
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
            return Err(io::Error::other(reason));
        }
        let held = open_plain(directory);
        held.and_then(|held| Ok((inotify::add_watch(&self.inotify, by_descriptor(&held), what)?, held))).map_err(
            |errno| {
                match errno {
                    // Gone, or something else by now.
                    Errno::NOENT | Errno::NOTDIR | Errno::LOOP => io::ErrorKind::NotFound.into(),
                    Errno::NOSPC => {
                        io::Error::other("the kernel has no room for another watch: fs.inotify.max_user_watches")
                    }
                    errno => errno.into(),
                }
            },
        )
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
