//! What has the place of wtmp and lastlog where times have 8 bytes: databases of SQLite, of wtmpdb(8) and lastlog2(8).

use super::reach::{Event, Span};
use super::{Lacks, Login, Logins};
use crate::modules::files::{self, Machine};
use crate::modules::sqlite::{Database, Order, Value};
use std::time::UNIX_EPOCH;

/// Rows that are read of each kind in all, the newest first: as many logins as of wtmp.
const ROWS_MAX: u64 = 170_000;
/// Bytes of a name that are kept.
const TEXT_BYTES_MAX: usize = 256;
/// The types of rows of a start of the machine, and of a login.
const BOOT_TIME: i64 = 1;
const USER_PROCESS: i64 = 3;

/// Reads the databases of wtmpdb, and those that they were before (`wtmp_20261101.db`). None: there are none with rows.
pub(super) fn read_wtmpdb(logins: &mut Logins, machine: &Machine, lacks: &mut Lacks) -> Option<Span> {
    let (mut span, mut rows_left, mut has_gap) = (Span::EMPTY, ROWS_MAX, false);
    // The second is where the first was in older versions.
    for directory in ["/var/lib/wtmpdb", "/var/log"] {
        let mut names = lacks.names(machine, directory);
        names.retain(|name| {
            let of = name.to_str().and_then(|name| name.strip_prefix("wtmp")?.strip_suffix(".db"));
            of.is_some_and(|date| date.is_empty() || date.starts_with('_'))
        });
        // By date, that without one first.
        names.sort_by_key(|name| (name.len() > "wtmp.db".len(), std::cmp::Reverse(name.clone())));
        for name in names {
            if rows_left == 0 || lacks.report.is_over() {
                break;
            }
            let path = format!("{directory}/{}", name.to_string_lossy());
            let mut part = Span::EMPTY;
            let read = whole(machine, &path, |database| {
                const COLUMNS: [&str; 5] = ["Type", "User", "Login", "TTY", "RemoteHost"];
                database.rows("wtmp", COLUMNS, Order::LastToFirst, &mut |[kind, user, time, line, host]| {
                    if let (Value::Integer(kind), Value::Integer(microseconds)) = (kind, time) {
                        let login = Login { seconds: microseconds / 1_000_000, line: text(line), host: text(host) };
                        let event = match kind {
                            BOOT_TIME => Event::Start,
                            USER_PROCESS => Event::Login,
                            _ => Event::Other,
                        };
                        part.add(login.seconds, event);
                        if event == Event::Login {
                            logins.keep_last(&text(user), login);
                        }
                    }
                    rows_left = rows_left.saturating_sub(1);
                    rows_left > 0 && !lacks.report.is_over()
                })
            });
            if let Err(reason) = read {
                has_gap = true;
                lacks.file(&path, name != "wtmp.db", reason);
            }
            span.add_older(part, has_gap);
        }
    }
    span.filled()
}

/// Reads the database of lastlog2. None: there is none with rows.
pub(super) fn read_lastlog2(logins: &mut Logins, machine: &Machine, lacks: &mut Lacks) -> Option<Span> {
    const PATH: &str = "/var/lib/lastlog/lastlog2.db";
    let metadata = match std::fs::metadata(machine.path(PATH)) {
        Err(error) if files::is_missing(&error) => return None,
        metadata => metadata.ok(),
    };
    let (mut span, mut rows_left) = (Span::EMPTY, ROWS_MAX);
    let read = whole(machine, PATH, |database| {
        const COLUMNS: [&str; 4] = ["Name", "Time", "TTY", "RemoteHost"];
        database.rows("Lastlog2", COLUMNS, Order::LastToFirst, &mut |[name, time, line, host]| {
            if let Value::Integer(seconds) = time {
                span.add(seconds, Event::Login);
                logins.keep_last(&text(name), Login { seconds, line: text(line), host: text(host) });
            }
            rows_left = rows_left.saturating_sub(1);
            rows_left > 0 && !lacks.report.is_over()
        })?;
        if rows_left == 0 { Err(format!("only {ROWS_MAX} of its rows")) } else { Ok(()) }
    });
    if let Err(reason) = read {
        lacks.file(PATH, false, reason);
    }
    // Rows of before the file are from lastlog, which had all accounts.
    let made = metadata.and_then(|metadata| metadata.created().ok()?.duration_since(UNIX_EPOCH).ok());
    if let Some(made) = made {
        span.from = span.from.min(made.as_secs().cast_signed());
    }
    span.filled()
}

/// Reads a database, and once more if it was changed meanwhile: a login is written within milliseconds.
fn whole(
    machine: &Machine,
    path: &str,
    mut read: impl FnMut(&mut Database) -> Result<(), String>,
) -> Result<(), String> {
    let mut attempt = || {
        let mut database = Database::open(&machine.path(path))?;
        read(&mut database)?;
        database.is_unchanged()
    };
    attempt().or_else(|_| attempt())
}

/// A text of a row; empty if it has none.
fn text(value: Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]).into_owned(),
        Value::Null | Value::Integer(_) | Value::Real | Value::Blob(_) => String::new(),
    }
}
