//! A search that one file can still match, while the file passes through the stages.

use super::filter::{Check, Field, Test};
use super::hashes::Digests;
use super::parameters::{Cost, Search};

/// A search that the current file can still match.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its number in the plan.
    pub(super) search: usize,
    /// The checks that the file passed; if it must pass all, only the hash checks that equal its sums.
    pub(super) passed: Vec<usize>,
    /// It is compared with the unpacked data.
    pub(super) unpack: bool,
    /// The digest to report.
    pub(super) sha256: Option<Vec<u8>>,
}

/// Returns the numbers of the hash checks that equal the file's digests, if it passes all hash checks. A file has one
/// digest per algorithm, so any value of a field is enough for the field.
pub(super) fn passing_sums(search: &Search, digests: &Digests) -> Option<Vec<usize>> {
    let mut fields: Vec<(Field, bool)> = Vec::new();
    let mut sums = Vec::new();
    for (number, check) in search.checks_of(Cost::Hashes) {
        // Checks of one field are adjacent.
        if fields.last().is_none_or(|(field, _)| *field != check.field) {
            // Initially no value is equal: the field fails, or passes if inverted. Without a digest nothing passes.
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

/// Compares a check with its digest; `None` if the digest is unknown.
pub(super) fn equals_digest(check: &Check, digests: &Digests) -> Option<bool> {
    match &check.test {
        Test::Hash(algorithm, wanted) => digests.get(*algorithm).map(|digest| digest == wanted),
        _ => None,
    }
}

impl Candidate {
    /// Applies the checks of one stage; false if the file can no longer match.
    pub(super) fn apply(&mut self, search: &Search, stage: Cost, passes: impl Fn(&Check) -> bool) -> bool {
        if search.all {
            let is_alternative = |one: &Check, next: &Check| one.field == next.field && one.field.has_alternatives();
            return search.stage(stage).chunk_by(is_alternative).all(|checks| match checks {
                // "Not one of these" is: none of them.
                [first, ..] if first.inverted => checks.iter().all(&passes),
                _ => checks.iter().any(&passes),
            });
        }
        self.passed.extend(search.checks_of(stage).filter(|(_, check)| passes(check)).map(|(number, _)| number));
        true
    }
}
