//! The SQL functions that conditions for SQLite call: SQLite has no regular expressions, its LIKE ignores case, and its
//! casts convert any text to 0.
//!
//! The store registers every entry of [`FUNCTIONS`] with its name and number of arguments, as deterministic:
//!
//! | SQL | returns |
//! |---|---|
//! | `mig_like(text, pattern)`, `mig_ilike(text, pattern)` | 0 or 1, PostgreSQL's LIKE and ILIKE |
//! | `mig_regexp(text, pattern)`, `mig_iregexp(text, pattern)` | 0 or 1, PostgreSQL's `~` and `~*` |
//! | `mig_boolean(text)` | 0 or 1, PostgreSQL's cast |
//! | `mig_integer(text)` | integer |
//! | `mig_number(text)` | real |
//! | `mig_time(text)` | microseconds since the epoch |
//!
//! Every argument is TEXT or NULL. If any is NULL, the result is NULL and the store doesn't call the function. An error
//! ends the query, as it does in PostgreSQL: a wrong cast must not silently select the wrong agents.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;

use super::limits::PATTERNS_KEPT_MAX;
use super::{convert, pattern, time};

/// A function for the store to register.
pub struct Function {
    /// Its name in SQL.
    pub name: &'static str,
    /// Number of arguments, all of them TEXT.
    pub arguments: usize,
    /// The implementation. Takes that many arguments, none of them NULL; the error is a message.
    pub call: fn(&[&str]) -> Result<Answer, String>,
}

/// The return value of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// INTEGER; conditions are 0 and 1.
    Integer(i64),
    /// REAL.
    Real(f64),
}

/// All functions that a condition for SQLite may call.
pub const FUNCTIONS: [Function; 8] = [
    function("mig_like", 2, |arguments| Ok(boolean(like(arguments[0], arguments[1], false)))),
    function("mig_ilike", 2, |arguments| Ok(boolean(like(arguments[0], arguments[1], true)))),
    function("mig_regexp", 2, |arguments| regexp(arguments[0], arguments[1], false).map(boolean)),
    function("mig_iregexp", 2, |arguments| regexp(arguments[0], arguments[1], true).map(boolean)),
    function("mig_boolean", 1, |arguments| {
        convert::parse_boolean(arguments[0]).map(boolean).map_err(|error| error.to_string())
    }),
    function("mig_integer", 1, |arguments| {
        convert::parse_integer(arguments[0]).map(Answer::Integer).map_err(|error| error.to_string())
    }),
    function("mig_number", 1, |arguments| {
        convert::parse_number(arguments[0]).map(Answer::Real).map_err(|error| error.to_string())
    }),
    function("mig_time", 1, |arguments| {
        time::parse(arguments[0]).map(Answer::Integer).map_err(|error| error.to_string())
    }),
];

const fn function(name: &'static str, arguments: usize, call: fn(&[&str]) -> Result<Answer, String>) -> Function {
    Function { name, arguments, call }
}

fn boolean(value: bool) -> Answer {
    Answer::Integer(i64::from(value))
}

/// Whether a text matches a LIKE pattern: `%` matches any run of characters, `_` one, `\` makes the next literal.
pub fn like(text: &str, pattern: &str, insensitive: bool) -> bool {
    let (text, pattern) = match insensitive {
        true => (text.to_lowercase(), pattern.to_lowercase()),
        false => (text.to_owned(), pattern.to_owned()),
    };
    let text: Vec<char> = text.chars().collect();
    let pattern = like_pieces(&pattern);
    let (mut at_text, mut at_pattern) = (0, 0);
    // Where to resume if the pieces after the last `%` don't match: it consumes one character more. Earlier ones need
    // no retry, so this takes at most text times pattern steps.
    let mut retry: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(Piece::Run) => {
                at_pattern += 1;
                retry = Some((at_text, at_pattern));
            }
            Some(piece) if piece.matches(text[at_text]) => {
                at_text += 1;
                at_pattern += 1;
            }
            _ => {
                let Some((start, after)) = retry else { return false };
                retry = Some((start + 1, after));
                (at_text, at_pattern) = (start + 1, after);
            }
        }
    }
    pattern[at_pattern..].iter().all(|piece| matches!(piece, Piece::Run))
}

/// A piece of a LIKE pattern.
enum Piece {
    Run,
    Any,
    One(char),
}

impl Piece {
    fn matches(&self, character: char) -> bool {
        match self {
            Piece::Run => false,
            Piece::Any => true,
            Piece::One(own) => *own == character,
        }
    }
}

fn like_pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' => Piece::Run,
            '_' => Piece::Any,
            '\\' => Piece::One(characters.next().unwrap_or('\\')),
            other => Piece::One(other),
        });
    }
    pieces
}

thread_local! {
    /// Compiled patterns by pattern and case: a query uses the same one for every row.
    static PATTERNS: RefCell<HashMap<(String, bool), Regex>> = RefCell::new(HashMap::new());
}

/// Whether a regular expression matches somewhere in a text. Fails only on a pattern that [`super::Target::parse`]
/// would have refused.
pub fn regexp(text: &str, pattern: &str, insensitive: bool) -> Result<bool, String> {
    PATTERNS.with_borrow_mut(|patterns| {
        let key = (pattern.to_owned(), insensitive);
        if let Some(regex) = patterns.get(&key) {
            return Ok(regex.is_match(text));
        }
        let regex = pattern::compile(pattern, insensitive)
            .map_err(|error| format!("compile the regular expression {pattern}: {error}"))?;
        let found = regex.is_match(text);
        if patterns.len() >= PATTERNS_KEPT_MAX {
            patterns.clear();
        }
        patterns.insert(key, regex);
        Ok(found)
    })
}
