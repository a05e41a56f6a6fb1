//! What could not be looked at, in words, within limits.

use super::budget::json_bytes;
use super::limits;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;
use std::path::Path;

/// The errors of a run. Of more errors than there is room for, the first in order of their text are kept: which ones
/// does not depend on the order in which threads met them.
pub(super) struct Errors {
    texts: BinaryHeap<String>,
    count_max: usize,
    /// Of `texts`, as JSON.
    bytes: usize,
    bytes_max: usize,
    /// The smallest text for which there was no room.
    cut: Option<String>,
    /// Errors for which there was no room.
    left_out: u64,
    /// Files that were not read for the same reason: how many, and the first of them by name.
    unread: BTreeMap<String, (u64, String)>,
}

impl Errors {
    /// For so many errors with so many bytes as JSON.
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Self {
        let (texts, unread) = (BinaryHeap::new(), BTreeMap::new());
        Errors { texts, count_max, bytes: 0, bytes_max, cut: None, left_out: 0, unread }
    }

    /// Adds one, if there is room for it.
    pub(super) fn add(&mut self, what: &str, path: &Path, error: &dyn Display) {
        let text = format!("{what} {}: {}", shortened(path.display()), shortened(error));
        if self.cut.as_ref().is_some_and(|cut| *cut <= text) {
            self.left_out += 1;
            return;
        }
        self.bytes += json_bytes(&text);
        self.texts.push(text);
        while self.bytes > self.bytes_max || self.texts.len() > self.count_max {
            let Some(last) = self.texts.pop() else { break };
            self.bytes -= json_bytes(&last);
            self.cut = Some(last);
            self.left_out += 1;
        }
    }

    /// Adds a file that is not read, for a reason that many have: they are one line.
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
            self.left_out += 1;
        }
    }

    /// All of them, in order of their text.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.texts.clone().into_sorted_vec();
        let unread = self.unread.iter().map(|(reason, (count, path))| match count {
            1 => format!("not read: {path}: {reason}"),
            _ => format!("not read: {path} and {} others: {reason}", count - 1),
        });
        let left_out = (self.left_out > 0).then(|| format!("{} more errors, see option maxerrors", self.left_out));
        unread.chain(lines).chain(left_out).collect()
    }
}

/// The beginning of a text that may be as long as somebody likes.
fn shortened(text: impl Display) -> String {
    let mut text = text.to_string();
    if text.len() > limits::ERROR_PART_BYTES_MAX {
        text.truncate(text.floor_char_boundary(limits::ERROR_PART_BYTES_MAX));
        text.push('…');
    }
    text
}
