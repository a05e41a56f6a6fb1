//! How far back logins are known: which files are still written, and where each begins.

use super::Lacks;
use crate::modules::files::{self, Links, Machine};
use crate::modules::notation;
use std::cmp::Reverse;

/// Two files have the same login within this time: some programs write to one of them later.
const SLACK_SECONDS: i64 = 120;
/// Bytes of `/proc/stat`: a number for each interrupt of large machines.
const STAT_BYTES_MAX: u64 = 4 << 20;

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A login.
    Login,
    /// A start of the machine.
    Start,
    /// A logout, a change of the clock, or something else.
    Other,
}

/// What a file, or a series of them, has: in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Of this time and later no login is missing.
    pub(super) from: i64,
    /// The newest login; `i64::MIN` if there is none.
    pub(super) newest_login: i64,
    /// The newest record of any kind.
    pub(super) newest: i64,
    /// Starts of the machine are among them.
    pub(super) has_starts: bool,
}

impl Span {
    /// One without records.
    pub(super) const EMPTY: Span = Span { from: i64::MAX, newest_login: i64::MIN, newest: i64::MIN, has_starts: false };

    /// Adds a record.
    pub(super) fn add(&mut self, seconds: i64, event: Event) {
        if seconds <= 0 {
            return;
        }
        self.from = self.from.min(seconds);
        self.newest = self.newest.max(seconds);
        match event {
            Event::Login => self.newest_login = self.newest_login.max(seconds),
            Event::Start => self.has_starts = true,
            Event::Other => {}
        }
    }

    /// Adds an older part, behind which nothing is missing unless there is a gap.
    pub(super) fn add_older(&mut self, older: Span, has_gap: bool) {
        if !has_gap {
            self.from = self.from.min(older.from);
        }
        self.newest_login = self.newest_login.max(older.newest_login);
        self.newest = self.newest.max(older.newest);
        self.has_starts |= older.has_starts;
    }

    /// None if it has no records.
    pub(super) fn filled(self) -> Option<Span> {
        (self.newest > i64::MIN).then_some(self)
    }
}

/// The time since when all logins are known: `i64::MIN` if all are, `i64::MAX` if none is, which is named.
pub(super) fn known_since(spans: &[Span], machine: &Machine, lacks: &mut Lacks) -> i64 {
    if lacks.is_blind {
        return i64::MAX;
    }
    if spans.is_empty() {
        lacks.last(
            "no records in /var/log/wtmp, lastlog or the databases of wtmpdb and lastlog2: last logins are unknown",
        );
        return i64::MAX;
    }
    // A file that has starts of the machine and not the last one is not written any more, as after an upgrade.
    if let Some(started) = started(machine)
        && spans.iter().any(|span| span.has_starts)
        && spans.iter().all(|span| span.newest < started - SLACK_SECONDS)
    {
        let started = notation::time(started, 0);
        lacks.last(format_args!(
            "no file has records of logins since this machine started, {started}: they are unknown"
        ));
        return i64::MAX;
    }
    joined(spans)
}

/// Joins what is known. A file that lacks the newest login of all is not written any more, or not at each login; what it has is
/// complete up to its own newest one.
fn joined(spans: &[Span]) -> i64 {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| Reverse(span.newest_login));
    let newest = spans.first().map_or(i64::MIN, |span| span.newest_login);
    spans.iter().fold(i64::MAX, |since, span| {
        let reaches = span.newest_login.saturating_add(SLACK_SECONDS) >= newest.min(since);
        if reaches { since.min(span.from) } else { since }
    })
}

/// When the machine started, in seconds since 1970.
fn started(machine: &Machine) -> Option<i64> {
    let stat = files::read(&machine.path("/proc/stat"), Links::Follow, STAT_BYTES_MAX).ok()?;
    let text = String::from_utf8_lossy(&stat.bytes);
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_begins_where_files_that_overlap_begin() {
        let span = |from, newest_login| Span { from, newest_login, newest: newest_login, has_starts: true };
        let (all, none) = (i64::MIN, i64::MIN);
        for (spans, since) in [
            (&[span(1000, 9000)][..], 1000),
            // Both are written: the one that begins first counts.
            (&[span(1000, 9000), span(all, 9001)], all),
            (&[span(8000, 9000), span(1000, 8990)], 1000),
            // There was no login since the newer one begins.
            (&[span(5000, none), span(all, 4000)], all),
            (&[span(5000, none), span(6000, none)], 5000),
            // The older one is not written any more: before the newer one begins something may be missing.
            (&[span(5000, 9000), span(all, 4000)], 5000),
            (&[span(5000, 9000), span(all, 4900)], all),
            (&[span(5000, 9000), span(2000, 6000), span(all, 2500)], all),
            (&[span(5000, 9000), span(2000, 6000), span(all, 1500)], 2000),
            (&[], i64::MAX),
        ] {
            assert_eq!(joined(spans), since, "{spans:?}");
        }
    }
}
