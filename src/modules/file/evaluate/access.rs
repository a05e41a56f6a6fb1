//! How a file is reached: its metadata and its descriptor, what is not accessed, and what is said of it then.

use super::super::candidate::Candidate;
use super::super::entry::FileEntry;
use super::super::mounts::Place;
use super::super::open::{self, Metadata};
use super::{Evaluator, Patience};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Why a link from elsewhere is not followed into `/proc/PID`.
const INTO_PROCESS: &str = "it leads into another process; a search that shall look there names the path below /proc, and runs \
                            as root or as the process's user";

/// The outcome of opening a file.
pub(super) enum Opened {
    File(File, Metadata),
    /// Another process has a lease on it.
    Leased,
    /// It is gone, not a regular file, or cannot be opened; the error was reported.
    Nothing,
}

impl Evaluator<'_> {
    /// Drops the searches that may not follow a link into a network mount.
    pub(super) fn leave_network(&self, entry: &FileEntry, candidates: &mut Vec<Candidate>) {
        let Some(real) = entry.real.filter(|_| entry.kind.is_followed() && !candidates.is_empty()) else { return };
        if !self.run.mounts.must_locate(real) {
            return;
        }
        let findings = self.run.findings;
        match self.run.mounts.locate_link(entry.at, real, entry.name) {
            Ok(Place::Local(_)) => {}
            Ok(Place::Network(_)) => {
                let before = candidates.len();
                candidates.retain(|candidate| self.run.plan.searches[candidate.search].options.remotefs);
                if candidates.len() < before {
                    findings.unread("a link into a network mount, see option remotefs", &entry.path());
                }
            }
            Err(error) => {
                self.report(entry, "follow", &error, candidates);
                candidates.clear();
            }
        }
    }

    pub(super) fn stat(&self, entry: &FileEntry, candidates: &[Candidate]) -> Option<Metadata> {
        let found = open::stat(entry.at, entry.name, entry.kind.is_followed());
        found.map_err(|error| self.report(entry, "stat", &error.into(), candidates)).ok()
    }

    /// Returns where a link leads; nothing if it was removed meanwhile, or leads nowhere, as `exe` of a kernel thread.
    pub(super) fn target(&self, entry: &FileEntry, candidates: &[Candidate]) -> Option<PathBuf> {
        match open::text_of_link(entry.at, entry.name) {
            Ok(target) => Some(target),
            Err(error) if open::leads_nowhere(&error) => None,
            Err(error) => {
                self.report(entry, "read link", &error, candidates);
                None
            }
        }
    }

    /// Reports why an entry cannot be examined. Dangling links and ended processes are not errors.
    pub(super) fn report(&self, entry: &FileEntry, what: &str, error: &io::Error, candidates: &[Candidate]) {
        if self.leads_into_process(entry, error) {
            let findings = self.run.findings;
            findings.unreadable("follow", &entry.path(), &INTO_PROCESS);
            candidates.iter().for_each(|candidate| findings.skip_search(candidate.search));
        } else if !open::leads_nowhere(error) {
            self.report_unreadable(entry, what, error);
        } else if !entry.is_pseudo && !entry.kind.is_followed() {
            self.run.findings.unread("it was removed or renamed during the search", &entry.path());
        }
    }

    /// Whether an entry elsewhere cannot be examined because it leads into another process.
    fn leads_into_process(&self, entry: &FileEntry, error: &io::Error) -> bool {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let elsewhere = entry.real.filter(|_| is_denied && entry.kind.is_followed() && !entry.is_pseudo);
        elsewhere.is_some_and(|real| self.run.mounts.leads_into_process(entry.at, real, entry.name))
    }

    /// Reports that an entry cannot be read; there are thousands on a pseudo file system, which share one line.
    pub(super) fn report_unreadable(&self, entry: &FileEntry, what: &str, error: &io::Error) {
        if entry.is_pseudo {
            self.run.findings.unread(&error.to_string(), &entry.path());
        } else {
            self.run.findings.unreadable(what, &entry.path(), error);
        }
    }

    pub(super) fn open(
        &self,
        entry: &FileEntry,
        known: Option<&Metadata>,
        patience: Patience,
        candidates: &[Candidate],
    ) -> Opened {
        if known.is_some_and(|known| !known.is_regular()) {
            return Opened::Nothing;
        }
        let (follow, findings) = (entry.kind.is_followed(), self.run.findings);
        if (entry.is_pseudo || known.is_some_and(|known| follow && known.stored_bytes == 0))
            && let Some(reason) = open::must_not_open(entry.at, entry.name, follow)
        {
            findings.unread(reason, &entry.path());
            return Opened::Nothing;
        }
        loop {
            match (open::open(entry.at, entry.name, follow), patience) {
                (Ok(Some((file, metadata))), _) => return Opened::File(file, metadata),
                (Ok(None), _) => return Opened::Nothing,
                (Err(Errno::AGAIN), Patience::Defer) => return Opened::Leased,
                (Err(Errno::AGAIN), Patience::Until(end)) if Instant::now() < end && !findings.is_done() => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                (Err(error), _) => {
                    self.report(entry, "open", &error.into(), candidates);
                    return Opened::Nothing;
                }
            }
        }
    }
}
