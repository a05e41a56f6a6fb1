//! The accounts and groups in `/etc/passwd` and `/etc/group`, as the C library reads them. Other sources may be servers, which are
//! not asked: what they add is not there, and [`Sources`] says that there are some.

use super::files::{self, Machine};
use std::collections::HashMap;
use std::io;

/// Bytes of `/etc/passwd`, `/etc/shadow` and `/etc/group`: some hundred thousand accounts.
const BYTES_MAX: u64 = 32 << 20;

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) name: String,
    /// The second field: `x` if `/etc/shadow` has the password. It may be a hash, and is never shown.
    pub(super) password: String,
    /// Its id.
    pub(super) uid: u32,
    /// Its first group.
    pub(super) gid: u32,
    /// Its home directory.
    pub(super) home: String,
    /// What its logins start; empty is `/bin/sh`.
    pub(super) shell: String,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) gid: u32,
    /// Accounts that are in it beside those whose first group it is.
    pub(super) members: Vec<String>,
}

/// What a file of lines has, and the numbers of the lines that are not understood.
#[derive(Debug)]
pub(super) struct Read<T> {
    /// What is understood.
    pub(super) entries: Vec<T>,
    /// Numbers of other lines.
    pub(super) not_understood: Vec<usize>,
    /// Numbers of the lines that stand for what a server of names has (nsswitch.conf(5), "compat").
    pub(super) elsewhere: Vec<usize>,
}

/// Reads a file of `:`-separated lines.
pub(super) fn read<T>(machine: &Machine, path: &str, parse: fn(&[&str]) -> Option<T>) -> io::Result<Read<T>> {
    let bytes = files::read_whole(&machine.path(path), BYTES_MAX)?;
    let mut read = Read { entries: Vec::new(), not_understood: Vec::new(), elsewhere: Vec::new() };
    for (number, line) in files::lines(&bytes) {
        let line = line.trim_start();
        if line.starts_with('+') {
            read.elsewhere.push(number);
        }
        if line.is_empty() || line.starts_with(['#', '+', '-']) {
            continue;
        }
        match parse(&line.trim_end_matches('\r').split(':').collect::<Vec<_>>()) {
            Some(entry) => read.entries.push(entry),
            None => read.not_understood.push(number),
        }
    }
    Ok(read)
}

/// The accounts of a machine.
pub(super) fn accounts(machine: &Machine) -> io::Result<Read<Account>> {
    read(machine, "/etc/passwd", |fields| {
        let [name, password, uid, gid, rest @ ..] = fields else { return None };
        let text = |index: usize| rest.get(index).map_or("", |text| text.trim_end()).to_owned();
        Some(Account {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: text(1),
            shell: text(2),
        })
    })
}

/// The groups of a machine.
pub(super) fn groups(machine: &Machine) -> io::Result<Read<Group>> {
    read(machine, "/etc/group", |fields| {
        let [name, _, gid, rest @ ..] = fields else { return None };
        let members = rest.first().map_or("", |members| members.trim_end());
        let members = members.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
    })
}

/// Names of accounts, or of groups, by number, and numbers by name. Of several lines with the same name or number the first counts,
/// as for the system.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_number: HashMap<u32, String>,
    by_name: HashMap<String, u32>,
}

impl Names {
    /// Those of accounts.
    pub(super) fn of_accounts(accounts: &[Account]) -> Names {
        Names::of(accounts.iter().map(|account| (account.name.as_str(), account.uid)))
    }

    /// Those of groups.
    pub(super) fn of_groups(groups: &[Group]) -> Names {
        Names::of(groups.iter().map(|group| (group.name.as_str(), group.gid)))
    }

    fn of<'n>(pairs: impl Iterator<Item = (&'n str, u32)>) -> Names {
        let mut names = Names::default();
        for (name, number) in pairs {
            names.by_number.entry(number).or_insert_with(|| name.to_owned());
            names.by_name.entry(name.to_owned()).or_insert(number);
        }
        names
    }

    /// The name of this number.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }

    /// The number of this name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of this number; its digits if it has none.
    pub(super) fn name_or_digits(&self, number: u32) -> String {
        self.name(number).map_or_else(|| number.to_string(), str::to_owned)
    }
}

