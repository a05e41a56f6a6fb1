//! The order of Python's versions (PEP 440).

use super::numbers;
use regex::{Captures, Regex};
use std::cmp::Ordering;
use std::sync::LazyLock;

/// The expression of PEP 440's appendix B, by its grammar. It is a constant that compiles: a test tries it.
static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)^v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)",
        r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>[0-9]*))?",
        r"(?:-(?P<post_short>[0-9]+)|(?P<post>[-_.]?(?:post|rev|r)[-_.]?)(?P<post_n>[0-9]*))?",
        r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>[0-9]*))?",
        r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?$",
    ))
    .ok()
});

/// Compares two versions; none if one is none.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let (a, b) = (VERSION.as_ref()?.captures(&a)?, VERSION.as_ref()?.captures(&b)?);
    let by_number = |name: &str| numbers(text(&a, name), text(&b, name));
    Some(
        by_number("epoch")
            .then_with(|| releases(text(&a, "release"), text(&b, "release")))
            .then_with(|| before(&a).cmp(&before(&b)))
            .then_with(|| by_number("pre_n"))
            .then_with(|| is_post(&a).cmp(&is_post(&b)))
            .then_with(|| numbers(post(&a), post(&b)))
            .then_with(|| a.name("dev").is_none().cmp(&b.name("dev").is_none()))
            .then_with(|| by_number("dev_n"))
            .then_with(|| local(&a, &b)),
    )
}

fn text<'c>(captures: &'c Captures, name: &str) -> &'c [u8] {
    captures.name(name).map_or(b"", |found| found.as_str().as_bytes())
}

fn releases(a: &[u8], b: &[u8]) -> Ordering {
    let [a, b] = [a, b].map(|release| release.split(|byte| *byte == b'.').collect::<Vec<_>>());
    (0..a.len().max(b.len()))
        .map(|index| numbers(a.get(index).copied().unwrap_or_default(), b.get(index).copied().unwrap_or_default()))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The place before a release: one in development only, alpha, beta, candidate, the release.
fn before(version: &Captures) -> u8 {
    match text(version, "pre") {
        b"" if version.name("dev").is_some() && !is_post(version) => 0,
        b"" => 4,
        b"a" | b"alpha" => 1,
        b"b" | b"beta" => 2,
        _ => 3,
    }
}

fn is_post(version: &Captures) -> bool {
    version.name("post").is_some() || version.name("post_short").is_some()
}

fn post<'c>(version: &'c Captures) -> &'c [u8] {
    match text(version, "post_short") {
        b"" => text(version, "post_n"),
        number => number,
    }
}

/// Local parts: numbers are behind words, and more parts behind fewer.
fn local(a: &Captures, b: &Captures) -> Ordering {
    let [mut a, mut b] = [a, b].map(|version| {
        let parts = text(version, "local").split(|byte| b"-_.".contains(byte)).filter(|part| !part.is_empty());
        parts.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
    });
    loop {
        let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (Some(one), Some(two)) => match (is_number(&one), is_number(&two)) {
                (true, true) => numbers(&one, &two),
                (false, false) => one.cmp(&two),
                (one, two) => one.cmp(&two),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}
