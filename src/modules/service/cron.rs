//! Tables and directories of cron (crontab(5)), of anacron (anacrontab(5)), and jobs of at (at(1)).

use super::command::{Command, Syntax};
use super::entry::{Entry, Sink, State, Written};
use crate::modules::accounts::Names;
use crate::modules::files::{self, Links, Machine};
use crate::modules::notation;
use crate::modules::report::Report;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::Path;

/// One table, which a user may have written: far more than people write.
const TABLE_BYTES_MAX: u64 = 1 << 20;
/// Where users' tables are: Debian and Red Hat (below), SUSE, BusyBox.
const SPOOLS: [&str; 4] = ["/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron", "/etc/crontabs"];
/// Directories of scripts, and when they run.
const SCRIPTS: [(&str, &str); 10] = [
    ("/etc/cron.hourly", "hourly"),
    ("/etc/cron.daily", "daily"),
    ("/etc/cron.weekly", "weekly"),
    ("/etc/cron.monthly", "monthly"),
    ("/etc/cron.yearly", "yearly"),
    ("/etc/periodic/15min", "15min"),
    ("/etc/periodic/hourly", "hourly"),
    ("/etc/periodic/daily", "daily"),
    ("/etc/periodic/weekly", "weekly"),
    ("/etc/periodic/monthly", "monthly"),
];
/// Where jobs of at are: Debian, Red Hat, SUSE, Arch.
const JOBS: [&str; 4] = ["/var/spool/cron/atjobs", "/var/spool/at", "/var/spool/atjobs", "/var/spool/atd"];

/// How the lines of a table look.
#[derive(Clone, Copy)]
enum Table<'t> {
    /// With the user of each command.
    System,
    /// Of this user.
    User(&'t str),
    /// Of anacron.
    Anacron,
}

/// Reads all of them.
pub(super) fn read(machine: &Machine, names: &Names, report: &mut Report, found: &mut Sink) {
    for (path, table) in [("/etc/crontab", Table::System), ("/etc/anacrontab", Table::Anacron)] {
        let entries = read_table(machine, Path::new(path), table, report);
        entries.into_iter().for_each(|entry| found(entry, report));
    }
    let tables = Path::new("/etc/cron.d");
    for name in machine.names(tables, report) {
        let is_run = is_run(machine, &name);
        for mut entry in read_table(machine, &tables.join(&name), Table::System, report) {
            if !is_run {
                entry.state = State::Ignored;
            }
            found(entry, report);
        }
    }
    for spool in machine.distinct(&SPOOLS) {
        for name in machine.names(spool, report) {
            let path = spool.join(&name);
            // /var/spool/cron has other directories.
            if !machine.path(&path).is_dir() {
                let entries = read_table(machine, &path, Table::User(&name.to_string_lossy()), report);
                entries.into_iter().for_each(|entry| found(entry, report));
            }
        }
    }
    for (directory, schedule) in SCRIPTS {
        let directory = Path::new(directory);
        for name in machine.names(directory, report) {
            if !name.as_encoded_bytes().starts_with(b".")
                && let Some(entry) = script(machine, &directory.join(&name), &name, schedule, report)
            {
                found(entry, report);
            }
        }
    }
    for directory in machine.distinct(&JOBS) {
        for name in machine.names(directory, report) {
            if let Some(entry) = job(machine, &directory.join(&name), &name.to_string_lossy(), names, report) {
                found(entry, report);
            }
        }
    }
}

/// Whether cron and run-parts(8) use a file of this name. Those of Debian are strict; others only leave out what editors and package
/// managers leave behind.
fn is_run(machine: &Machine, name: &OsStr) -> bool {
    const LEFT_BEHIND: [&str; 7] = ["~", ".rpmsave", ".rpmorig", ".rpmnew", ".swp", ".cfsaved", ",v"];
    let name = name.as_encoded_bytes();
    if machine.path("/etc/debian_version").exists() {
        return name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-');
    }
    let is_hidden = name.starts_with(b".") || name.starts_with(b"#");
    !is_hidden && !LEFT_BEHIND.iter().any(|end| name.ends_with(end.as_bytes()))
}

