//! Renders the checked tree as SQL: the common part of both dialects.
//!
//! Every compound expression is in parentheses, every column is qualified, and the aliases are generated, so that the
//! SQL does not depend on a database's precedence and scoping rules.

use super::expression::{
    Aggregate, CastTarget, ColumnReference, Comparison, Expression, Join, JsonStep, Literal, Operation, Query,
    Relation, Source, SourceName, Truth,
};
use super::names::AGENTS;
use super::types::Type;

/// The parts that differ between the dialects. All operands are SQL already.
pub(super) trait Syntax {
    fn literal(&self, literal: &Literal) -> String;
    fn now(&self) -> String;
    /// The value of a json_array_elements that has this alias.
    fn element(&self, alias: &str) -> String;
    /// The FROM item for a json_array_elements of this array.
    fn elements(&self, array: &str, alias: &str) -> String;
    /// Two or more conditions connected with AND or OR.
    fn chain(&self, connective: &str, conditions: &[String]) -> String;
    fn like(&self, insensitive: bool, text: &str, pattern: &str) -> String;
    fn regex(&self, insensitive: bool, text: &str, pattern: &str) -> String;
    fn json(&self, operand: &str, step: &JsonStep, as_text: bool) -> String;
    fn cast(&self, operand: &str, from: Type, to: CastTarget) -> String;
}

/// Writes an expression.
pub(super) fn expression(syntax: &dyn Syntax, whole: &Expression) -> String {
    let sql = |operand: &Expression| expression(syntax, operand);
    let sql_of = |operands: &[Expression]| -> Vec<String> { operands.iter().map(sql).collect() };
    let infix = |left, sign, right| format!("({} {sign} {})", sql(left), sql(right));
    match whole {
        Expression::Literal(literal) => syntax.literal(literal),
        Expression::Now => syntax.now(),
        Expression::Column(column) => column_name(syntax, *column),
        Expression::Not(operand) => format!("(NOT {})", sql(operand)),
        Expression::And(conditions) => syntax.chain("AND", &sql_of(conditions)),
        Expression::Or(conditions) => syntax.chain("OR", &sql_of(conditions)),
        Expression::Compare(comparison, left, right) => infix(left, comparison_sign(*comparison), right),
        Expression::Arithmetic(operation, left, right) => infix(left, operation_sign(*operation), right),
        // The space keeps two signs from becoming a comment.
        Expression::Negative(operand) => format!("(- {})", sql(operand)),
        Expression::Like { negated, insensitive, text, pattern } => {
            negate(*negated, syntax.like(*insensitive, &sql(text), &sql(pattern)))
        }
        Expression::Regex { negated, insensitive, text, pattern } => {
            negate(*negated, syntax.regex(*insensitive, &sql(text), &string(syntax, pattern)))
        }
        Expression::Between { negated, operand, low, high } => {
            negate(*negated, format!("({} BETWEEN {} AND {})", sql(operand), sql(low), sql(high)))
        }
        Expression::InList { negated, operand, items } => {
            negate(*negated, format!("({} IN ({}))", sql(operand), sql_of(items).join(", ")))
        }
        Expression::InQuery { negated, operand, query } => {
            negate(*negated, format!("({} IN ({}))", sql(operand), select(syntax, query)))
        }
        Expression::Exists(query) => format!("(EXISTS ({}))", select(syntax, query)),
        Expression::Value(query) => format!("({})", select(syntax, query)),
        Expression::Is { negated, operand, what } => {
            format!("({} IS {}{})", sql(operand), if *negated { "NOT " } else { "" }, truth_word(*what))
        }
        Expression::Json { operand, step, as_text } => syntax.json(&sql(operand), step, *as_text),
        Expression::Cast { operand, from, to } => syntax.cast(&sql(operand), *from, *to),
        Expression::Aggregate { function, distinct, argument } => {
            aggregate(*function, *distinct, argument.as_deref().map(sql))
        }
    }
}

fn select(syntax: &dyn Syntax, query: &Query) -> String {
    let sql = |operand: &Expression| expression(syntax, operand);
    let mut text = String::from(if query.distinct { "SELECT DISTINCT " } else { "SELECT " });
    text += &query.item.as_ref().map_or_else(|| "1".to_owned(), sql);
    for (place, source) in query.sources.iter().enumerate() {
        text += match (&source.join, place) {
            (Join::Cross, 0) => " FROM ",
            (Join::Cross, _) => " CROSS JOIN ",
            (Join::Inner(_), _) => " JOIN ",
            (Join::Left(_), _) => " LEFT JOIN ",
        };
        text += &relation(syntax, source);
        if let Join::Inner(on) | Join::Left(on) = &source.join {
            text += &format!(" ON {}", sql(on));
        }
    }
    if let Some(condition) = &query.condition {
        text += &format!(" WHERE {}", sql(condition));
    }
    if !query.group_by.is_empty() {
        let columns: Vec<String> = query.group_by.iter().map(sql).collect();
        text += &format!(" GROUP BY {}", columns.join(", "));
    }
    if let Some(having) = &query.having {
        text += &format!(" HAVING {}", sql(having));
    }
    if !query.order_by.is_empty() {
        let order = |expression: &Expression, descending: bool| {
            sql(expression) + if descending { " DESC NULLS FIRST" } else { " ASC NULLS LAST" }
        };
        let columns: Vec<String> = query.order_by.iter().map(|by| order(&by.expression, by.descending)).collect();
        text += &format!(" ORDER BY {}", columns.join(", "));
    }
    if let Some(rows) = query.limit {
        text += &format!(" LIMIT {rows}");
    }
    text
}

fn relation(syntax: &dyn Syntax, source: &Source) -> String {
    let alias = alias(source.name);
    match &source.relation {
        Relation::Table(table) => format!("{} AS {alias}", table.name),
        Relation::Elements(array) => syntax.elements(&expression(syntax, array), &alias),
    }
}

fn column_name(syntax: &dyn Syntax, column: ColumnReference) -> String {
    let alias = alias(column.source);
    match column.column {
        Some(column) => format!("{alias}.{}", column.name),
        None => syntax.element(&alias),
    }
}

/// Returns the alias of a FROM item: `agents` for the outer query's, else `t` with depth and position.
fn alias(source: SourceName) -> String {
    match source.depth {
        0 => AGENTS.name.to_owned(),
        depth => format!("t{depth}_{}", source.place),
    }
}

fn negate(negated: bool, condition: String) -> String {
    if negated { format!("(NOT {condition})") } else { condition }
}

fn string(syntax: &dyn Syntax, text: &str) -> String {
    syntax.literal(&Literal::Text(text.to_owned()))
}

/// Returns a string in single quotes, with quotes doubled. Backslashes are left to the dialect.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn comparison_sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn operation_sign(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "+",
        Operation::Subtract => "-",
        Operation::Multiply => "*",
        Operation::Divide => "/",
    }
}

fn truth_word(truth: Truth) -> &'static str {
    match truth {
        Truth::Null => "NULL",
        Truth::True => "TRUE",
        Truth::False => "FALSE",
    }
}

fn aggregate(function: Aggregate, distinct: bool, argument: Option<String>) -> String {
    let distinct = if distinct { "DISTINCT " } else { "" };
    format!("{}({distinct}{})", aggregate_name(function), argument.as_deref().unwrap_or("*"))
}

fn aggregate_name(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Count => "COUNT",
        Aggregate::Minimum => "MIN",
        Aggregate::Maximum => "MAX",
    }
}
