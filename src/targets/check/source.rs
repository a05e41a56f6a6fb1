//! The FROM of a subquery: the three tables, json_array_elements, and their joins.

use std::fmt::Display;

use sqlparser::ast::{FunctionArg, JoinConstraint, JoinOperator, Select, TableAlias, TableFactor};

use super::super::error::{TargetError, excerpt};
use super::super::expression::{Join, Relation, Source};
use super::super::lexical;
use super::super::limits::SOURCES_MAX;
use super::super::names::Table;
use super::super::scope::{Content, NamedSource};
use super::super::types::Type;
use super::{Checker, only_argument};

const FROM: &str = "FROM takes agents, commands, actions and json_array_elements(...), joined by commas, JOIN ... ON, \
                    LEFT JOIN ... ON or CROSS JOIN";
/// The column of json_array_elements, according to PostgreSQL's manual (JSON processing functions).
const ELEMENT: &str = "value";

impl Checker {
    /// Checks the FROM and makes its items visible.
    pub(super) fn sources(&mut self, select: &Select) -> Result<Vec<Source>, TargetError> {
        let count = select.from.iter().map(|table| 1 + table.joins.len()).sum();
        if count == 0 {
            return Err(TargetError::not_allowed(select, "a subquery must have a FROM"));
        }
        if count > SOURCES_MAX {
            return Err(TargetError::TooManySources { sources: count });
        }
        let mut sources = Vec::new();
        for table in &select.from {
            sources.push(self.source(&table.relation, None)?);
            for join in &table.joins {
                if join.global {
                    return Err(TargetError::not_allowed(join, FROM));
                }
                sources.push(self.source(&join.relation, Some(&join.join_operator))?);
            }
        }
        Ok(sources)
    }

    fn source(&mut self, factor: &TableFactor, operator: Option<&JoinOperator>) -> Result<Source, TargetError> {
        let (relation, named) = self.relation(factor)?;
        let name = self.scopes.add(named)?;
        let join = match operator {
            None | Some(JoinOperator::CrossJoin(JoinConstraint::None)) => Join::Cross,
            Some(JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on))) => {
                Join::Inner(self.boolean(on)?)
            }
            Some(JoinOperator::Left(JoinConstraint::On(on)) | JoinOperator::LeftOuter(JoinConstraint::On(on))) => {
                Join::Left(self.boolean(on)?)
            }
            Some(_) => return Err(TargetError::not_allowed(&format_args!("the join to {factor}"), FROM)),
        };
        Ok(Source { name, join, relation })
    }

    fn relation(&mut self, factor: &TableFactor) -> Result<(Relation, NamedSource), TargetError> {
        let (name, alias, call) = match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => match args {
                None => (name, alias, None),
                Some(call) if call.settings.is_none() => (name, alias, Some(call.args.as_slice())),
                Some(_) => return Err(TargetError::not_allowed(factor, FROM)),
            },
            TableFactor::Function { lateral: _, name, args, with_ordinality: false, alias } => {
                (name, alias, Some(args.as_slice()))
            }
            _ => return Err(TargetError::not_allowed(factor, FROM)),
        };
        let [part] = name.0.as_slice() else {
            return Err(TargetError::UnknownTable { name: excerpt(name) });
        };
        let name = match part.as_ident() {
            Some(identifier) => lexical::name(identifier)?,
            None => return Err(TargetError::not_allowed(factor, FROM)),
        };
        match call {
            Some(call) if name == "json_array_elements" => self.elements(call, alias.as_ref(), factor),
            Some(_) => Err(TargetError::not_allowed(&format_args!("the function {name}"), FROM)),
            None => {
                let table = Table::named(&name).ok_or_else(|| TargetError::UnknownTable { name: excerpt(&name) })?;
                let (alias, columns) = alias_names(alias.as_ref())?;
                if !columns.is_empty() {
                    return Err(TargetError::not_allowed(factor, "the columns of a table can't be renamed"));
                }
                let alias = alias.unwrap_or(name);
                Ok((Relation::Table(table), NamedSource { alias, content: Content::Table(table) }))
            }
        }
    }

    fn elements(
        &mut self,
        call: &[FunctionArg],
        alias: Option<&TableAlias>,
        factor: &dyn Display,
    ) -> Result<(Relation, NamedSource), TargetError> {
        let Some(argument) = only_argument(call) else {
            return Err(TargetError::not_allowed(factor, "json_array_elements takes one argument"));
        };
        let argument = self.of_type(argument, Type::Json)?;
        let (alias, columns) = alias_names(alias)?;
        let column = match columns.as_slice() {
            [] => ELEMENT.to_owned(),
            [column] => column.clone(),
            _ => return Err(TargetError::not_allowed(factor, "json_array_elements has one column")),
        };
        let alias = alias.unwrap_or_else(|| "json_array_elements".to_owned());
        Ok((Relation::Elements(argument), NamedSource { alias, content: Content::Elements { column } }))
    }
}

/// Returns the names in an alias: its own, and those of columns.
fn alias_names(alias: Option<&TableAlias>) -> Result<(Option<String>, Vec<String>), TargetError> {
    let Some(alias) = alias else {
        return Ok((None, Vec::new()));
    };
    if alias.at.is_some() || alias.columns.iter().any(|column| column.data_type.is_some()) {
        return Err(TargetError::not_allowed(alias, "an alias is a plain name"));
    }
    let columns = alias.columns.iter().map(|column| lexical::name(&column.name)).collect::<Result<_, _>>()?;
    Ok((Some(lexical::name(&alias.name)?), columns))
}
