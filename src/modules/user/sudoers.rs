//! Rights to run programs as others, from `/etc/sudoers` and what it includes (sudoers(5)).
//!
//! Facts only: who may run what as whom, and whether without a password. Arguments of commands are not kept: they may be private.
//! Which hosts a rule is for is said, and not judged. What is not understood is named.

mod lists;
#[cfg(test)]
mod tests;

use super::rights::{Right, Rights, Who, shortened};
use super::sudoers_text::{self, Aliases, Item, RunAs, Statement};
use crate::modules::accounts::Account;
use crate::modules::files::{self, Links, Machine};
use crate::modules::report::Report;
use lists::Lists;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One file: some ten thousand rules.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files that are read, as includes may be many.
const FILES_MAX: usize = 1_000;
/// Includes within includes; sudo has 128.
const INCLUDES_MAX: usize = 16;
/// Commands of one right that are returned, and hosts.
const WORDS_MAX: usize = 64;

/// The rights of a machine: those of each program that reads files of its own.
#[derive(Debug, Default)]
pub(super) struct Sudoers {
    policies: Vec<Policy>,
}

/// What a file and those that it includes say.
#[derive(Debug, Default)]
struct Text {
    aliases: Aliases,
    rules: Vec<(String, sudoers_text::Rule)>,
    without_password: Vec<(String, Vec<Item>)>,
    exempt_group: Option<String>,
    /// As whom commands are run if a rule does not say so: the last `Defaults runas_default`.
    runas_default: Option<String>,
    files: usize,
}

/// The same, with aliases that are understood.
#[derive(Debug)]
struct Policy {
    /// Aliases of users.
    users: Lists,
    /// Commands that an alias stands for.
    commands: HashMap<String, Vec<String>>,
    rules: Vec<Rule>,
    /// Those who never need a password: `Defaults !authenticate`.
    without_password: Vec<(String, Vec<Item>)>,
    /// Those in it do not either, whatever rules say: the last `Defaults exempt_group`.
    exempt_group: Option<String>,
}

/// Who may do what.
#[derive(Debug)]
struct Rule {
    source: String,
    users: Rc<Vec<Item>>,
    hosts: Vec<Item>,
    grants: Vec<Grant>,
}

/// What may be done.
#[derive(Debug)]
struct Grant {
    run_as: Rc<RunAs>,
    /// Root is among those.
    is_as_root: bool,
    nopasswd: Option<bool>,
    commands: Vec<Item>,
}

impl Sudoers {
    /// Reads them. A machine without the files has no rights.
    pub(super) fn read(machine: &Machine, accounts: &[Account], report: &mut Report) -> Sudoers {
        name_other_file(machine, report);
        let roots = accounts.iter().filter(|account| account.uid == 0).map(|account| account.name.as_str());
        let roots: BTreeSet<&str> = roots.chain(["root"]).collect();
        // The first is one that only sudo-rs reads.
        let of_programs = [&["/etc/sudoers-rs"][..], &["/etc/sudoers", "/usr/etc/sudoers"]];
        let mut sudoers = Sudoers::default();
        for paths in of_programs {
            let mut paths = paths.iter().map(|path| machine.path(path));
            if let Some(path) = paths.find(|path| path.symlink_metadata().is_ok()) {
                let mut text = Text::default();
                text.read_file(machine, &path, 0, report);
                sudoers.policies.push(Policy::of(text, &roots, report));
            }
        }
        sudoers
    }

    /// The rights of an account, in the order of the files.
    pub(super) fn rights(&self, who: &Who, report: &mut Report) -> Vec<Right> {
        let mut rights = Rights::default();
        for policy in &self.policies {
            policy.add_rights(who, &mut rights, report);
        }
        rights.finish("sudo", who, report)
    }
}

impl Text {
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
                    self.rules.extend(rules.into_iter().map(|rule| (source.clone(), rule)));
                }
                Ok(Statement::Defaults(defaults)) => {
                    self.without_password.extend(defaults.without_password.map(|users| (source, users)));
                    self.exempt_group = defaults.exempt_group.or(self.exempt_group.take());
                    self.runas_default = defaults.runas_default.or(self.runas_default.take());
                }
                Ok(Statement::Include { path, is_directory }) => match included(machine, path.as_str(), &name) {
                    Some(path) if is_directory => self.read_directory(machine, &path, depth + 1, report),
                    Some(path) => self.read_file(machine, &path, depth + 1, report),
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
}

impl Policy {
    /// Puts aliases and rules together; `roots` are the accounts with the id 0.
    fn of(text: Text, roots: &BTreeSet<&str>, report: &mut Report) -> Policy {
        let Text { aliases, rules, without_password, exempt_group, runas_default, .. } = text;
        let mut lists = |kind: &str, aliases| {
            let (lists, cyclic) = Lists::of(aliases);
            for name in cyclic {
                report
                    .unseen(format_args!("the {kind} {name} of sudo is made of itself: what it stands for is unknown"));
            }
            lists
        };
        let users = lists("User_Alias", aliases.users);
        let run_as = lists("Runas_Alias", aliases.run_as);
        let of_commands = lists("Cmnd_Alias", aliases.commands);
        let mut commands = HashMap::new();
        for (name, list) in of_commands.iter() {
            let texts = texts(list, &commands);
            commands.insert(name.to_owned(), texts);
        }
        let default = Item { is_negated: false, word: runas_default.unwrap_or_else(|| "root".to_owned()) };
        let default = Rc::new(RunAs { users: vec![default], groups: Vec::new() });
        let grant = |grant: sudoers_text::Grant| Grant {
            run_as: grant.run_as.unwrap_or_else(|| default.clone()),
            is_as_root: false,
            nopasswd: grant.nopasswd,
            commands: grant.commands,
        };
        let rules = rules.into_iter().map(|(source, (users, hosts, grants))| {
            let grants = grants.into_iter().map(grant).collect();
            Rule { source, users, hosts, grants }
        });
        let mut policy = Policy { users, commands, rules: rules.collect(), without_password, exempt_group };
        policy.name_what_no_account_matches(report);
        policy.find_root(&run_as, roots, report);
        policy
    }

