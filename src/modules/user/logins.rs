//! Who is logged in, and who was last: `utmp`, `wtmp` and `lastlog` (utmp(5), lastlog(8)), and the sessions of logind.

use crate::modules::accounts::Account;
use crate::modules::files::{self, Links, Machine};
use crate::modules::notation;
use crate::modules::report::Report;
use rustix::fs::CWD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The bytes of `wtmp` that are read, from its end: some 170,000 logins, as a machine has in months.
const WTMP_BYTES_MAX: u64 = 64 << 20;
/// The bytes of `utmp` that are read: some thousand logins at the same time.
const UTMP_BYTES_MAX: u64 = 4 << 20;
/// The file of a session of logind: some twenty lines.
const SESSION_BYTES_MAX: u64 = 16 << 10;
/// Records that are read at once.
const RECORDS_PER_READ: u64 = 512;
/// The type of a record of a login.
const USER_PROCESS: u16 = 7;

/// Where things are in a record. The C library has times of 4 bytes there on all machines but some, and of 8 on those.
struct Layout {
    record_bytes: usize,
    seconds_at: usize,
    lastlog_bytes: usize,
    lastlog_line_at: usize,
}

const LAYOUT: Layout = if cfg!(target_arch = "aarch64") {
    Layout { record_bytes: 400, seconds_at: 344, lastlog_bytes: 296, lastlog_line_at: 8 }
} else {
    Layout { record_bytes: 384, seconds_at: 340, lastlog_bytes: 292, lastlog_line_at: 4 }
};

/// One login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// When, in seconds since 1970.
    pub(super) seconds: i64,
    /// The terminal.
    line: String,
    /// From where; empty for this machine.
    host: String,
}

/// The logins of a machine.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// The last of each account that is known, by name.
    last: HashMap<String, Login>,
    /// Those that go on, by name.
    now: BTreeMap<String, Vec<Login>>,
    /// The first login of which is known, where those before are not.
    pub(super) since: Option<i64>,
}

impl Logins {
    /// Reads them. What is not known is named: as something not seen if a search asks for it.
    pub(super) fn read(machine: &Machine, accounts: &[Account], asks: Asks, report: &mut Report) -> Logins {
        let mut logins = Logins::default();
        let lacks = |is_asked: bool, text: String, report: &mut Report| {
            if is_asked { report.unseen(text) } else { report.note(text) }
        };
        let has_lastlog = match logins.read_lastlog(machine, accounts) {
            Ok(has_lastlog) => has_lastlog,
            Err(error) => {
                lacks(asks.last, format!("read /var/log/lastlog: {error}"), report);
                false
            }
        };
        match logins.read_wtmp(machine, report) {
            Ok(has_wtmp) if has_wtmp || has_lastlog => {}
            Ok(_) => lacks(asks.last, "no /var/log/wtmp or lastlog: last logins are unknown".into(), report),
            Err(error) => lacks(asks.last, format!("read /var/log/wtmp: {error}: last logins are unknown"), report),
        }
        if has_lastlog {
            logins.since = None;
        }
        if machine.path("/var/lib/lastlog/lastlog2.db").exists() {
            let text =
                "/var/lib/lastlog/lastlog2.db is not read: later logins than those in wtmp and lastlog are unknown";
            lacks(asks.last, text.into(), report);
        }
        let mut unread = Vec::new();
        match (logins.read_utmp(machine), logins.read_sessions(machine, &mut unread)) {
            (Ok(false), false) => {
                lacks(
                    asks.now,
                    "no /run/utmp and no /run/systemd/sessions: who is logged in is unknown".into(),
                    report,
                );
            }
            (Err(error), _) => lacks(asks.now, format!("read /run/utmp: {error}"), report),
            (Ok(_), _) => {}
        }
        for text in unread {
            lacks(asks.now, text, report);
        }
        logins
    }

    /// The last login of an account that is known.
    pub(super) fn last(&self, name: &str) -> Option<&Login> {
        self.last.get(name)
    }

    /// Its logins that go on.
    pub(super) fn now(&self, name: &str) -> &[Login] {
        self.now.get(name).map_or(&[], Vec::as_slice)
    }

    fn keep_last(&mut self, name: &str, login: Login) {
        match self.last.get_mut(name) {
            Some(known) if known.seconds >= login.seconds => {}
            Some(known) => *known = login,
            None => drop(self.last.insert(name.to_owned(), login)),
        }
    }

    /// False: there is no such file, or nothing was ever written to it.
    fn read_lastlog(&mut self, machine: &Machine, accounts: &[Account]) -> io::Result<bool> {
        let Some((file, bytes)) = open(machine, &["/var/log/lastlog"])? else { return Ok(false) };
        for account in accounts {
            let mut record = vec![0; LAYOUT.lastlog_bytes];
            let at = u64::from(account.uid) * LAYOUT.lastlog_bytes as u64;
            if at + LAYOUT.lastlog_bytes as u64 > bytes {
                continue;
            }
            match file.read_exact_at(&mut record, at) {
                // It became shorter.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                read => read?,
            }
            let line = LAYOUT.lastlog_line_at;
            let login = Login {
                seconds: seconds(&record, 0),
                line: text(&record[line..line + 32]),
                host: text(&record[line + 32..line + 288]),
            };
            if login.seconds > 0 {
                self.keep_last(&account.name, login);
            }
        }
        Ok(bytes > 0)
    }

