//! Log lines: one line per event for any input, in the format of the original:
//! `<operation id> <action id> <command id> [<level>] <text>`, with `-` for an id that does not apply.
//! On standard output and in files, time, program and process come before it; syslog adds them itself.
//!
//! Code logs through the `log` crate and passes ids as keys: `log::info!(action:% = id; "…")`.
//!
//! A log that cannot be written never stops the program, and blocks it for at most one second: lines that a file or
//! syslog does not accept go to standard error. Standard output that is not read blocks it until it is read, or SIGTERM. See [`syslog`] for its outages; a file that logrotate(8) moved or
//! deleted is created again with the next line, without a signal.

pub mod syslog;

use crate::config::{ConfigError, LoggingConfig, LoggingMode};
use crate::limits::LOG_LINE_BYTES_MAX;
use crate::waiting::waiting_for;
use log::kv::Key;
use log::{Level, Log, Metadata, Record};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use syslog::Connection;

enum Output {
    Stdout,
    File(Mutex<LogFile>),
    Syslog(Box<Mutex<Connection>>),
}

struct Logger {
    output: Output,
    program: &'static str,
}

/// A file that may be rotated by others.
struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    id: (u64, u64),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let metadata = file.metadata()?;
        Ok(LogFile { path: path.to_owned(), file, id: (metadata.dev(), metadata.ino()) })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if std::fs::metadata(&self.path).map(|now| (now.dev(), now.ino())).ok() != Some(self.id) {
            // If that fails, the rotated file is better than none.
            if let Ok(new) = LogFile::open(&self.path) {
                *self = new;
            }
        }
        self.file.write_all(line.as_bytes())
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "err",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// Formats a record: ids, level, message, with every control character escaped.
fn format_record(record: &Record) -> String {
    let keys = record.key_values();
    let id = |name: &str| keys.get(Key::from_str(name)).map_or("-".to_owned(), |value| value.to_string());
    let ids = [id("operation"), id("action"), id("command")].join(" ");
    let text = format!("{ids} [{}] {}", level_name(record.level()), record.args());
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if line.len() > LOG_LINE_BYTES_MAX {
            line.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Libraries log their internals; only their warnings are useful to an operator.
        metadata.target().starts_with("mig") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format_record(record);
        let stamped = || format!("{:.3} {}[{}]: {line}\n", crate::time::now(), self.program, std::process::id());
        let written = waiting_for("the log", || match &self.output {
            Output::Stdout => {
                let _ = io::stdout().write_all(stamped().as_bytes());
                Ok(())
            }
            Output::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(&stamped()),
            Output::Syslog(connection) => {
                connection.lock().unwrap_or_else(PoisonError::into_inner).send(record.level(), &line)
            }
        });
        if written.is_err() {
            let _ = io::stderr().write_all(stamped().as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Initializes logging for the process. Called once, by the program.
pub fn start(program: &'static str, config: &LoggingConfig) -> Result<(), ConfigError> {
    let error = |text: String| ConfigError { file: "logging".into(), line: None, text, is_temporary: false };
    let output = match &config.mode {
        LoggingMode::Stdout => Output::Stdout,
        LoggingMode::File(path) => {
            let file = LogFile::open(path).map_err(|e| error(format!("open logging.file {}: {e}", path.display())))?;
            Output::File(Mutex::new(file))
        }
        LoggingMode::Syslog(server) => Output::Syslog(Box::new(Mutex::new(Connection::new(program, server.clone())))),
    };
    log::set_boxed_logger(Box::new(Logger { output, program })).map_err(|e| error(e.to_string()))?;
    log::set_max_level(config.level);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_carries_its_ids() {
        let keys = [("action", 12u64), ("command", 34)];
        let record = Record::builder()
            .args(format_args!("evil\nname \u{1b}[31m\u{2028}é"))
            .level(Level::Warn)
            .key_values(&keys)
            .build();
        assert_eq!(format_record(&record), "- 12 34 [warning] evil\\nname \\u{1b}[31m\\u{2028}é");
    }

    #[test]
    fn the_length_of_a_line_is_limited() {
        for (text, expected) in [("é", "é…"), ("\n", "\\n…")] {
            let line = format_record(&Record::builder().args(format_args!("{}", text.repeat(100_000))).build());
            assert!(line.ends_with(expected) && line.len() <= LOG_LINE_BYTES_MAX + 16, "{}", line.len());
        }
    }
}
