//! The grammar of sudoers(5): from text to statements.

mod grammar;
#[cfg(test)]
mod tests;
mod words;

pub(super) use words::statements;

use grammar::Line;
use std::collections::HashMap;
use std::rc::Rc;

/// A word of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Excluded: there is a `!` in front.
    pub(super) is_negated: bool,
    /// A user, a host, a command, an alias.
    pub(super) word: String,
}

impl Item {
    /// As it was written.
    pub(super) fn text(&self) -> String {
        format!("{}{}", if self.is_negated { "!" } else { "" }, self.word)
    }
}

/// Commands that may be run in the same way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// As whom; none if it does not say so. Many may have the same.
    pub(super) run_as: Option<Rc<RunAs>>,
    /// Without a password; none if it does not say so.
    pub(super) nopasswd: Option<bool>,
    /// What.
    pub(super) commands: Vec<Item>,
}

/// Those as whom commands may be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunAs {
    /// Users to become; none is only oneself.
    pub(super) users: Vec<Item>,
    /// Groups; empty if none is named.
    pub(super) groups: Vec<Item>,
}

impl RunAs {
    /// As it was written: `root`, `ALL:ALL`, `:adm`.
    pub(super) fn text(&self) -> String {
        let join = |list: &[Item]| list.iter().map(Item::text).collect::<Vec<_>>().join(",");
        let colon = if self.groups.is_empty() { "" } else { ":" };
        format!("{}{colon}{}", join(&self.users), join(&self.groups))
    }
}

/// Names for lists.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// `User_Alias`.
    pub(super) users: HashMap<String, Vec<Item>>,
    /// `Runas_Alias`.
    pub(super) run_as: HashMap<String, Vec<Item>>,
    /// `Cmnd_Alias`.
    pub(super) commands: HashMap<String, Vec<Item>>,
}

/// Users, hosts, and what they may do there. Many may have the same users.
pub(super) type Rule = (Rc<Vec<Item>>, Vec<Item>, Vec<Grant>);

/// What a line of defaults says of rights.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    /// These need no password: `!authenticate`.
    pub(super) without_password: Option<Vec<Item>>,
    /// Those in this group need none either, whatever a rule says: `exempt_group=name`.
    pub(super) exempt_group: Option<String>,
    /// As whom commands are run if a rule does not say so: `runas_default=name`.
    pub(super) runas_default: Option<String>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// Nothing on who may do what.
    Nothing,
    /// Rules.
    Rules(Vec<Rule>),
    /// Defaults that are rights.
    Defaults(Defaults),
    /// Another file, or all files in a directory.
    Include { path: String, is_directory: bool },
}

/// Reads a line; aliases are added to those that are known.
pub(super) fn parse(line: &str, aliases: &mut Aliases) -> Result<Statement, &'static str> {
    let line = line.trim();
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let path = || rest.trim().trim_matches('"').replace("\\ ", " ");
    match first {
        "@include" | "#include" => return Ok(Statement::Include { path: path(), is_directory: false }),
        "@includedir" | "#includedir" => return Ok(Statement::Include { path: path(), is_directory: true }),
        _ => {}
    }
    let tokens = words::tokens(line)?;
    if tokens.is_empty() {
        return Ok(Statement::Nothing);
    }
    let mut line = Line::new(tokens);
    match first {
        _ if first.starts_with("Defaults") => line.defaults(first),
        "User_Alias" => line.aliases(&mut aliases.users),
        "Cmnd_Alias" | "Cmd_Alias" => line.aliases(&mut aliases.commands),
        "Runas_Alias" => line.aliases(&mut aliases.run_as),
        "Host_Alias" => Ok(Statement::Nothing),
        _ => line.rules(),
    }
}
