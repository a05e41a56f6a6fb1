//! Error messages for refused targets, written for the investigator.

use std::fmt::{self, Display, Write};

use thiserror::Error;

use super::limits::{
    DEPTH_MAX, EXCERPT_CHARACTERS_MAX, LIST_ITEMS_MAX, NODES_MAX, SOURCES_MAX, TEXT_BYTES_MAX, TOKENS_MAX,
};

/// Why a target is refused. Every message names the offending piece and says what is allowed instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Only white space.
    #[error("the target is empty: write a condition on agents such as status='online', or `all` for every agent")]
    Empty,
    /// Longer than `TEXT_BYTES_MAX`.
    #[error("the target has {bytes} bytes: at most {TEXT_BYTES_MAX} are allowed")]
    TooLong {
        /// The text's length, bytes.
        bytes: usize,
    },
    /// A control character other than tab and line end.
    #[error(
        "the target has the control character {character:?} at byte {position}: it is not allowed, not even quoted"
    )]
    ControlCharacter {
        /// The character.
        character: char,
        /// Its offset, bytes.
        position: usize,
    },
    /// Not SQL.
    #[error("the target is not a condition in PostgreSQL syntax: {message}")]
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// Nested deeper than `DEPTH_MAX`.
    #[error("the target nests parentheses, operators or subqueries more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// More than `TOKENS_MAX` tokens or `NODES_MAX` parts.
    #[error("the target has too many parts: at most {TOKENS_MAX} words and {NODES_MAX} columns, values and operators")]
    TooManyParts,
    /// More than `LIST_ITEMS_MAX` items.
    #[error("the IN list has {items} items: at most {LIST_ITEMS_MAX} are allowed")]
    ListTooLong {
        /// Number of items.
        items: usize,
    },
    /// More than `SOURCES_MAX` tables.
    #[error("the subquery reads {sources} tables: at most {SOURCES_MAX} are allowed")]
    TooManySources {
        /// Number of tables.
        sources: usize,
    },
    /// SQL that targets do not support.
    #[error("{piece} is not allowed in a target: {help}")]
    NotAllowed {
        /// The piece, quoted.
        piece: String,
        /// What is allowed.
        help: String,
    },
    /// A column that doesn't exist or may not be named.
    #[error("there is no column {name} here: {help}")]
    UnknownColumn {
        /// The name, quoted.
        name: String,
        /// The columns that exist.
        help: String,
    },
    /// A table that doesn't exist or may not be named.
    #[error("there is no table {name} for targets: agents, commands and actions may be used")]
    UnknownTable {
        /// The name, quoted.
        name: String,
    },
    /// Operands whose types don't match.
    #[error("{piece}: {help}")]
    Type {
        /// The piece, quoted.
        piece: String,
        /// What doesn't match, and what would.
        help: String,
    },
    /// The target is a value, not a condition.
    #[error("{piece} is {found}, not a condition: compare it with something, as in status='online'")]
    NotACondition {
        /// The piece, quoted.
        piece: String,
        /// The type that it has instead.
        found: &'static str,
    },
    /// A literal that can't be parsed as the type it is used for.
    #[error("{literal} is not {wanted}: {help}")]
    Literal {
        /// The literal, quoted.
        literal: String,
        /// The type it should have.
        wanted: &'static str,
        /// How to write it.
        help: String,
    },
}

impl TargetError {
    /// An error for a refused piece; `help` says what is allowed.
    pub(super) fn not_allowed(piece: &dyn Display, help: impl Into<String>) -> TargetError {
        TargetError::NotAllowed { piece: excerpt(piece), help: help.into() }
    }

    /// An error for a piece whose types don't match.
    pub(super) fn types(piece: &dyn Display, help: impl Into<String>) -> TargetError {
        TargetError::Type { piece: excerpt(piece), help: help.into() }
    }

    /// An error for a literal that can't be parsed.
    pub(super) fn literal(text: &str, wanted: &'static str, help: impl Into<String>) -> TargetError {
        TargetError::Literal { literal: excerpt(&format_args!("'{text}'")), wanted, help: help.into() }
    }
}

/// Quotes a piece of the target in backquotes, truncated for messages.
pub(super) fn excerpt(piece: &dyn Display) -> String {
    let mut short = Short { text: String::from("`"), room: EXCERPT_CHARACTERS_MAX };
    // The only possible error is that of `Short`: the text was truncated.
    if write!(short, "{piece}").is_err() {
        short.text.push('…');
    }
    // A comment token ends with a newline.
    short.text.truncate(short.text.trim_end_matches('\n').len());
    short.text.push('`');
    short.text
}

/// Keeps the first characters and fails on the rest, so that a large piece is not rendered as a whole.
struct Short {
    text: String,
    room: usize,
}

impl Write for Short {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for character in piece.chars() {
            if self.room == 0 {
                return Err(fmt::Error);
            }
            self.room -= 1;
            self.text.push(character);
        }
        Ok(())
    }
}
