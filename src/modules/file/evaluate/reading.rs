//! The comparisons that read a file: contents and hash sums.

use super::super::candidate::{Candidate, equals_digest, passing_sums};
use super::super::content::Truth;
use super::super::entry::FileEntry;
use super::super::filter::{Check, Test};
use super::super::hashes::{self, Algorithm, Digests};
use super::super::lines::{Decoding, Mark};
use super::super::open::{Metadata, Reading, Source};
use super::super::parameters::Cost;
use super::super::readings::Key;
use super::Evaluator;
use std::fs::File;
use std::io;

/// A file that is being read, as it is or unpacked.
struct View<'a, 'f> {
    entry: &'a FileEntry<'a>,
    source: &'a mut Source<'f>,
    unpack: bool,
    key: Option<Key>,
    /// It could not be read to its end, which was reported.
    is_unreadable: bool,
}

impl Evaluator<'_> {
    /// Compares contents and hash sums: of the file as it is, then of the unpacked data, if a search has `decompress`.
    pub(super) fn match_readings(
        &mut self,
        entry: &FileEntry,
        file: &File,
        metadata: &Metadata,
        candidates: &mut Vec<Candidate>,
    ) {
        let plan = self.run.plan;
        let findings = self.run.findings;
        let readers = candidates.iter().filter(|candidate| plan.searches[candidate.search].reads());
        let readers: Vec<usize> = readers.map(|candidate| candidate.search).collect();
        let is_unwanted = || findings.is_unwanted(&readers);
        let mut source = Source::new(file, metadata, &is_unwanted);
        let unpacks = |candidate: &Candidate| plan.searches[candidate.search].options.decompress;
        if candidates.iter().any(unpacks) && source.is_gzip() {
            candidates.iter_mut().for_each(|candidate| candidate.unpack = unpacks(candidate));
        }
        for unpack in [false, true] {
            if candidates.iter().any(|candidate| candidate.unpack == unpack) {
                let mut view =
                    View { entry, source: &mut source, unpack, key: Key::new(metadata, unpack), is_unreadable: false };
                self.match_contents(&mut view, candidates);
                self.match_hashes(&mut view, candidates);
            }
        }
        if source.has_tail {
            let reason = "data after the last gzip member was not searched";
            self.run.findings.error("unpack", &entry.path(), &reason);
        }
    }

    fn match_contents(&mut self, view: &mut View, candidates: &mut Vec<Candidate>) {
        let plan = self.run.plan;
        let mut wanted: Vec<usize> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.unpack == view.unpack) {
            let checks = plan.searches[candidate.search].checks_of(Cost::Contents);
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
            Test::Content(number) => match self.truths[number] {
                Truth::Unknown => false,
                Truth::Yes => !check.inverted,
                Truth::No => check.inverted,
            },
            _ => false,
        };
        candidates.retain_mut(|candidate| {
            let search = &plan.searches[candidate.search];
            if candidate.unpack != view.unpack {
                return true;
            }
            // With macroal all patterns pass or none does.
            let none = search.options.macroal && !search.checks_of(Cost::Contents).all(|(_, check)| passes(check));
            candidate.apply(search, Cost::Contents, |check| !none && passes(check))
        });
    }

    /// Sets the truths of the patterns `wanted`.
    fn read_lines(&mut self, view: &mut View, wanted: &[usize]) {
        if self.run.readings.truths(view.key, wanted, &mut self.truths) {
            if wanted.iter().any(|number| self.truths[*number] == Truth::Unknown) {
                self.run.findings.unread("the same file could not be read under another name", &view.entry.path());
            }
            return;
        }
        let how = if view.unpack { Reading::Unpacked } else { Reading::Text };
        if let Err(error) = self.scan(view, how, wanted) {
            if view.source.is_unwanted() {
                wanted.iter().for_each(|number| self.truths[*number] = Truth::Unknown);
                return;
            }
            self.report_once(view, &error);
            if view.unpack {
                // Not gzip after all, or broken: the raw data may match.
                let open = self.undecided(wanted);
                let _ = self.scan(view, Reading::Text, &open);
                for number in self.undecided(&open) {
                    self.truths[number] = Truth::Unknown;
                }
            }
        }
        // The truths of an unreadable file are unknown under its other names as well.
        self.run.readings.add_verdicts(view.key, wanted, &self.truths);
    }

    /// Returns those of the patterns `wanted` that did not match.
    fn undecided(&self, wanted: &[usize]) -> Vec<usize> {
        wanted.iter().copied().filter(|number| self.truths[*number] != Truth::Yes).collect()
    }

    /// Reports that a view is unreadable, once.
    fn report_once(&self, view: &mut View, error: &io::Error) {
        if !std::mem::replace(&mut view.is_unreadable, true) {
            self.report_unreadable(view.entry, "read", error);
        }
    }

    /// Searches a file as it is, and decoded as well if it may be in another encoding: it matches if either does.
    fn scan(&mut self, view: &mut View, how: Reading, wanted: &[usize]) -> io::Result<()> {
        let (contents, buffer, truths) = (&self.contents, &mut self.buffer, &mut self.truths);
        let mark = view.source.read_with(how, |reader| contents.scan(reader, wanted, buffer, truths))?;
        let open = self.undecided(wanted);
        let (contents, buffer, truths) = (&self.contents, &mut self.buffer, &mut self.truths);
        match mark {
            _ if open.is_empty() => Ok(()),
            Mark::None => Ok(()),
            Mark::Utf16(encoding) => view.source.read_with(how, |reader| {
                contents.scan(&mut Decoding::new(encoding, reader), &open, buffer, truths).map(drop)
            }),
            Mark::Utf32 => {
                open.iter().for_each(|number| truths[*number] = Truth::Unknown);
                Err(io::Error::other("it begins with a UTF-32 byte order mark; it was searched as bytes only"))
            }
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
                let Some(sums) = passing_sums(search, &digests) else { return false };
                candidate.passed = sums;
                return true;
            }
            let passes = |check: &Check| equals_digest(check, &digests).is_some_and(|equal| equal != check.inverted);
            candidate.apply(search, Cost::Hashes, passes)
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
        let how = if view.unpack { Reading::Unpacked } else { Reading::Whole };
        match view.source.read_with(how, |reader| hashes::read(algorithms, reader, buffer)) {
            Ok(digests) => {
                self.run.readings.add_digests(view.key, digests.all());
                digests
            }
            Err(_) if view.source.is_unwanted() => Digests::default(),
            Err(error) => {
                self.report_once(view, &error);
                self.run.readings.add_no_digests(view.key);
                Digests::default()
            }
        }
    }
}
