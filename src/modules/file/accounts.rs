//! Names of users and groups, by `/etc/passwd` and `/etc/group` alone: other sources may be servers, which a search does not
//! wait for.

use super::filter::Test;
use super::limits;
use super::parameters::{Plan, Search};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

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
    numbers: HashMap<String, u32>,
    names: HashMap<u32, String>,
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
        Accounts {
            users: Table::read("/etc/passwd", needs(|test| matches!(test, Test::Owner(Account::Name(_))))),
            groups: Table::read("/etc/group", needs(|test| matches!(test, Test::Group(Account::Name(_))))),
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
                None if table.numbers.contains_key(name) => return None,
                None => format!("{} has no {what} \"{name}\"; a number can be given instead", table.path),
            };
            Some(format!("searches.{}.{}: {reason}", search.label, check.field.name()))
        })
    }
}

impl Table {
    fn read(path: &'static str, is_needed: bool) -> Self {
        let text = if is_needed { read(path) } else { Ok(Vec::new()) };
        let (text, error) = text.map_or_else(|error| (Vec::new(), Some(error)), |text| (text, None));
        let mut table = Table { path, numbers: HashMap::new(), names: HashMap::new(), error };
        for line in String::from_utf8_lossy(&text).lines() {
            // name:password:number:...; of several lines with one name or number the first counts, as for the system.
            let mut words = line.split(':');
            if let (Some(name), Some(Ok(number))) = (words.next(), words.nth(1).map(str::parse)) {
                table.numbers.entry(name.to_owned()).or_insert(number);
                table.names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
        table
    }

    /// Whether an account has this number.
    pub(super) fn is(&self, account: &Account, number: u32) -> bool {
        match account {
            Account::Number(of) => *of == number,
            Account::Name(name) => self.numbers.get(name) == Some(&number),
        }
    }

    /// Returns the name of a number.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(&number).map(String::as_str)
    }

    /// Where the names are from.
    pub(super) fn path(&self) -> &'static str {
        self.path
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limits::ACCOUNTS_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limits::ACCOUNTS_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {} bytes", limits::ACCOUNTS_BYTES_MAX)));
    }
    Ok(text)
}
