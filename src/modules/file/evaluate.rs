//! Comparing one file with the searches that cover it, the cheap comparisons first.
//!
//! Stages: the name, which needs no system call; size, mode and time; the contents; the hash sums. A search whose files
//! must pass everything is given up at the first stage that fails, and a file that no search is left for is not looked
//! at any further. Each reading serves all searches.

use super::candidate::{Candidate, all_hashes_hold, equals_digest};
use super::content::{Buffer, Contents, Verdict};
use super::entry::{Active, Entry, Kind};
use super::filter::{Check, Test};
use super::format;
use super::hashes::{self, Algorithm, Digests};
use super::mounts::{Mounts, Place};
use super::open::{self, Metadata, Source};
use super::parameters::{Plan, Stage};
use super::patterns::Names;
use super::readings::{Key, Readings};
use super::results::Collector;
use std::fs::File;

/// What the threads of a run share.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// The searches.
    pub(super) plan: &'a Plan,
    /// Where the results go.
    pub(super) collector: &'a Collector<'a>,
    /// Where not to go.
    pub(super) mounts: &'a Mounts,
    /// What was read before.
    pub(super) readings: &'a Readings,
    /// When the run began, in nanoseconds since 1970.
    pub(super) now: i128,
}

/// A file that is being read, as it is or unpacked.
struct View<'a, 'f> {
    entry: &'a Entry<'a>,
    source: &'a mut Source<'f>,
    unpack: bool,
    key: Option<Key>,
}

/// What one thread needs to compare files. The patterns are its own copies: their caches are not shared then.
pub(super) struct Evaluator<'a> {
    run: Run<'a>,
    names: Names,
    contents: Contents,
    name_hits: Vec<bool>,
    verdicts: Vec<Verdict>,
    buffer: Buffer,
    candidates: Vec<Candidate>,
}

impl<'a> Evaluator<'a> {
    /// For one thread of a run.
    pub(super) fn new(run: Run<'a>) -> Self {
        let plan = run.plan;
        Evaluator {
            run,
            names: plan.names.clone(),
            contents: plan.contents.clone(),
            name_hits: vec![false; plan.names.count()],
            verdicts: vec![Verdict::Unknown; plan.contents.count()],
            buffer: Buffer::default(),
            candidates: Vec::new(),
        }
    }

    /// Settles an entry that need not be read; true if it must be read, by [`Evaluator::evaluate`].
    pub(super) fn must_read(&mut self, entry: &Entry, active: &[Active]) -> bool {
        self.match_name(entry, active);
        let plan = self.run.plan;
        if self.candidates.iter().any(|candidate| plan.searches[candidate.search].reads()) {
            return true;
        }
        if !self.candidates.is_empty() {
            self.settle(entry);
        }
        false
    }

    /// Settles an entry.
    pub(super) fn evaluate(&mut self, entry: &Entry, active: &[Active]) {
        self.match_name(entry, active);
        if !self.candidates.is_empty() {
            self.settle(entry);
        }
    }

    /// Fills `candidates` with the searches that the name leaves possible.
    fn match_name(&mut self, entry: &Entry, active: &[Active]) {
        self.candidates.clear();
        let any = self.names.mark(entry.base_name(), &mut self.name_hits);
        for active in active {
            let search = &self.run.plan.searches[active.search];
            if (search.needs_name_match && !any) || self.run.collector.is_closed(active.search) {
                continue;
            }
            let passes = |check: &Check| match check.test {
                Test::Name(number) => (any && self.name_hits[number]) != check.inverted,
                _ => false,
            };
            let mut candidate = Candidate { search: active.search, passed: Vec::new(), unpack: false, sha256: None };
            let later = [Stage::Metadata, Stage::Contents, Stage::Hashes];
            if candidate.apply(search, Stage::Name, passes)
                && (search.all || !candidate.passed.is_empty() || later.iter().any(|stage| search.has(*stage)))
            {
                self.candidates.push(candidate);
            }
        }
    }

    fn settle(&mut self, entry: &Entry) {
        let mut candidates = std::mem::take(&mut self.candidates);
        if let Some(metadata) = self.compare(entry, &mut candidates) {
            let path = entry.path();
            for found in &candidates {
                if self.run.plan.searches[found.search].all || !found.passed.is_empty() {
                    self.run.collector.add(found.search, &found.passed, &path, &metadata, found.sha256.as_deref());
                }
            }
        }
        // Kept for its memory.
        self.candidates = candidates;
    }

