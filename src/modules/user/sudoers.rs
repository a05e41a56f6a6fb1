//! Rights to run programs as others, from `/etc/sudoers` and what it includes (sudoers(5)).
//!
//! Facts only: who may run what as whom, and whether without a password. Arguments of commands are not kept: they may be private.
//! Which hosts a rule is for is said, and not judged. What is not understood is named.

use super::rights::{Right, Who};
use super::sudoers_text::{self, Aliases, Item, Statement};
use crate::modules::files::{self, Links, Machine};
use crate::modules::report::Report;
use std::path::{Path, PathBuf};

/// One file: some ten thousand rules.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that are read, as includes may be many.
const FILES_MAX: usize = 1_000;
/// Includes within includes; sudo has 128.
const INCLUDES_MAX: usize = 16;
/// Aliases within aliases.
const ALIASES_MAX: usize = 16;
/// Commands of one right that are returned.
const COMMANDS_MAX: usize = 64;

/// The rights of a machine.
#[derive(Debug, Default)]
pub(super) struct Sudoers {
    aliases: Aliases,
    rules: Vec<Rule>,
    /// Those who never need a password: `Defaults !authenticate`.
    without_password: Vec<Vec<Item>>,
    /// Those in it do not either, whatever rules say: the last `Defaults exempt_group`.
    exempt_group: Option<String>,
    files: usize,
}

/// Who may do what.
#[derive(Debug)]
struct Rule {
    source: String,
    users: Vec<Item>,
    hosts: Vec<Item>,
    grants: Vec<sudoers_text::Grant>,
}

