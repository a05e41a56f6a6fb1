//! Events of what was noticed.

use super::Watcher;
use crate::modules::notation;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is unseen in [`UNSEEN_PAUSE`] and has an event of its own; the rest is counted, and has one together.
pub(super) const UNSEEN_MAX: usize = 20;
/// How often the rest is told.
pub(super) const UNSEEN_PAUSE: Duration = Duration::from_secs(10);

/// What was told to be unseen, and what is to be told.
pub(super) struct Unseen {
    told: usize,
    more: usize,
    /// The last one of these: its path, and why.
    last: (PathBuf, String),
    next: Instant,
}

impl Unseen {
    /// Nothing yet.
    pub(super) fn new(now: Instant) -> Unseen {
        Unseen { told: 0, more: 0, last: Default::default(), next: now + UNSEEN_PAUSE }
    }
}

impl Watcher<'_> {
    pub(super) fn unseen(&mut self, path: &Path, reason: &str) {
        if self.unseen.told < UNSEEN_MAX {
            self.unseen.told += 1;
            self.tell("unseen", path, None, json!({"reason": reason}));
        } else {
            self.unseen.more += 1;
            self.unseen.last = (path.to_owned(), reason.to_owned());
        }
    }

    /// Of what is gone by now its directory tells.
    pub(super) fn unseen_unless_gone(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.unseen(path, &error.to_string());
        }
    }

    /// Tells what is unseen and had no event of its own, if it is time.
    pub(super) fn tell_more_unseen(&mut self, now: Instant) {
        if now < self.unseen.next {
            return;
        }
        let Unseen { more, last: (path, reason), .. } = std::mem::replace(&mut self.unseen, Unseen::new(now));
        if more > 0 {
            let reason =
                format!("{more} more times in about {} seconds, the last time: {reason}", UNSEEN_PAUSE.as_secs());
            self.tell("unseen", &path, None, json!({"reason": reason}));
        }
    }

    /// Tells that files with these marks, which are taken, were modified. `are_there`: they still have these names.
    pub(super) fn settle(&mut self, mut marks: Vec<(i32, OsString)>, are_there: bool) {
        marks.sort();
        for (wd, name) in marks {
            let directories: Vec<PathBuf> =
                self.watches.get(wd).map(|watched| watched.paths.clone()).unwrap_or_default();
            for path in directories.into_iter().map(|directory| directory.join(&name)) {
                if !self.plan.excludes(&path) {
                    let metadata = if are_there { fs::symlink_metadata(&path).ok() } else { None };
                    self.tell("modified", &path, metadata.as_ref(), json!({}));
                }
            }
        }
    }

    /// Whether a file is of interest: by its name, or as a path of the plan, or as what that leads to.
    pub(super) fn is_of_interest(&self, path: &Path) -> bool {
        let is_path = |named: &Option<PathBuf>| named.as_deref() == Some(path);
        path.file_name().is_none_or(|name| self.plan.has_name(name))
            || self.places.values().any(|place| place.real == path || is_path(&place.named))
            || self.missing.iter().any(|missing| is_path(&missing.named))
    }

    /// An event about a name, if it is of interest.
    pub(super) fn tell_of(&mut self, event: &str, path: &Path, is_directory: bool, more: Value) {
        if is_directory || self.is_of_interest(path) {
            let metadata = if event == "removed" { None } else { fs::symlink_metadata(path).ok() };
            self.tell(event, path, metadata.as_ref(), more);
        }
    }

    pub(super) fn tell(&mut self, event: &str, path: &Path, metadata: Option<&Metadata>, more: Value) {
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
