//! The operators of targets, and the types that their operands must have in both databases.

use std::fmt::Display;

use sqlparser::ast::{BinaryOperator, Expr, Query as QuerySyntax};

use super::super::convert::{Typed, common_type};
use super::super::error::TargetError;
use super::super::expression::{Comparison, Expression, JsonStep, Literal, Operation, Query};
use super::super::limits::{LIST_ITEMS_MAX, PATH_STEPS_MAX};
use super::super::pattern;
use super::super::types::Type;
use super::{Checker, EXPRESSIONS};

impl Checker {
    /// Checks `a AND b AND c` as one level: chains may be long, nesting may not.
    pub(super) fn connective(
        &mut self,
        operator: &BinaryOperator,
        left: &Expr,
        right: &Expr,
    ) -> Result<Typed, TargetError> {
        let mut reversed = vec![right];
        let mut first = left;
        while let Expr::BinaryOp { left, op, right } = first {
            if op != operator {
                break;
            }
            reversed.push(right);
            first = left;
        }
        reversed.push(first);
        let mut conditions = Vec::new();
        for operand in reversed.into_iter().rev() {
            match (self.boolean(operand)?, operator) {
                (Expression::And(inner), BinaryOperator::And) => conditions.extend(inner),
                (Expression::Or(inner), BinaryOperator::Or) => conditions.extend(inner),
                (other, _) => conditions.push(other),
            }
        }
        let connected = match operator {
            BinaryOperator::And => Expression::And(conditions),
            _ => Expression::Or(conditions),
        };
        Ok(Typed::new(connected, Type::Boolean))
    }

