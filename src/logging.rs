//! Log lines: one line per event whatever the input, in the form that operators of the original know:
//! `<operation id> <action id> <command id> [<level>] <text>`, with `-` for what does not apply.
//!
//! Code logs through the `log` crate and names what a line is about by key: `log::info!(action:% = id; "…")`.

use crate::config::{ConfigError, LoggingConfig, LoggingMode};
use log::kv::Key;
use log::{Level, Log, Metadata, Record};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use syslog::{Facility, Formatter3164};

type Syslog = syslog::Logger<syslog::LoggerBackend, Formatter3164>;

enum Output {
    Stdout,
    File(Mutex<File>),
    Syslog(Box<Mutex<Syslog>>),
}

struct Logger {
    output: Output,
    program: &'static str,
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "err",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// A record as text: ids, level, message, with every control character shown escaped.
fn format_record(record: &Record) -> String {
    let keys = record.key_values();
    let id = |name: &str| keys.get(Key::from_str(name)).map_or("-".to_owned(), |value| value.to_string());
    let mut line = format!("{} {} {} [{}] ", id("operation"), id("action"), id("command"), level_name(record.level()));
    for c in record.args().to_string().chars() {
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
        // Libraries speak of their own inner life; only what they warn of is of use to an operator.
        metadata.target().starts_with("mig") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format_record(record);
        let stamped = || format!("{:.3} {}[{}]: {line}\n", crate::time::now(), self.program, std::process::id());
        // A log that cannot be written must not stop the work.
        let _ = match &self.output {
            Output::Stdout => std::io::stdout().write_all(stamped().as_bytes()),
            Output::File(file) => file.lock().unwrap_or_else(|e| e.into_inner()).write_all(stamped().as_bytes()),
            Output::Syslog(logger) => {
                let mut logger = logger.lock().unwrap_or_else(|e| e.into_inner());
                let sent = match record.level() {
                    Level::Error => logger.err(&line),
                    Level::Warn => logger.warning(&line),
                    Level::Info => logger.info(&line),
                    Level::Debug | Level::Trace => logger.debug(&line),
                };
                sent.map_err(std::io::Error::other)
            }
        };
    }

    fn flush(&self) {}
}

/// Starts logging for the process. Called once, by the program.
pub fn start(program: &'static str, config: &LoggingConfig) -> Result<(), ConfigError> {
    let error = |text: String| ConfigError { file: "logging".into(), line: None, text };
    let output = match &config.mode {
        LoggingMode::Stdout => Output::Stdout,
        LoggingMode::File(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
            Output::File(Mutex::new(file.map_err(|e| error(format!("open logging.file {}: {e}", path.display())))?))
        }
        LoggingMode::Syslog { protocol, host, port } => {
            let formatter = Formatter3164 {
                facility: Facility::LOG_LOCAL3,
                hostname: None,
                process: program.into(),
                pid: std::process::id(),
            };
            let logger = match protocol.as_str() {
                "udp" => syslog::udp(formatter, ("0.0.0.0", 0), (host.as_str(), *port)),
                "tcp" => syslog::tcp(formatter, (host.as_str(), *port)),
                _ => syslog::unix(formatter),
            };
            let logger = logger.map_err(|e| error(format!("connect to syslog ({protocol}, {host}:{port}): {e}")))?;
            Output::Syslog(Box::new(Mutex::new(logger)))
        }
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
}
