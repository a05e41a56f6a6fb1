//! Renders conditions for PostgreSQL.
//!
//! Times are always `timestamp with time zone`, written with their offset. Only a cast to `date` depends on the
//! session's time zone: the store's sessions must have TimeZone set to UTC.

use super::expression::{CastTarget, JsonStep, Literal};
use super::render::{Syntax, quoted};
use super::time;
use super::types::Type;

/// The SQL before and after the array of a json_array_elements.
pub(super) const ARRAY_BEFORE: &str =
    "json_array_elements((SELECT CASE json_typeof(s.j) WHEN 'array' THEN s.j END FROM (SELECT CAST(";
pub(super) const ARRAY_AFTER: &str = " AS JSON) AS j) AS s))";

/// The renderer for PostgreSQL.
pub(super) struct PostgreSql {
    /// The value of NOW(), microseconds since the epoch.
    pub(super) now_us: i64,
}

impl Syntax for PostgreSql {
    fn literal(&self, literal: &Literal) -> String {
        match literal {
            Literal::Null => "NULL".to_owned(),
            Literal::Boolean(true) => "TRUE".to_owned(),
            Literal::Boolean(false) => "FALSE".to_owned(),
            Literal::Integer(number) => number_text(*number),
            Literal::Number(digits) => digits.clone(),
            Literal::Text(text) => string(text),
            Literal::Time(microseconds) => time_literal(*microseconds),
            Literal::Interval(interval) => format!("INTERVAL {}", quoted(&interval.to_text())),
        }
    }

    fn now(&self) -> String {
        time_literal(self.now_us)
    }

    fn element(&self, alias: &str) -> String {
        format!("{alias}.value")
    }

    /// A value that is not an array has no elements: plain json_array_elements would fail, so that the result of a
    /// single agent could break every such target. The cast makes it work on json and on jsonb columns.
    fn elements(&self, array: &str, alias: &str) -> String {
        format!("{ARRAY_BEFORE}{array}{ARRAY_AFTER} AS {alias} (value)")
    }

    fn chain(&self, connective: &str, conditions: &[String]) -> String {
        format!("({})", conditions.join(&format!(" {connective} ")))
    }

    fn like(&self, insensitive: bool, text: &str, pattern: &str) -> String {
        format!("({text} {} {pattern})", if insensitive { "ILIKE" } else { "LIKE" })
    }

    fn regex(&self, insensitive: bool, text: &str, pattern: &str) -> String {
        format!("({text} {} {pattern})", if insensitive { "~*" } else { "~" })
    }

    fn json(&self, operand: &str, step: &JsonStep, as_text: bool) -> String {
        match step {
            JsonStep::Key(key) => format!("({operand} {} {})", if as_text { "->>" } else { "->" }, string(key)),
            JsonStep::Index(index) => format!("({operand} {} {index})", if as_text { "->>" } else { "->" }),
            JsonStep::Path(steps) => {
                let steps: Vec<String> = steps.iter().map(|step| format!("\"{step}\"")).collect();
                let path = format!("{{{}}}", steps.join(","));
                format!("({operand} {} {})", if as_text { "#>>" } else { "#>" }, string(&path))
            }
        }
    }

    fn cast(&self, operand: &str, _from: Type, to: CastTarget) -> String {
        let name = match to {
            CastTarget::Boolean => "BOOLEAN",
            CastTarget::Integer => "BIGINT",
            CastTarget::Number => "NUMERIC",
            CastTarget::Text => "TEXT",
            CastTarget::Time => "TIMESTAMP WITH TIME ZONE",
            CastTarget::Interval => "INTERVAL",
            CastTarget::Json => "JSON",
            CastTarget::Date => return format!("CAST(CAST({operand} AS DATE) AS TIMESTAMP WITH TIME ZONE)"),
        };
        format!("CAST({operand} AS {name})")
    }
}

/// Formats a number, negative ones in parentheses: `->` and casts bind tighter than a sign.
fn number_text(number: i64) -> String {
    if number < 0 { format!("(- {})", number.unsigned_abs()) } else { number.to_string() }
}

fn time_literal(microseconds: i64) -> String {
    format!("TIMESTAMP WITH TIME ZONE {}", quoted(&time::to_text(microseconds)))
}

/// Formats a string literal; one with backslashes independently of standard_conforming_strings.
fn string(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E{}", quoted(&text.replace('\\', "\\\\"))),
        false => quoted(text),
    }
}
