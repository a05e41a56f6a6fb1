//! The sessions of logind: `/run/systemd/sessions`.

use super::{Lacks, Login, Logins};
use crate::modules::files::{self, Links, Machine};

/// The file of a session: some twenty lines.
const SESSION_BYTES_MAX: u64 = 16 << 10;

/// Reads them, and names those that cannot be read. False: there is no such directory.
pub(super) fn read(logins: &mut Logins, machine: &Machine, lacks: &mut Lacks) -> bool {
    let directory = machine.path("/run/systemd/sessions");
    let names = files::names(&directory);
    if let Some(error) = names.error {
        lacks.now(format_args!("read {}: {error}", machine.name(&directory)));
    }
    for name in names.list {
        // Beside each is a pipe.
        if name.as_encoded_bytes().ends_with(b".ref") {
            continue;
        }
        let path = directory.join(&name);
        let contents = match files::read(&path, Links::Refuse, SESSION_BYTES_MAX) {
            Ok(contents) => contents,
            // It ended meanwhile.
            Err(error) if files::is_missing(&error) => continue,
            Err(error) => {
                lacks.now(format_args!("read {}: {error}", machine.name(&path)));
                continue;
            }
        };
        if !contents.is_whole {
            lacks.now(format_args!("read {}: only its first {SESSION_BYTES_MAX} bytes", machine.name(&path)));
        }
        if let Some((user, login)) = login(&String::from_utf8_lossy(&contents.bytes)) {
            let known = logins.now.entry(user).or_default();
            // utmp has it too.
            if login.line.is_empty() || known.iter().all(|one| one.line != login.line) {
                known.push(login);
            }
        }
    }
    directory.exists()
}

/// The login of a session. None: it is of a program, is a user's manager (also of one that lingers), or is closing.
fn login(text: &str) -> Option<(String, Login)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    // Also user-early, user-light and others; not greeter, lock-screen, background, manager.
    let is_of_user = field("CLASS").is_some_and(|class| class.starts_with("user"));
    if !is_of_user || field("STATE") == Some("closing") {
        return None;
    }
    let microseconds: i64 = field("REALTIME").and_then(|text| text.parse().ok()).unwrap_or(0);
    let login = Login {
        seconds: microseconds / 1_000_000,
        line: field("TTY").unwrap_or_default().to_owned(),
        host: field("REMOTE_HOST").unwrap_or_default().to_owned(),
    };
    Some((field("USER")?.to_owned(), login))
}
