//! Rights to run programs as others, from the files of doas (doas.conf(5)).
//!
//! Of several rules that match, the last decides, as for doas: one that a later rule of its file covers is no right. Files are
//! looked at apart, as only builds with `/etc/doas.d` read several, and not in the same order.

use super::doas_text::{self, Rule};
use super::rights::{Right, Rights, Who, shortened};
use crate::modules::accounts::Names;
use crate::modules::files::{self, Links, Machine};
use crate::modules::report::Report;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One file: some ten thousand rules.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of a directory that are read.
const FILES_MAX: usize = 1_000;

/// The rights of a machine.
#[derive(Debug, Default)]
pub(super) struct Doas {
    files: Vec<(String, Vec<Rule>)>,
}

impl Doas {
    /// Reads them. A machine without the files has no rights.
    pub(super) fn read(machine: &Machine, report: &mut Report) -> Doas {
        const DIRECTORY: &str = "/etc/doas.d";
        let mut paths: Vec<PathBuf> = vec!["/etc/doas.conf".into(), "/usr/local/etc/doas.conf".into()];
        let mut names = machine.names(Path::new(DIRECTORY), report);
        names.retain(|name| name.as_encoded_bytes().ends_with(b".conf"));
        if names.len() > FILES_MAX {
            report.unseen(format_args!("read {DIRECTORY}: only {FILES_MAX} of its files"));
        }
        paths.extend(names.into_iter().take(FILES_MAX).map(|name| Path::new(DIRECTORY).join(name)));
        let mut doas = Doas::default();
        for path in paths {
            if report.is_over() {
                break;
            }
            let (file, path) = (machine.path(&path), path.to_string_lossy().into_owned());
            let contents = match files::read(&file, Links::Follow, FILE_BYTES_MAX) {
                Ok(contents) => contents,
                Err(error) if files::is_missing(&error) => continue,
                Err(error) => {
                    report.unseen(format_args!("read {path}: {error}: rights to use doas are missing"));
                    continue;
                }
            };
            if !contents.is_whole {
                report.unseen(format_args!("read {path}: only its first {FILE_BYTES_MAX} bytes"));
            }
            let mut rules = Vec::new();
            for rule in doas_text::rules(&String::from_utf8_lossy(&contents.bytes)) {
                match rule {
                    Ok(rule) => rules.push(rule),
                    Err((line, reason)) => {
                        report.unseen(format_args!("{path}:{line}: is not understood: {reason}"));
                    }
                }
            }
            doas.files.push((path, rules));
        }
        doas
    }

    /// The rights of an account, in the order of the files. A rule that takes a part of one away has commands with a `!`.
    pub(super) fn rights(&self, who: &Who, users: &Names, report: &mut Report) -> Vec<Right> {
        let mut rights = Rights::default();
        for (path, rules) in &self.files {
            for rule in valid(rules.iter().filter(|rule| is_for(&rule.identity, who, users))) {
                let is_as_root = rule.target.as_ref().is_none_or(|target| number(target, users) == Some(0));
                rights.add(is_as_root, rule.nopass, || right(path, rule, is_as_root));
            }
        }
        rights.finish("doas", who, report)
    }
}

/// What a rule matches: as whom, what, and with which arguments; none is any.
type Matched<'r> = (Option<&'r str>, Option<&'r str>, Option<&'r [String]>);

/// Of the rules for an account those that no later one covers: that matches whatever the first does.
fn valid<'r>(rules: impl DoubleEndedIterator<Item = &'r Rule>) -> Vec<&'r Rule> {
    let mut later: HashSet<Matched> = HashSet::new();
    let mut valid: Vec<&Rule> = Vec::new();
    for rule in rules.rev() {
        let (target, command, arguments) = (rule.target.as_deref(), rule.command.as_deref(), rule.arguments.as_deref());
        let mut covering = [target, None]
            .into_iter()
            .flat_map(|target| [(target, None, None), (target, command, None), (target, command, arguments)]);
        if !covering.any(|key| later.contains(&key)) {
            valid.push(rule);
        }
        later.insert((target, command, arguments));
    }
    valid.reverse();
    // Without a right to take away one says nothing.
    let first = valid.iter().position(|rule| rule.permits).unwrap_or(valid.len());
    valid.split_off(first)
}

/// Whether what a rule is for is this account: by number, as for doas.
fn is_for(identity: &str, who: &Who, users: &Names) -> bool {
    match identity.strip_prefix(':') {
        Some(group) => {
            let is_number = |gid: u32| who.gids.contains(&gid);
            who.groups.iter().any(|name| name == group) || group.parse().is_ok_and(is_number)
        }
        None => number(identity, users) == Some(who.account.uid),
    }
}

/// The number of a user who has a name or is one.
fn number(user: &str, users: &Names) -> Option<u32> {
    users.number(user).or_else(|| user.parse().ok())
}

fn right(path: &str, rule: &Rule, is_as_root: bool) -> Right {
    let command = rule.command.as_deref().unwrap_or("ALL");
    Right {
        source: format!("{path}:{}", rule.line),
        run_as: shortened(rule.target.clone().unwrap_or_else(|| "ALL".to_owned())),
        is_as_root,
        nopasswd: rule.nopass,
        commands: vec![shortened(if rule.permits { command.to_owned() } else { format!("!{command}") })],
        hosts: Vec::new(),
    }
}
