//! Names of users, by `/etc/passwd` alone: other sources may be servers, which an investigation does not wait for.

use crate::modules::accounts::{self, Names, Sources};
use crate::modules::files::Machine;
use std::io;

/// Numbers of users that systemd makes for a service, or keeps in homes of their own; `/etc/passwd` does not have them.
const SYSTEMD: std::ops::RangeInclusive<u32> = 60_001..=65_519;

/// The users of this machine.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: Names,
    elsewhere: Elsewhere,
}

/// Who may have a name that is not in the file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    #[default]
    None,
    /// Those of [`SYSTEMD`].
    Systemd,
    /// A directory of users, such as LDAP.
    Anybody,
}

impl Users {
    /// Reads them.
    pub(super) fn read(machine: &Machine) -> io::Result<Users> {
        let accounts = accounts::accounts(machine)?;
        let sources = Sources::read(machine)?;
        let others = sources.others("passwd");
        let elsewhere = if !accounts.elsewhere.is_empty() || others.iter().any(|source| *source != "systemd") {
            Elsewhere::Anybody
        } else if others.is_empty() {
            Elsewhere::None
        } else {
            Elsewhere::Systemd
        };
        Ok(Users { names: Names::of_accounts(&accounts.entries), elsewhere })
    }

    /// The name of a user; the first, if there are several.
    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.names.name(id)
    }

    /// Whether a user has another name, or none: it is not one that this machine would find elsewhere.
    pub(super) fn knows(&self, id: u32) -> bool {
        match self.elsewhere {
            _ if self.names.name(id).is_some() => true,
            Elsewhere::None => true,
            Elsewhere::Systemd => !SYSTEMD.contains(&id),
            Elsewhere::Anybody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_and_other_sources_are_not_denied() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::below(directory.path());
        std::fs::create_dir(machine.path("/etc")).unwrap();
        let passwd = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\n\nbad:x\n#\n\u{b5}:x:7:7:::\n";
        std::fs::write(machine.path("/etc/passwd"), passwd).unwrap();
        let users = |passwd: &str| {
            std::fs::write(machine.path("/etc/nsswitch.conf"), format!("group: ldap\n{passwd}\n")).unwrap();
            Users::read(&machine).unwrap()
        };
        let local = users("passwd: files # ldap");
        assert_eq!((local.name(0), local.name(7), local.name(8)), (Some("root"), Some("\u{b5}"), None));
        for (line, knows_8, knows_service) in [
            ("", true, true),
            ("passwd:\t\tfiles systemd", true, false),
            ("passwd: files [NOTFOUND=return] systemd", true, false),
            ("passwd: sss files", false, false),
            ("passwd: compat", false, false),
            ("passwd: files\npasswd: sss", false, false),
        ] {
            let users = users(line);
            let found = (users.knows(0), users.knows(8), users.knows(61_184));
            assert_eq!(found, (true, knows_8, knows_service), "{line}");
        }
        std::fs::remove_file(machine.path("/etc/nsswitch.conf")).unwrap();
        assert!(Users::read(&machine).unwrap().knows(8));
        std::fs::write(machine.path("/etc/passwd"), "root:x:0:0::/:\n+::::::\n").unwrap();
        assert!(!Users::read(&machine).unwrap().knows(8));
        std::fs::remove_file(machine.path("/etc/passwd")).unwrap();
        assert!(Users::read(&machine).is_err(), "not a machine without users");
    }
}