    pub(super) fn binary(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        whole: &Expr,
    ) -> Result<Typed, TargetError> {
        match operator {
            BinaryOperator::Eq => self.compare(Comparison::Equal, left, right, whole),
            BinaryOperator::NotEq => self.compare(Comparison::NotEqual, left, right, whole),
            BinaryOperator::Lt => self.compare(Comparison::Less, left, right, whole),
            BinaryOperator::LtEq => self.compare(Comparison::LessOrEqual, left, right, whole),
            BinaryOperator::Gt => self.compare(Comparison::Greater, left, right, whole),
            BinaryOperator::GtEq => self.compare(Comparison::GreaterOrEqual, left, right, whole),
            BinaryOperator::Plus => self.arithmetic(Operation::Add, left, right, whole),
            BinaryOperator::Minus => self.arithmetic(Operation::Subtract, left, right, whole),
            BinaryOperator::Multiply => self.arithmetic(Operation::Multiply, left, right, whole),
            BinaryOperator::Divide => self.arithmetic(Operation::Divide, left, right, whole),
            BinaryOperator::PGRegexMatch => self.regex(false, false, left, right),
            BinaryOperator::PGRegexIMatch => self.regex(false, true, left, right),
            BinaryOperator::PGRegexNotMatch => self.regex(true, false, left, right),
            BinaryOperator::PGRegexNotIMatch => self.regex(true, true, left, right),
            BinaryOperator::Arrow => self.json_step(false, left, right),
            BinaryOperator::LongArrow => self.json_step(true, left, right),
            BinaryOperator::HashArrow => self.json_path(false, left, right),
            BinaryOperator::HashLongArrow => self.json_path(true, left, right),
            _ => Err(TargetError::not_allowed(
                &format_args!("the operator {operator}"),
                format!("{EXPRESSIONS} allowed"),
            )),
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Expr,
        right: &Expr,
        whole: &dyn Display,
    ) -> Result<Typed, TargetError> {
        let operands = [self.expression(left)?, self.expression(right)?];
        let kind = common_type(&operands, whole)?;
        let [left, right] = operands;
        let (left, right) = (left.into_type(kind, whole)?, right.into_type(kind, whole)?);
        Ok(Typed::new(Expression::Compare(comparison, Box::new(left), Box::new(right)), Type::Boolean))
    }

    /// Checks arithmetic: numbers with numbers, times with intervals. A string next to a time is a time in a difference
    /// and an interval in a sum, as in PostgreSQL.
    fn arithmetic(
        &mut self,
        operation: Operation,
        left: &Expr,
        right: &Expr,
        whole: &dyn Display,
    ) -> Result<Typed, TargetError> {
        use Operation::{Add, Divide, Multiply, Subtract};
        let operands = (self.expression(left)?, self.expression(right)?);
        let (left, right, result) = match (operation, operands.0.kind, operands.1.kind) {
            (_, left, right) if left.is_numeric() && right.is_numeric() => {
                let both_integers = left == Type::Integer && right == Type::Integer;
                (left, right, if both_integers { Type::Integer } else { Type::Number })
            }
            (_, kind @ (Type::Integer | Type::Number), Type::Unknown)
            | (_, Type::Unknown, kind @ (Type::Integer | Type::Number)) => (kind, kind, kind),
            (Add | Subtract, Type::Time, Type::Interval) => (Type::Time, Type::Interval, Type::Time),
            (Add, Type::Interval, Type::Time) => (Type::Interval, Type::Time, Type::Time),
            (Add, Type::Time, Type::Unknown) => (Type::Time, Type::Interval, Type::Time),
            (Add, Type::Unknown, Type::Time) => (Type::Interval, Type::Time, Type::Time),
            (Subtract, Type::Time, Type::Time | Type::Unknown) | (Subtract, Type::Unknown, Type::Time) => {
                (Type::Time, Type::Time, Type::Interval)
            }
            (Add | Subtract, Type::Interval, Type::Interval | Type::Unknown)
            | (Add | Subtract, Type::Unknown, Type::Interval) => (Type::Interval, Type::Interval, Type::Interval),
            (Multiply | Divide, Type::Interval, right) if right.is_numeric() => (Type::Interval, right, Type::Interval),
            (Multiply, left, Type::Interval) if left.is_numeric() => (left, Type::Interval, Type::Interval),
            (_, left, right) => {
                let help = format!("{} and {} can't be combined with + - * /", left.name(), right.name());
                return Err(TargetError::types(whole, help));
            }
        };
        let (left, right) = (operands.0.into_type(left, whole)?, operands.1.into_type(right, whole)?);
        Ok(Typed::new(Expression::Arithmetic(operation, Box::new(left), Box::new(right)), result))
    }

    pub(super) fn like(
        &mut self,
        negated: bool,
        insensitive: bool,
        text: &Expr,
        pattern: &Expr,
    ) -> Result<Typed, TargetError> {
        let text = Box::new(self.of_type(text, Type::Text)?);
        let pattern = Box::new(self.of_type(pattern, Type::Text)?);
        if let Expression::Literal(Literal::Text(pattern)) = pattern.as_ref() {
            pattern::check_like(pattern)?;
        }
        Ok(Typed::new(Expression::Like { negated, insensitive, text, pattern }, Type::Boolean))
    }

    fn regex(&mut self, negated: bool, insensitive: bool, text: &Expr, right: &Expr) -> Result<Typed, TargetError> {
        let text = Box::new(self.of_type(text, Type::Text)?);
        let Expression::Literal(Literal::Text(pattern)) = self.of_type(right, Type::Text)? else {
            return Err(TargetError::types(right, "a regular expression must be written as a string"));
        };
        pattern::check_regex(&pattern)?;
        Ok(Typed::new(Expression::Regex { negated, insensitive, text, pattern }, Type::Boolean))
    }

    pub(super) fn between(
        &mut self,
        negated: bool,
        operands: [&Expr; 3],
        whole: &dyn Display,
    ) -> Result<Typed, TargetError> {
        let [operand, low, high] = operands;
        let operands = [self.expression(operand)?, self.expression(low)?, self.expression(high)?];
        let kind = common_type(&operands, whole)?;
        let [operand, low, high] = operands.map(|operand| operand.into_type(kind, whole).map(Box::new));
        Ok(Typed::new(Expression::Between { negated, operand: operand?, low: low?, high: high? }, Type::Boolean))
    }

    pub(super) fn in_list(
        &mut self,
        negated: bool,
        operand: &Expr,
        list: &[Expr],
        whole: &dyn Display,
    ) -> Result<Typed, TargetError> {
        if list.is_empty() {
            return Err(TargetError::not_allowed(whole, "the IN list must have at least one item"));
        }
        if list.len() > LIST_ITEMS_MAX {
            return Err(TargetError::ListTooLong { items: list.len() });
        }
        let mut operands = vec![self.expression(operand)?];
        for item in list {
            operands.push(self.expression(item)?);
        }
        let kind = common_type(&operands, whole)?;
        let mut items = Vec::with_capacity(operands.len());
        for operand in operands {
            items.push(operand.into_type(kind, whole)?);
        }
        let operand = Box::new(items.remove(0));
        Ok(Typed::new(Expression::InList { negated, operand, items }, Type::Boolean))
    }

    pub(super) fn in_query(
        &mut self,
        negated: bool,
        operand: &Expr,
        query: &QuerySyntax,
        whole: &dyn Display,
    ) -> Result<Typed, TargetError> {
        let operand = self.expression(operand)?;
        let (query, item_kind) = self.query(query)?;
        let Some(item) = query.item.clone() else {
            return Err(TargetError::not_allowed(whole, "the subquery of IN must select one column"));
        };
        let item = Typed::new(item, item_kind);
        let kind = common_type([&operand, &item], whole)?;
        let operand = Box::new(operand.into_type(kind, whole)?);
        let query = Box::new(Query { item: Some(item.into_type(kind, whole)?), ..query });
        Ok(Typed::new(Expression::InQuery { negated, operand, query }, Type::Boolean))
    }

    fn json_step(&mut self, as_text: bool, operand: &Expr, step: &Expr) -> Result<Typed, TargetError> {
        let operand = self.of_type(operand, Type::Json)?;
        let found = match self.expression(step)?.expression {
            Expression::Literal(Literal::Text(key)) => JsonStep::Key(checked_key(key)?),
            Expression::Literal(Literal::Integer(index)) => JsonStep::Index(index),
            Expression::Negative(inner) => match *inner {
                Expression::Literal(Literal::Integer(index)) => JsonStep::Index(-index),
                _ => return Err(not_a_step(step)),
            },
            _ => return Err(not_a_step(step)),
        };
        Ok(json(operand, found, as_text))
    }

    fn json_path(&mut self, as_text: bool, operand: &Expr, path: &Expr) -> Result<Typed, TargetError> {
        let operand = self.of_type(operand, Type::Json)?;
        let Expression::Literal(Literal::Text(text)) = self.expression(path)?.expression else {
            return Err(TargetError::types(path, "write a path into json like '{tags,0,name}'"));
        };
        Ok(json(operand, JsonStep::Path(path_steps(&text)?), as_text))
    }
}

fn json(operand: Expression, step: JsonStep, as_text: bool) -> Typed {
    let kind = if as_text { Type::Text } else { Type::Json };
    Typed::new(Expression::Json { operand: Box::new(operand), step, as_text }, kind)
}

fn not_a_step(step: &Expr) -> TargetError {
    TargetError::types(step, "-> and ->> take a 'name' or a number")
}

/// Refuses characters that SQLite's paths cannot portably express in a key.
fn checked_key(key: String) -> Result<String, TargetError> {
    match key.contains(['"', '\\']) {
        true => Err(TargetError::literal(&key, "a key for targets", "it must not contain \" or \\")),
        false => Ok(key),
    }
}

/// Parses a PostgreSQL text array of one dimension: `{a,"b c",0}`. An empty one means the whole value.
fn path_steps(text: &str) -> Result<Vec<String>, TargetError> {
    let refused = || TargetError::literal(text, "a path into json", "write it like '{tags,0,name}'");
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(refused)?;
    let mut steps = Vec::new();
    let mut rest = inner.trim();
    if rest.is_empty() {
        return Ok(steps);
    }
    loop {
        let (step, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(refused)?,
            None => {
                let (step, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                let step = step.trim();
                if step.is_empty() || step.contains(['{', '}', '"']) || step.eq_ignore_ascii_case("null") {
                    return Err(refused());
                }
                (step, after)
            }
        };
        steps.push(checked_key(step.to_owned())?);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() && steps.len() <= PATH_STEPS_MAX => return Ok(steps),
            None => return Err(refused()),
        }
    }
}
