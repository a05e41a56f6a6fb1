//! The order of Alpine's versions: `1.2.3a_rc1_p2~abcdef-r4`.

use super::{numbers, take};
use std::cmp::Ordering;

/// Suffixes in their order, with that of none.
const SUFFIXES: [&[u8]; 10] = [b"alpha", b"beta", b"pre", b"rc", b"", b"cvs", b"svn", b"git", b"hg", b"p"];
/// The place of none: what is before it is before the version without.
const NO_SUFFIX: usize = 4;

/// A part of a version; their order is that in which they may follow, and decides when two versions differ in kind.
#[derive(Debug)]
enum Part<'t> {
    First(&'t [u8]),
    Number(&'t [u8]),
    Letter(u8),
    Suffix(usize, &'t [u8]),
    Hash(&'t [u8]),
    Revision(&'t [u8]),
    End,
}

impl Part<'_> {
    fn rank(&self) -> u8 {
        match self {
            Part::First(_) => 0,
            Part::Number(_) => 1,
            Part::Letter(_) => 2,
            Part::Suffix(..) => 3,
            Part::Hash(_) => 4,
            Part::Revision(_) => 5,
            Part::End => 6,
        }
    }
}

/// Compares two versions; none if one is none.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parts(a.as_bytes())?, parts(b.as_bytes())?);
    for (one, two) in a.iter().zip(&b) {
        let order = match (one, two) {
            (Part::First(one), Part::First(two)) | (Part::Revision(one), Part::Revision(two)) => numbers(one, two),
            // 1.05 is before 1.1, like a fraction.
            (Part::Number(one), Part::Number(two)) if one[0] == b'0' || two[0] == b'0' => one.cmp(two),
            (Part::Number(one), Part::Number(two)) => numbers(one, two),
            (Part::Suffix(one, number), Part::Suffix(two, other)) => one.cmp(two).then_with(|| numbers(number, other)),
            (Part::Suffix(one, _), _) if *one < NO_SUFFIX => Ordering::Less,
            (_, Part::Suffix(two, _)) if *two < NO_SUFFIX => Ordering::Greater,
            (Part::Letter(one), Part::Letter(two)) => one.cmp(two),
            (Part::Hash(one), Part::Hash(two)) => one.cmp(two),
            // The version that goes on is greater.
            (one, two) => two.rank().cmp(&one.rank()),
        };
        if order.is_ne() {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

/// Splits a version into its parts.
fn parts(text: &[u8]) -> Option<Vec<Part<'_>>> {
    let mut rest = text;
    let mut parts = vec![Part::First(some(take(&mut rest, u8::is_ascii_digit))?)];
    while let Some((first, behind)) = rest.split_first() {
        let mut behind = behind;
        let part = match first {
            b'.' => Part::Number(some(take(&mut behind, u8::is_ascii_digit))?),
            b'a'..=b'z' => Part::Letter(*first),
            b'_' => {
                let name = take(&mut behind, u8::is_ascii_lowercase);
                let place = SUFFIXES.iter().position(|suffix| !name.is_empty() && *suffix == name)?;
                Part::Suffix(place, take(&mut behind, u8::is_ascii_digit))
            }
            b'~' => Part::Hash(some(take(&mut behind, u8::is_ascii_hexdigit))?),
            b'-' => {
                behind = behind.strip_prefix(b"r")?;
                Part::Revision(some(take(&mut behind, u8::is_ascii_digit))?)
            }
            _ => return None,
        };
        // A number may follow a number and a suffix a suffix; nothing else may be there twice.
        let last = parts.last().map_or(0, Part::rank);
        if part.rank() < last || (part.rank() == last && !matches!(part, Part::Number(_) | Part::Suffix(..))) {
            return None;
        }
        parts.push(part);
        rest = behind;
    }
    parts.push(Part::End);
    Some(parts)
}

fn some(digits: &[u8]) -> Option<&[u8]> {
    (!digits.is_empty()).then_some(digits)
}
