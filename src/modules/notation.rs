//! How results are written: Go's file mode strings, times and durations, as the original has them; lines for people.

use super::ModuleResult;
use serde_json::Value;
use std::time::Duration;

/// Formats a file mode like Go's `os.FileMode.String()`: `-rw-r--r--`, `ugtrwxr-xr-x`, `Dcrw-rw-rw-`.
///
/// `st_mode` is as in stat(2).
pub(crate) fn mode(st_mode: u32) -> String {
    const S_IFMT: u32 = 0o170_000;
    let kind = st_mode & S_IFMT;
    // The order of the letters is Go's: "dalTLDpSugct".
    let letters = [
        ('d', kind == 0o040_000),
        ('L', kind == 0o120_000),
        ('D', kind == 0o060_000 || kind == 0o020_000),
        ('p', kind == 0o010_000),
        ('S', kind == 0o140_000),
        ('u', st_mode & 0o4000 != 0),
        ('g', st_mode & 0o2000 != 0),
        ('c', kind == 0o020_000),
        ('t', st_mode & 0o1000 != 0),
    ];
    let mut text: String = letters.iter().filter(|(_, set)| *set).map(|(letter, _)| *letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    for (position, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if st_mode & (0o400 >> position) != 0 { letter } else { '-' });
    }
    text
}

/// The capabilities by number, capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Formats the attribute `security.capability` as getcap(8) did, with `+`: `cap_net_admin,cap_net_raw+ep`. Capabilities with
/// other sets follow after a space; those of a user namespace end in ` [rootid=1000]`. `None`: it is in no known form.
pub(crate) fn capabilities(attribute: &[u8]) -> Option<String> {
    let mut words = attribute.chunks(4).map(|word| word.try_into().map(u32::from_le_bytes).ok());
    let words: Vec<u32> = words.by_ref().collect::<Option<_>>()?;
    // Revisions 1 to 3 of vfs_cap_data: permitted and inheritable, 32 bits each; the same for the upper bits; the root user.
    let (&header, words) = words.split_first()?;
    let (low, high, root) = match (header >> 24, words) {
        (1, &[permitted, inheritable]) => ((permitted, inheritable), (0, 0), None),
        (2, &[permitted, inheritable, high, high_inheritable]) => {
            ((permitted, inheritable), (high, high_inheritable), None)
        }
        (3, &[permitted, inheritable, high, high_inheritable, root]) => {
            ((permitted, inheritable), (high, high_inheritable), Some(root))
        }
        _ => return None,
    };
    let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let (permitted, inheritable) = (wide(low.0, high.0), wide(low.1, high.1));
    let effective = if header & 1 == 1 { "e" } else { "" };
    let sets = [("ip", permitted & inheritable), ("p", permitted & !inheritable), ("i", inheritable & !permitted)];
    let text = |bits: u64| {
        let name = |number: usize| match CAPABILITIES.get(number) {
            Some(name) => format!("cap_{name}"),
            None => number.to_string(),
        };
        (0..64).filter(|number| bits >> number & 1 == 1).map(name).collect::<Vec<_>>().join(",")
    };
    let groups = sets.iter().filter(|(_, bits)| *bits != 0);
    let mut parts: Vec<String> = groups.map(|(set, bits)| format!("{}+{effective}{set}", text(*bits))).collect();
    parts.extend(root.map(|root| format!("[rootid={root}]")));
    Some(parts.join(" "))
}

/// Formats a time like Go's `Time.UTC().String()`: `2026-11-22 08:07:42.973345879 +0000 UTC`.
///
/// The fraction has no trailing zeros and is omitted if it is zero. Times of a file system that are outside the
/// calendar are written as seconds since 1970: `@99999999999999`.
pub(crate) fn time(seconds: i64, nanoseconds: u32) -> String {
    let Ok(stamp) = i32::try_from(nanoseconds).map_err(drop).and_then(|nanoseconds| {
        // Built from two parts, because `new` wants seconds and fraction of one sign, stat(2) a fraction from 0 up.
        let whole = jiff::Timestamp::from_second(seconds).map_err(drop)?;
        whole.checked_add(jiff::SignedDuration::new(0, nanoseconds)).map_err(drop)
    }) else {
        return format!("@{seconds}");
    };
    let date = stamp.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    );
    push_fraction(&mut text, u64::from(nanoseconds), 9);
    text.push_str(" +0000 UTC");
    text
}

/// Formats a duration like Go's `Duration.String()`: `69.95748ms`, `1.5s`, `2m3.5s`, `850µs`, `0s`.
pub(crate) fn duration(duration: Duration) -> String {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let (unit, digits) = match nanoseconds {
            0..1_000 => ("ns", 0),
            1_000..1_000_000 => ("µs", 3),
            _ => ("ms", 6),
        };
        let scale = 10_u64.pow(digits);
        let mut text = (nanoseconds / scale).to_string();
        push_fraction(&mut text, nanoseconds % scale, digits as usize);
        text.push_str(unit);
        return text;
    }
    let seconds = nanoseconds / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&(seconds % 60).to_string());
    push_fraction(&mut text, nanoseconds % 1_000_000_000, 9);
    text.push('s');
    text
}

/// Appends `.` and `fraction` as `digits` digits, without trailing zeros; nothing if it is zero.
fn push_fraction(text: &mut String, fraction: u64, digits: usize) {
    if fraction > 0 {
        let padded = format!("{fraction:0digits$}");
        text.push('.');
        text.push_str(padded.trim_end_matches('0'));
    }
}

/// Escapes control characters: results come from other machines.
pub(crate) fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
    text
}

/// The lines for people of a result whose elements are lists by label: a line for each element, one for each label without any,
/// the errors, and what `statistics` says if there are any.
pub(super) fn lines(
    result: &ModuleResult,
    line: impl Fn(&Value) -> String,
    statistics: impl Fn(&Value) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (label, elements) in result.elements.as_object().into_iter().flatten() {
        let elements = elements.as_array().map_or(&[][..], Vec::as_slice);
        lines.extend(elements.iter().map(|element| format!("{} in search '{label}'", line(element))));
        if elements.is_empty() {
            lines.push(format!("0 match found in search '{label}'"));
        }
    }
    lines.iter().map(|line| printable(line)).chain(ending(result, statistics)).collect()
}

/// A text of a length that leaves room for others.
pub(super) fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// A line for each error, which may have control characters.
pub(super) fn errors(result: &ModuleResult) -> impl Iterator<Item = String> {
    result.errors.iter().flatten().map(|error| format!("error: {error}"))
}

/// The last lines of a result: errors and statistics.
pub(super) fn ending(result: &ModuleResult, statistics: impl Fn(&Value) -> String) -> Vec<String> {
    let mut lines: Vec<String> = errors(result).collect();
    if result.statistics.is_object() {
        let time = result.statistics["exectime"].as_str().unwrap_or("0s");
        let hits = result.statistics["totalhits"].as_f64().unwrap_or(0.0);
        lines.push(format!("Statistics: {}, {hits} matched, ran in {time}.", statistics(&result.statistics)));
    }
    lines.iter().map(|line| printable(line)).collect()
}
