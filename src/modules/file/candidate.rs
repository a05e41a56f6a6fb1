//! A search that one file can still match, while the file goes through the stages.

use super::filter::{Check, Field, Test};
use super::hashes::Digests;
use super::parameters::{Search, Stage};

/// A search that the file at hand can still match.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its number in the plan.
    pub(super) search: usize,
    /// The checks it passed; if it must pass all, the sums among them that it has.
    pub(super) passed: Vec<usize>,
    /// It sees the file unpacked.
    pub(super) unpack: bool,
    /// The digest to be reported.
    pub(super) sha256: Option<Vec<u8>>,
}

/// The sums that a file has, by the numbers of their checks, if it passes all hash checks. It has one digest of a kind, so
/// any value of a field is enough for the field.
pub(super) fn passing_sums(search: &Search, digests: &Digests) -> Option<Vec<usize>> {
    let mut fields: Vec<(Field, bool)> = Vec::new();
    let mut sums = Vec::new();
    for (number, check) in search.checks_of(Stage::Hashes) {
        // Checks of one field follow each other.
        if fields.last().is_none_or(|(field, _)| *field != check.field) {
            // No value yet: fails, or passes when that is asked for. Without a digest nothing passes.
            fields.push((check.field, check.inverted));
        }
        let equal = equals_digest(check, digests)?;
        if let Some((_, passed)) = fields.last_mut().filter(|_| equal) {
            *passed = !check.inverted;
            sums.push(number);
        }
    }
    fields.iter().all(|(_, passed)| *passed).then_some(sums)
}

/// Compares a check with its digest; `None` when that is not known.
pub(super) fn equals_digest(check: &Check, digests: &Digests) -> Option<bool> {
    match &check.test {
        Test::Hash(algorithm, wanted) => digests.get(*algorithm).map(|digest| digest == wanted),
        _ => None,
    }
}

impl Candidate {
    /// Applies the checks of one stage. False: the file can't match any more.
    pub(super) fn apply(&mut self, search: &Search, stage: Stage, passes: impl Fn(&Check) -> bool) -> bool {
        if search.all {
            return search.checks_of(stage).all(|(_, check)| passes(check));
        }
        self.passed.extend(search.checks_of(stage).filter(|(_, check)| passes(check)).map(|(number, _)| number));
        true
    }
}
