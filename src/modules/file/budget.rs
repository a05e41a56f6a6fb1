//! The size limit of a result as JSON, and its division.
//!
//! Three quarters are for matches. Half of these is a shared pool; the other half is divided evenly among the searches,
//! so that one with thousands of matches leaves room for the one match of another. The rest is for errors and for the
//! entries of searches that match nothing.

use super::echo::Form;
use super::filter::Check;
use super::parameters::{Plan, Search};
use serde_json::Value;

/// Bytes of an entry besides its path, file information and search: field names, an empty `fileinfo`.
const ENTRY_BYTES: usize = 96;

/// Bytes of a label besides its text.
const LABEL_BYTES: usize = 8;
/// Bytes of a result besides elements and errors, including the notes on files that are never read.
const FRAME_BYTES: usize = 16 << 10;

/// See the module docs.
pub(super) struct Budget {
    matches_bytes_max: usize,
    /// The share of each search.
    share_bytes: usize,
    /// Bytes that each search has used of its share.
    used: Vec<usize>,
    pool_bytes: usize,
    /// Per search: additional bytes of a match in the full form.
    full_extra: Vec<usize>,
    /// Size of all entries in the full form.
    full_bytes: usize,
    unmatched_bytes: usize,
    unmatched_bytes_max: usize,
    notes_bytes: usize,
    /// Maximum size of the errors, and of the notes.
    pub(super) errors_bytes_max: usize,
}

impl Budget {
    /// The budget of a result of `plan`.
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

    /// Reserves space for entries of a search; false if there is none.
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

    /// Reserves space for a note; false if there is none.
    pub(super) fn take_note(&mut self, text: &str) -> bool {
        let bytes = self.notes_bytes + json_bytes(text);
        let fits = bytes <= self.errors_bytes_max;
        if fits {
            self.notes_bytes = bytes;
        }
        fits
    }

    /// Returns the form of the entries: short if they do not all fit in full.
    pub(super) fn form(&self) -> Form {
        if self.full_bytes <= self.matches_bytes_max { Form::Full } else { Form::Short }
    }

    /// There is no space for an empty entry per check without a match.
    pub(super) fn is_brief(&self) -> bool {
        self.unmatched_bytes > self.unmatched_bytes_max
    }
}

/// Size of a text as JSON, with the comma after it.
pub(super) fn json_bytes(text: &str) -> usize {
    Value::from(text).to_string().len() + 1
}

/// Size of the echoed search in the entries of a search that has no match.
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
    // There may be thousands of checks: the common part is computed once, from the first.
    let Some(first) = search.checks.first() else { return Lengths { one: 0, all: 0 } };
    let one = length(search.echo.of_check(form, first));
    let own = |check: &Check| json_bytes(check.field.name()) + json_bytes(&check.value);
    let common = one.saturating_sub(own(first));
    Lengths { one, all: search.checks.iter().map(|check| common + own(check)).sum() }
}
