//! Compares one file with the searches that cover it, the cheap comparisons first.
//!
//! Stages: the name, which needs no system call; size, mode and time; the contents; the hash sums. A search with
//! `matchall` is dropped at the first stage that fails, and a file is skipped once no search is left. Each pass over a
//! file serves all searches. A file that may take long to read is deferred ([`Outcome::Deferred`]).

mod reading;

use super::accounts::Accounts;
use super::attributes;
use super::candidate::Candidate;
use super::content::{Contents, Truth};
use super::entry::{Active, FileEntry, Kind};
use super::filter::{Check, Test};
use super::limits;
use super::lines::Buffer;
use super::mounts::{Mounts, Place};
use super::open::{self, Metadata};
use super::parameters::{Cost, Plan};
use super::patterns::Names;
use super::readings::Readings;
use super::results::Findings;
use crate::modules::notation;
use crate::re2;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a link from elsewhere is not followed into `/proc/PID`.
const INTO_PROCESS: &str = "it leads into another process; a search that shall look there names the path below /proc, and runs \
                            as root or as the process's user";

/// What another module does with each file that a search selects: its path, and the file, which was read from then and there.
/// False: it needs no more of them.
pub(in crate::modules) type Visit<'a> = &'a (dyn Fn(&Path, &File) -> bool + Sync);

/// Where files go that a search selects.
#[derive(Clone, Copy)]
pub(in crate::modules) enum To<'a> {
    /// To the findings.
    Findings,
    /// To the findings, and their paths to another module: those in findings are text, which not every path is.
    Paths(&'a (dyn Fn(&Path) + Sync)),
    /// Regular ones, opened, to another module.
    Files(Visit<'a>),
}

/// State shared by the threads of a run.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    /// The searches.
    pub(super) plan: &'a Plan,
    /// Receives the results.
    pub(super) findings: &'a Findings<'a>,
    /// The mounts, of which network mounts are not entered.
    pub(super) mounts: &'a Mounts,
    /// Cache of truths and digests.
    pub(super) readings: &'a Readings,
    /// The users and groups of this machine.
    pub(super) accounts: &'a Accounts,
    /// When the run began, in nanoseconds since 1970.
    pub(super) now: i128,
    /// Where the files go.
    pub(super) to: To<'a>,
}

impl Shared<'_> {
    /// Whether a file must be opened for a search.
    fn reads(&self, candidate: &Candidate) -> bool {
        matches!(self.to, To::Files(_)) || self.plan.searches[candidate.search].reads()
    }
}

/// What to do about a file that may take long.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// Defer it to the end of the walk.
    Defer,
    /// Read it; wait until then for a lease to be released.
    Until(Instant),
}

/// The outcome of comparing an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was compared with all searches.
    Settled,
    /// Evaluate it again at the end of the walk; the value is its size.
    Deferred(u64),
}

/// The outcome of the stages after the name.
enum Compared {
    /// No search matches.
    No,
    /// At least one does.
    Matching(Metadata),
    /// See [`Outcome::Deferred`].
    Deferred(u64),
}

/// The outcome of opening a file.
enum Opened {
    File(File, Metadata),
    /// Another process has a lease on it.
    Leased,
    /// It is gone, not a regular file, or cannot be opened; the error was reported.
    Nothing,
}

/// The state of one thread. It has its own copies of the patterns, so that their caches are not shared.
pub(super) struct Evaluator<'a> {
    run: Shared<'a>,
    names: Names,
    contents: Contents,
    name_hits: Vec<bool>,
    truths: Vec<Truth>,
    buffer: Buffer,
    candidates: Vec<Candidate>,
}

impl<'a> Evaluator<'a> {
    /// Creates the evaluator of one thread.
    pub(super) fn new(run: Shared<'a>) -> Self {
        let plan = run.plan;
        Evaluator {
            run,
            names: plan.names.clone(),
            contents: plan.contents.clone(),
            name_hits: vec![false; plan.names.count()],
            truths: vec![Truth::Unknown; plan.contents.count()],
            buffer: Buffer::default(),
            candidates: Vec::new(),
        }
    }

    /// Settles an entry that need not be read; returns true if it must be read, by [`Evaluator::evaluate`].
    pub(super) fn must_read(&mut self, entry: &FileEntry, active: &[Active]) -> bool {
        self.match_name(entry, active);
        if self.candidates.iter().any(|candidate| self.run.reads(candidate)) {
            return true;
        }
        if !self.candidates.is_empty() {
            self.settle(entry, Patience::Defer);
        }
        false
    }

    /// Compares an entry with the searches `active`.
    pub(super) fn evaluate(&mut self, entry: &FileEntry, active: &[Active], patience: Patience) -> Outcome {
        self.match_name(entry, active);
        self.settle(entry, patience)
    }

