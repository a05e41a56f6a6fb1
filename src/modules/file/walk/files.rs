//! The files of a walk: compared in turn, shared with idle threads, or deferred to its end.

use super::super::directory::OpenDirectory;
use super::super::entry::{Active, FileEntry, Kind};
use super::super::evaluate::{Outcome, Patience};
use super::super::late::LateFile;
use super::{Task, Walker};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

impl Walker<'_> {
    pub(super) fn read_files(&mut self, opened: &Arc<OpenDirectory>, files: &mut VecDeque<(OsString, Kind)>) {
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
    pub(super) fn evaluate(
        &mut self,
        at: Option<&Arc<OpenDirectory>>,
        name: &OsStr,
        kind: Kind,
        active: &Arc<[Active]>,
    ) {
        let entry = at.map_or_else(|| FileEntry::of_path(name, kind), |opened| opened.entry(name, kind));
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

    pub(super) fn evaluate_late(&mut self, file: &LateFile) {
        let patience = Patience::Until(self.walk.late.lease_end());
        let Some(location) = &file.directory else {
            self.evaluator.evaluate(&FileEntry::of_path(&file.name, file.kind), &file.active, patience);
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
