//! Comparisons with a bound, as parameters write them: sizes and ages.

use std::time::Duration;

/// The kind of comparison with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Strictly less.
    Below,
    /// Equal.
    Exactly,
    /// Strictly more.
    Above,
}

/// `<10m`, `>512k`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    bound: Bound,
    bytes: u64,
}

impl Size {
    /// Parses a size; `k`, `m`, `g` and `t`, in any case, are powers of 1024.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("\"{text}\" is not a size like \"<10m\", \">512k\" or \"4096\" (units k, m, g, t)");
        let (bound, rest) = split_bound(text);
        let unit = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let shift = match unit {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            "t" | "T" => 40,
            _ => return Err(refuse()),
        };
        let count: u64 = rest[..rest.len() - unit.len()].parse().map_err(|_| refuse())?;
        let bytes = count.checked_mul(1 << shift).ok_or_else(refuse)?;
        Ok(Size { bound, bytes })
    }

    /// Whether `bytes` satisfies the comparison.
    pub(super) fn holds(self, bytes: u64) -> bool {
        match self.bound {
            Bound::Below => bytes < self.bytes,
            Bound::Exactly => bytes == self.bytes,
            Bound::Above => bytes > self.bytes,
        }
    }
}

/// `<90d` (changed less than 90 days ago), `>5h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    newer: bool,
    age: Duration,
}

impl Age {
    /// Parses an age in days, hours or minutes.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("\"{text}\" is not an age like \"<90d\" (newer) or \">5h\" (older; units d, h, m)");
        let (bound, rest) = split_bound(text);
        let newer = match bound {
            Bound::Below => true,
            Bound::Above => false,
            Bound::Exactly => return Err(refuse()),
        };
        let (count, seconds) = match rest.char_indices().next_back() {
            Some((at, 'd')) => (&rest[..at], 86_400),
            Some((at, 'h')) => (&rest[..at], 3_600),
            Some((at, 'm')) => (&rest[..at], 60),
            _ => return Err(refuse()),
        };
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let count: u64 = count.parse().map_err(|_| refuse())?;
        let seconds = count.checked_mul(seconds).ok_or_else(refuse)?;
        Ok(Age { newer, age: Duration::from_secs(seconds) })
    }

    /// Whether a file changed at `mtime` satisfies the comparison at `now`, both in nanoseconds since 1970.
    pub(super) fn holds(self, mtime: i128, now: i128) -> bool {
        let age = now - mtime;
        let bound = self.age.as_nanos().cast_signed();
        if self.newer { age < bound } else { age > bound }
    }
}

fn split_bound(text: &str) -> (Bound, &str) {
    match text.as_bytes().first() {
        Some(b'<') => (Bound::Below, &text[1..]),
        Some(b'>') => (Bound::Above, &text[1..]),
        _ => (Bound::Exactly, text),
    }
}
