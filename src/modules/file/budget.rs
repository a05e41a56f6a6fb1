//! How many bytes a result may have as JSON, and who may use them.
//!
//! Three quarters are for matches. Half of these is for whichever search comes first; the other half is divided among the
//! searches, so that one with thousands of matches leaves room for the one match of another. The rest is for errors and
//! for the entries of searches that match nothing.

use super::echo::Form;
use super::parameters::Plan;
use serde_json::Value;

/// What an entry has beside its path, file information and search: names of fields, an empty `fileinfo`.
const ENTRY_BYTES: usize = 96;

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
        let matches_bytes_max = result_bytes_max / 4 * 3;
        let searches = plan.searches.len().max(1);
        let share_bytes = matches_bytes_max / 2 / searches;
        let length = |value: Value| value.to_string().len();
        let none = || std::iter::empty();
        let mut full_extra = Vec::with_capacity(searches);
        let (mut full_bytes, mut unmatched_bytes) = (0, 0);
        for search in &plan.searches {
            // Long lists have the same length for each check, nearly.
            let (entries, of_one) = match search.checks.first() {
                Some(check) if !search.all => {
                    (search.checks.len(), [Form::Full, Form::Short].map(|form| search.echo.of_check(form, check)))
                }
                _ => (1, [Form::Full, Form::Short].map(|form| search.echo.of_all(form, none()))),
            };
            let [full, short] = of_one.map(length);
            full_extra.push(full.saturating_sub(short));
            full_bytes += entries * (full + ENTRY_BYTES);
            unmatched_bytes += entries * (short + ENTRY_BYTES);
        }
        Budget {
            matches_bytes_max,
            share_bytes,
            used: vec![0; searches],
            pool_bytes: matches_bytes_max - share_bytes * searches,
            full_extra,
            full_bytes,
            unmatched_bytes,
            unmatched_bytes_max: result_bytes_max / 8,
            notes_bytes: 0,
            errors_bytes_max: result_bytes_max / 16,
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
        self.notes_bytes += json_bytes(text);
        self.notes_bytes <= self.errors_bytes_max
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
