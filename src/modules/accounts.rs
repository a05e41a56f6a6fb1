//! The accounts and groups in `/etc/passwd` and `/etc/group`. Those that a server of names adds are not there.

use super::files::{self, Links, Machine};
use std::io;

/// Bytes of `/etc/passwd`, `/etc/shadow` and `/etc/group`: some hundred thousand accounts.
const BYTES_MAX: u64 = 16 << 20;

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
}

/// Reads a file of `:`-separated lines.
pub(super) fn read<T>(machine: &Machine, path: &str, parse: fn(&[&str]) -> Option<T>) -> io::Result<Read<T>> {
    let contents = files::read(&machine.path(path), Links::Follow, BYTES_MAX)?;
    if !contents.is_whole {
        return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
    }
    let mut read = Read { entries: Vec::new(), not_understood: Vec::new() };
    for (number, line) in files::lines(&contents.bytes) {
        // + and - are the names of a server of names (nsswitch.conf(5), "compat").
        if line.trim().is_empty() || line.starts_with('#') || line.starts_with(['+', '-']) {
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
        let [name, password, uid, gid, _, home, rest @ ..] = fields else { return None };
        Some(Account {
            name: (*name).to_owned(),
            password: (*password).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
            shell: rest.first().map_or("", |shell| shell.trim_end()).to_owned(),
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

/// The name of the account with this id; the digits if there is none.
pub(super) fn name_of(accounts: &[Account], uid: u32) -> String {
    accounts.iter().find(|account| account.uid == uid).map_or_else(|| uid.to_string(), |account| account.name.clone())
}

/// Sources of `database` in nsswitch.conf(5) that are on another machine, or of which files of this one say nothing.
pub(super) fn other_sources(machine: &Machine, database: &str) -> Vec<String> {
    const OF_FILES: [&str; 3] = ["files", "compat", "systemd"];
    const TEXT_BYTES_MAX: u64 = 1 << 20;
    let Ok(contents) = files::read(&machine.path("/etc/nsswitch.conf"), Links::Follow, TEXT_BYTES_MAX) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&contents.bytes).into_owned();
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
    let sources = lines.filter(|(name, _)| name.trim() == database).flat_map(|(_, sources)| sources.split_whitespace());
    let sources = sources.filter(|source| !source.starts_with('[') && !source.ends_with(']'));
    sources.filter(|source| !OF_FILES.contains(source)).map(str::to_owned).collect()
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
        let passwd = "root:x:0:0:Root:/root:/bin/bash\n\n#c\n+::::::\nbad:x:y:0::/:\nsh\u{fffd}:x:7:7::/h\n";
        std::fs::write(machine.path("/etc/passwd"), passwd).unwrap();
        std::fs::write(machine.path("/etc/group"), "adm:x:4:a, b,\nx\n").unwrap();
        std::fs::write(machine.path("/etc/nsswitch.conf"), "passwd: files sss [NOTFOUND=return] ldap # x\n").unwrap();
        let found = accounts(&machine).unwrap();
        assert_eq!(found.not_understood, [5]);
        let names: Vec<_> = found.entries.iter().map(|a| (a.name.as_str(), a.uid, a.shell.as_str())).collect();
        assert_eq!(names, [("root", 0, "/bin/bash"), ("sh\u{fffd}", 7, "")]);
        assert_eq!((name_of(&found.entries, 7), name_of(&found.entries, 8)), ("sh\u{fffd}".into(), "8".into()));
        let found = groups(&machine).unwrap();
        assert_eq!(
            (found.entries[0].members.as_slice(), found.not_understood),
            (&["a".into(), "b".into()][..], vec![2])
        );
        assert_eq!(other_sources(&machine, "passwd"), ["sss", "ldap"]);
        assert!(other_sources(&machine, "shadow").is_empty());
    }
}