/// The lines of a table.
fn read_table(machine: &Machine, path: &Path, table: Table, report: &mut Report) -> Vec<Entry> {
    let mut entries = Vec::new();
    if report.is_over() {
        return entries;
    }
    // Users' tables are in a directory in which users may make files.
    let links = if matches!(table, Table::User(_)) { Links::Refuse } else { Links::Follow };
    let contents = match files::read(&machine.path(path), links, TABLE_BYTES_MAX) {
        Ok(contents) => contents,
        Err(error) => {
            if !files::is_missing(&error) {
                report.unseen(format_args!("read {}: {error}", path.display()));
            }
            return entries;
        }
    };
    if !contents.is_whole {
        report.unseen(format_args!("read {}: only its first {TABLE_BYTES_MAX} bytes", path.display()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut not_understood = Vec::new();
    for (line, text) in files::lines(&contents.bytes) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') || is_variable(text) {
            continue;
        }
        let Some((schedule, user, name, command)) = parse(text, table, &name) else {
            not_understood.push(line);
            continue;
        };
        entries.push(Entry {
            kind: if matches!(table, Table::Anacron) { "anacron" } else { "cron" },
            name: name.to_owned(),
            file: path.to_string_lossy().into_owned(),
            line,
            state: State::Enabled,
            user: user.to_owned(),
            commands: vec![Command::of(before_input(command), Syntax::Shell)],
            schedules: vec![schedule],
            written: Some(Written::from(&contents.metadata)),
            ..Entry::default()
        });
    }
    if let Some(lines) = files::line_numbers(&not_understood) {
        report.unseen(format_args!("read {}: {lines} is not understood", path.display()));
    }
    entries
}

/// Whether a line sets a variable: its value is not looked at.
fn is_variable(line: &str) -> bool {
    let Some((name, _)) = line.split_once('=') else { return false };
    let name = name.trim().trim_matches(['"', '\'']);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The schedule, the user, the name and the command of a line.
fn parse<'l>(line: &'l str, table: Table<'l>, name: &'l str) -> Option<(String, &'l str, &'l str, &'l str)> {
    let mut rest = line;
    let mut word = || {
        let (word, behind) = rest.trim_start().split_once(char::is_whitespace)?;
        rest = behind;
        Some(word)
    };
    let first = word()?;
    let (schedule, user, name) = match table {
        Table::Anacron => {
            let delay = word()?;
            (format!("{first} {delay}"), "root", word()?)
        }
        Table::System | Table::User(_) => {
            let mut schedule = first.to_owned();
            for _ in 0..if first.starts_with('@') { 0 } else { 4 } {
                schedule.push(' ');
                schedule.push_str(word()?);
            }
            let user = if let Table::User(user) = table { user } else { word()? };
            (schedule, user, name)
        }
    };
    let command = rest.trim();
    (!command.is_empty()).then_some((schedule, user, name, command))
}

/// What is behind a `%` is the input of a command, and may be private.
fn before_input(command: &str) -> &str {
    let is_end = |(at, letter): &(usize, char)| *letter == '%' && !command[..*at].ends_with('\\');
    command.char_indices().find(is_end).map_or(command, |(at, _)| &command[..at])
}

/// A script in a directory of cron.
fn script(machine: &Machine, path: &Path, name: &OsStr, schedule: &str, report: &mut Report) -> Option<Entry> {
    const EXECUTABLE: u32 = 0o111;
    let metadata = regular(machine.path(path).metadata(), path, report)?;
    let is_executable = std::os::unix::fs::MetadataExt::mode(&metadata) & EXECUTABLE != 0;
    let file = path.to_string_lossy().into_owned();
    Some(Entry {
        kind: "cron",
        name: name.to_string_lossy().into_owned(),
        state: if is_executable && is_run(machine, name) { State::Enabled } else { State::Ignored },
        user: "root".to_owned(),
        commands: vec![Command::file(&file)],
        file,
        schedules: vec![schedule.to_owned()],
        written: Some(Written::from(&metadata)),
        ..Entry::default()
    })
}

/// A job of at, by its name: a letter, its number and its minute, in hexadecimal digits. What it runs is not read: the file begins
/// with the environment of who made it.
fn job(machine: &Machine, path: &Path, name: &str, names: &Names, report: &mut Report) -> Option<Entry> {
    const NUMBER_DIGITS: usize = 5;
    const MINUTE_DIGITS: usize = 8;
    let digits = name.get(1..).filter(|digits| digits.len() == NUMBER_DIGITS + MINUTE_DIGITS)?;
    let minute = i64::from_str_radix(digits.get(NUMBER_DIGITS..)?, 16).ok()?;
    let metadata = regular(machine.path(path).symlink_metadata(), path, report)?;
    Some(Entry {
        kind: "at",
        name: name.to_owned(),
        file: path.to_string_lossy().into_owned(),
        state: State::Enabled,
        user: names.name_or_digits(files::owner(&metadata)),
        schedules: vec![notation::time(minute.saturating_mul(60), 0)],
        written: Some(Written::from(&metadata)),
        ..Entry::default()
    })
}

/// The metadata of a regular file; what cannot be looked at is named.
fn regular(metadata: io::Result<Metadata>, path: &Path, report: &mut Report) -> Option<Metadata> {
    match metadata {
        Ok(metadata) => metadata.is_file().then_some(metadata),
        Err(error) if files::is_missing(&error) => None,
        Err(error) => {
            report.unseen(format_args!("read {}: {error}", path.display()));
            None
        }
    }
}
