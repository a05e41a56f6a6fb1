//! Rights to run programs as others, of whatever program: sudo and doas.

use crate::modules::accounts::Account;
use serde_json::{Value, json};

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
#[derive(Debug)]
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
