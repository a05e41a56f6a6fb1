//! The allow-list: converts sqlparser's syntax tree into the checked one, and refuses everything else.
//!
//! Every match here lists what is accepted and ends in a refusal, so that syntax which later versions of sqlparser
//! support is refused by default. Operators are in `check/operators.rs`, subqueries in `check/query.rs` and
//! `check/source.rs`, grouping in `check/group.rs`.

use std::fmt::Display;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, Interval as IntervalSyntax, TypedString, UnaryOperator, Value,
};

use super::convert::{self, Typed};
use super::error::{TargetError, excerpt};
use super::expression::{ColumnReference, Expression, Literal, Truth};
use super::interval::Interval;
use super::lexical;
use super::limits::{DEPTH_MAX, NODES_MAX};
use super::scope::Scopes;
use super::types::Type;

mod group;
mod operators;
mod query;
mod source;

const EXPRESSIONS: &str = "columns, values, comparisons, AND, OR, NOT, IN, LIKE, ILIKE, ~, BETWEEN, IS NULL, IS TRUE, -> ->> #> #>>, \
                           casts, NOW(), INTERVAL, + - * /, EXISTS and subqueries are";
const FUNCTIONS: &str = "the functions are NOW(), and in subqueries COUNT, MIN, MAX and json_array_elements";

/// Checks a whole target: a condition on agents.
pub(super) fn condition(expression: &Expr) -> Result<Expression, TargetError> {
    let mut checker = Checker { scopes: Scopes::new(), place: Place::Condition, spread: None, depth: 0, nodes: 0 };
    let typed = checker.expression(expression)?;
    match typed.kind {
        Type::Boolean => Ok(typed.expression),
        other => Err(TargetError::NotACondition { piece: excerpt(expression), found: other.name() }),
    }
}

/// The position of an expression in a query, which decides whether aggregates are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The target itself, WHERE, ON, GROUP BY.
    Condition,
    /// A subquery's select list, HAVING, ORDER BY: aggregates are allowed.
    Result,
    /// The argument of an aggregate.
    Argument,
}

/// The state of the check while it walks the tree.
struct Checker {
    scopes: Scopes,
    place: Place,
    /// The column that replaces the next json_array_elements of a select list (see `query::spread_item`).
    spread: Option<ColumnReference>,
    depth: usize,
    nodes: usize,
}

impl Checker {
    /// Checks an expression and counts it.
    fn expression(&mut self, expression: &Expr) -> Result<Typed, TargetError> {
        self.count()?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(TargetError::TooDeep);
        }
        let typed = self.expression_inside(expression)?;
        self.depth -= 1;
        Ok(typed)
    }

    fn count(&mut self) -> Result<(), TargetError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX { Err(TargetError::TooManyParts) } else { Ok(()) }
    }

    fn expression_inside(&mut self, whole: &Expr) -> Result<Typed, TargetError> {
        match whole {
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(name) => self.column(std::slice::from_ref(name), whole),
            Expr::CompoundIdentifier(names) => self.column(names, whole),
            Expr::Value(value) => literal(&value.value),
            Expr::Interval(interval) => interval_literal(interval),
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }) => {
                convert::cast(literal(&value.value)?, convert::cast_target(data_type)?, whole)
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None, .. } => {
                self.cast(expr, data_type, whole)
            }
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, whole),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                self.connective(op, left, right)
            }
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, whole),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(*negated, false, expr, pattern)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(*negated, true, expr, pattern)
            }
            Expr::Between { expr, negated, low, high } => self.between(*negated, [expr, low, high], whole),
            Expr::InList { expr, list, negated } => self.in_list(*negated, expr, list, whole),
            Expr::InSubquery { expr, subquery, negated } => self.in_query(*negated, expr, subquery, whole),
            Expr::Exists { subquery, negated } => self.exists(*negated, subquery),
            Expr::Subquery(subquery) => self.value_query(subquery, whole),
            Expr::IsNull(operand) => self.is(operand, Truth::Null, false),
            Expr::IsNotNull(operand) => self.is(operand, Truth::Null, true),
            Expr::IsTrue(operand) => self.is(operand, Truth::True, false),
            Expr::IsNotTrue(operand) => self.is(operand, Truth::True, true),
            Expr::IsFalse(operand) => self.is(operand, Truth::False, false),
            Expr::IsNotFalse(operand) => self.is(operand, Truth::False, true),
            Expr::Function(function) => self.function(function),
            _ => Err(TargetError::not_allowed(whole, format!("{EXPRESSIONS} allowed"))),
        }
    }

    fn column(&self, names: &[Ident], whole: &dyn Display) -> Result<Typed, TargetError> {
        let (column, kind) = match names {
            [name] => self.scopes.column(&lexical::name(name)?)?,
            [table, name] => self.scopes.qualified_column(&lexical::name(table)?, &lexical::name(name)?)?,
            _ => {
                return Err(TargetError::not_allowed(whole, "a column is written as column or table.column"));
            }
        };
        Ok(Typed::new(Expression::Column(column), kind))
    }

    /// Checks an expression that must be a condition.
    fn boolean(&mut self, expression: &Expr) -> Result<Expression, TargetError> {
        self.of_type(expression, Type::Boolean)
    }

    /// Checks an expression that must have the type `wanted`.
    fn of_type(&mut self, expression: &Expr, wanted: Type) -> Result<Expression, TargetError> {
        self.expression(expression)?.into_type(wanted, expression)
    }

    fn cast(&mut self, operand: &Expr, data_type: &DataType, whole: &dyn Display) -> Result<Typed, TargetError> {
        let to = convert::cast_target(data_type)?;
        convert::cast(self.expression(operand)?, to, whole)
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &Expr, whole: &Expr) -> Result<Typed, TargetError> {
        match operator {
            UnaryOperator::Not => {
                let condition = self.boolean(operand)?;
                Ok(Typed::new(Expression::Not(Box::new(condition)), Type::Boolean))
            }
            UnaryOperator::Minus | UnaryOperator::Plus => {
                let typed = self.expression(operand)?;
                if !typed.kind.is_numeric() && typed.kind != Type::Interval {
                    return Err(TargetError::types(whole, format!("a sign can't precede {}", typed.kind.name())));
                }
                match operator {
                    UnaryOperator::Plus => Ok(typed),
                    _ => Ok(Typed::new(Expression::Negative(Box::new(typed.expression)), typed.kind)),
                }
            }
            _ => Err(TargetError::not_allowed(whole, "the prefix operators are NOT, + and -")),
        }
    }

    fn is(&mut self, operand: &Expr, what: Truth, negated: bool) -> Result<Typed, TargetError> {
        let operand = match what {
            Truth::Null => self.expression(operand)?.expression,
            Truth::True | Truth::False => self.boolean(operand)?,
        };
        Ok(Typed::new(Expression::Is { negated, operand: Box::new(operand), what }, Type::Boolean))
    }

    fn function(&mut self, function: &Function) -> Result<Typed, TargetError> {
        let name = function_name(function)?;
        match (name.as_str(), arguments(function)?) {
            ("now", []) | ("current_timestamp", []) => Ok(Typed::new(Expression::Now, Type::Time)),
            ("count" | "min" | "max", [argument]) => self.aggregate(&name, function, argument),
            ("json_array_elements", _) => {
                if let Some(element) = self.spread.take() {
                    return Ok(Typed::new(Expression::Column(element), Type::Json));
                }
                let help =
                    "in a subquery it is allowed in FROM, or once at the start of the select list without GROUP BY";
                Err(TargetError::not_allowed(function, help))
            }
            ("now" | "current_timestamp" | "count" | "min" | "max", _) => {
                Err(TargetError::not_allowed(function, "it has the wrong number of arguments"))
            }
            _ => Err(TargetError::not_allowed(&format_args!("the function {}", function.name), FUNCTIONS)),
        }
    }
}

