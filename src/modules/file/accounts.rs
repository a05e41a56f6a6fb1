//! Names of users and groups, by `/etc/passwd` and `/etc/group` alone: other sources may be servers, which a search does not
//! wait for.

use super::filter::Test;
use super::parameters::{Plan, Search};
use crate::modules::accounts::{self, Names};
use crate::modules::files::Machine;
use std::io;

/// An owner as a search names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

impl Account {
    /// Reads a name or a number.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
            return Err(format!("\"{}\" is neither a name nor a number", text.escape_debug()));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().map_err(|_| format!("\"{text}\" is larger than any number of an account"))?;
            return Ok(Account::Number(number));
        }
        Ok(Account::Name(text.to_owned()))
    }
}

/// The users and groups of this machine; empty tables where no search asks for names.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Of `/etc/passwd`.
    pub(super) users: Table,
    /// Of `/etc/group`.
    pub(super) groups: Table,
}

/// The names in one file.
#[derive(Debug)]
pub(super) struct Table {
    path: &'static str,
    names: Names,
    /// Why it could not be read.
    pub(super) error: Option<io::Error>,
}

impl Accounts {
    /// Reads the tables that the searches of a plan need.
    pub(super) fn read(plan: &Plan) -> Self {
        let needs = |is_needed: fn(&Test) -> bool| {
            plan.searches
                .iter()
                .any(|search| search.options.returnowner || search.checks.iter().any(|check| is_needed(&check.test)))
        };
        let users = || Ok(Names::of_accounts(&accounts::accounts(&Machine::this())?.entries));
        let groups = || Ok(Names::of_groups(&accounts::groups(&Machine::this())?.entries));
        Accounts {
            users: Table::new("/etc/passwd", needs(|test| matches!(test, Test::Owner(Account::Name(_)))), users),
            groups: Table::new("/etc/group", needs(|test| matches!(test, Test::Group(Account::Name(_)))), groups),
        }
    }

    /// Returns why a search cannot be run on this machine: it names an account that is not there.
    pub(super) fn refusal(&self, search: &Search) -> Option<String> {
        search.checks.iter().find_map(|check| {
            let (table, account, what) = match &check.test {
                Test::Owner(account) => (&self.users, account, "user"),
                Test::Group(account) => (&self.groups, account, "group"),
                _ => return None,
            };
            let Account::Name(name) = account else { return None };
            let reason = match &table.error {
                Some(error) => format!("the {what} \"{name}\" is not known: read {}: {error}", table.path),
                None if table.names.number(name).is_some() => return None,
                None => format!("{} has no {what} \"{name}\"; a number can be given instead", table.path),
            };
            Some(format!("searches.{}.{}: {reason}", search.label, check.field.name()))
        })
    }
}

impl Table {
    fn new(path: &'static str, is_needed: bool, read: impl Fn() -> io::Result<Names>) -> Self {
        let names = if is_needed { read() } else { Ok(Names::default()) };
        let (names, error) = names.map_or_else(|error| (Names::default(), Some(error)), |names| (names, None));
        Table { path, names, error }
    }

    /// Whether an account has this number.
    pub(super) fn is(&self, account: &Account, number: u32) -> bool {
        match account {
            Account::Number(of) => *of == number,
            Account::Name(name) => self.names.number(name) == Some(number),
        }
    }

    /// Returns the name of a number.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.names.name(number)
    }

    /// Where the names are from.
    pub(super) fn path(&self) -> &'static str {
        self.path
    }
}
