//! Puts together what is known of each account, and compares it with searches.

use super::doas::Doas;
use super::logins::Logins;
use super::parameters::{Search, asks};
use super::rights::{Right, Who};
use super::shadow::{self, Password};
use super::sudoers::Sudoers;
use crate::modules::accounts::{self, Account, Group, Names, Read, Sources};
use crate::modules::fields::{Check, checks, passed};
use crate::modules::files::{self, Machine};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult, notation};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Accounts that are compared also if the time was over while the files were read: more than most machines have.
const COMPARED_LATE: usize = 1_000;

/// What is known of one account.
struct Known<'a> {
    account: &'a Account,
    groups: Vec<String>,
    password: Password,
    sudo: Vec<Right>,
    doas: Vec<Right>,
    logins: &'a Logins,
    /// The time was over before all logins were read.
    lacks_logins: bool,
}

/// Runs searches on a machine.
pub(super) fn run(searches: &[Search], machine: &Machine, context: Context) -> ModuleResult {
    let mut report = Report::new(context, searches.iter().map(|search| &search.label));
    let accounts = entries(accounts::accounts(machine), "/etc/passwd: accounts are unknown", &mut report);
    let groups = entries(accounts::groups(machine), "/etc/group: groups are unknown", &mut report);
    let shadow = entries(shadow::read(machine), "/etc/shadow: passwords are unknown", &mut report);
    match Sources::read(machine) {
        Ok(sources) => {
            for (database, what) in [("passwd", "accounts"), ("group", "groups"), ("sudoers", "rights to use sudo")] {
                let mut others = sources.others(database);
                // Nearly every machine names it: without records it has the users that systemd makes for services, which log in nowhere.
                others.retain(|source| *source != "systemd" || accounts::has_records_of_systemd(machine));
                if !others.is_empty() {
                    let others = others.join(", ");
                    report.unseen(format_args!("{what} of {others} (/etc/nsswitch.conf) are not seen"));
                }
            }
        }
        Err(error) => report.unseen(format_args!("read /etc/nsswitch.conf: {error}: other sources are unknown")),
    }
    let sudoers = Sudoers::read(machine, &accounts, &mut report);
    let doas = Doas::read(machine, &mut report);
    let users = Names::of_accounts(&accounts);
    let logins = Logins::read(machine, &accounts, asks(searches), &mut report);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos().cast_signed());
    let (groups, shadow) = (Groups::of(&groups), shadow::by_name(&shadow));
    // Accounts of which it is not known whether they match.
    let mut undecided = vec![0_usize; searches.len()];
    let lacks_logins = report.is_over();
    for (index, account) in accounts.iter().enumerate() {
        if report.is_over() && index >= COMPARED_LATE {
            break;
        }
        let of = groups.with(account);
        let names: Vec<String> = of.iter().map(|group| group.name.clone()).collect();
        let mut gids: Vec<u32> = of.iter().map(|group| group.gid).collect();
        gids.push(account.gid);
        let who = Who { account, groups: &names, gids: &gids };
        let (sudo, doas) = (sudoers.rights(&who, &mut report), doas.rights(&who, &users, &mut report));
        let password = shadow::password(account, &shadow);
        let known = Known { account, groups: names, password, sudo, doas, logins: &logins, lacks_logins };
        for (search, undecided) in searches.iter().zip(&mut undecided) {
            if let Some(passed) = passed(known.checks(search, now, false), search.options) {
                let element = known.element(&Value::Object(passed));
                report.add_within(&search.label, search.options.matchlimit, element);
            } else if passed(known.checks(search, now, true), search.options).is_some() {
                *undecided += 1;
            }
        }
    }
    let since = logins.since().filter(|_| !lacks_logins).map(|since| notation::time(since, 0));
    for (search, undecided) in searches.iter().zip(undecided).filter(|(_, undecided)| *undecided > 0) {
        let unknown = since.as_ref().map_or("they are".to_owned(), |since| format!("those before {since} are"));
        let text = format_args!("last logins of {undecided} accounts cannot be compared: {unknown} not known");
        report.unseen_for(&search.label, text);
    }
    let mut statistics = json!({"examined": accounts.len()});
    if let Some(since) = since {
        statistics["loginssince"] = json!(since);
    }
    report.finish(&statistics)
}

