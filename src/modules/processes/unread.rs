//! What could not be read of processes: one message for all of them that failed in the same way.

use crate::modules::report::Report;
use std::collections::BTreeMap;
use std::io;

/// Kinds of failures that are kept apart: there are few things that are read, and few errors.
const KINDS_MAX: usize = 1_000;

/// See the module docs.
#[derive(Debug, Default)]
pub(in crate::modules) struct Unread(BTreeMap<(String, String), (u64, String)>);

impl Unread {
    /// Something of a process could not be read. `process` is what messages call it.
    pub(in crate::modules) fn add(&mut self, what: &str, process: &str, error: &io::Error) {
        let kind = (what.to_owned(), error.to_string());
        if self.0.len() < KINDS_MAX || self.0.contains_key(&kind) {
            self.0.entry(kind).or_insert_with(|| (0, process.to_owned())).0 += 1;
        }
    }

    /// All of it was not looked at.
    pub(in crate::modules) fn report(self, report: &mut Report) {
        for ((what, error), (count, example)) in self.0 {
            match count {
                1 => report.unseen(format_args!("read {what} of process {example}: {error}")),
                _ => report.unseen(format_args!("read {what} of {count} processes, such as {example}: {error}")),
            }
        }
    }
}
