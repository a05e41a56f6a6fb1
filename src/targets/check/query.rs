//! Subqueries over agents, commands and actions.

use std::fmt::Display;

use sqlparser::ast::{
    Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    LimitClause, OrderBy, OrderByKind, OrderBySort, Query as QuerySyntax, Select, SelectFlavor, SelectItem, SetExpr,
    Value, WildcardAdditionalOptions,
};

use super::super::convert::Typed;
use super::super::error::TargetError;
use super::super::expression::{Aggregate, ColumnReference, Expression, Join, Order, Query, Relation, Source};
use super::super::limits::SOURCES_MAX;
use super::super::scope::{Content, NamedSource};
use super::super::types::Type;
use super::{Checker, Place, arguments, function_name, group, only_argument};

const SELECT: &str = "a subquery is SELECT [DISTINCT] ... FROM ... [JOIN ... ON ...] [WHERE ...] [GROUP BY ...] [HAVING ...] \
                      [ORDER BY ...] [LIMIT n]";

impl Checker {
    /// Checks a subquery; also returns the type of its column.
    pub(super) fn query(&mut self, query: &QuerySyntax) -> Result<(Query, Type), TargetError> {
        self.count()?;
        check_query_extras(query)?;
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(TargetError::not_allowed(&query.body, SELECT));
        };
        check_select_extras(select)?;
        self.scopes.enter();
        let outer_place = std::mem::replace(&mut self.place, Place::Condition);
        let checked = self.select(select, query)?;
        self.place = outer_place;
        group::check(&checked.0, self.scopes.depth())?;
        self.scopes.leave();
        Ok(checked)
    }

    pub(super) fn exists(&mut self, negated: bool, query: &QuerySyntax) -> Result<Typed, TargetError> {
        let exists = Expression::Exists(Box::new(self.query(query)?.0));
        let expression = if negated { Expression::Not(Box::new(exists)) } else { exists };
        Ok(Typed::new(expression, Type::Boolean))
    }

    /// Checks a subquery used as a value. If it has several rows, PostgreSQL fails and SQLite takes any, so it must be
    /// evident that there is at most one.
    pub(super) fn value_query(&mut self, query: &QuerySyntax, whole: &dyn Display) -> Result<Typed, TargetError> {
        let (query, kind) = self.query(query)?;
        let has_one_row = query.limit.is_some_and(|rows| rows <= 1) || group::is_one_group(&query);
        if query.item.is_none() || !has_one_row {
            let help = "a subquery used as a value must return one row: COUNT, MIN or MAX without GROUP BY, or LIMIT 1; or use IN";
            return Err(TargetError::not_allowed(whole, help));
        }
        Ok(Typed::new(Expression::Value(Box::new(query)), kind))
    }

    fn select(&mut self, select: &Select, query: &QuerySyntax) -> Result<(Query, Type), TargetError> {
        let mut sources = self.sources(select)?;
        self.place = Place::Result;
        let (item, kind) = self.select_item(select, &mut sources)?;
        self.place = Place::Condition;
        let condition = select.selection.as_ref().map(|condition| self.boolean(condition)).transpose()?;
        let group_by = self.group_by(&select.group_by)?;
        self.place = Place::Result;
        let having = select.having.as_ref().map(|having| self.boolean(having)).transpose()?;
        let order_by = query.order_by.as_ref().map_or(Ok(Vec::new()), |order| self.order_by(order))?;
        let limit = query.limit_clause.as_ref().map_or(Ok(None), limit)?;
        let distinct = matches!(select.distinct, Some(Distinct::Distinct));
        Ok((Query { distinct, item, sources, condition, group_by, having, order_by, limit }, kind))
    }

    /// Checks the select list: returns its one column, or `None` for the star of EXISTS.
    fn select_item(
        &mut self,
        select: &Select,
        sources: &mut Vec<Source>,
    ) -> Result<(Option<Expression>, Type), TargetError> {
        let expression = match select.projection.as_slice() {
            [SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }] => expression,
            [SelectItem::Wildcard(options)] if is_plain_wildcard(options) => return Ok((None, Type::Unknown)),
            _ => {
                return Err(TargetError::not_allowed(select, "a subquery selects one column, or * inside EXISTS"));
            }
        };
        let typed = match spread(expression) {
            Some(call) => self.spread_item(call, expression, select, sources)?,
            None => self.expression(expression)?,
        };
        Ok((Some(typed.expression), typed.kind))
    }

    /// Rewrites `SELECT json_array_elements(x)->>'y' FROM t` as `SELECT e->>'y' FROM t, json_array_elements(x) AS e`:
    /// SQLite has no set-returning functions in the select list.
    fn spread_item(
        &mut self,
        call: &Function,
        item: &Expr,
        select: &Select,
        sources: &mut Vec<Source>,
    ) -> Result<Typed, TargetError> {
        let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        let argument = arguments(call).ok().and_then(only_argument);
        let (Some(argument), false, None) = (argument, is_grouped, &select.having) else {
            return Err(TargetError::not_allowed(call, "it takes one argument, and excludes GROUP BY and HAVING"));
        };
        if sources.len() == SOURCES_MAX {
            return Err(TargetError::TooManySources { sources: SOURCES_MAX + 1 });
        }
        self.place = Place::Condition;
        let argument = self.of_type(argument, Type::Json)?;
        self.place = Place::Result;
        // The target cannot name it: empty names are refused.
        let named = NamedSource { alias: String::new(), content: Content::Elements { column: String::new() } };
        let name = self.scopes.add(named)?;
        sources.push(Source { name, join: Join::Cross, relation: Relation::Elements(argument) });
        self.spread = Some(ColumnReference { source: name, column: None });
        self.expression(item)
    }

    pub(super) fn aggregate(
        &mut self,
        name: &str,
        function: &Function,
        argument: &FunctionArg,
    ) -> Result<Typed, TargetError> {
        if self.place != Place::Result || self.scopes.depth() == 0 {
            let help = "it is allowed in the select list, HAVING and ORDER BY of a subquery, not inside another";
            return Err(TargetError::not_allowed(function, help));
        }
        let distinct = match &function.args {
            FunctionArguments::List(list) => list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            _ => false,
        };
        let (function_kind, argument) = match (name, argument) {
            ("count", FunctionArg::Unnamed(FunctionArgExpr::Wildcard)) if !distinct => (Aggregate::Count, None),
            ("count", FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) => (Aggregate::Count, Some(argument)),
            ("min", FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) => (Aggregate::Minimum, Some(argument)),
            ("max", FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) => (Aggregate::Maximum, Some(argument)),
            _ => return Err(TargetError::not_allowed(function, "it takes one column, COUNT also *")),
        };
        let Some(argument) = argument else {
            let count = Expression::Aggregate { function: function_kind, distinct, argument: None };
            return Ok(Typed::new(count, Type::Integer));
        };
        self.place = Place::Argument;
        let typed = self.expression(argument)?;
        self.place = Place::Result;
        let is_comparable = !matches!(typed.kind, Type::Json | Type::Boolean);
        if (function_kind != Aggregate::Count || distinct) && !is_comparable {
            return Err(TargetError::types(function, format!("{} has no order", typed.kind.name())));
        }
        let kind = match (function_kind, typed.kind) {
            (Aggregate::Count, _) => Type::Integer,
            (_, Type::Unknown) => Type::Text,
            (_, kind) => kind,
        };
        group::check_argument(&typed.expression, self.scopes.depth(), function)?;
        let argument = Some(Box::new(typed.expression));
        Ok(Typed::new(Expression::Aggregate { function: function_kind, distinct, argument }, kind))
    }

    fn group_by(&mut self, group_by: &GroupByExpr) -> Result<Vec<Expression>, TargetError> {
        match group_by {
            GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => {
                expressions.iter().map(|expression| self.sortable(expression)).collect()
            }
            _ => Err(TargetError::not_allowed(group_by, SELECT)),
        }
    }

    fn order_by(&mut self, order_by: &OrderBy) -> Result<Vec<Order>, TargetError> {
        let OrderBy { kind: OrderByKind::Expressions(items), interpolate: None } = order_by else {
            return Err(TargetError::not_allowed(order_by, SELECT));
        };
        let mut orders = Vec::new();
        for item in items {
            let descending = match &item.options.sort {
                None | Some(OrderBySort::Asc) => false,
                Some(OrderBySort::Desc) => true,
                Some(_) => return Err(TargetError::not_allowed(item, SELECT)),
            };
            // NULLs sort as if larger than everything, PostgreSQL's default; the renderers make that explicit.
            if item.with_fill.is_some() || item.options.nulls_first.is_some_and(|first| first != descending) {
                return Err(TargetError::not_allowed(
                    item,
                    "NULLS come last in ascending and first in descending order",
                ));
            }
            orders.push(Order { expression: self.sortable(&item.expr)?, descending });
        }
        Ok(orders)
    }

    /// Checks an expression to group or sort by; a number would mean a position in the select list.
    fn sortable(&mut self, expression: &Expr) -> Result<Expression, TargetError> {
        let typed = self.expression(expression)?;
        match (typed.kind, &typed.expression) {
            (Type::Json, _) => Err(TargetError::types(expression, "json has no order, extract a text with -")),
            (_, Expression::Literal(_) | Expression::Negative(_) | Expression::Now) | (Type::Unknown, _) => {
                Err(TargetError::not_allowed(expression, "group and sort by columns, not by values or positions"))
            }
            _ => Ok(typed.expression),
        }
    }
}