/// Returns the name of a plain function call in lower case; refuses all other call syntax.
fn function_name(function: &Function) -> Result<String, TargetError> {
    let [part] = function.name.0.as_slice() else {
        return Err(TargetError::not_allowed(&format_args!("the function {}", function.name), FUNCTIONS));
    };
    let Some(identifier) = part.as_ident() else {
        return Err(TargetError::not_allowed(function, FUNCTIONS));
    };
    let is_plain = !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None)
        && function.within_group.is_empty()
        && function.filter.is_none()
        && function.null_treatment.is_none()
        && function.over.is_none();
    if !is_plain {
        return Err(TargetError::not_allowed(function, "window functions, FILTER and WITHIN GROUP are not allowed"));
    }
    lexical::name(identifier)
}

/// Returns the arguments of a call; the caller handles DISTINCT.
fn arguments(function: &Function) -> Result<&[FunctionArg], TargetError> {
    match &function.args {
        FunctionArguments::None => Ok(&[]),
        FunctionArguments::List(list) if list.clauses.is_empty() => Ok(&list.args),
        _ => Err(TargetError::not_allowed(function, "only plain arguments are allowed")),
    }
}

/// Returns the argument of a call that has exactly one plain argument.
fn only_argument(arguments: &[FunctionArg]) -> Option<&Expr> {
    match arguments {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some(argument),
        _ => None,
    }
}

fn literal(value: &Value) -> Result<Typed, TargetError> {
    let (literal, kind) = match value {
        Value::Null => (Literal::Null, Type::Unknown),
        Value::Boolean(value) => (Literal::Boolean(*value), Type::Boolean),
        Value::SingleQuotedString(text) => (Literal::Text(text.clone()), Type::Unknown),
        Value::Number(text, false) => match convert::number(text) {
            Some(literal @ Literal::Integer(_)) => (literal, Type::Integer),
            Some(literal) => (literal, Type::Number),
            None => {
                return Err(TargetError::not_allowed(value, "write numbers like 12, 1.5 or 1e3, within 64 bits"));
            }
        },
        _ => {
            return Err(TargetError::not_allowed(value, "values are 'text', numbers, TRUE, FALSE and NULL"));
        }
    };
    Ok(Typed::new(Expression::Literal(literal), kind))
}

/// Parses `INTERVAL '5 minutes'` or `INTERVAL '5' MINUTE`.
fn interval_literal(interval: &IntervalSyntax) -> Result<Typed, TargetError> {
    let refused = || TargetError::not_allowed(interval, "write INTERVAL '5 minutes' or INTERVAL '5' MINUTE");
    let is_plain = interval.leading_precision.is_none()
        && interval.last_field.is_none()
        && interval.fractional_seconds_precision.is_none();
    let Expr::Value(value) = interval.value.as_ref() else {
        return Err(refused());
    };
    let (Value::SingleQuotedString(text), true) = (&value.value, is_plain) else {
        return Err(refused());
    };
    let unit = match &interval.leading_field {
        None => "",
        Some(DateTimeField::Second) => "second",
        Some(DateTimeField::Minute) => "minute",
        Some(DateTimeField::Hour) => "hour",
        Some(DateTimeField::Day) => "day",
        Some(DateTimeField::Month) => "month",
        Some(DateTimeField::Year) => "year",
        Some(_) => return Err(refused()),
    };
    if !unit.is_empty() && text.contains(|character: char| character.is_alphabetic() || character == ':') {
        return Err(refused());
    }
    let interval = Interval::parse(&format!("{text} {unit}"))?;
    Ok(Typed::new(Expression::Literal(Literal::Interval(interval)), Type::Interval))
}
