//! The comparisons that need no contents: metadata and attributes.

use super::super::attributes;
use super::super::candidate::Candidate;
use super::super::entry::FileEntry;
use super::super::filter::{Check, Test};
use super::super::open::{self, Metadata};
use super::super::parameters::Cost;
use super::Evaluator;
use crate::modules::notation;
use crate::re2;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Evaluator<'_> {
    pub(super) fn match_metadata(&self, metadata: &Metadata, candidates: &mut Vec<Candidate>) {
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
    /// `target` is where the entry leads, if it is a link.
    pub(super) fn match_attributes(&self, entry: &FileEntry, target: Option<&Path>, candidates: &mut Vec<Candidate>) {
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
        let target = target.map(|target| re2::text(target.as_os_str().as_bytes()));
        let passes = |check: &Check| {
            let holds = match &check.test {
                Test::Target(pattern) => target.as_ref().map(|target| pattern.is_match(target)),
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
