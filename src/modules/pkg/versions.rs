//! Comparing versions as the tools that install them do.

mod apk;
mod maven;
mod pep440;
mod semver;

use std::cmp::Ordering;

/// Bytes of a version that is compared: longer ones are none.
pub(in crate::modules) const VERSION_BYTES_MAX: usize = 256;

/// Whose rules versions follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) enum Scheme {
    /// deb-version(7).
    Dpkg,
    /// rpm-version(7), with `~` and `^`.
    Rpm,
    /// apk-package(5).
    Apk,
    /// vercmp(8).
    Pacman,
    /// PEP 440.
    Pep440,
    /// Semantic versions, also of Go: `v1.2.3`.
    Semver,
    /// Maven's order of versions.
    Maven,
}

impl Scheme {
    /// Compares two versions; none if one of them is no version of the scheme.
    pub(in crate::modules) fn compare(self, a: &str, b: &str) -> Option<Ordering> {
        if [a, b].iter().any(|text| text.is_empty() || text.len() > VERSION_BYTES_MAX || !text.is_ascii()) {
            return None;
        }
        match self {
            Scheme::Dpkg => Some(dpkg(a, b)),
            Scheme::Rpm => Some(evr(a, b, rpm_part)),
            Scheme::Pacman => Some(evr(a, b, pacman_part)),
            Scheme::Apk => apk::compare(a, b),
            Scheme::Pep440 => pep440::compare(a, b),
            Scheme::Semver => semver::compare(a, b),
            Scheme::Maven => Some(maven::compare(a, b)),
        }
    }
}

/// Compares numbers of any length; no digits are 0.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let [a, b] = [a, b].map(|digits| &digits[digits.iter().take_while(|digit| **digit == b'0').count()..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Takes what fulfils a condition from the beginning of a text.
fn take<'t>(text: &mut &'t [u8], condition: fn(&u8) -> bool) -> &'t [u8] {
    let (taken, rest) = text.split_at(text.iter().take_while(|byte| condition(byte)).count());
    *text = rest;
    taken
}

/// Splits the epoch off: `1:2.0` is `2.0` of epoch 1; none is 0.
fn split_epoch(text: &str) -> (&[u8], &str) {
    match text.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch.as_bytes(), rest),
        _ => (b"0", text),
    }
}

fn dpkg(a: &str, b: &str) -> Ordering {
    let ((epoch_a, a), (epoch_b, b)) = (split_epoch(a), split_epoch(b));
    let [(upstream_a, revision_a), (upstream_b, revision_b)] =
        [a, b].map(|version| version.rsplit_once('-').unwrap_or((version, "")));
    numbers(epoch_a, epoch_b)
        .then_with(|| dpkg_part(upstream_a, upstream_b))
        .then_with(|| dpkg_part(revision_a, revision_b))
}

/// Not digits and digits take turns; `~` is before the end, the end before letters, letters before all else.
fn dpkg_part(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !(a.is_empty() && b.is_empty()) {
        let [words_a, words_b] = [&mut a, &mut b].map(|text| take(text, |byte| !byte.is_ascii_digit()));
        for index in 0..words_a.len().max(words_b.len()) {
            match weight(words_a.get(index)).cmp(&weight(words_b.get(index))) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let [digits_a, digits_b] = [&mut a, &mut b].map(|text| take(text, u8::is_ascii_digit));
        match numbers(digits_a, digits_b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// Epoch, version and release; releases are compared if both have one.
fn evr(a: &str, b: &str, part: fn(&[u8], &[u8]) -> Ordering) -> Ordering {
    let ((epoch_a, a), (epoch_b, b)) = (split_epoch(a), split_epoch(b));
    let [(version_a, release_a), (version_b, release_b)] =
        [a, b].map(|text| text.rsplit_once('-').map_or((text, None), |(version, release)| (version, Some(release))));
    let releases = || match (release_a, release_b) {
        (Some(a), Some(b)) => part(a.as_bytes(), b.as_bytes()),
        _ => Ordering::Equal,
    };
    numbers(epoch_a, epoch_b).then_with(|| part(version_a.as_bytes(), version_b.as_bytes())).then_with(releases)
}

/// Takes the next digits or letters of both, of the kind that the first begins with.
fn segments<'t>(a: &mut &'t [u8], b: &mut &'t [u8]) -> (bool, &'t [u8], &'t [u8]) {
    let is_number = a.first().is_some_and(u8::is_ascii_digit);
    let kind = if is_number { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
    (is_number, take(a, kind), take(b, kind))
}

fn rpm_part(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    if a == b {
        return Ordering::Equal;
    }
    while !(a.is_empty() && b.is_empty()) {
        for text in [&mut a, &mut b] {
            take(text, |byte| !byte.is_ascii_alphanumeric() && !b"~^".contains(byte));
        }
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), _) => return Ordering::Less,
            (_, Some(b'^')) => return Ordering::Greater,
            (None, _) | (_, None) => break,
            _ => {}
        }
        let (is_number, one, two) = segments(&mut a, &mut b);
        if two.is_empty() {
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        match if is_number { numbers(one, two) } else { one.cmp(two) } {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    (!a.is_empty()).cmp(&!b.is_empty())
}

fn pacman_part(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    if a == b {
        return Ordering::Equal;
    }
    while !(a.is_empty() || b.is_empty()) {
        let [gap_a, gap_b] = [&mut a, &mut b].map(|text| take(text, |byte| !byte.is_ascii_alphanumeric()).len());
        if a.is_empty() || b.is_empty() {
            break;
        }
        if gap_a != gap_b {
            return gap_a.cmp(&gap_b);
        }
        let (is_number, one, two) = segments(&mut a, &mut b);
        if two.is_empty() {
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        match if is_number { numbers(one, two) } else { one.cmp(two) } {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    // What is left: letters are before the end ("1.0rc" is before "1.0"), anything else behind it.
    let begins_with_letter = |text: &[u8]| text.first().is_some_and(u8::is_ascii_alphabetic);
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) if !begins_with_letter(b) => Ordering::Less,
        _ if begins_with_letter(a) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// A condition on a version: `<1.2.3-4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::modules) struct Condition {
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// Longer ones first.
const OPERATORS: [(&str, Operator); 7] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("!=", Operator::NotEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

impl Condition {
    /// Reads an operator and a version; none if it begins with no operator.
    pub(in crate::modules) fn parse(text: &str) -> Option<Result<Condition, String>> {
        let text = text.trim();
        let (operator, value) =
            OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim())))?;
        if value.is_empty() || value.len() > VERSION_BYTES_MAX || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = format!("\"{text}\" has no version of 1 to {VERSION_BYTES_MAX} visible ASCII characters");
            return Some(Err(reason));
        }
        Some(Ok(Condition { operator, value: value.to_owned() }))
    }

    /// Reads conditions that are all to be met: `>=1.0, <1.2.3-4`.
    pub(in crate::modules) fn parse_all(text: &str) -> Result<Vec<Condition>, String> {
        let one = |part: &str| {
            Condition::parse(part).unwrap_or_else(|| {
                Err(format!(
                    "\"{part}\" does not begin with <, <=, =, !=, >= or >; a regular expression goes into vermatch"
                ))
            })
        };
        text.split(',').map(one).collect()
    }

    /// Whether a version meets it; none if they cannot be compared.
    pub(in crate::modules) fn is_met_by(&self, version: &str, scheme: Scheme) -> Option<bool> {
        let order = scheme.compare(version, &self.value)?;
        Some(match self.operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Greater => order.is_gt(),
        })
    }
}

#[cfg(test)]
mod tests;
