//! Intervals: `'5 minutes'`, `'1 day 2 hours'`, `'01:30:00'`, `'2 weeks ago'`.
//!
//! Months and days are stored separately, as in PostgreSQL, where a month is a calendar month and a year twelve of
//! them. The SQLite store counts microseconds, so there a month is 30 days and a year 365.

use super::error::TargetError;
use super::limits::INTERVAL_YEARS_MAX;

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MONTHS_PER_YEAR: i64 = 12;
const DAYS_PER_MONTH: i64 = 30;
const DAYS_PER_YEAR: i64 = 365;
const WANTED: &str = "an interval";
const HELP: &str = "write it like '5 minutes', '1 day 2 hours' or '01:30:00', with microseconds to years as units";

/// Microseconds per day.
pub(super) const DAY: i64 = SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;

/// A length of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Interval {
    months: i64,
    days: i64,
    microseconds: i64,
}

/// A unit; the value is its multiple of the base unit.
#[derive(Clone, Copy)]
enum Unit {
    Microseconds(i64),
    Days(i64),
    Months(i64),
}

impl Interval {
    /// Parses PostgreSQL's usual syntax: pairs of number and unit, at most one clock time, `ago` at the end. A number
    /// without a unit counts seconds.
    pub(super) fn parse(text: &str) -> Result<Interval, TargetError> {
        let refused = || TargetError::literal(text, WANTED, HELP);
        let lower = text.to_ascii_lowercase();
        let mut words = words(&lower).into_iter().peekable();
        let ago = lower.trim_end().ends_with("ago");
        let mut interval = Interval::default();
        let mut parts = 0;
        while let Some(word) = words.next() {
            if word == "ago" && parts > 0 && words.peek().is_none() {
                break;
            }
            parts += 1;
            let part = if word.contains(':') {
                Interval { microseconds: clock(word).ok_or_else(refused)?, ..Interval::default() }
            } else {
                let unit = match words.next_if(|next| next.starts_with(char::is_alphabetic) && *next != "ago") {
                    Some(name) => unit(name).ok_or_else(refused)?,
                    None => Unit::Microseconds(MICROSECONDS_PER_SECOND),
                };
                quantity(word, unit).ok_or_else(refused)?
            };
            interval = interval.plus(part).ok_or_else(refused)?;
        }
        if parts == 0 || !interval.is_within_limit() {
            return Err(refused());
        }
        Ok(if ago { interval.negated() } else { interval })
    }

    /// Returns the length with months of 30 and years of 365 days.
    pub(super) fn as_microseconds(self) -> i64 {
        let years = self.months / MONTHS_PER_YEAR;
        let months = self.months % MONTHS_PER_YEAR;
        (years * DAYS_PER_YEAR + months * DAYS_PER_MONTH + self.days) * DAY + self.microseconds
    }

    /// Formats the interval for PostgreSQL, without quotes.
    pub(super) fn to_text(self) -> String {
        let mut parts = Vec::new();
        if self.months != 0 {
            parts.push(format!("{} months", self.months));
        }
        if self.days != 0 {
            parts.push(format!("{} days", self.days));
        }
        if self.microseconds != 0 || parts.is_empty() {
            let sign = if self.microseconds < 0 { "-" } else { "" };
            let whole = self.microseconds.unsigned_abs();
            let second = MICROSECONDS_PER_SECOND.unsigned_abs();
            parts.push(format!("{sign}{}.{:06} seconds", whole / second, whole % second));
        }
        parts.join(" ")
    }

    fn plus(self, other: Interval) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            microseconds: self.microseconds.checked_add(other.microseconds)?,
        })
    }

    fn negated(self) -> Interval {
        Interval { months: -self.months, days: -self.days, microseconds: -self.microseconds }
    }

    /// Whether each part is within the limit, so that no later sum overflows.
    fn is_within_limit(self) -> bool {
        let days_max = INTERVAL_YEARS_MAX * DAYS_PER_YEAR;
        self.months.abs() <= INTERVAL_YEARS_MAX * MONTHS_PER_YEAR
            && self.days.abs() <= days_max
            && self.microseconds.abs() <= days_max * DAY
    }
}

/// Splits at white space, and between a number and its unit (`5min`).
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let unit_at = word.find(|character: char| character.is_alphabetic()).unwrap_or(word.len());
        let (number, unit) = word.split_at(unit_at);
        words.extend([number, unit].into_iter().filter(|piece| !piece.is_empty()));
    }
    words
}

fn unit(name: &str) -> Option<Unit> {
    let second = MICROSECONDS_PER_SECOND;
    Some(match name {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Microseconds(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Microseconds(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Microseconds(second),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Microseconds(60 * second),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Microseconds(3_600 * second),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(MONTHS_PER_YEAR),
        _ => return None,
    })
}

/// Parses a signed decimal number of a unit. A fraction of a day becomes microseconds; one of a month is refused, since
/// its length is undefined.
fn quantity(number: &str, unit: Unit) -> Option<Interval> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if [whole, fraction].iter().any(|part| part.is_empty() || part.len() > 15 || !is_digits(part)) {
        return None;
    }
    let whole = sign * whole.parse::<i64>().ok()?;
    let fraction_of = |microseconds: i64| -> Option<i64> {
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let part = fraction.parse::<i128>().ok()? * i128::from(microseconds) / scale;
        Some(sign * i64::try_from(part).ok()?)
    };
    Some(match unit {
        Unit::Microseconds(each) => {
            Interval { microseconds: whole.checked_mul(each)?.checked_add(fraction_of(each)?)?, ..Interval::default() }
        }
        Unit::Days(each) => {
            Interval { days: whole.checked_mul(each)?, microseconds: fraction_of(each * DAY)?, ..Interval::default() }
        }
        Unit::Months(each) if fraction.bytes().all(|digit| digit == b'0') => {
            Interval { months: whole.checked_mul(each)?, ..Interval::default() }
        }
        Unit::Months(_) => return None,
    })
}

/// Parses `[-]HH:MM[:SS[.f]]`.
fn clock(word: &str) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let mut parts = digits.split(':');
    let hours = parts.next()?;
    let minutes = parts.next()?;
    let seconds = parts.next().unwrap_or("0");
    let small = |part: &str| part.len() == 2 && is_digits(part) && part < "60";
    let whole_seconds = seconds.split('.').next()?;
    if parts.next().is_some() || !is_digits(hours) || hours.len() > 7 || !small(minutes) {
        return None;
    }
    if seconds != "0" && !small(whole_seconds) {
        return None;
    }
    let hours = hours.parse::<i64>().ok()?;
    let minutes = minutes.parse::<i64>().ok()?;
    let rest = quantity(seconds, Unit::Microseconds(MICROSECONDS_PER_SECOND))?.microseconds;
    Some(sign * ((hours * 60 + minutes) * 60 * MICROSECONDS_PER_SECOND + rest))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
