//! Collects error messages within limits.

use super::budget::json_bytes;
use super::limits;
use crate::modules::notation;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;
use std::path::Path;

/// The errors of a run. If there are more than the limits allow, the first in order of their text are kept, so that the
/// result does not depend on the scheduling of threads.
pub(super) struct Errors {
    texts: BinaryHeap<String>,
    count_max: usize,
    /// Size of `texts` as JSON.
    bytes: usize,
    bytes_max: usize,
    /// The smallest text that was dropped.
    cut: Option<String>,
    /// Number of dropped errors.
    dropped: u64,
    /// Unread files by reason: how many, and the first of them by name.
    unread: BTreeMap<String, (u64, String)>,
}

impl Errors {
    /// An empty collection with limits on the number of errors and on their size as JSON.
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Self {
        let (texts, unread) = (BinaryHeap::new(), BTreeMap::new());
        Errors { texts, count_max, bytes: 0, bytes_max, cut: None, dropped: 0, unread }
    }

    /// Adds an error, if the limits allow.
    pub(super) fn add(&mut self, what: &str, path: &Path, error: &dyn Display) {
        let text = format!("{what} {}: {}", shortened(path.display()), shortened(error));
        if self.cut.as_ref().is_some_and(|cut| *cut <= text) {
            self.dropped += 1;
            return;
        }
        self.bytes += json_bytes(&text);
        self.texts.push(text);
        while self.bytes > self.bytes_max || self.texts.len() > self.count_max {
            let Some(last) = self.texts.pop() else { break };
            self.bytes -= json_bytes(&last);
            self.cut = Some(last);
            self.dropped += 1;
        }
    }

    /// Adds a file that is not read, for a reason that may apply to many: all of them share one line.
    pub(super) fn add_unread(&mut self, reason: &str, path: &Path) {
        if let Some((count, first)) = self.unread.get_mut(reason) {
            *count += 1;
            let path = shortened(path.display());
            if path < *first {
                *first = path;
            }
        } else if self.unread.len() < limits::UNREAD_REASONS_MAX {
            self.unread.insert(shortened(reason), (1, shortened(path.display())));
        } else {
            self.dropped += 1;
        }
    }

    /// Returns all errors, in order of their text.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.texts.clone().into_sorted_vec();
        let unread = self.unread.iter().map(|(reason, (count, path))| match count {
            1 => format!("not read: {path}: {reason}"),
            _ => format!("not read: {path} and {} others: {reason}", count - 1),
        });
        let more = (self.dropped > 0).then(|| format!("{} more errors, see option maxerrors", self.dropped));
        unread.chain(lines).chain(more).collect()
    }
}

/// Truncates a text of unbounded length.
fn shortened(text: impl Display) -> String {
    notation::shortened(text.to_string(), limits::ERROR_PART_BYTES_MAX)
}
