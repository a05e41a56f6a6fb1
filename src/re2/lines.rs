//! The pattern for many lines of raw bytes.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::{Assertion, Expression, LinesPattern, Piece, write_class, write_plain};

/// What U+FFFD may be in raw bytes, besides itself.
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
                let met = if assertion.is_start() { before } else { after };
                pattern.push_str(anchor(*assertion, met || expression.repeats_assertion));
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

/// Writes a literal or a class. Says whether it matches nothing new.
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

/// An anchor at the end of a line or of a NUL-separated piece. The NUL is consumed, which would hide it from another
/// assertion at the same place: then the anchor is left out.
fn anchor(assertion: Assertion, met: bool) -> &'static str {
    match (met, assertion.is_start()) {
        (true, _) => "(?:)",
        (false, true) => r"(?:(?m:^)|\x00)",
        (false, false) => r"(?:(?m:$)|\x00)",
    }
}

/// For each piece whether an assertion stands before it, on any way through the expression. Backward, a group is
/// entered where it closes.
///
/// Repetitions need no regard, save those that ask for an assertion twice: what stands before an anchor matched
/// nothing, so earlier rounds can be left out.
fn assertion_before<'p>(pieces: impl Iterator<Item = &'p Piece>, enter: &Piece, leave: &Piece) -> Vec<bool> {
    let mut before = Vec::new();
    let mut seen = false;
    // For each open group: seen where it was entered, and seen in its alternatives so far.
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
