//! The records of the C library: `utmp`, `wtmp` and `lastlog` (utmp(5), lastlog(8)).

use super::reach::{Event, Span};
use super::{Lacks, Login, Logins};
use crate::modules::accounts::Account;
use crate::modules::files::{self, Links, Machine};
use rustix::fs::CWD;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The bytes of `utmp` that are read: some thousand logins at the same time.
const UTMP_BYTES_MAX: u64 = 4 << 20;
/// The types of records of a start of the machine, and of a login.
const BOOT_TIME: u16 = 2;
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

/// The bytes of one record of utmp and wtmp.
pub(super) const RECORD_BYTES: usize = LAYOUT.record_bytes;

/// The process, the user and the login of a record of utmp and wtmp.
pub(super) fn parse(record: &[u8]) -> (u32, String, Login) {
    let login =
        Login { seconds: seconds(record, LAYOUT.seconds_at), line: text(&record[8..40]), host: text(&record[76..332]) };
    (u32::from_ne_bytes([record[4], record[5], record[6], record[7]]), text(&record[44..76]), login)
}

/// What a record of utmp and wtmp is of.
pub(super) fn event(record: &[u8]) -> Event {
    match u16::from_ne_bytes([record[0], record[1]]) {
        USER_PROCESS if record[44] != 0 => Event::Login,
        BOOT_TIME => Event::Start,
        _ => Event::Other,
    }
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

/// Reads `lastlog`. None: there is no such file, or nothing was ever written to it.
pub(super) fn read_lastlog(
    logins: &mut Logins,
    machine: &Machine,
    accounts: &[Account],
    lacks: &mut Lacks,
) -> Option<Span> {
    const PATH: &str = "/var/log/lastlog";
    // It has the last login of every account since the machine was installed.
    let mut span = Span { from: i64::MIN, ..Span::EMPTY };
    let mut read = || {
        let (file, metadata) = files::open(CWD, &machine.path(PATH), Links::Follow)?;
        for account in accounts {
            let login = lastlog(&file, metadata.len(), account.uid)?;
            if let Some(login) = login.filter(|login| login.seconds > 0) {
                span.add(login.seconds, Event::Login);
                logins.keep_last(&account.name, login);
            }
        }
        Ok(metadata.len() > 0)
    };
    match read() {
        Ok(has_records) => has_records.then_some(span),
        Err(error) => {
            if !files::is_missing(&error) {
                lacks.file(PATH, false, error);
            }
            None
        }
    }
}

/// The record of an account in `lastlog`, if the file is so long.
fn lastlog(file: &File, bytes: u64, uid: u32) -> io::Result<Option<Login>> {
    let mut record = vec![0; LAYOUT.lastlog_bytes];
    let at = u64::from(uid) * LAYOUT.lastlog_bytes as u64;
    if at + LAYOUT.lastlog_bytes as u64 > bytes {
        return Ok(None);
    }
    match file.read_exact_at(&mut record, at) {
        // It became shorter.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let line = LAYOUT.lastlog_line_at;
    let (line, host) = (text(&record[line..line + 32]), text(&record[line + 32..line + 288]));
    Ok(Some(Login { seconds: seconds(&record, 0), line, host }))
}

/// Reads `utmp`. False: there is no such file.
pub(super) fn read_utmp(logins: &mut Logins, machine: &Machine) -> io::Result<bool> {
    let mut opened = ["/run/utmp", "/var/run/utmp"].map(|path| files::open(CWD, &machine.path(path), Links::Follow));
    let file = match opened.iter_mut().find(|opened| !opened.as_ref().is_err_and(files::is_missing)) {
        Some(Ok((file, _))) => file,
        Some(Err(error)) => return Err(std::mem::replace(error, io::ErrorKind::Other.into())),
        None => return Ok(false),
    };
    let (records, is_whole) = files::read_open(file, UTMP_BYTES_MAX)?;
    for record in records.chunks_exact(RECORD_BYTES).filter(|record| event(record) == Event::Login) {
        let (pid, user, login) = parse(record);
        // A login that ended with the machine, or was killed, stays in the file.
        if machine.path(format!("/proc/{pid}")).exists() {
            logins.now.entry(user).or_default().push(login);
        }
    }
    if is_whole { Ok(true) } else { Err(io::Error::other(format!("only its first {UTMP_BYTES_MAX} bytes"))) }
}

/// A record of utmp and wtmp, for tests.
#[cfg(test)]
pub(in super::super) fn record(kind: u16, pid: u32, user: &str, (line, host): (&str, &str), seconds: u32) -> Vec<u8> {
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
pub(in super::super) fn lastlog_record(seconds: u32, line: &str, host: &str) -> Vec<u8> {
    let mut record = vec![0; LAYOUT.lastlog_bytes];
    record[..4].copy_from_slice(&seconds.to_ne_bytes());
    for (at, text) in [(LAYOUT.lastlog_line_at, line), (LAYOUT.lastlog_line_at + 32, host)] {
        record[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    record
}
