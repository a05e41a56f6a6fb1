//! How many bytes a result may have as JSON, and who may use them.
//!
//! Three quarters are for matches. Half of these is for whichever search comes first; the other half is divided among the
//! searches, so that one with thousands of matches leaves room for the one match of another. The rest is for errors and
//! for the entries of searches that match nothing.

use super::echo::Form;
use super::filter::Check;
use super::parameters::{Plan, Search};
use serde_json::Value;

/// What an entry has beside its path, file information and search: names of fields, an empty `fileinfo`.
const ENTRY_BYTES: usize = 96;

/// What a label has beside its text.
const LABEL_BYTES: usize = 8;
/// What a result has beside elements and errors, and the files that are never read.
const FRAME_BYTES: usize = 16 << 10;

/// See the module docs.
pub(super) struct Budget {
    matches_bytes_max: usize,
    /// Of each search.
    share_bytes: usize,
    /// What each search has used of its share.
    used: Vec<usize>,
    pool_bytes: usize,
    /// What the full form of all matches would have beyond the short one, per match of each search.
    full_extra: Vec<usize>,
    /// What the full form of all entries would have.
    full_bytes: usize,
    unmatched_bytes: usize,
    unmatched_bytes_max: usize,
    notes_bytes: usize,
    /// Bytes that errors may have, and notes as many.
    pub(super) errors_bytes_max: usize,
}

impl Budget {
    /// For a result of a run of `plan`.
    pub(super) fn new(plan: &Plan, result_bytes_max: usize) -> Self {
        let labels: usize = plan.searches.iter().map(|search| json_bytes(&search.label) + LABEL_BYTES).sum();
        let room = result_bytes_max.saturating_sub(labels + FRAME_BYTES);
        let matches_bytes_max = room / 4 * 3;
        let searches = plan.searches.len().max(1);
        let share_bytes = matches_bytes_max / 2 / searches;
        let lengths: Vec<[Lengths; 2]> =
            plan.searches.iter().map(|search| [Form::Full, Form::Short].map(|form| lengths(search, form))).collect();
        Budget {
            matches_bytes_max,
            share_bytes,
            used: vec![0; searches],
            pool_bytes: matches_bytes_max - share_bytes * searches,
            full_extra: lengths.iter().map(|[full, short]| full.one.saturating_sub(short.one)).collect(),
            full_bytes: lengths.iter().map(|[full, _]| full.all).sum(),
            unmatched_bytes: lengths.iter().map(|[_, short]| short.all).sum(),
            unmatched_bytes_max: room / 8,
            notes_bytes: 0,
            errors_bytes_max: room / 16,
        }
    }

    /// Takes room for entries of a search; false if there is none.
    pub(super) fn take(&mut self, search: usize, entries: usize, own_bytes: usize) -> bool {
        let bytes = own_bytes + entries * ENTRY_BYTES;
        if self.used[search] + bytes <= self.share_bytes {
            self.used[search] += bytes;
        } else if bytes <= self.pool_bytes {
            self.pool_bytes -= bytes;
        } else {
            return false;
        }
        self.full_bytes += bytes + entries * self.full_extra[search];
        true
    }

    /// Takes room for a note; false if there is none.
    pub(super) fn take_note(&mut self, text: &str) -> bool {
        let bytes = self.notes_bytes + json_bytes(text);
        let fits = bytes <= self.errors_bytes_max;
        if fits {
            self.notes_bytes = bytes;
        }
        fits
    }

    /// The form of the entries: short when not all have room in full.
    pub(super) fn form(&self) -> Form {
        if self.full_bytes <= self.matches_bytes_max { Form::Full } else { Form::Short }
    }

    /// There is no room to say of each check that it matches nothing.
    pub(super) fn is_brief(&self) -> bool {
        self.unmatched_bytes > self.unmatched_bytes_max
    }
}

/// Bytes of a text as JSON, with the comma behind it.
pub(super) fn json_bytes(text: &str) -> usize {
    Value::from(text).to_string().len() + 1
}

/// Bytes of the searches in the entries of one search that has no match.
struct Lengths {
    one: usize,
    all: usize,
}

fn lengths(search: &Search, form: Form) -> Lengths {
    let length = |value: Value| value.to_string().len() + ENTRY_BYTES;
    if search.all {
        let one = length(search.echo.of_all(form, std::iter::empty()));
        return Lengths { one, all: one };
    }
    // Of thousands of checks the first one tells what all have in common.
    let Some(first) = search.checks.first() else { return Lengths { one: 0, all: 0 } };
    let one = length(search.echo.of_check(form, first));
    let own = |check: &Check| json_bytes(check.field.name()) + json_bytes(&check.value);
    let common = one.saturating_sub(own(first));
    Lengths { one, all: search.checks.iter().map(|check| common + own(check)).sum() }
}
