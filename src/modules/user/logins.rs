//! Who is logged in, and who was last, of all the files that say so; and how far back they do.

mod databases;
mod reach;
mod records;
mod sessions;
#[cfg(test)]
mod tests;
mod wtmp;

#[cfg(test)]
pub(super) use records::{lastlog_record, record};

use crate::modules::accounts::Account;
use crate::modules::files::{self, Machine};
use crate::modules::notation;
use crate::modules::report::Report;
use reach::Span;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::Display;

/// One login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// When, in seconds since 1970.
    pub(super) seconds: i64,
    /// The terminal.
    line: String,
    /// From where; empty for this machine.
    host: String,
}

/// The logins of a machine.
#[derive(Debug)]
pub(super) struct Logins {
    /// The last of each account that is known, by name.
    last: HashMap<String, Option<Login>>,
    /// Those that go on, by name.
    now: BTreeMap<String, Vec<Login>>,
    /// All logins of this time and later are known; `i64::MIN` if all are, `i64::MAX` if none is.
    since: i64,
}

impl Logins {
    /// Reads them. What is not known is named: as something not seen for searches that ask for it.
    pub(super) fn read(machine: &Machine, accounts: &[Account], asks: Asks, report: &mut Report) -> Logins {
        let last = accounts.iter().map(|account| (account.name.clone(), None)).collect();
        let mut logins = Logins { last, now: BTreeMap::new(), since: i64::MAX };
        let mut lacks = Lacks { report, asks, is_blind: false };
        let spans = [
            wtmp::read(&mut logins, machine, &mut lacks),
            databases::read_wtmpdb(&mut logins, machine, &mut lacks),
            records::read_lastlog(&mut logins, machine, accounts, &mut lacks),
            databases::read_lastlog2(&mut logins, machine, &mut lacks),
        ];
        let spans: Vec<Span> = spans.into_iter().flatten().collect();
        logins.since = reach::known_since(&spans, machine, &mut lacks);
        logins.read_now(machine, &mut lacks);
        logins
    }

    /// The logins that go on. Each of them is the last one, unless a later one is known.
    fn read_now(&mut self, machine: &Machine, lacks: &mut Lacks) {
        match (records::read_utmp(self, machine), sessions::read(self, machine, lacks)) {
            (Ok(false), false) => lacks.now("no /run/utmp and no /run/systemd/sessions: who is logged in is unknown"),
            (Ok(_), _) => {}
            (Err(error), _) => lacks.now(format_args!("read /run/utmp: {error}")),
        }
        for (name, all) in std::mem::take(&mut self.now) {
            all.iter().for_each(|login| self.keep_last(&name, login.clone()));
            self.now.insert(name, all);
        }
    }

    /// The last login of an account that is known.
    pub(super) fn last(&self, name: &str) -> Option<&Login> {
        self.last.get(name)?.as_ref()
    }

    /// Between which times its last login was, in seconds: what is known of it, and what the latest may be that is not. The same
    /// if it is known exactly.
    pub(super) fn last_between(&self, name: &str) -> (i64, i64) {
        let known = self.last(name).map_or(i64::MIN, |login| login.seconds);
        (known, known.max(self.since))
    }

    /// When the logins that are known begin; none if all are known, or none is.
    pub(super) fn since(&self) -> Option<i64> {
        Some(self.since).filter(|since| ![i64::MIN, i64::MAX].contains(since))
    }

    /// Its logins that go on.
    pub(super) fn now(&self, name: &str) -> &[Login] {
        self.now.get(name).map_or(&[], Vec::as_slice)
    }

    /// Of names that are no accounts nothing is kept: there may be any number.
    fn keep_last(&mut self, name: &str, login: Login) {
        if let Some(known) = self.last.get_mut(name)
            && login.seconds > known.as_ref().map_or(0, |known| known.seconds)
        {
            *known = Some(login);
        }
    }
}

/// Labels of the searches that ask for logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asks {
    /// For last logins.
    pub(super) last: Vec<String>,
    /// For logins that go on.
    pub(super) now: Vec<String>,
}

/// Takes what is not known.
struct Lacks<'r, 'c> {
    report: &'r mut Report<'c>,
    asks: Asks,
    /// A file to which logins are written could not be read.
    is_blind: bool,
}

impl Lacks<'_, '_> {
    /// Something of last logins is not known.
    fn last(&mut self, text: impl Display) {
        self.report.unseen_of(self.asks.last.iter().cloned(), text);
    }

    /// Something of the logins that go on is not known.
    fn now(&mut self, text: impl Display) {
        self.report.unseen_of(self.asks.now.iter().cloned(), text);
    }

    /// A file of last logins could not be read; later logins than others know may be in it, unless it is an older one.
    fn file(&mut self, path: &str, is_older: bool, error: impl Display) {
        self.is_blind |= !is_older;
        self.last(format_args!("read {path}: {error}: last logins in it are unknown"));
    }

    /// The names in a directory, sorted.
    fn names(&mut self, machine: &Machine, directory: &str) -> Vec<OsString> {
        let names = files::names(&machine.path(directory));
        if let Some(error) = names.error {
            self.file(directory, false, error);
        }
        names.list
    }
}

impl Login {
    /// As an element has it.
    pub(super) fn to_json(&self) -> Value {
        json!({"time": notation::time(self.seconds, 0), "line": self.line, "from": self.host})
    }
}
