//! Facts on passwords, from `/etc/shadow`. A hash never leaves this file: its algorithm does.

use crate::modules::accounts::{self, Account, Read};
use crate::modules::files::Machine;
use crate::modules::notation;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;

/// Whether a login with a password is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// With the right one.
    Set,
    /// With none.
    Locked,
    /// Without any.
    Empty,
    /// The line in `/etc/shadow` could not be read, or is missing.
    Unknown,
}

impl State {
    /// All of them.
    pub(super) const ALL: [State; 4] = [State::Set, State::Locked, State::Empty, State::Unknown];

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Set => "set",
            State::Locked => "locked",
            State::Empty => "empty",
            State::Unknown => "unknown",
        }
    }
}

/// What is known of an account's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Password {
    /// Whether it can be used.
    pub(super) state: State,
    /// How its hash is made; empty without one.
    pub(super) algorithm: &'static str,
    dates: Option<Dates>,
}

/// Days since 1970; none where there is no such day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dates {
    changed: Option<i64>,
    password_ends: Option<i64>,
    account_ends: Option<i64>,
}

/// A line of `/etc/shadow`.
pub(super) struct Line {
    name: String,
    state: State,
    algorithm: &'static str,
    dates: Dates,
}

/// Reads `/etc/shadow`.
pub(super) fn read(machine: &Machine) -> io::Result<Read<Line>> {
    accounts::read(machine, "/etc/shadow", |fields| {
        let [name, hash, rest @ ..] = fields else { return None };
        let day = |index: usize| rest.get(index).and_then(|text| text.trim().parse::<i64>().ok());
        /// As many days as there are for a password that does not end.
        const NEVER_DAYS: i64 = 99_999;
        let (changed, days_max) = (day(0), day(2).filter(|days| (0..NEVER_DAYS).contains(days)));
        let password_ends = changed.zip(days_max).map(|(changed, days)| changed.saturating_add(days));
        let (state, algorithm) = judge(hash);
        let dates = Dates { changed, password_ends, account_ends: day(5) };
        Some(Line { name: (*name).to_owned(), state, algorithm, dates })
    })
}

/// The lines by the names of their accounts: of several the first counts, as for the system.
pub(super) fn by_name(lines: &[Line]) -> HashMap<&str, &Line> {
    lines.iter().rev().map(|line| (line.name.as_str(), line)).collect()
}

/// What is known of the password of an account.
pub(super) fn password(account: &Account, shadow: &HashMap<&str, &Line>) -> Password {
    if account.password != "x" {
        let (state, algorithm) = judge(&account.password);
        return Password { state, algorithm, dates: None };
    }
    match shadow.get(account.name.as_str()) {
        Some(line) => Password { state: line.state, algorithm: line.algorithm, dates: Some(line.dates.clone()) },
        None => Password { state: State::Unknown, algorithm: "", dates: None },
    }
}

/// What the field of a hash means (crypt(5), shadow(5)).
fn judge(hash: &str) -> (State, &'static str) {
    let algorithm = algorithm(hash.trim_start_matches(['!', '*']));
    match hash.as_bytes().first() {
        None => (State::Empty, ""),
        // Also what no password has as its hash.
        Some(b'!' | b'*') => (State::Locked, algorithm),
        Some(_) if algorithm.is_empty() => (State::Locked, ""),
        Some(_) => (State::Set, algorithm),
    }
}

/// The name of the algorithm of a hash; empty for what is none.
fn algorithm(hash: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 11] = [
        ("$y$", "yescrypt"),
        ("$gy$", "gost-yescrypt"),
        ("$7$", "scrypt"),
        ("$2", "bcrypt"),
        ("$6$", "sha512"),
        ("$5$", "sha256"),
        ("$sha1", "sha1"),
        ("$md5", "sunmd5"),
        ("$1$", "md5"),
        ("$3$", "nt"),
        ("$", "unknown"),
    ];
    const DES_CHARS: usize = 13;
    const BSDI_CHARS: usize = 20;
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    match PREFIXES.iter().find(|(prefix, _)| hash.starts_with(prefix)) {
        Some((_, name)) => name,
        None if hash.len() == DES_CHARS && hash.bytes().all(is_digit) => "des",
        None if hash.len() == BSDI_CHARS && hash.starts_with('_') => "bsdi",
        None => "",
    }
}

impl Password {
    /// As an element has it.
    pub(super) fn to_json(&self) -> Value {
        let mut value = json!({"state": self.state.word(), "algorithm": self.algorithm});
        let dates = self.dates.iter().flat_map(|dates| {
            [("changed", dates.changed), ("expires", dates.password_ends), ("accountexpires", dates.account_ends)]
        });
        for (name, day) in dates {
            if let Some(day) = day {
                value[name] = json!(notation::time(day.saturating_mul(86_400), 0));
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_judged_by_its_form() {
        for (hash, state, algorithm) in [
            ("", State::Empty, ""),
            ("*", State::Locked, ""),
            ("!", State::Locked, ""),
            ("!!", State::Locked, ""),
            ("!*", State::Locked, ""),
            ("!$6$salt$hash", State::Locked, "sha512"),
            ("$y$j9T$salt$hash", State::Set, "yescrypt"),
            ("$2b$10$hash", State::Set, "bcrypt"),
            ("$1$a$b", State::Set, "md5"),
            ("$argon2id$x", State::Set, "unknown"),
            ("abcdefghijk./", State::Set, "des"),
            ("NP", State::Locked, ""),
        ] {
            assert_eq!(judge(hash), (state, algorithm), "{hash}");
        }
    }
}
