//! Compares one file with the searches that cover it, the cheap comparisons first.
//!
//! Stages: the name, which needs no system call; size, mode and time; the contents; the hash sums. A search with
//! `matchall` is dropped at the first stage that fails, and a file is skipped once no search is left. Each pass over a
//! file serves all searches. A file that may take long to read is deferred ([`Outcome::Deferred`]).

mod access;
mod facts;
mod reading;

use super::accounts::Accounts;
use super::candidate::Candidate;
use super::content::{Contents, Truth};
use super::entry::{Active, FileEntry, Kind};
use super::filter::{Check, Test};
use super::limits;
use super::lines::Buffer;
use super::mounts::Mounts;
use super::open::Metadata;
use super::parameters::{Cost, Plan};
use super::patterns::Names;
use super::readings::Readings;
use super::results::{Facts, Findings};
use access::Opened;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

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
    /// At least one does; with where it leads, if it is a link.
    Matching(Metadata, Option<PathBuf>),
    /// See [`Outcome::Deferred`].
    Deferred(u64),
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
            if (search.needs_name_match && !any)
                || !entry.kind.is_for(search.options.links)
                || self.run.findings.is_closed(active.search)
            {
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
        if let Compared::Matching(metadata, target) = &compared
            && !matches!(self.run.to, To::Files(_))
        {
            let path = entry.path();
            for found in &candidates {
                if self.run.plan.searches[found.search].all || !found.passed.is_empty() {
                    let (target, sha256) = (target.as_deref(), found.sha256.as_deref());
                    let facts = Facts { metadata, target, sha256 };
                    let is_added = self.run.findings.add(found.search, &found.passed, &path, &facts);
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
        let (mut metadata, mut target) = (None, None);
        // A file that is opened later anyway is not stat'ed here.
        if !reads || entry.kind != Kind::Regular || candidates.iter().any(|one| search(one).has(Cost::Metadata)) {
            let known = self.stat(entry, candidates).filter(|known| !known.is_directory());
            let Some(known) = known else { return Compared::No };
            self.match_metadata(&known, candidates);
            if known.is_link() && !candidates.is_empty() {
                target = self.target(entry, candidates);
            }
            metadata = Some(known);
        }
        if candidates.iter().any(|candidate| search(candidate).has(Cost::Attributes)) {
            self.match_attributes(entry, target.as_deref(), candidates);
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
        known.map_or(Compared::No, |known| Compared::Matching(known, target))
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
}

/// A file that is not read passes no check of contents or sums.
fn leave_unread(plan: &Plan, candidates: &mut Vec<Candidate>) {
    candidates.retain(|candidate| {
        let search = &plan.searches[candidate.search];
        !search.all || !(search.has(Cost::Contents) || search.has(Cost::Hashes))
    });
}
