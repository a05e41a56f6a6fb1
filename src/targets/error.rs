//! Why a target is refused, in words that help the investigator who wrote it.

use std::fmt::{self, Display, Write};

use thiserror::Error;

use super::limits::{
    DEPTH_MAX, EXCERPT_CHARACTERS_MAX, LIST_ITEMS_MAX, NODES_MAX, SOURCES_MAX, TEXT_BYTES_MAX, TOKENS_MAX,
};

/// Why a target is refused. Every message names the offending piece and says what is allowed instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing but white space.
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
        /// Where it is, bytes from the start.
        position: usize,
    },
    /// Not SQL.
    #[error("the target is not a condition in PostgreSQL syntax: {message}")]
    Syntax {
        /// The parser's words.
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
        /// How many it has.
        items: usize,
    },
    /// More than `SOURCES_MAX` tables.
    #[error("the subquery reads {sources} tables: at most {SOURCES_MAX} are allowed")]
    TooManySources {
        /// How many it has.
        sources: usize,
    },
    /// A piece of SQL that targets don't have.
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
        /// Which columns there are.
        help: String,
    },
    /// A table that doesn't exist or may not be named.
    #[error("there is no table {name} for targets: agents, commands and actions may be used")]
    UnknownTable {
        /// The name, quoted.
        name: String,
    },
    /// Operands whose types don't fit.
    #[error("{piece}: {help}")]
    Type {
        /// The piece, quoted.
        piece: String,
        /// What doesn't fit, and what would.
        help: String,
    },
    /// The whole is a value, not a condition.
    #[error("{piece} is {found}, not a condition: compare it with something, as in status='online'")]
    NotACondition {
        /// The piece, quoted.
        piece: String,
        /// What it is instead.
        found: &'static str,
    },
    /// A literal that can't be read as what it is used for.
    #[error("{literal} is not {wanted}: {help}")]
    Literal {
        /// The literal, quoted.
        literal: String,
        /// The type it should have.
        wanted: &'static str,
        /// How that is written.
        help: String,
    },
}

impl TargetError {
    /// A refused piece and what is allowed instead.
    pub(super) fn not_allowed(piece: &dyn Display, help: impl Into<String>) -> TargetError {
        TargetError::NotAllowed { piece: excerpt(piece), help: help.into() }
    }

    /// A piece whose types don't fit.
    pub(super) fn types(piece: &dyn Display, help: impl Into<String>) -> TargetError {
        TargetError::Type { piece: excerpt(piece), help: help.into() }
    }

    /// A literal that can't be read.
    pub(super) fn literal(text: &str, wanted: &'static str, help: impl Into<String>) -> TargetError {
        TargetError::Literal { literal: excerpt(&format_args!("'{text}'")), wanted, help: help.into() }
    }
}

/// A piece of the target between backquotes, shortened for messages.
pub(super) fn excerpt(piece: &dyn Display) -> String {
    let mut short = Short { text: String::from("`"), room: EXCERPT_CHARACTERS_MAX };
    // The only error is our own: no room left, the end is cut off.
    if write!(short, "{piece}").is_err() {
        short.text.push('…');
    }
    // A comment ends with its line.
    short.text.truncate(short.text.trim_end_matches('\n').len());
    short.text.push('`');
    short.text
}

/// Keeps the first characters and refuses the rest, so that a large piece is not rendered as a whole.
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
