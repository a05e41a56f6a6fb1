//! Targets: the SQL condition over agents that an investigator writes and signs, parsed, checked, and rendered for the
//! database that evaluates it.
//!
//! # Guarantees
//! - The target's text never reaches a database: sqlparser parses it, every node of the syntax tree is matched against
//!   an allow-list and copied into a separate tree, and that one is rendered, with generated aliases, all strings
//!   quoted again and all operators in parentheses.
//! - A condition only reads agents, commands and actions, only the columns in `names`, and calls no function besides
//!   `NOW()`, `COUNT`, `MIN`, `MAX` and `json_array_elements`. The error names what is refused, and what is allowed.
//! - Types are checked as PostgreSQL does, so that a mistake is found here and not by one database or the other. Casts
//!   that fail on the text of some row (`(tags->>'floor')::int`) end the query with an error in both.
//! - Text of any length is parsed or refused quickly, without panic or deep recursion; the limits are in `limits`.
//! - `NOW()` is an argument: rendering is a pure function, and both databases use the same time.
//! - `json_array_elements` returns no rows for a value that is not an array, in both.
//!
//! # Where the databases differ
//! - Months and years in intervals are calendar ones in PostgreSQL, 30 and 365 days in SQLite.
//! - `<` and `>` on text follow the database's collation in PostgreSQL, code points in SQLite.
//! - A division by zero is an error in PostgreSQL, NULL in SQLite.
//!
//! # Stages
//! `lexical` (tokens, sqlparser) → `check` (allow-list, types, names by `scope`, literals by `convert`, `time`,
//! `interval`, `pattern`) → `expression` (the checked tree) → `render` with `postgres` or `sqlite`.
//! The store registers [`sqlite_functions`] with SQLite.

mod check;
mod convert;
mod error;
mod expression;
mod interval;
mod lexical;
mod limits;
mod names;
mod pattern;
mod postgres;
mod render;
mod scope;
mod sqlite;
pub mod sqlite_functions;
mod time;
mod types;

#[cfg(test)]
mod tests;

pub use error::TargetError;

use expression::Expression;

/// The target that selects every agent.
const ALL: &str = "all";

/// A checked target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// `None` selects every agent.
    condition: Option<Expression>,
}

/// The SQL dialect to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 12 or later, with the column types of `names` (`json` or `jsonb`, `timestamptz`).
    PostgreSql,
    /// SQLite 3.38 or later, with times as integer microseconds since the epoch, json as text, and
    /// [`sqlite_functions::FUNCTIONS`] registered.
    Sqlite,
}

impl Target {
    /// Parses and checks a target's text. The error names the offending piece.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        if text.trim().eq_ignore_ascii_case(ALL) {
            return Ok(Target { condition: None });
        }
        let condition = check::condition(&lexical::parse(text)?)?;
        Ok(Target { condition: Some(condition) })
    }

    /// Returns the condition as SQL, for use after WHERE in `SELECT ... FROM agents WHERE`, where `agents` must not
    /// have an alias. `now_us` is the value of NOW(), microseconds since the epoch.
    pub fn condition(&self, dialect: Dialect, now_us: i64) -> String {
        match (&self.condition, dialect) {
            (None, Dialect::PostgreSql) => "TRUE".to_owned(),
            (None, Dialect::Sqlite) => "1".to_owned(),
            (Some(condition), Dialect::PostgreSql) => render::expression(&postgres::PostgreSql { now_us }, condition),
            (Some(condition), Dialect::Sqlite) => render::expression(&sqlite::Sqlite { now_us }, condition),
        }
    }

    /// Whether it is the word `all`, which selects every agent.
    pub fn is_all(&self) -> bool {
        self.condition.is_none()
    }
}
