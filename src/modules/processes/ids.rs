//! Which processes are looked at, and in which order: all that are there, then those that have begun meanwhile, and at last those
//! that may take all the time.

use super::Processes;
use std::collections::{BTreeSet, VecDeque};
use std::io;

/// How often it is looked for processes that have begun meanwhile: one that always starts another and ends is caught with some
/// luck only.
const LOOKS_MAX: usize = 10;

/// See the module docs.
#[derive(Debug)]
pub(in crate::modules) struct Ids {
    seen: BTreeSet<i32>,
    waiting: VecDeque<i32>,
    late: VecDeque<i32>,
    looks_left: usize,
    error: Option<io::Error>,
}

impl Ids {
    /// Those of all processes but some.
    pub(in crate::modules) fn list(processes: &Processes, without: &[i32]) -> io::Result<Ids> {
        let seen = without.iter().copied().collect();
        let (waiting, late) = Default::default();
        let mut ids = Ids { seen, waiting, late, looks_left: LOOKS_MAX, error: None };
        ids.add(processes.ids()?);
        Ok(ids)
    }

    /// The next one, and whether it was deferred.
    pub(in crate::modules) fn next(&mut self, processes: &Processes) -> Option<(i32, bool)> {
        if self.waiting.is_empty() && self.looks_left > 0 {
            self.looks_left -= 1;
            match processes.ids() {
                Ok(now) => self.add(now),
                Err(error) => self.error = Some(error),
            }
        }
        let next = self.waiting.pop_front().map(|pid| (pid, false));
        next.or_else(|| self.late.pop_front().map(|pid| (pid, true)))
    }

    /// It comes last.
    pub(in crate::modules) fn defer(&mut self, pid: i32) {
        self.late.push_back(pid);
    }

    /// Why processes that have begun meanwhile may be missing.
    pub(in crate::modules) fn error(self) -> Option<io::Error> {
        self.error
    }

    fn add(&mut self, now: Vec<i32>) {
        self.waiting.extend(now.into_iter().filter(|pid| self.seen.insert(*pid)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_that_begins_meanwhile_is_looked_at_and_one_that_is_deferred_comes_last() {
        let own = std::process::id().cast_signed();
        let processes = Processes::open().unwrap();
        let mut ids = Ids::list(&processes, &[own]).unwrap();
        let (first, is_late) = ids.next(&processes).unwrap();
        assert!(!is_late);
        ids.defer(first);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let rest: Vec<(i32, bool)> = std::iter::from_fn(|| ids.next(&processes)).collect();
        let (last, others) = rest.split_last().unwrap();
        assert_eq!(*last, (first, true));
        let new = (child.id().cast_signed(), false);
        assert!(others.contains(&new) && others.iter().all(|(pid, is_late)| ![own, first].contains(pid) && !is_late));
        assert_eq!(ids.next(&processes), None);
        child.kill().and_then(|()| child.wait()).unwrap();
    }
}
