//! Targets: the SQL condition over agents that an investigator writes and signs, parsed, checked, and written out
//! again for the database that resolves it.
//!
//! # Promises
//! - Nothing of the target's text reaches a database: the text is parsed by sqlparser, every piece of the syntax tree is
//!   matched against an allow-list and put into a tree of our own, and that one is written out, with our own aliases, all
//!   strings quoted anew and all operators in parentheses.
//! - A condition only reads agents, commands and actions, only the columns of formats.md, and calls no function besides
//!   `NOW()`, `COUNT`, `MIN`, `MAX` and `json_array_elements`. What is refused is named in the error, with what is allowed.
//! - Types are checked as PostgreSQL does, so that a mistake is found here and not by one database or the other. Casts that
//!   fail on the text of some row (`(tags->>'floor')::int`) end the query with an error in both.
//! - Any text of any length is answered at once, without panic or much stack; the limits are in `limits`.
//! - `NOW()` is an argument: rendering is a pure function, and both databases see the same now.
//! - `json_array_elements` gives no rows where there is no array, in both.
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

#[cfg(test)]
mod tests;

pub use error::TargetError;

use expression::Expression;

/// The word that alone means every agent.
const ALL: &str = "all";

/// A checked target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// None is every agent.
    condition: Option<Expression>,
}

/// The SQL to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 12 or later, with columns of the types that formats.md implies (`json` or `jsonb`, `timestamptz`).
    PostgreSql,
    /// SQLite 3.38 or later, with times as integer microseconds since the epoch, json as text, and
    /// [`sqlite_functions::FUNCTIONS`] registered.
    Sqlite,
}

impl Target {
    /// Parses and checks a target's text. Refuses it with the offending piece named.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        if text.trim().eq_ignore_ascii_case(ALL) {
            return Ok(Target { condition: None });
        }
        let condition = check::condition(&lexical::parse(text)?)?;
        Ok(Target { condition: Some(condition) })
    }

    /// The condition as SQL, to stand after WHERE in `SELECT ... FROM agents WHERE`. `agents` must not have an
    /// alias there. `now_us` is what NOW() means, microseconds since the epoch.
    pub fn condition(&self, dialect: Dialect, now_us: i64) -> String {
        match (&self.condition, dialect) {
            (None, Dialect::PostgreSql) => "TRUE".to_owned(),
            (None, Dialect::Sqlite) => "1".to_owned(),
            (Some(condition), Dialect::PostgreSql) => render::expression(&postgres::PostgreSql { now_us }, condition),
            (Some(condition), Dialect::Sqlite) => render::expression(&sqlite::Sqlite { now_us }, condition),
        }
    }

    /// Whether it is the word `all`, which means every agent.
    pub fn is_all(&self) -> bool {
        self.condition.is_none()
    }
}