    /// All stages after the name. `None`: nothing is left.
    fn compare(&mut self, entry: &Entry, candidates: &mut Vec<Candidate>) -> Option<Metadata> {
        let plan = self.run.plan;
        let search = |candidate: &Candidate| &plan.searches[candidate.search];
        if entry.kind == Kind::Link && !self.run.mounts.is_empty() {
            let remote = !matches!(self.run.mounts.locate(&entry.path()), Ok(Place::Local(_)));
            candidates.retain(|candidate| !remote || search(candidate).options.remotefs);
        }
        let reads = candidates.iter().any(|candidate| search(candidate).reads());
        let mut metadata = None;
        // A file that will be opened anyway tells its metadata then.
        if !reads || entry.kind != Kind::Regular || candidates.iter().any(|one| search(one).has(Stage::Metadata)) {
            let known = self.stat(entry).filter(|known| !candidates.is_empty() && !known.is_directory())?;
            self.match_metadata(&known, candidates);
            metadata = Some(known);
        }
        if candidates.iter().any(|candidate| search(candidate).reads()) {
            let opened = if metadata.is_none_or(|known| known.is_regular()) { self.open(entry) } else { None };
            match opened {
                Some((file, known)) => {
                    metadata = Some(known);
                    self.match_readings(entry, &file, &known, candidates);
                }
                None => candidates.retain(|candidate| {
                    let search = search(candidate);
                    !search.all || !(search.has(Stage::Contents) || search.has(Stage::Hashes))
                }),
            }
        }
        candidates.retain(|candidate| search(candidate).all || !candidate.passed.is_empty());
        if candidates.is_empty() { None } else { metadata.or_else(|| self.stat(entry)) }
    }

    fn stat(&self, entry: &Entry) -> Option<Metadata> {
        match open::stat(entry.at, entry.name, entry.kind == Kind::Link) {
            Ok(metadata) => Some(metadata),
            Err(error) => {
                if !open::is_gone(error) {
                    self.run.collector.failed("stat", &entry.path(), &error);
                }
                None
            }
        }
    }

    fn open(&self, entry: &Entry) -> Option<(File, Metadata)> {
        match open::open(entry.at, entry.name, entry.kind == Kind::Link) {
            Ok(opened) => opened,
            Err(error) => {
                if !open::is_gone(error) {
                    self.run.collector.failed("open", &entry.path(), &error);
                }
                None
            }
        }
    }

    fn match_metadata(&self, metadata: &Metadata, candidates: &mut Vec<Candidate>) {
        let mode = format::mode(metadata.mode);
        let passes = |check: &Check| {
            let holds = match &check.test {
                Test::Size(size) => size.holds(metadata.size_bytes),
                Test::Mode(pattern) => pattern.is_match(mode.as_bytes()),
                Test::Mtime(age) => age.holds(metadata.mtime_nanoseconds(), self.run.now),
                _ => false,
            };
            holds != check.inverted
        };
        let plan = self.run.plan;
        candidates.retain_mut(|one| one.apply(&plan.searches[one.search], Stage::Metadata, passes));
    }

    /// Contents and hash sums: of the file as it is, then of what is packed in it, for the searches that want that.
    fn match_readings(&mut self, entry: &Entry, file: &File, metadata: &Metadata, candidates: &mut Vec<Candidate>) {
        let plan = self.run.plan;
        let mut source = match Source::new(file, metadata) {
            Ok(source) => source,
            Err(error) => {
                self.run.collector.failed("read", &entry.path(), &error);
                candidates.retain(|one| !plan.searches[one.search].all);
                return;
            }
        };
        let unpacks = |candidate: &Candidate| plan.searches[candidate.search].options.decompress;
        if candidates.iter().any(unpacks) && source.is_gzip() {
            candidates.iter_mut().for_each(|candidate| candidate.unpack = unpacks(candidate));
        }
        for unpack in [false, true] {
            if candidates.iter().any(|candidate| candidate.unpack == unpack) {
                let mut view = View { entry, source: &mut source, unpack, key: Key::new(metadata, unpack) };
                self.match_contents(&mut view, candidates);
                self.match_hashes(&mut view, candidates);
            }
        }
    }