impl Sudoers {
    /// Reads them. A machine without the files has no rights.
    pub(super) fn read(machine: &Machine, report: &mut Report) -> Sudoers {
        let mut sudoers = Sudoers::default();
        let paths = ["/etc/sudoers", "/usr/etc/sudoers"].map(|path| machine.path(path));
        if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            sudoers.read_file(machine, path, 0, report);
        }
        sudoers.name_what_no_account_matches(report);
        sudoers
    }

    fn read_file(&mut self, machine: &Machine, path: &Path, depth: usize, report: &mut Report) {
        let name = machine.name(path);
        self.files += 1;
        if depth > INCLUDES_MAX || self.files > FILES_MAX {
            return report.unseen(format_args!("read {name}: too many files include each other"));
        }
        let contents = match files::read(path, Links::Follow, FILE_BYTES_MAX) {
            Ok(contents) => contents,
            Err(error) => return report.unseen(format_args!("read {name}: {error}: rights to use sudo are missing")),
        };
        if !contents.is_whole {
            report.unseen(format_args!("read {name}: only its first {FILE_BYTES_MAX} bytes"));
        }
        for (line, text) in sudoers_text::statements(&contents.bytes) {
            if report.is_over() {
                return;
            }
            let source = format!("{name}:{line}");
            match sudoers_text::parse(&text, &mut self.aliases) {
                Ok(Statement::Nothing) => {}
                Ok(Statement::Rules(rules)) => {
                    self.rules.extend(rules.into_iter().map(|(users, hosts, grants)| Rule {
                        source: source.clone(),
                        users,
                        hosts,
                        grants,
                    }))
                }
                Ok(Statement::WithoutPassword(users)) => self.without_password.push(users),
                Ok(Statement::ExemptGroup(group)) => self.exempt_group = Some(group),
                Ok(Statement::Include(path)) => match included(machine, path.as_str(), &name) {
                    Some(path) => self.read_file(machine, &path, depth + 1, report),
                    None => report.unseen(format_args!("{source}: includes what depends on the host's name")),
                },
                Ok(Statement::IncludeDirectory(path)) => match included(machine, path.as_str(), &name) {
                    Some(path) => self.read_directory(machine, &path, depth + 1, report),
                    None => report.unseen(format_args!("{source}: includes what depends on the host's name")),
                },
                Err(reason) => report.unseen(format_args!("{source}: is not understood: {reason}")),
            }
        }
    }

    fn read_directory(&mut self, machine: &Machine, path: &Path, depth: usize, report: &mut Report) {
        for name in files::names(path).reported(machine.name(path), report) {
            // As sudo does: these are left behind by package managers and editors.
            let text = name.to_string_lossy();
            let file = path.join(&name);
            if !text.contains('.') && !text.ends_with('~') && file.is_file() {
                self.read_file(machine, &file, depth, report);
            }
        }
    }

    /// Rules for those whom files of this machine do not name.
    fn name_what_no_account_matches(&self, report: &mut Report) {
        for rule in &self.rules {
            let mut outside =
                rule.users.iter().filter(|item| item.word.starts_with('+') || item.word.starts_with("%:"));
            if let Some(item) = outside.next() {
                report.unseen(format_args!("{}: who is in {} is not known", rule.source, item.word));
            }
        }
    }

    /// The rights of an account, in the order of the files.
    pub(super) fn rights(&self, who: &Who) -> Vec<Right> {
        let never_asked = self.without_password.iter().any(|users| self.holds(users, who, 0) == Some(true));
        let is_exempt = self.exempt_group.as_ref().is_some_and(|group| who.groups.contains(group));
        let mut rights = Vec::new();
        for rule in self.rules.iter().filter(|rule| self.holds(&rule.users, who, 0) == Some(true)) {
            let hosts: Vec<String> = rule.hosts.iter().map(Item::text).collect();
            for grant in &rule.grants {
                let mut commands = Vec::new();
                self.commands(&grant.commands, &mut commands, 0);
                rights.push(Right {
                    source: rule.source.clone(),
                    run_as: grant.run_as.text(),
                    is_as_root: self.has_root(&grant.run_as.users, 0) == Some(true),
                    nopasswd: is_exempt || grant.nopasswd.unwrap_or(never_asked),
                    commands,
                    hosts: if hosts == ["ALL"] { Vec::new() } else { hosts.clone() },
                });
            }
        }
        rights
    }

    /// Whether a list of users to become has root: its last item that does decides. None: no item does.
    fn has_root(&self, list: &[Item], depth: usize) -> Option<bool> {
        list.iter().rev().find_map(|item| {
            let has = match self.aliases.run_as.get(&item.word).filter(|_| depth < ALIASES_MAX) {
                Some(list) => self.has_root(list, depth + 1),
                // Root may be in any group.
                None => {
                    (["ALL", "root", "#0"].contains(&&*item.word) || item.word.starts_with(['%', '+'])).then_some(true)
                }
            };
            has.map(|has| has != item.is_negated)
        })
    }

    /// Whether a list has an account: its last item that does decides. None: no item does.
    fn holds(&self, list: &[Item], who: &Who, depth: usize) -> Option<bool> {
        let of = |item: &Item| self.is(&item.word, who, depth).map(|is| is != item.is_negated);
        list.iter().rev().find_map(of)
    }

    /// Whether a word of a list of users is an account. None: it says nothing of it.
    fn is(&self, word: &str, who: &Who, depth: usize) -> Option<bool> {
        if let Some(list) = self.aliases.users.get(word).filter(|_| depth < ALIASES_MAX) {
            return self.holds(list, who, depth + 1);
        }
        let id = |text: &str| text.parse::<u32>().ok();
        let is_it = match word.as_bytes() {
            _ if word == "ALL" => true,
            [b'#', ..] => id(&word[1..]) == Some(who.account.uid),
            [b'%', b'#', ..] => id(&word[2..]).is_some_and(|gid| who.gids.contains(&gid)),
            [b'%', ..] => who.groups.iter().any(|group| *group == word[1..]),
            _ => word == who.account.name,
        };
        is_it.then_some(true)
    }

    /// The commands of a list without their arguments; aliases are what they stand for.
    fn commands(&self, list: &[Item], found: &mut Vec<String>, depth: usize) {
        for item in list {
            if found.len() == COMMANDS_MAX {
                found.push("…".to_owned());
            }
            if found.len() > COMMANDS_MAX {
                return;
            }
            match self.aliases.commands.get(&item.word).filter(|_| depth < ALIASES_MAX && !item.is_negated) {
                Some(list) => self.commands(list, found, depth + 1),
                None => found.push(item.text()),
            }
        }
    }
}

/// Where an include leads; none if it depends on the host's name.
fn included(machine: &Machine, path: &str, of: &str) -> Option<PathBuf> {
    let path = if path.starts_with('/') { PathBuf::from(path) } else { Path::new(of).parent()?.join(path) };
    (!path.to_string_lossy().contains('%')).then(|| machine.path(path))
}
