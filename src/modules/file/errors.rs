//! What could not be looked at, in words, within limits.

use super::budget::json_bytes;
use super::limits;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

/// The errors of a run.
pub(super) struct Errors {
    texts: Vec<String>,
    count_max: usize,
    bytes_left: usize,
    /// Errors for which there was no room.
    left_out: u64,
    /// Files that were not read for the same reason: how many, and one of them.
    unread: BTreeMap<String, (u64, String)>,
}

impl Errors {
    /// For so many errors with so many bytes as JSON.
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Self {
        Errors { texts: Vec::new(), count_max, bytes_left: bytes_max, left_out: 0, unread: BTreeMap::new() }
    }

    /// Adds one, if there is room for it.
    pub(super) fn add(&mut self, what: &str, path: &Path, error: &dyn Display) {
        let has_room = self.texts.len() < self.count_max;
        let text = format!("{what} {}: {}", shortened(path.display()), shortened(error));
        match self.bytes_left.checked_sub(json_bytes(&text)).filter(|_| has_room) {
            Some(left) => {
                self.bytes_left = left;
                self.texts.push(text);
            }
            None => self.left_out += 1,
        }
    }

    /// Adds a file that is not read, for a reason that many have: they are one line.
    pub(super) fn add_unread(&mut self, reason: &str, path: &Path) {
        if let Some((count, _)) = self.unread.get_mut(reason) {
            *count += 1;
        } else if self.unread.len() < limits::UNREAD_REASONS_MAX {
            self.unread.insert(shortened(reason), (1, shortened(path.display())));
        } else {
            self.left_out += 1;
        }
    }

    /// All of them, in order of their text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.texts.clone();
        lines.sort();
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