/// What a file has; what it lacks is named.
fn entries<T>(read: io::Result<Read<T>>, what: &str, report: &mut Report) -> Vec<T> {
    match read {
        Ok(Read { entries, not_understood, elsewhere }) => {
            let path = what.split(':').next().unwrap_or(what);
            if let Some(lines) = files::line_numbers(&not_understood) {
                report.unseen(format_args!("read {path}: {lines} is not understood"));
            }
            if let Some(lines) = files::line_numbers(&elsewhere) {
                report
                    .unseen(format_args!("read {path}: {lines} is for what a server of names has, which is not seen"));
            }
            entries
        }
        Err(error) => {
            let (path, lost) = what.split_once(':').unwrap_or((what, ""));
            report.unseen(format_args!("read {path}: {error}:{lost}"));
            Vec::new()
        }
    }
}

/// Groups by what an account has of them.
struct Groups<'g> {
    all: &'g [Group],
    /// Indices, in the order of the file.
    by_gid: HashMap<u32, Vec<usize>>,
    by_member: HashMap<&'g str, Vec<usize>>,
}

impl<'g> Groups<'g> {
    fn of(all: &'g [Group]) -> Groups<'g> {
        let mut groups = Groups { all, by_gid: HashMap::new(), by_member: HashMap::new() };
        for (index, group) in all.iter().enumerate() {
            groups.by_gid.entry(group.gid).or_default().push(index);
            for member in &group.members {
                groups.by_member.entry(member).or_default().push(index);
            }
        }
        groups
    }

    /// Those of an account, in the order of the file.
    fn with(&self, account: &Account) -> Vec<&'g Group> {
        let lists = [self.by_gid.get(&account.gid), self.by_member.get(account.name.as_str())];
        let indices: BTreeSet<usize> = lists.into_iter().flatten().flatten().copied().collect();
        indices.into_iter().map(|index| &self.all[index]).collect()
    }
}

impl Known<'_> {
    /// What of a search it passes. What is not known is assumed.
    fn checks<'s>(&self, search: &'s Search, now: i128, assumed: bool) -> Vec<Check<'s>> {
        let Account { name, uid, home, shell, .. } = self.account;
        let mut all = Vec::new();
        all.extend(checks("names", &search.names, &[name]));
        all.extend(search.uids.iter().map(|number| ("uids", number.text.as_str(), number.is_met_by((*uid).into()))));
        all.extend(checks("groups", &search.groups, &self.groups));
        all.extend(checks("homes", &search.homes, &[home]));
        all.extend(checks("shells", &search.shells, &[shell]));
        // One word is enough.
        let state = self.password.state.word();
        let word = search.passwords.iter().find(|word| *word == state).or(search.passwords.first());
        all.extend(word.map(|word| ("passwords", word.as_str(), word == state)));
        all.extend(search.lastlogins.iter().map(|(text, age)| {
            // Who never logged in did so longer ago than any time.
            let (least, most) = self.logins.last_between(name);
            let most = if self.lacks_logins { i64::MAX } else { most };
            let [least, most] = [least, most].map(|seconds| age.holds(i128::from(seconds) * 1_000_000_000, now));
            ("lastlogins", text.as_str(), if least == most { least } else { assumed })
        }));
        let rights = || self.sudo.iter().chain(&self.doas).filter(|right| right.allows());
        for (field, is_asked, is_met) in [
            ("loggedin", search.loggedin, !self.logins.now(name).is_empty()),
            ("sudo", search.sudo, self.sudo.iter().any(Right::allows)),
            ("doas", search.doas, self.doas.iter().any(Right::allows)),
            ("root", search.root, *uid == 0 || rights().any(|right| right.is_as_root)),
            ("nopasswd", search.nopasswd, rights().any(|right| right.nopasswd)),
        ] {
            all.extend(is_asked.then_some((field, "true", is_met)));
        }
        all
    }

    fn element(&self, passed: &Value) -> Value {
        let Account { name, uid, gid, home, shell, .. } = self.account;
        let mut element = json!({
            "name": name, "uid": uid, "gid": gid, "groups": self.groups, "home": home, "shell": shell,
            "password": self.password.to_json(), "sudo": self.sudo.iter().map(Right::to_json).collect::<Vec<_>>(),
            "doas": self.doas.iter().map(Right::to_json).collect::<Vec<_>>(),
            "loggedin": self.logins.now(name).iter().map(super::logins::Login::to_json).collect::<Vec<_>>(),
            "search": passed,
        });
        if let Some(login) = self.logins.last(name) {
            element["lastlogin"] = login.to_json();
        }
        element
    }
}
