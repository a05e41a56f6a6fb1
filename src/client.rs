//! What the investigators' programs share: reading files that people name, and times as people write them.

pub mod answer;
pub mod ask;
pub mod checks;
pub mod collection;
pub mod console;
pub mod events;
pub mod follow;
mod follow_source;
pub mod generator;
pub mod http;
pub mod launch;
pub mod local;
pub mod migrc;
pub mod output;
pub mod program;
pub mod progress;
pub mod prompt;
pub mod results;
pub mod rows;
pub mod session;
pub mod signing;
pub mod target;
pub mod verbs;
pub mod verifier;

use crate::config::read_bounded;
use crate::error::{ExitClass, ProgramError};
use crate::signature::Keyring;
use crate::time::{self, Timestamp, parse_duration};
use std::path::Path;

/// Reads a file that was named on the command line.
pub fn read_file(path: &str, size_bytes_max: u64) -> Result<Vec<u8>, ProgramError> {
    read_bounded(Path::new(path), size_bytes_max)
        .map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read {path}: {e}")))
}

/// Text from a file, for a line on a terminal.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, c| {
        match c {
            '\'' | '"' | '\\' => line.push(c),
            c => line.extend(c.escape_debug()),
        }
        line
    })
}

/// Writes to standard error which certificates of a file do not count.
pub fn warn_left_out(program: &str, file: &str, keyring: &Keyring) {
    for left_out in keyring.left_out() {
        eprintln!("{program}: {file}: {left_out}; it does not count, the others do");
    }
}

/// A time on the command line: `now`, RFC 3339, or a duration from `origin` on, with or without sign (`30m`, `-60s`).
pub fn parse_time(option: &str, text: &str, origin: Timestamp) -> Result<Timestamp, ProgramError> {
    let usage = |reason: String| ProgramError::new(ExitClass::Usage, format!("{option}: {reason}"));
    if text == "now" {
        return Ok(origin);
    }
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let (past, duration) = match text.strip_prefix('-') {
        Some(duration) => (true, duration),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let help =
        |_| usage(format!("'{text}' is neither now, a time such as 2026-11-22T08:00:00Z, nor a duration such as 30m"));
    let duration = parse_duration(duration).map_err(help)?;
    Ok(if past { time::before(origin, duration) } else { time::after(origin, duration) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("now", "2026-11-22T08:00:00Z"),
            ("30m", "2026-11-22T08:30:00Z"),
            ("+1h30m", "2026-11-22T09:30:00Z"),
            ("-60s", "2026-11-22T07:59:00Z"),
            ("2027-01-01T00:00:00+01:00", "2026-12-31T23:00:00Z"),
        ] {
            assert_eq!(parse_time("-x", text, now).unwrap().to_string(), expected);
        }
        assert!(parse_time("-x", "tomorrow", now).unwrap_err().text.starts_with("-x: 'tomorrow' is neither"));
    }
}
