//! Variables of a document: `${key}` in its texts.

use super::document::{CHAIN_ROOT, TEXT_BYTES_MAX};
use memchr::memmem;

/// What a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A name.
    Plain,
    /// It may have [`CHAIN_ROOT`].
    Path,
    /// A regular expression.
    Expression,
}

/// Replaces variables. What a value brings in is replaced by the variables behind it only, so that this ends.
pub(super) fn expand(variables: &[(String, String)], text: &str, kind: Text) -> Result<String, String> {
    let mut expanded = text.to_owned();
    for (key, value) in variables {
        expanded = expanded.replace(&format!("${{{key}}}"), value);
        // Values in values would double it again and again.
        if expanded.len() > TEXT_BYTES_MAX {
            return Err(format!("is longer than {TEXT_BYTES_MAX} bytes with the values of its variables"));
        }
    }
    match reference(&expanded, kind) {
        Some(left) => Err(format!("no variable replaces {left}: a value may have variables behind it only")),
        None => Ok(expanded),
    }
}

/// The first `${word}` of a text. In an expression it is none where its `$` is a letter.
pub(super) fn reference(text: &str, kind: Text) -> Option<&str> {
    let ends = (kind == Text::Expression).then(|| ends_of_lines(text));
    text.match_indices("${").find_map(|(at, _)| {
        let word =
            text[at + 2..].split(['$', '{']).next().and_then(|rest| rest.split_once('}')).map(|(word, _)| word)?;
        let found = &text[at..at + word.len() + 3];
        // ${2} is how often.
        let is_how_often = word.starts_with(|letter: char| letter.is_ascii_digit());
        let is_of_expression = ends.as_ref().is_some_and(|ends| is_how_often || ends.binary_search(&at).is_err());
        let is_none = word.is_empty() || (kind == Text::Path && found == CHAIN_ROOT) || is_of_expression;
        (!is_none).then_some(found)
    })
}

/// The places of each `$` in an expression that is no letter: not behind a `\`, between `\Q` and `\E`, or in a class.
fn ends_of_lines(expression: &str) -> Vec<usize> {
    let (mut ends, mut at, mut is_in_class) = (Vec::new(), 0, false);
    while let Some(rest) = expression.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
        at += match (is_in_class, rest) {
            (false, [b'\\', b'Q', quoted @ ..]) => memmem::find(quoted, b"\\E").map_or(rest.len(), |end| end + 4),
            (_, [b'\\', ..]) => 2,
            // [:alpha:]
            (true, [b'[', b':', name @ ..]) => memmem::find(name, b":]").map_or(1, |end| end + 4),
            (false, [b'[', class @ ..]) => {
                is_in_class = true;
                // A ] at its beginning does not end it.
                let class = class.strip_prefix(b"^").unwrap_or(class);
                rest.len() - class.strip_prefix(b"]").unwrap_or(class).len()
            }
            (true, [b']', ..]) => {
                is_in_class = false;
                1
            }
            (false, [b'$', ..]) => {
                ends.push(at);
                1
            }
            _ => 1,
        };
    }
    ends
}
