//! Files that were written to, and are perhaps still open.
//!
//! | what | then |
//! |---|---|
//! | a file is written to, or truncated | it has a mark |
//! | it is closed after writing | the mark is taken: the close is reported |
//! | its name goes, or another file gets it | the mark is taken, and reported first |
//! | [`TURN`] after [`TURN`] | what still has a mark then is reported, and the mark is taken |
//!
//! So every mark ends in one event, ten seconds after it at the latest; a file that is written to all the time has one in each five
//! to ten seconds.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

/// A mark is reported in the second turn after it was made.
pub(super) const TURN: Duration = Duration::from_secs(5);
/// Marks of one turn, with a name of at most 255 bytes each. With more the turn ends earlier.
const MARKS_MAX: usize = 10_000;

/// Names by the number of their directory's watch.
type Names = HashMap<i32, HashSet<OsString>>;

/// See the module docs.
#[derive(Debug)]
pub(super) struct Marks {
    /// Those of this turn.
    young: Names,
    young_count: usize,
    /// Those of the turn before.
    old: Names,
    next_turn: Instant,
}

impl Marks {
    /// None.
    pub(super) fn new(now: Instant) -> Marks {
        Marks { young: Names::new(), young_count: 0, old: Names::new(), next_turn: now + TURN }
    }

    /// When there is something to report at the latest; None if nothing has a mark.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.young.is_empty() || !self.old.is_empty()).then_some(self.next_turn)
    }

    /// Marks a file. Returns those that are to be reported, to make room.
    pub(super) fn add(&mut self, wd: i32, name: &OsStr, now: Instant) -> Vec<(i32, OsString)> {
        if self.due().is_none() {
            self.next_turn = now + TURN;
        }
        let is_in = |names: &Names| names.get(&wd).is_some_and(|names| names.contains(name));
        if is_in(&self.old) || is_in(&self.young) {
            return Vec::new();
        }
        let reported = if self.young_count >= MARKS_MAX { self.turn(now) } else { Vec::new() };
        self.young.entry(wd).or_default().insert(name.to_owned());
        self.young_count += 1;
        reported
    }

    /// Takes the mark of a file; false if it has none.
    pub(super) fn take(&mut self, wd: i32, name: &OsStr) -> bool {
        let is_young = remove(&mut self.young, wd, name);
        self.young_count -= usize::from(is_young);
        is_young || remove(&mut self.old, wd, name)
    }

    /// Takes all marks of files in a directory.
    pub(super) fn take_in(&mut self, wd: i32) -> Vec<(i32, OsString)> {
        let young = self.young.remove(&wd).unwrap_or_default();
        self.young_count -= young.len();
        young.into_iter().chain(self.old.remove(&wd).unwrap_or_default()).map(|name| (wd, name)).collect()
    }

    /// Ends a turn: takes the marks of the turn before.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<(i32, OsString)> {
        self.next_turn = now + TURN;
        self.young_count = 0;
        let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        old.into_iter().flat_map(|(wd, names)| names.into_iter().map(move |name| (wd, name))).collect()
    }
}

fn remove(names: &mut Names, wd: i32, name: &OsStr) -> bool {
    let Some(inside) = names.get_mut(&wd) else { return false };
    let is_removed = inside.remove(name);
    if inside.is_empty() {
        names.remove(&wd);
    }
    is_removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_reported_once_in_its_second_turn_and_a_million_are_one() {
        let now = Instant::now();
        let mut marks = Marks::new(now);
        let name = OsStr::new("log");
        assert_eq!(marks.due(), None);
        (0..1_000_000).for_each(|_| assert!(marks.add(1, name, now).is_empty()));
        assert_eq!((marks.due(), marks.turn(now)), (Some(now + TURN), vec![]));
        marks.add(1, name, now);
        assert_eq!(marks.turn(now), [(1, name.to_owned())]);
        assert!(marks.due().is_none() && !marks.take(1, name));
        marks.add(1, name, now);
        marks.turn(now);
        marks.add(1, OsStr::new("other"), now);
        assert!(marks.take(1, name) && !marks.take(1, name));
        marks.add(2, name, now);
        assert_eq!(marks.take_in(1), [(1, "other".into())]);
        assert!(marks.take_in(1).is_empty() && marks.take(2, name) && marks.due().is_none());
    }

    #[test]
    fn marks_without_room_are_reported_earlier_and_none_is_lost() {
        let now = Instant::now();
        let mut marks = Marks::new(now);
        let mut reported = 0;
        for n in 0..3 * MARKS_MAX {
            reported += marks.add(1, OsStr::new(&n.to_string()), now).len();
        }
        assert_eq!(reported, MARKS_MAX);
        assert_eq!(marks.turn(now).len() + marks.turn(now).len(), 2 * MARKS_MAX);
    }
}
