//! Parses times in targets, and formats them for PostgreSQL.
//!
//! A time without offset is in UTC, regardless of the time zone of a database session.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::error::TargetError;

/// The first and last valid time: the special values "not set" and "never" ([`crate::time`]) are inside, and both
/// databases write these years with four digits.
const FIRST: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);
const LAST: DateTime = DateTime::constant(9998, 12, 31, 23, 59, 59, 999_999_999);
const WANTED: &str = "a time";
const HELP: &str = "write it like '2026-11-22', '2026-11-22 08:18:00' (in UTC) or '2026-11-22T08:18:00Z', or use NOW()";

/// Parses RFC 3339, `YYYY-MM-DD` and `YYYY-MM-DD HH:MM[:SS[.f]]`, the latter two in UTC unless an offset follows.
/// Returns microseconds since the epoch; smaller fractions are truncated.
pub(super) fn parse(text: &str) -> Result<i64, TargetError> {
    let refused = || TargetError::literal(text, WANTED, HELP);
    let text_trimmed = text.trim();
    // jiff accepts more than this (week dates, annotations in brackets, signed years), and so do the databases, each
    // differently.
    let is_plain = text_trimmed.bytes().enumerate().all(|(place, byte)| match place {
        0..=3 | 5 | 6 | 8 | 9 => byte.is_ascii_digit(),
        4 | 7 => byte == b'-',
        10 => matches!(byte, b' ' | b'T' | b't'),
        _ => byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-' | b'Z' | b'z'),
    });
    if !is_plain || text_trimmed.len() < 10 {
        return Err(refused());
    }
    let timestamp = text_trimmed.parse::<Timestamp>().or_else(|_| {
        let date_time = text_trimmed.parse::<DateTime>()?;
        Offset::UTC.to_timestamp(date_time)
    });
    match timestamp {
        Ok(timestamp) if (FIRST..=LAST).contains(&Offset::UTC.to_datetime(timestamp)) => Ok(timestamp.as_microsecond()),
        Ok(_) | Err(_) => Err(refused()),
    }
}

/// Formats a time for PostgreSQL, without quotes and independently of the session: `2026-11-22 08:18:00.000000+00`. A
/// time outside the years 1 to 9998 is clamped.
pub(super) fn to_text(microseconds: i64) -> String {
    let date_time = match Timestamp::from_microsecond(microseconds) {
        Ok(timestamp) => Offset::UTC.to_datetime(timestamp).clamp(FIRST, LAST),
        Err(_) if microseconds < 0 => FIRST,
        Err(_) => LAST,
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00",
        date_time.year(),
        date_time.month(),
        date_time.day(),
        date_time.hour(),
        date_time.minute(),
        date_time.second(),
        date_time.subsec_nanosecond() / 1_000,
    )
}
