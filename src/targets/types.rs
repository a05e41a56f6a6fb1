//! The types of expressions and columns.

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A string literal or NULL whose type is not inferred yet, like PostgreSQL's `unknown`.
    Unknown,
    Boolean,
    Integer,
    Number,
    Text,
    /// A point in time; PostgreSQL's `timestamp with time zone`.
    Time,
    Interval,
    Json,
}

impl Type {
    /// Returns the type's name for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::Unknown => "a bare value",
            Type::Boolean => "a condition",
            Type::Integer => "an integer",
            Type::Number => "a number",
            Type::Text => "text",
            Type::Time => "a time",
            Type::Interval => "an interval",
            Type::Json => "json",
        }
    }

    /// Whether it is an integer or a number.
    pub(super) fn is_numeric(self) -> bool {
        matches!(self, Type::Integer | Type::Number)
    }
}