/// Whether there are accounts or groups as records of systemd (nss-systemd(8)), such as those of systemd-homed. What cannot be
/// looked at may have some.
pub(super) fn has_records_of_systemd(machine: &Machine) -> bool {
    const DIRECTORIES: [&str; 5] =
        ["/etc/userdb", "/run/userdb", "/run/host/userdb", "/usr/lib/userdb", "/var/lib/systemd/home"];
    DIRECTORIES.iter().any(|directory| match std::fs::read_dir(machine.path(directory)) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => !files::is_missing(&error),
    })
}

/// Where this machine looks for names: nsswitch.conf(5).
pub(super) struct Sources(String);

impl Sources {
    /// Reads them. A machine without the file has no others.
    pub(super) fn read(machine: &Machine) -> io::Result<Sources> {
        const TEXT_BYTES_MAX: u64 = 1 << 20;
        match files::read_whole(&machine.path("/etc/nsswitch.conf"), TEXT_BYTES_MAX) {
            Ok(bytes) => Ok(Sources(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if files::is_missing(&error) => Ok(Sources(String::new())),
            Err(error) => Err(error),
        }
    }

    /// Sources of a database beside the files that are read here.
    pub(super) fn others(&self, database: &str) -> Vec<&str> {
        let lines = self.0.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
        let sources = lines.filter(|(name, _)| name.trim() == database).map(|(_, sources)| sources);
        // `files [NOTFOUND=return] ldap`: what is in brackets is no source.
        let outside = sources.flat_map(|sources| {
            let parts = sources.split('[').enumerate();
            parts.map(|(index, part)| if index == 0 { part } else { part.split_once(']').map_or("", |(_, rest)| rest) })
        });
        outside.flat_map(str::split_whitespace).filter(|source| *source != "files").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_groups_are_read_and_broken_lines_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::below(directory.path());
        assert_eq!(accounts(&machine).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(machine.path("/etc")).unwrap();
        let passwd = "root:x:0:0:Root:/root:/bin/bash\n\n #c\n+::::::\nbad:x:y:0::/:\nsh\u{fffd}:x:7:7::/h\n\
                      \u{20}\tevil:x:0:0\n";
        std::fs::write(machine.path("/etc/passwd"), passwd).unwrap();
        std::fs::write(machine.path("/etc/group"), "adm:x:4:a, b,\nx\n").unwrap();
        let found = accounts(&machine).unwrap();
        assert_eq!((found.not_understood.as_slice(), found.elsewhere.as_slice()), (&[5][..], &[4][..]));
        let names: Vec<_> = found.entries.iter().map(|a| (a.name.as_str(), a.uid, a.shell.as_str())).collect();
        assert_eq!(names, [("root", 0, "/bin/bash"), ("sh\u{fffd}", 7, ""), ("evil", 0, "")]);
        let names = Names::of_accounts(&found.entries);
        assert_eq!((names.name_or_digits(7), names.name_or_digits(8)), ("sh\u{fffd}".into(), "8".into()));
        assert_eq!((names.name(0), names.number("evil"), names.number("x")), (Some("root"), Some(0), None));
        let found = groups(&machine).unwrap();
        assert_eq!(
            (found.entries[0].members.as_slice(), found.not_understood),
            (&["a".into(), "b".into()][..], vec![2])
        );
    }

    #[test]
    fn sources_of_names_are_named_unless_they_are_files() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::below(directory.path());
        assert!(Sources::read(&machine).unwrap().others("passwd").is_empty());
        std::fs::create_dir(machine.path("/etc")).unwrap();
        for (text, others) in [
            ("passwd: files sss [ NOTFOUND=return x=y z=a ] ldap # x", &["sss", "ldap"][..]),
            (" passwd : files[SUCCESS=continue]compat systemd", &["compat", "systemd"]),
            ("group: sss\n#passwd: sss\npasswd: files", &[]),
        ] {
            std::fs::write(machine.path("/etc/nsswitch.conf"), text).unwrap();
            assert_eq!(Sources::read(&machine).unwrap().others("passwd"), others, "{text}");
        }
        std::fs::remove_file(machine.path("/etc/nsswitch.conf")).unwrap();
        std::fs::create_dir(machine.path("/etc/nsswitch.conf")).unwrap();
        assert!(Sources::read(&machine).is_err());
    }
}