    /// Fills `candidates` with the searches that the name leaves possible.
    fn match_name(&mut self, entry: &FileEntry, active: &[Active]) {
        self.candidates.clear();
        let any = self.names.mark(entry.base_name(), &mut self.name_hits);
        for active in active {
            let search = &self.run.plan.searches[active.search];
            if (search.needs_name_match && !any) || self.run.findings.is_closed(active.search) {
                continue;
            }
            let passes = |check: &Check| match check.test {
                Test::Name(number) => (any && self.name_hits[number]) != check.inverted,
                _ => false,
            };
            let mut candidate = Candidate { search: active.search, passed: Vec::new(), unpack: false, sha256: None };
            let later = [Cost::Metadata, Cost::Attributes, Cost::Contents, Cost::Hashes];
            if candidate.apply(search, Cost::Name, passes)
                && (search.all || !candidate.passed.is_empty() || later.iter().any(|stage| search.has(*stage)))
            {
                self.candidates.push(candidate);
            }
        }
    }

    fn settle(&mut self, entry: &FileEntry, patience: Patience) -> Outcome {
        let mut candidates = std::mem::take(&mut self.candidates);
        let compared = self.compare(entry, &mut candidates, patience);
        if let Compared::Matching(metadata) = compared
            && !matches!(self.run.to, To::Files(_))
        {
            let path = entry.path();
            for found in &candidates {
                if self.run.plan.searches[found.search].all || !found.passed.is_empty() {
                    let is_added =
                        self.run.findings.add(found.search, &found.passed, &path, &metadata, found.sha256.as_deref());
                    if let To::Paths(each) = self.run.to
                        && is_added
                    {
                        each(&path);
                    }
                }
            }
        }
        // Keeps the allocation.
        self.candidates = candidates;
        if let Compared::Deferred(size_bytes) = compared { Outcome::Deferred(size_bytes) } else { Outcome::Settled }
    }

    /// All stages after the name.
    fn compare(&mut self, entry: &FileEntry, candidates: &mut Vec<Candidate>, patience: Patience) -> Compared {
        let plan = self.run.plan;
        let search = |candidate: &Candidate| &plan.searches[candidate.search];
        self.leave_network(entry, candidates);
        if candidates.is_empty() {
            return Compared::No;
        }
        let reads = candidates.iter().any(|candidate| self.run.reads(candidate));
        let mut metadata = None;
        // A file that is opened later anyway is not stat'ed here.
        if !reads || entry.kind != Kind::Regular || candidates.iter().any(|one| search(one).has(Cost::Metadata)) {
            let known = self.stat(entry, candidates).filter(|known| !known.is_directory());
            let Some(known) = known else { return Compared::No };
            self.match_metadata(&known, candidates);
            metadata = Some(known);
        }
        if candidates.iter().any(|candidate| search(candidate).has(Cost::Attributes)) {
            self.match_attributes(entry, candidates);
        }
        if candidates.iter().any(|candidate| self.run.reads(candidate)) {
            match self.open(entry, metadata.as_ref(), patience, candidates) {
                Opened::File(file, known) => {
                    if known.size_bytes >= limits::LARGE_FILE_BYTES_MIN && matches!(patience, Patience::Defer) {
                        return Compared::Deferred(known.size_bytes);
                    }
                    metadata = Some(known);
                    self.match_readings(entry, &file, &known, candidates);
                    self.visit(entry, &file, candidates);
                }
                Opened::Leased => return Compared::Deferred(0),
                Opened::Nothing => leave_unread(plan, candidates),
            }
        }
        candidates.retain(|candidate| search(candidate).all || !candidate.passed.is_empty());
        let known = if candidates.is_empty() { None } else { metadata.or_else(|| self.stat(entry, candidates)) };
        known.map_or(Compared::No, Compared::Matching)
    }

    /// Shows a file that a search selects to whom it is for.
    fn visit(&self, entry: &FileEntry, file: &File, candidates: &[Candidate]) {
        let is_selected = |one: &Candidate| self.run.plan.searches[one.search].all || !one.passed.is_empty();
        if let To::Files(visit) = self.run.to
            && candidates.iter().any(is_selected)
            && !visit(&entry.path(), file)
        {
            self.run.findings.stop("early");
        }
    }