    /// Rules for those whom files of this machine do not name.
    fn name_what_no_account_matches(&self, report: &mut Report) {
        fn outside<'a>(list: &'a [Item], aliases: &HashMap<&str, Option<&'a str>>) -> Option<&'a str> {
            list.iter().find_map(|item| match aliases.get(item.word.as_str()) {
                Some(outside) => *outside,
                None => (item.word.starts_with('+') || item.word.starts_with("%:")).then_some(&item.word),
            })
        }
        let mut aliases = HashMap::new();
        for (name, list) in self.users.iter() {
            let outside = outside(list, &aliases);
            aliases.insert(name, outside);
        }
        let of_rules = self.rules.iter().map(|rule| (&rule.source, rule.users.as_slice()));
        let others = self.without_password.iter().map(|(source, users)| (source, users.as_slice()));
        for (source, users) in of_rules.chain(others) {
            if report.is_over() {
                return;
            }
            if let Some(word) = outside(users, &aliases) {
                report.unseen(format_args!("{source}: who is in {word} is not known"));
            }
        }
    }

    /// Finds what may be run as root: as any account with its id. It may be in any group, or in none.
    fn find_root(&mut self, run_as: &Lists, roots: &BTreeSet<&str>, report: &mut Report) {
        for (name, is_in_groups) in roots.iter().flat_map(|name| [(name, true), (name, false)]) {
            let decided = run_as.decide(|word| match word.as_bytes() {
                [b'%' | b'+', ..] => is_in_groups,
                [b'#', ..] => id(&word[1..]) == Some(0),
                _ => word == "ALL" || word == *name,
            });
            for grant in self.rules.iter_mut().flat_map(|rule| &mut rule.grants) {
                if report.is_over() {
                    return;
                }
                grant.is_as_root = grant.is_as_root || decided.holds(&grant.run_as.users) == Some(true);
            }
        }
    }

    fn add_rights(&self, who: &Who, rights: &mut Rights, report: &mut Report) {
        let decided = self.users.decide(|word| is(word, who));
        let never_asked = self.without_password.iter().any(|(_, users)| decided.holds(users) == Some(true));
        let is_exempt = self.exempt_group.as_ref().is_some_and(|group| who.groups.contains(group));
        for rule in &self.rules {
            if report.is_over() {
                return;
            }
            if decided.holds(&rule.users) != Some(true) {
                continue;
            }
            for grant in &rule.grants {
                let nopasswd = is_exempt || grant.nopasswd.unwrap_or(never_asked);
                let hosts = || texts(&rule.hosts, &HashMap::new());
                rights.add(grant.is_as_root, nopasswd, || Right {
                    source: rule.source.clone(),
                    run_as: shortened(grant.run_as.text()),
                    is_as_root: grant.is_as_root,
                    nopasswd,
                    commands: texts(&grant.commands, &self.commands),
                    hosts: Some(hosts()).filter(|hosts| *hosts != ["ALL"]).unwrap_or_default(),
                });
            }
        }
    }
}

/// Whether a word of a list of users is an account.
fn is(word: &str, who: &Who) -> bool {
    match word.as_bytes() {
        _ if word == "ALL" => true,
        [b'#', ..] => id(&word[1..]) == Some(who.account.uid),
        [b'%', b'#', ..] => id(&word[2..]).is_some_and(|gid| who.gids.contains(&gid)),
        [b'%', ..] => who.groups.iter().any(|group| *group == word[1..]),
        _ => word == who.account.name,
    }
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// The words of a list, without arguments of commands; aliases are what they stand for.
fn texts(list: &[Item], aliases: &HashMap<String, Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for item in list {
        match aliases.get(&item.word).filter(|_| !item.is_negated) {
            Some(texts) => found.extend_from_slice(texts),
            None => found.push(shortened(item.text())),
        }
        if found.len() > WORDS_MAX {
            found.truncate(WORDS_MAX);
            found.push("…".to_owned());
            break;
        }
    }
    found
}

/// Another file with rules, which sudo.conf(5) may name.
fn name_other_file(machine: &Machine, report: &mut Report) {
    const PATH: &str = "/etc/sudo.conf";
    let text = match files::read_whole(&machine.path(PATH), FILE_BYTES_MAX) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if files::is_missing(&error) => return,
        Err(error) => return report.unseen(format_args!("read {PATH}: {error}: other files with rights are unknown")),
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let others = lines.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("sudoers_file="));
    for other in others.filter(|path| *path != "/etc/sudoers") {
        report.unseen(format_args!("rights to use sudo in {other} ({PATH}) are not seen"));
    }
}

/// Where an include leads; none if it depends on the host's name.
fn included(machine: &Machine, path: &str, of: &str) -> Option<PathBuf> {
    let path = if path.starts_with('/') { PathBuf::from(path) } else { Path::new(of).parent()?.join(path) };
    (!path.to_string_lossy().contains('%')).then(|| machine.path(path))
}