    /// Reads from the end. False: there is no such file, or nothing was ever written to it.
    fn read_wtmp(&mut self, machine: &Machine, report: &mut Report) -> io::Result<bool> {
        let Some((file, bytes)) = open(machine, &["/var/log/wtmp"])? else { return Ok(false) };
        let record_bytes = LAYOUT.record_bytes as u64;
        let mut end = bytes / record_bytes;
        let first = end.saturating_sub(WTMP_BYTES_MAX / record_bytes);
        while end > first && !report.is_over() {
            let begin = end.saturating_sub(RECORDS_PER_READ).max(first);
            let mut records = vec![0; usize::try_from((end - begin) * record_bytes).unwrap_or(0)];
            file.read_exact_at(&mut records, begin * record_bytes)?;
            for record in records.chunks_exact(LAYOUT.record_bytes).rev() {
                let (_, user, login) = parse(record);
                if login.seconds > 0 {
                    self.since = Some(self.since.map_or(login.seconds, |since| since.min(login.seconds)));
                }
                if is_login(record) {
                    self.keep_last(&user, login);
                }
            }
            end = begin;
        }
        Ok(bytes > 0)
    }

    fn read_utmp(&mut self, machine: &Machine) -> io::Result<bool> {
        let Some((file, _)) = open(machine, &["/run/utmp", "/var/run/utmp"])? else { return Ok(false) };
        let (records, is_whole) = files::read_open(&file, UTMP_BYTES_MAX)?;
        for record in records.chunks_exact(LAYOUT.record_bytes).filter(|record| is_login(record)) {
            let (pid, user, login) = parse(record);
            // A login that ended with the machine, or was killed, stays in the file.
            if machine.path(format!("/proc/{pid}")).exists() {
                self.now.entry(user).or_default().push(login);
            }
        }
        if is_whole { Ok(true) } else { Err(io::Error::other(format!("only its first {UTMP_BYTES_MAX} bytes"))) }
    }

    /// Names sessions that cannot be read. False: there is no such directory.
    fn read_sessions(&mut self, machine: &Machine, unread: &mut Vec<String>) -> bool {
        let directory = machine.path("/run/systemd/sessions");
        let names = files::names(&directory);
        unread.extend(names.error.map(|error| format!("read {}: {error}", machine.name(&directory))));
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
                    unread.push(format!("read {}: {error}", machine.name(&path)));
                    continue;
                }
            };
            if !contents.is_whole {
                unread.push(format!("read {}: only its first {SESSION_BYTES_MAX} bytes", machine.name(&path)));
            }
            let text = String::from_utf8_lossy(&contents.bytes).into_owned();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            // Also user-early, user-light and others; not greeter, lock-screen, background, manager.
            let is_of_user = field("CLASS").is_some_and(|class| class.starts_with("user"));
            let Some(user) = field("USER").filter(|_| is_of_user) else { continue };
            let microseconds: i64 = field("REALTIME").and_then(|text| text.parse().ok()).unwrap_or(0);
            let login = Login {
                seconds: microseconds / 1_000_000,
                line: field("TTY").unwrap_or_default().to_owned(),
                host: field("REMOTE_HOST").unwrap_or_default().to_owned(),
            };
            let known = self.now.entry(user.to_owned()).or_default();
            let is_same = |one: &Login| !login.line.is_empty() && one.line == login.line;
            if field("STATE") != Some("closing") && !known.iter().any(is_same) {
                known.push(login);
            }
        }
        directory.exists()
    }
}

/// What searches ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asks {
    /// Last logins.
    pub(super) last: bool,
    /// Logins that go on.
    pub(super) now: bool,
}

impl Login {
    /// As an element has it.
    pub(super) fn to_json(&self) -> Value {
        json!({"time": notation::time(self.seconds, 0), "line": self.line, "from": self.host})
    }
}

/// The first of some files that is there, and its size.
fn open(machine: &Machine, paths: &[&str]) -> io::Result<Option<(File, u64)>> {
    for path in paths {
        match files::open(CWD, &machine.path(path), Links::Follow) {
            Err(error) if files::is_missing(&error) => {}
            opened => return opened.map(|(file, metadata)| Some((file, metadata.len()))),
        }
    }
    Ok(None)
}

/// The process, the user and the login of a record of utmp and wtmp.
fn parse(record: &[u8]) -> (u32, String, Login) {
    let login =
        Login { seconds: seconds(record, LAYOUT.seconds_at), line: text(&record[8..40]), host: text(&record[76..332]) };
    (u32::from_ne_bytes([record[4], record[5], record[6], record[7]]), text(&record[44..76]), login)
}

fn is_login(record: &[u8]) -> bool {
    u16::from_ne_bytes([record[0], record[1]]) == USER_PROCESS && record[44] != 0
}

/// Four bytes are enough until 2106: there is no login before 1970.
fn seconds(record: &[u8], at: usize) -> i64 {
    u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]).into()
}

/// A text that ends at the first zero, or at the end of its field.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// A record of utmp and wtmp, for tests.
#[cfg(test)]
pub(super) fn record(kind: u16, pid: u32, user: &str, (line, host): (&str, &str), seconds: u32) -> Vec<u8> {
    let mut record = vec![0; LAYOUT.record_bytes];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&pid.to_ne_bytes());
    for (at, text) in [(8, line), (44, user), (76, host)] {
        record[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    record[LAYOUT.seconds_at..LAYOUT.seconds_at + 4].copy_from_slice(&seconds.to_ne_bytes());
    record
}

/// A record of lastlog, for tests.
#[cfg(test)]
pub(super) fn lastlog_record(seconds: u32, line: &str, host: &str) -> Vec<u8> {
    let mut record = vec![0; LAYOUT.lastlog_bytes];
    record[..4].copy_from_slice(&seconds.to_ne_bytes());
    for (at, text) in [(LAYOUT.lastlog_line_at, line), (LAYOUT.lastlog_line_at + 32, host)] {
        record[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    record
}
