//! The checked form of a target: only what is in this tree is sent to a database.
//!
//! The tree holds no text of the input except the contents of string literals, patterns and JSON keys, which the
//! renderers quote again. Tables and columns are references into [`super::names`]; aliases are replaced by positions.
//! Every operand has a type that both databases accept in its place.

use super::interval::Interval;
use super::names::{Column, Table};
use super::types::Type;

/// A checked expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Literal),
    Now,
    Column(ColumnReference),
    Not(Box<Expression>),
    /// Two or more conditions.
    And(Vec<Expression>),
    /// Two or more conditions.
    Or(Vec<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    Arithmetic(Operation, Box<Expression>, Box<Expression>),
    Negative(Box<Expression>),
    Like {
        negated: bool,
        insensitive: bool,
        text: Box<Expression>,
        pattern: Box<Expression>,
    },
    Regex {
        negated: bool,
        insensitive: bool,
        text: Box<Expression>,
        pattern: String,
    },
    Between {
        negated: bool,
        operand: Box<Expression>,
        low: Box<Expression>,
        high: Box<Expression>,
    },
    InList {
        negated: bool,
        operand: Box<Expression>,
        items: Vec<Expression>,
    },
    InQuery {
        negated: bool,
        operand: Box<Expression>,
        query: Box<Query>,
    },
    Exists(Box<Query>),
    /// A query of one row.
    Value(Box<Query>),
    Is {
        negated: bool,
        operand: Box<Expression>,
        what: Truth,
    },
    /// `-> ->> #> #>>`
    Json {
        operand: Box<Expression>,
        step: JsonStep,
        as_text: bool,
    },
    Cast {
        operand: Box<Expression>,
        from: Type,
        to: CastTarget,
    },
    Aggregate {
        function: Aggregate,
        distinct: bool,
        /// `None` is the star of `COUNT(*)`.
        argument: Option<Box<Expression>>,
    },
}

/// A value written in the target.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Digits with a decimal point or an exponent, which SQLite and PostgreSQL parse in the same way.
    Number(String),
    Text(String),
    /// Microseconds since the epoch.
    Time(i64),
    Interval(Interval),
}

/// One of `= <> < <= > >=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One of `+ - * /`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The operand of IS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Null,
    True,
    False,
}

/// The step of a JSON operator.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum JsonStep {
    /// Into an object.
    Key(String),
    /// Into an array; negative counts from its end.
    Index(i64),
    /// Several steps, each into an object, or into an array if it is an integer.
    Path(Vec<String>),
}

/// The target type of a cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CastTarget {
    Boolean,
    Integer,
    Number,
    Text,
    Time,
    /// A time at the start of its day in UTC.
    Date,
    Interval,
    Json,
}

/// The aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Count,
    Minimum,
    Maximum,
}

/// A column of a table in scope, or the value of a json_array_elements (`column` is `None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnReference {
    pub(super) source: SourceName,
    pub(super) column: Option<&'static Column>,
}

/// Identifies a FROM item: the nesting depth of the query (0 is the outer query over agents) and the position in its
/// FROM. Unique among everything in scope, so that renderers derive aliases from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceName {
    pub(super) depth: usize,
    pub(super) place: usize,
}

/// A checked subquery.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) distinct: bool,
    /// The one column; `None` is `*`, which only EXISTS has.
    pub(super) item: Option<Expression>,
    pub(super) sources: Vec<Source>,
    pub(super) condition: Option<Expression>,
    pub(super) group_by: Vec<Expression>,
    pub(super) having: Option<Expression>,
    pub(super) order_by: Vec<Order>,
    pub(super) limit: Option<u32>,
}

/// One FROM item; the join of the first one is `Cross`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub(super) name: SourceName,
    pub(super) join: Join,
    pub(super) relation: Relation,
}

/// How a FROM item is joined to all those before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Join {
    Cross,
    Inner(Expression),
    Left(Expression),
}

/// The relation that a FROM item reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Relation {
    Table(&'static Table),
    /// json_array_elements of a JSON expression.
    Elements(Expression),
}

/// One ORDER BY item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) expression: Expression,
    pub(super) descending: bool,
}
