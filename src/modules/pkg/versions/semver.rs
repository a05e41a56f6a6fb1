//! The order of semantic versions, of any number of numbers.

use super::numbers;
use std::cmp::Ordering;

/// Compares two versions; none if one is none.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let ((numbers_a, before_a), (numbers_b, before_b)) = (split(a)?, split(b)?);
    for index in 0..numbers_a.len().max(numbers_b.len()) {
        let [one, two] =
            [&numbers_a, &numbers_b].map(|parts| parts.get(index).map_or(&b""[..], |part| part.as_bytes()));
        let order = numbers(one, two);
        if order.is_ne() {
            return Some(order);
        }
    }
    Some(match (before_a, before_b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => identifiers(a, b),
    })
}

/// Numbers, and what is before a release: `v1.2.3-rc.1+build`.
fn split(text: &str) -> Option<(Vec<&str>, Option<&str>)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    // Go's own: go1.22.1, go1.23rc1.
    let text = text.strip_prefix("go").unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(text, _)| text);
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (release, before) = text.split_at(end);
    let parts: Vec<&str> = release.split('.').collect();
    let before = before.strip_prefix('-').unwrap_or(before);
    let are_numbers = parts.iter().all(|part| !part.is_empty());
    are_numbers.then_some((parts, (!before.is_empty()).then_some(before)))
}

fn identifiers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(two)) => match (is_number(one), is_number(two)) {
                (true, true) => numbers(one.as_bytes(), two.as_bytes()),
                (false, false) => one.cmp(two),
                (one, two) => two.cmp(&one),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}
