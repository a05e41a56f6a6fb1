//! Names of users, by `/etc/passwd` alone: other sources may be servers, which an investigation does not wait for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a file with accounts: hundreds of thousands of them.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Numbers of users that systemd makes for a service, or keeps in homes of their own; `/etc/passwd` does not have them.
const SYSTEMD: std::ops::RangeInclusive<u32> = 60_001..=65_519;

/// The users of this machine.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, Vec<u8>>,
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
    /// Reads `passwd` and `nsswitch.conf` in a directory, which is `/etc`.
    pub(super) fn read(directory: &Path) -> io::Result<Users> {
        let passwd = read(&directory.join("passwd"))?;
        let mut names = HashMap::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, id) = (fields.next(), fields.nth(1));
            let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse::<u32>().ok());
            if let (Some(name), Some(id)) = (name, id) {
                names.entry(id).or_insert_with(|| name.to_vec());
            }
        }
        let elsewhere = match read(&directory.join("nsswitch.conf")) {
            Ok(text) => elsewhere(&String::from_utf8_lossy(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Elsewhere::None,
            Err(error) => return Err(error),
        };
        Ok(Users { names, elsewhere })
    }

    /// The name of a user; the first, if there are several.
    pub(super) fn name(&self, id: u32) -> Option<&[u8]> {
        self.names.get(&id).map(Vec::as_slice)
    }

    /// Whether a user has another name, or none: it is not one that this machine would find elsewhere.
    pub(super) fn knows(&self, id: u32) -> bool {
        match self.elsewhere {
            _ if self.names.contains_key(&id) => true,
            Elsewhere::None => true,
            Elsewhere::Systemd => !SYSTEMD.contains(&id),
            Elsewhere::Anybody => false,
        }
    }
}

/// Reads `passwd: files systemd [NOTFOUND=return] ldap`.
fn elsewhere(text: &str) -> Elsewhere {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("passwd:")).unwrap_or_default();
    let line = line.split('#').next().unwrap_or_default();
    let sources = line.split_whitespace().filter(|word| !word.starts_with('[') && !word.ends_with(']'));
    let one = |source| match source {
        "files" => Elsewhere::None,
        "systemd" => Elsewhere::Systemd,
        _ => Elsewhere::Anybody,
    };
    sources.map(one).max_by_key(|found| *found as u8).unwrap_or_default()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_and_other_sources_are_not_denied() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("passwd"),
            "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\n\nbad:x\n#\n\u{b5}:x:7:7:::\n",
        )
        .unwrap();
        let users = |passwd: &str| {
            std::fs::write(directory.path().join("nsswitch.conf"), format!("group: ldap\n{passwd}\n")).unwrap();
            Users::read(directory.path()).unwrap()
        };
        let local = users("passwd: files # ldap");
        assert_eq!(
            (local.name(0), local.name(7), local.name(8)),
            (Some(&b"root"[..]), Some("\u{b5}".as_bytes()), None)
        );
        for (line, knows_8, knows_service) in [
            ("", true, true),
            ("passwd:\t\tfiles systemd", true, false),
            ("passwd: files [NOTFOUND=return] systemd", true, false),
            ("passwd: sss files", false, false),
            ("passwd: compat", false, false),
        ] {
            let users = users(line);
            let found = (users.knows(0), users.knows(8), users.knows(61_184));
            assert_eq!(found, (true, knows_8, knows_service), "{line}");
        }
        std::fs::remove_file(directory.path().join("nsswitch.conf")).unwrap();
        assert!(Users::read(directory.path()).unwrap().knows(8));
        std::fs::remove_file(directory.path().join("passwd")).unwrap();
        assert!(Users::read(directory.path()).is_err(), "not a machine without users");
    }
}