    fn match_contents(&mut self, view: &mut View, candidates: &mut Vec<Candidate>) {
        let plan = self.run.plan;
        let mut wanted: Vec<usize> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.unpack == view.unpack) {
            let checks = plan.searches[candidate.search].checks_of(Stage::Contents);
            wanted.extend(checks.filter_map(|(_, check)| match check.test {
                Test::Content(number) => Some(number),
                _ => None,
            }));
        }
        if wanted.is_empty() {
            return;
        }
        wanted.sort_unstable();
        wanted.dedup();
        self.read_lines(view, &wanted);
        let passes = |check: &Check| match check.test {
            Test::Content(number) => match self.verdicts[number] {
                Verdict::Unknown => false,
                Verdict::Yes => !check.inverted,
                Verdict::No => check.inverted,
            },
            _ => false,
        };
        candidates.retain_mut(|candidate| {
            let search = &plan.searches[candidate.search];
            if candidate.unpack != view.unpack {
                return true;
            }
            // With macroal the patterns stand and fall together.
            let none = search.options.macroal && !search.checks_of(Stage::Contents).all(|(_, check)| passes(check));
            candidate.apply(search, Stage::Contents, |check| !none && passes(check))
        });
    }

    /// Sets the verdicts of the patterns `wanted`.
    fn read_lines(&mut self, view: &mut View, wanted: &[usize]) {
        let (buffer, verdicts) = (&mut self.buffer, &mut self.verdicts);
        if self.run.readings.verdicts(view.key, wanted, verdicts) {
            return;
        }
        match view.source.read_with(view.unpack, |reader| self.contents.scan(reader, wanted, buffer, verdicts)) {
            Ok(()) => self.run.readings.add_verdicts(view.key, wanted, verdicts),
            Err(error) => self.run.collector.failed("read", &view.entry.path(), &error),
        }
    }

    fn match_hashes(&mut self, view: &mut View, candidates: &mut Vec<Candidate>) {
        let (plan, unpack) = (self.run.plan, view.unpack);
        let of_view = candidates.iter().filter(|candidate| candidate.unpack == unpack);
        let wanted = of_view.flat_map(|candidate| &plan.searches[candidate.search].algorithms);
        let mut algorithms: Vec<Algorithm> = wanted.copied().collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let digests = self.digests(view, &algorithms);
        candidates.retain_mut(|candidate| {
            let search = &plan.searches[candidate.search];
            if candidate.unpack != unpack {
                return true;
            }
            if search.all {
                return all_hashes_hold(search, &digests);
            }
            let passes = |check: &Check| equals_digest(check, &digests).is_some_and(|equal| equal != check.inverted);
            candidate.apply(search, Stage::Hashes, passes)
        });
        let wants = |candidate: &Candidate| {
            let search = &plan.searches[candidate.search];
            candidate.unpack == unpack && search.options.returnsha256 && (search.all || !candidate.passed.is_empty())
        };
        if !candidates.iter().any(wants) {
            return;
        }
        let sha256 = match digests.get(Algorithm::Sha256) {
            Some(digest) => Some(digest.to_vec()),
            None => {
                let digests = self.digests(view, &[Algorithm::Sha256]);
                digests.get(Algorithm::Sha256).map(<[u8]>::to_vec)
            }
        };
        for candidate in candidates.iter_mut().filter(|candidate| wants(candidate)) {
            candidate.sha256.clone_from(&sha256);
        }
    }

    fn digests(&mut self, view: &mut View, algorithms: &[Algorithm]) -> Digests {
        if algorithms.is_empty() {
            return Digests::default();
        }
        if let Some(known) = self.run.readings.digests(view.key, algorithms) {
            return Digests::new(known);
        }
        let buffer = &mut self.buffer;
        match view.source.read_with(view.unpack, |reader| hashes::read(algorithms, reader, buffer)) {
            Ok(digests) => {
                self.run.readings.add_digests(view.key, digests.all());
                digests
            }
            Err(error) => {
                self.run.collector.failed("read", &view.entry.path(), &error);
                Digests::default()
            }
        }
    }
}