    /// Drops the searches that may not follow a link into a network mount.
    fn leave_network(&self, entry: &FileEntry, candidates: &mut Vec<Candidate>) {
        let Some(real) = entry.real.filter(|_| entry.kind == Kind::Link && !candidates.is_empty()) else { return };
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

    fn stat(&self, entry: &FileEntry, candidates: &[Candidate]) -> Option<Metadata> {
        let found = open::stat(entry.at, entry.name, entry.kind == Kind::Link);
        found.map_err(|error| self.report(entry, "stat", &error.into(), candidates)).ok()
    }

    /// Reports why an entry cannot be examined. Dangling links and ended processes are not errors.
    fn report(&self, entry: &FileEntry, what: &str, error: &io::Error, candidates: &[Candidate]) {
        if self.leads_into_process(entry, error) {
            let findings = self.run.findings;
            findings.unreadable("follow", &entry.path(), &INTO_PROCESS);
            candidates.iter().for_each(|candidate| findings.skip_search(candidate.search));
        } else if !open::leads_nowhere(error) {
            self.report_unreadable(entry, what, error);
        } else if !entry.is_pseudo && entry.kind != Kind::Link {
            self.run.findings.unread("it was removed or renamed during the search", &entry.path());
        }
    }

    /// Whether an entry elsewhere cannot be examined because it leads into another process.
    fn leads_into_process(&self, entry: &FileEntry, error: &io::Error) -> bool {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let elsewhere = entry.real.filter(|_| is_denied && entry.kind == Kind::Link && !entry.is_pseudo);
        elsewhere.is_some_and(|real| self.run.mounts.leads_into_process(entry.at, real, entry.name))
    }

    /// Reports that an entry cannot be read; there are thousands on a pseudo file system, which share one line.
    fn report_unreadable(&self, entry: &FileEntry, what: &str, error: &io::Error) {
        if entry.is_pseudo {
            self.run.findings.unread(&error.to_string(), &entry.path());
        } else {
            self.run.findings.unreadable(what, &entry.path(), error);
        }
    }

    fn open(
        &self,
        entry: &FileEntry,
        known: Option<&Metadata>,
        patience: Patience,
        candidates: &[Candidate],
    ) -> Opened {
        if known.is_some_and(|known| !known.is_regular()) {
            return Opened::Nothing;
        }
        let (follow, findings) = (entry.kind == Kind::Link, self.run.findings);
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

    fn match_metadata(&self, metadata: &Metadata, candidates: &mut Vec<Candidate>) {
        let mode = notation::mode(metadata.mode);
        let passes = |check: &Check| {
            let holds = match &check.test {
                Test::Size(size) => size.holds(metadata.size_bytes),
                Test::Mode(pattern) => pattern.is_match(&mode),
                Test::Mtime(age) => age.holds(open::nanoseconds(metadata.mtime), self.run.now),
                Test::Ctime(age) => age.holds(open::nanoseconds(metadata.ctime), self.run.now),
                Test::Owner(account) => self.run.accounts.users.is(account, metadata.uid),
                Test::Group(account) => self.run.accounts.groups.is(account, metadata.gid),
                _ => false,
            };
            holds != check.inverted
        };
        let plan = self.run.plan;
        candidates.retain_mut(|one| one.apply(&plan.searches[one.search], Cost::Metadata, passes));
    }

    /// Compares what is read on request only; a check whose attribute cannot be read fails.
    fn match_attributes(&self, entry: &FileEntry, candidates: &mut Vec<Candidate>) {
        let plan = self.run.plan;
        let is_asked = |is_one: fn(&Test) -> bool| {
            let mut checks = candidates.iter().flat_map(|one| plan.searches[one.search].stage(Cost::Attributes));
            checks.any(|check| is_one(&check.test))
        };
        let fails = |error: io::Error| self.report(entry, "read attributes", &error, candidates);
        let (mut birth, mut extended, mut capabilities) = (None, None, None);
        if is_asked(|test| matches!(test, Test::Birthtime(_))) {
            match attributes::birth(entry) {
                Ok(Some(time)) => birth = Some(time),
                Ok(None) => self.run.findings.unread("its file system has no time of birth", &entry.path()),
                Err(error) => fails(error.into()),
            }
        }
        if is_asked(|test| matches!(test, Test::Xattr(_))) {
            extended = attributes::extended(entry).map_err(fails).ok();
        }
        if is_asked(|test| matches!(test, Test::Capability(_))) {
            capabilities = attributes::file_capabilities(entry).map_err(fails).ok();
        }
        let passes = |check: &Check| {
            let holds = match &check.test {
                Test::Birthtime(age) => birth.map(|birth| age.holds(birth, self.run.now)),
                Test::Xattr(pattern) => {
                    extended.as_ref().map(|all| all.iter().any(|one| pattern.is_match(&re2::text(one))))
                }
                Test::Capability(pattern) => {
                    capabilities.as_ref().map(|text| text.as_ref().is_some_and(|text| pattern.is_match(text)))
                }
                _ => None,
            };
            holds.is_some_and(|holds| holds != check.inverted)
        };
        candidates.retain_mut(|one| one.apply(&plan.searches[one.search], Cost::Attributes, passes));
    }
}

/// A file that is not read passes no check of contents or sums.
fn leave_unread(plan: &Plan, candidates: &mut Vec<Candidate>) {
    candidates.retain(|candidate| {
        let search = &plan.searches[candidate.search];
        !search.all || !(search.has(Cost::Contents) || search.has(Cost::Hashes))
    });
}
