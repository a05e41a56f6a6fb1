//! Grouping: which columns are allowed next to aggregates.
//!
//! PostgreSQL refuses a column that is neither grouped by nor inside an aggregate; SQLite would silently take it from
//! an arbitrary row. So it is refused here.

use std::fmt::Display;

use super::super::error::TargetError;
use super::super::expression::{Expression, Join, Query, Relation};

/// Checks a query at this nesting depth.
pub(super) fn check(query: &Query, depth: usize) -> Result<(), TargetError> {
    if query.distinct && query.order_by.iter().any(|order| Some(&order.expression) != query.item.as_ref()) {
        return Err(TargetError::not_allowed(&"ORDER BY", "with DISTINCT it can only sort by the selected column"));
    }
    if query.group_by.is_empty() && !is_one_group(query) {
        return Ok(());
    }
    match results(query).find_map(|result| ungrouped_column(result, query, depth)) {
        Some(name) => {
            let help = "with aggregates or GROUP BY, a column must be grouped by or inside COUNT, MIN or MAX";
            Err(TargetError::not_allowed(&name, help))
        }
        None => Ok(()),
    }
}

/// Whether the query returns one row because it aggregates everything.
pub(super) fn is_one_group(query: &Query) -> bool {
    query.group_by.is_empty() && (query.having.is_some() || results(query).any(has_aggregate))
}

/// Refuses what is not allowed inside an aggregate in both databases: columns of an outer query would make it that
/// query's aggregate.
pub(super) fn check_argument(argument: &Expression, depth: usize, whole: &dyn Display) -> Result<(), TargetError> {
    let is_refused = |expression: &Expression| match expression {
        Expression::Column(column) => column.source.depth != depth,
        Expression::Exists(_) | Expression::Value(_) | Expression::InQuery { .. } => true,
        _ => false,
    };
    match any(argument, &is_refused) {
        true => Err(TargetError::not_allowed(whole, "COUNT, MIN and MAX take columns of their own subquery's tables")),
        false => Ok(()),
    }
}

/// Returns the expressions that are computed per group.
fn results(query: &Query) -> impl Iterator<Item = &Expression> {
    query.item.iter().chain(&query.having).chain(query.order_by.iter().map(|order| &order.expression))
}

/// Whether the expression has an aggregate of this query. Subqueries are not searched: aggregates of outer queries are
/// refused in them.
fn has_aggregate(expression: &Expression) -> bool {
    let is_aggregate = matches!(expression, Expression::Aggregate { .. });
    is_aggregate || operands(expression).into_iter().any(has_aggregate)
}

fn ungrouped_column(expression: &Expression, query: &Query, depth: usize) -> Option<&'static str> {
    if query.group_by.contains(expression) {
        return None;
    }
    match expression {
        Expression::Column(column) if column.source.depth == depth => {
            Some(column.column.map_or("value", |column| column.name))
        }
        Expression::Aggregate { .. } => None,
        _ => children(expression).into_iter().find_map(|child| ungrouped_column(child, query, depth)),
    }
}

fn any(expression: &Expression, is_wanted: &dyn Fn(&Expression) -> bool) -> bool {
    is_wanted(expression) || children(expression).into_iter().any(|child| any(child, is_wanted))
}

/// Returns the expressions directly below, with those of subqueries.
fn children(expression: &Expression) -> Vec<&Expression> {
    let mut children = operands(expression);
    if let Expression::InQuery { query, .. } | Expression::Exists(query) | Expression::Value(query) = expression {
        children.extend(results(query).chain(&query.condition).chain(&query.group_by));
        for source in &query.sources {
            if let Join::Inner(on) | Join::Left(on) = &source.join {
                children.push(on);
            }
            if let Relation::Elements(array) = &source.relation {
                children.push(array);
            }
        }
    }
    children
}

/// Returns the expressions directly below that belong to the same query.
fn operands(expression: &Expression) -> Vec<&Expression> {
    match expression {
        Expression::Literal(_)
        | Expression::Now
        | Expression::Column(_)
        | Expression::Exists(_)
        | Expression::Value(_)
        | Expression::Aggregate { argument: None, .. } => Vec::new(),
        Expression::Not(operand)
        | Expression::Negative(operand)
        | Expression::Regex { text: operand, .. }
        | Expression::InQuery { operand, .. }
        | Expression::Is { operand, .. }
        | Expression::Json { operand, .. }
        | Expression::Cast { operand, .. }
        | Expression::Aggregate { argument: Some(operand), .. } => vec![operand],
        Expression::And(operands) | Expression::Or(operands) => operands.iter().collect(),
        Expression::Compare(_, left, right)
        | Expression::Arithmetic(_, left, right)
        | Expression::Like { text: left, pattern: right, .. } => vec![left, right],
        Expression::Between { operand, low, high, .. } => vec![operand, low, high],
        Expression::InList { operand, items, .. } => std::iter::once(operand.as_ref()).chain(items).collect(),
    }
}