/// Returns the json_array_elements call that the item consists of, perhaps with steps into it.
fn spread(item: &Expr) -> Option<&Function> {
    let mut base = item;
    loop {
        base = match base {
            Expr::BinaryOp { left, .. } => left,
            Expr::Cast { expr, .. } | Expr::Nested(expr) => expr,
            Expr::Function(function) if function_name(function).is_ok_and(|name| name == "json_array_elements") => {
                return Some(function);
            }
            _ => return None,
        };
    }
}

fn is_plain_wildcard(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias, .. } =
        options;
    opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none()
}

fn limit(clause: &LimitClause) -> Result<Option<u32>, TargetError> {
    let refused = || TargetError::not_allowed(clause, "LIMIT takes a plain number, OFFSET is not allowed");
    let LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by } = clause else {
        return Err(refused());
    };
    match &value.value {
        Value::Number(digits, false) if limit_by.is_empty() => digits.parse().map(Some).map_err(|_| refused()),
        _ => Err(refused()),
    }
}

fn check_query_extras(query: &QuerySyntax) -> Result<(), TargetError> {
    let extra: Option<&dyn Display> = match query {
        QuerySyntax { with: Some(with), .. } => Some(with),
        QuerySyntax { fetch: Some(fetch), .. } => Some(fetch),
        QuerySyntax { for_clause: Some(clause), .. } => Some(clause),
        QuerySyntax { format_clause: Some(clause), .. } => Some(clause),
        QuerySyntax { settings: Some(_), .. } => Some(query),
        _ if !query.pipe_operators.is_empty() => Some(query),
        _ => query.locks.first().map(|lock| lock as &dyn Display),
    };
    extra.map_or(Ok(()), |extra| Err(TargetError::not_allowed(extra, SELECT)))
}

fn check_select_extras(select: &Select) -> Result<(), TargetError> {
    if let Some(into) = &select.into {
        return Err(TargetError::not_allowed(into, SELECT));
    }
    let is_plain = select.optimizer_hints.is_empty()
        && matches!(select.distinct, None | Some(Distinct::Distinct))
        && select.select_modifiers.is_none()
        && select.top.is_none()
        && select.exclude.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none()
        && select.flavor == SelectFlavor::Standard;
    if is_plain { Ok(()) } else { Err(TargetError::not_allowed(select, SELECT)) }
}
