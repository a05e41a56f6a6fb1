//! The pattern for many lines of raw bytes.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::{Assertion, Expression, LinesPattern, Piece, write_class, write_plain};

/// The raw bytes that U+FFFD may stand for, besides itself.
const NOT_ASCII: &str = r"(?-u:[\x80-\xFF])";

pub(super) fn render(expression: &Expression) -> LinesPattern {
    let pieces = &expression.pieces;
    let before = assertion_before(pieces.iter(), &Piece::Open, &Piece::Close);
    let mut after = assertion_before(pieces.iter().rev(), &Piece::Close, &Piece::Open);
    after.reverse();

    let mut pattern = String::new();
    let mut is_exact = true;
    for ((piece, before), after) in pieces.iter().zip(before).zip(after) {
        let same = match piece {
            Piece::Literal(letter) => write_set(&mut pattern, piece, &[*letter].map(|c| ClassUnicodeRange::new(c, c))),
            Piece::Class(class) => write_set(&mut pattern, piece, class.ranges()),
            Piece::Assertion(assertion) if assertion.is_anchor() => {
                let is_adjacent = if assertion.is_start() { before } else { after };
                pattern.push_str(anchor(*assertion, is_adjacent || expression.repeats_assertion));
                false
            }
            piece => {
                write_plain(&mut pattern, piece);
                *piece != Piece::Assertion(Assertion::NoWordBoundary)
            }
        };
        is_exact &= same;
    }
    LinesPattern { pattern, is_exact }
}

/// Writes a piece for bytes that need not be text.
pub(super) fn write_bytes(pattern: &mut String, piece: &Piece) {
    let replacement = char::REPLACEMENT_CHARACTER;
    let is_replacement = match piece {
        Piece::Literal(letter) => *letter == replacement,
        Piece::Class(class) => class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&replacement)),
        _ => false,
    };
    if !is_replacement {
        return write_plain(pattern, piece);
    }
    pattern.push_str("(?:");
    write_plain(pattern, piece);
    pattern.push('|');
    pattern.push_str(NOT_ASCII);
    pattern.push(')');
}

/// Writes a literal or a class. Returns whether it is exact.
fn write_set(pattern: &mut String, piece: &Piece, ranges: &[ClassUnicodeRange]) -> bool {
    let has = |letter: char| ranges.iter().any(|range| range.start() <= letter && letter <= range.end());
    let (newline, replacement) = (has('\n'), has(char::REPLACEMENT_CHARACTER));
    if replacement {
        pattern.push_str("(?:");
    }
    if newline {
        let mut class = ClassUnicode::new(ranges.iter().copied());
        class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
        write_class(pattern, &class);
    } else {
        write_plain(pattern, piece);
    }
    if replacement {
        pattern.push('|');
        pattern.push_str(NOT_ASCII);
        pattern.push(')');
    }
    !replacement
}

/// Returns an anchor at the end of a line or of a NUL-separated part. It consumes the NUL, which would hide it from
/// another assertion at the same place: then the anchor is omitted.
fn anchor(assertion: Assertion, is_adjacent: bool) -> &'static str {
    match (is_adjacent, assertion.is_start()) {
        (true, _) => "(?:)",
        (false, true) => r"(?:(?m:^)|\x00)",
        (false, false) => r"(?:(?m:$)|\x00)",
    }
}

/// Returns for each piece whether an assertion precedes it, on any path through the expression. In reverse order, a
/// group is entered where it closes.
///
/// Repetitions can be ignored, except those that require an assertion twice: whatever precedes an anchor has matched
/// nothing, so earlier iterations can be dropped.
fn assertion_before<'p>(pieces: impl Iterator<Item = &'p Piece>, enter: &Piece, leave: &Piece) -> Vec<bool> {
    let mut before = Vec::new();
    let mut seen = false;
    // For each open group: `seen` at its entry, and in its alternatives so far.
    let mut groups = Vec::new();
    let mut group = (false, false);
    for piece in pieces {
        before.push(seen);
        if piece == enter {
            groups.push(std::mem::replace(&mut group, (seen, false)));
        } else if piece == leave {
            seen |= group.1;
            group = groups.pop().unwrap_or_default();
        } else if *piece == Piece::Or {
            group.1 |= seen;
            seen = group.0;
        } else if matches!(piece, Piece::Assertion(_)) {
            seen = true;
        }
    }
    before
}
