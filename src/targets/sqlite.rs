//! Renders conditions for SQLite, whose store keeps times as integer microseconds since the epoch and json as text.
//!
//! Requires SQLite 3.38 (`->`), and the functions of [`super::sqlite_functions`].

use super::expression::{CastTarget, JsonStep, Literal};
use super::interval::DAY;
use super::render::{Syntax, quoted};
use super::types::Type;

/// 800,000 days: shifts every valid time past the epoch, so that division rounds down.
const DAYS_SHIFTED_MICROSECONDS: i64 = 800_000 * DAY;

/// The renderer for SQLite.
pub(super) struct Sqlite {
    /// The value of NOW(), microseconds since the epoch.
    pub(super) now_us: i64,
}

impl Syntax for Sqlite {
    fn literal(&self, literal: &Literal) -> String {
        match literal {
            Literal::Null => "NULL".to_owned(),
            Literal::Boolean(value) => i64::from(*value).to_string(),
            Literal::Integer(number) | Literal::Time(number) => number_text(*number),
            Literal::Number(digits) => digits.clone(),
            Literal::Text(text) => quoted(text),
            Literal::Interval(interval) => number_text(interval.as_microseconds()),
        }
    }

    fn now(&self) -> String {
        number_text(self.now_us)
    }

    /// json_each converts strings and numbers into SQL values; `fullkey` retrieves the original json.
    fn element(&self, alias: &str) -> String {
        format!("({alias}.json -> {alias}.fullkey)")
    }

    /// A value that is not an array has no elements.
    fn elements(&self, array: &str, alias: &str) -> String {
        format!("json_each((SELECT CASE json_type(j) WHEN 'array' THEN j END FROM (SELECT {array} AS j))) AS {alias}")
    }

    /// Renders a balanced tree: SQLite counts every link of a chain as a level of expression depth, 1000 by default.
    fn chain(&self, connective: &str, conditions: &[String]) -> String {
        match conditions {
            [] => String::new(),
            [one] => one.clone(),
            _ => {
                let (left, right) = conditions.split_at(conditions.len() / 2);
                format!("({} {connective} {})", self.chain(connective, left), self.chain(connective, right))
            }
        }
    }

    fn like(&self, insensitive: bool, text: &str, pattern: &str) -> String {
        format!("{}({text}, {pattern})", if insensitive { "mig_ilike" } else { "mig_like" })
    }

    fn regex(&self, insensitive: bool, text: &str, pattern: &str) -> String {
        format!("{}({text}, {pattern})", if insensitive { "mig_iregexp" } else { "mig_regexp" })
    }

    fn json(&self, operand: &str, step: &JsonStep, as_text: bool) -> String {
        let found = match step {
            JsonStep::Key(key) => format!("({operand} -> {})", key_path(key)),
            JsonStep::Index(index) => format!("({operand} -> {})", index_path(*index)),
            JsonStep::Path(steps) => steps.iter().fold(operand.to_owned(), |value, step| path_step(&value, step)),
        };
        if as_text { text_of(&found) } else { found }
    }

    fn cast(&self, operand: &str, from: Type, to: CastTarget) -> String {
        match (to, from) {
            (CastTarget::Boolean, _) => format!("mig_boolean({operand})"),
            (CastTarget::Integer, Type::Text) => format!("mig_integer({operand})"),
            (CastTarget::Integer, _) => format!("CAST(ROUND({operand}) AS INTEGER)"),
            (CastTarget::Number, Type::Text) => format!("mig_number({operand})"),
            (CastTarget::Number, _) => format!("CAST({operand} AS REAL)"),
            (CastTarget::Time, _) => format!("mig_time({operand})"),
            (CastTarget::Date, _) => {
                let shift = DAYS_SHIFTED_MICROSECONDS;
                format!("((CAST({operand} AS INTEGER) + {shift}) / {DAY} * {DAY} - {shift})")
            }
            (CastTarget::Text, Type::Boolean) => format!("CASE {operand} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
            (CastTarget::Text, _) => format!("CAST({operand} AS TEXT)"),
            // Json is stored as text, intervals as numbers.
            (CastTarget::Json | CastTarget::Interval, _) => operand.to_owned(),
        }
    }
}

/// Formats a number, negative ones in parentheses: two signs in a row would begin a comment.
fn number_text(number: i64) -> String {
    if number < 0 { format!("({number})") } else { number.to_string() }
}

/// Returns the path of an object's member; checked keys contain no quote or backslash.
fn key_path(key: &str) -> String {
    quoted(&format!("$.\"{key}\""))
}

/// Returns the path of an array's item; -1 is the last one, as in PostgreSQL.
fn index_path(index: i64) -> String {
    match index {
        0.. => format!("'$[{index}]'"),
        _ => format!("'$[#{index}]'"),
    }
}

/// Renders one step of `#>`: a number is an index of an array or a key of an object.
fn path_step(value: &str, step: &str) -> String {
    match step.parse::<i64>() {
        Ok(index) => format!(
            "(SELECT CASE json_type(j) WHEN 'array' THEN j -> {} ELSE j -> {} END FROM (SELECT {value} AS j))",
            index_path(index),
            key_path(step)
        ),
        Err(_) => format!("({value} -> {})", key_path(step)),
    }
}

/// Converts json to text like PostgreSQL's `->>`: strings without quotes, `true` and not 1, null as NULL.
fn text_of(json: &str) -> String {
    format!(
        "(SELECT CASE json_type(j) WHEN 'text' THEN j ->> '$' WHEN 'null' THEN NULL ELSE j END FROM (SELECT {json} AS j))"
    )
}
