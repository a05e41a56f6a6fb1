//! The order of Maven's versions: words before a release, the release, words behind it, numbers behind `-`, numbers behind `.`.

use super::{numbers, take};
use std::cmp::Ordering;

/// Words that mean something, in their order; the empty one is the release. Other words are behind all of them.
const WORDS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];

/// A part, in the order of parts; the place of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Word(usize, String),
    /// Its digits, and whether it is behind `.`.
    Number(Vec<u8>, bool),
}

pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    for index in 0..a.len().max(b.len()) {
        let nothing = |other: &Part| match other {
            Part::Word(..) => word(""),
            Part::Number(_, is_dotted) => Part::Number(Vec::new(), *is_dotted),
        };
        let order = match (a.get(index), b.get(index)) {
            (Some(one), Some(two)) => parts_order(one, two),
            (Some(one), None) => parts_order(one, &nothing(one)),
            (None, Some(two)) => parts_order(&nothing(two), two),
            (None, None) => Ordering::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn parts_order(one: &Part, two: &Part) -> Ordering {
    match (one, two) {
        (Part::Number(one, is_dotted), Part::Number(two, other)) => {
            is_dotted.cmp(other).then_with(|| numbers(one, two))
        }
        (Part::Word(place, one), Part::Word(other, two)) => place.cmp(other).then_with(|| one.cmp(two)),
        (Part::Word(..), Part::Number(..)) => Ordering::Less,
        (Part::Number(..), Part::Word(..)) => Ordering::Greater,
    }
}

fn word(text: &str) -> Part {
    let text = match text {
        "final" | "ga" | "release" => "",
        "cr" => "rc",
        "a" => "alpha",
        "b" => "beta",
        "m" => "milestone",
        text => text,
    };
    Part::Word(WORDS.iter().position(|known| *known == text).unwrap_or(WORDS.len()), text.to_owned())
}

/// Splits at `.`, `-`, `_`, and between digits and letters, which is as `-`. Zeros and releases ahead of a word, of `-` or of
/// the end mean nothing.
fn parts(text: &str) -> Vec<Part> {
    let text = text.to_ascii_lowercase();
    let (mut rest, mut parts) = (text.as_bytes(), Vec::new());
    let trim = |parts: &mut Vec<Part>| {
        let is_nothing = |part: &Part| match part {
            Part::Number(digits, _) => digits.iter().all(|digit| *digit == b'0'),
            Part::Word(_, text) => text.is_empty(),
        };
        while parts.last().is_some_and(is_nothing) {
            parts.pop();
        }
    };
    while !rest.is_empty() {
        let between = take(&mut rest, |byte| b".-_".contains(byte));
        let is_dotted = parts.is_empty() || !(between.is_empty() || between.contains(&b'-'));
        let digits = take(&mut rest, u8::is_ascii_digit);
        if !digits.is_empty() {
            if !is_dotted {
                trim(&mut parts);
            }
            parts.push(Part::Number(digits.to_vec(), is_dotted));
            continue;
        }
        let letters = take(&mut rest, |byte| !byte.is_ascii_digit() && !b".-_".contains(byte));
        if !letters.is_empty() {
            trim(&mut parts);
            parts.push(word(&String::from_utf8_lossy(letters)));
        }
    }
    trim(&mut parts);
    parts
}
