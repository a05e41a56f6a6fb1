//! Rights to run programs as others, of whatever program: sudo and doas.

use crate::modules::accounts::Account;
use crate::modules::notation;
use crate::modules::report::Report;
use serde_json::{Value, json};

/// Rights of an account by one program that are returned.
const RIGHTS_MAX: usize = 200;
/// Bytes that they have, about.
const RIGHTS_BYTES_MAX: usize = 16 << 10;
/// Bytes of a word of one.
const WORD_BYTES_MAX: usize = 512;

/// An account and its groups.
pub(super) struct Who<'a> {
    /// The account.
    pub(super) account: &'a Account,
    /// Names of all its groups.
    pub(super) groups: &'a [String],
    /// Their ids.
    pub(super) gids: &'a [u32],
}

/// What an account may run. Arguments of commands are not kept: they may be private.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Right {
    /// The file and the line that say so.
    pub(super) source: String,
    /// As whom: `root`, `ALL:ALL`, `:adm`.
    pub(super) run_as: String,
    /// Root is among them.
    pub(super) is_as_root: bool,
    /// No password is asked for.
    pub(super) nopasswd: bool,
    /// What; with a `!` in front what it may not.
    pub(super) commands: Vec<String>,
    /// Where, if it is not everywhere.
    pub(super) hosts: Vec<String>,
}

impl Right {
    /// Whether anything may be run: a rule may only forbid.
    pub(super) fn allows(&self) -> bool {
        self.commands.iter().any(|command| !command.starts_with('!'))
    }

    /// As an element has it.
    pub(super) fn to_json(&self) -> Value {
        let Right { source, run_as, nopasswd, commands, .. } = self;
        let mut value = json!({"source": source, "as": run_as, "nopasswd": nopasswd, "commands": commands});
        if !self.hosts.is_empty() {
            value["hosts"] = json!(self.hosts);
        }
        value
    }
}

/// The rights of an account by one program: as many as are returned, so that one account leaves room for the others, and those that
/// filters ask for, wherever they stand.
#[derive(Debug, Default)]
pub(super) struct Rights {
    kept: Vec<Right>,
    bytes: usize,
    has_more: bool,
    /// One of them allows something; so does one as root; so does one without a password.
    met: [bool; 3],
}

impl Rights {
    /// Adds one, unless it is there, or there are enough.
    pub(super) fn add(&mut self, is_as_root: bool, nopasswd: bool, right: impl FnOnce() -> Right) {
        let is_full = self.kept.len() >= RIGHTS_MAX || self.bytes >= RIGHTS_BYTES_MAX;
        let meets = [true, is_as_root, nopasswd];
        if is_full && meets.iter().zip(self.met).all(|(meets, is_met)| !meets || is_met) {
            self.has_more = true;
            return;
        }
        let right = right();
        if right.allows() {
            self.met = std::array::from_fn(|index| self.met[index] || meets[index]);
        } else if is_full {
            self.has_more = true;
            return;
        }
        if !self.kept.contains(&right) {
            self.bytes += right.to_json().to_string().len();
            self.kept.push(right);
        }
    }

    /// Those to return. That there are more hides nothing from filters.
    pub(super) fn finish(self, program: &str, who: &Who, report: &mut Report) -> Vec<Right> {
        if self.has_more {
            let (count, name) = (self.kept.len(), &who.account.name);
            report.note(format_args!("{name} has more than the {count} rights to use {program} that are returned"));
        }
        self.kept
    }
}

/// A word of a right, of a length that leaves room for others.
pub(super) fn shortened(word: String) -> String {
    notation::shortened(word, WORD_BYTES_MAX)
}
