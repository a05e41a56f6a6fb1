//! Times and durations on the wire: RFC 3339, the two special values of the original, and Go's notation for durations.

pub use jiff::Timestamp;
use std::time::Duration;

/// The original's value for "not set".
pub const NOT_SET_TEXT: &str = "0001-01-01T00:00:00Z";
/// The original's value for "never": finish and destruction time of something that still exists.
pub const NEVER_TEXT: &str = "9998-01-11T11:11:11Z";

/// Returns the value of [`NOT_SET_TEXT`].
pub fn not_set() -> Timestamp {
    Timestamp::constant(-62_135_596_800, 0)
}

/// Returns the value of [`NEVER_TEXT`].
pub fn never() -> Timestamp {
    Timestamp::constant(253_340_133_071, 0)
}

/// Reads the clock of this machine. Only programs call it; the library takes `now` as an argument.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Adds a duration; saturates at [`Timestamp::MAX`].
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Whether a task with this `period` is due: never run, run long enough ago, or run before the clock was set back.
pub fn is_due(last: Option<Timestamp>, period: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| now < last || now >= after(last, period))
}

/// Subtracts a duration; saturates at [`Timestamp::MIN`].
pub fn before(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// Returns the time until `later`; zero if it has passed.
pub fn until(now: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Parses a duration in Go's notation: unsigned decimal numbers with units (`300s`, `1h30m`, `500ms`, `1.5h`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("'{text}' is not a duration such as 300s, 10m, 72h, 1h30m or 500ms");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() || rest.len() > 64 {
        return Err(error());
    }
    let mut seconds = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(error()),
        };
        seconds += number * unit;
        rest = &rest[letters..];
    }
    // 100 years: a longer one is a typing error, and adding it to a time could leave the calendar.
    if seconds > 100.0 * 365.0 * 86400.0 {
        return Err(format!("'{text}' is longer than 100 years"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_times_read_as_the_original_writes_them() {
        assert_eq!(NOT_SET_TEXT.parse::<Timestamp>().unwrap(), not_set());
        assert_eq!(NEVER_TEXT.parse::<Timestamp>().unwrap(), never());
        assert_eq!(not_set().to_string(), NOT_SET_TEXT);
        assert_eq!(never().to_string(), NEVER_TEXT);
        let nanos = "2026-11-22T08:18:18.289262239Z";
        assert_eq!(nanos.parse::<Timestamp>().unwrap().to_string(), nanos);
        assert_eq!(
            "2026-11-22T08:17:39.688265Z".parse::<Timestamp>().unwrap().to_string(),
            "2026-11-22T08:17:39.688265Z"
        );
    }

    #[test]
    fn times_of_go_programs_anywhere_are_read() {
        for (text, utc) in [
            ("2015-03-10T09:12:33.123456789-07:00", "2015-03-10T16:12:33.123456789Z"),
            ("2015-03-10T09:12:33+05:30", "2015-03-10T03:42:33Z"),
            ("2015-03-10T09:12:33+00:00", "2015-03-10T09:12:33Z"),
            // "Not set", from a database, in local mean time from before time zones.
            ("0000-12-31T19:03:58-04:56", "0000-12-31T23:59:58Z"),
            ("0001-01-01T00:09:21+00:09", "0001-01-01T00:00:21Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), utc);
        }
        assert!("9999-12-31T00:00:00Z".parse::<Timestamp>().is_err(), "FORMAT.md says where the calendar ends");
    }

    #[test]
    fn durations_are_read_in_gos_notation() {
        for (text, millis) in [
            ("300s", 300_000),
            ("10m", 600_000),
            ("72h", 259_200_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5d", "1h-3m", "..s", "99999999999h", "1e5s", "1h30"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_in_the_calendar() {
        assert_eq!(after(Timestamp::MAX, Duration::from_secs(9)), Timestamp::MAX);
        assert_eq!(before(Timestamp::MIN, Duration::from_secs(9)), Timestamp::MIN);
        assert_eq!(until(never(), not_set()), Duration::ZERO);
    }
}
