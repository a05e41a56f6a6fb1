//! Resolves column names: the innermost query that has the name wins, as in PostgreSQL.

use super::error::{TargetError, excerpt};
use super::expression::{ColumnReference, SourceName};
use super::names::{AGENTS, Table};
use super::types::Type;
use std::collections::HashSet;

/// The visible FROM items, outermost query first.
pub(super) struct Scopes {
    levels: Vec<Vec<NamedSource>>,
}

/// A FROM item with its name in the target.
pub(super) struct NamedSource {
    pub(super) alias: String,
    pub(super) content: Content,
}

/// The columns of a FROM item.
pub(super) enum Content {
    Table(&'static Table),
    /// A json_array_elements: one column of that name.
    Elements {
        column: String,
    },
}

impl Scopes {
    /// The outer query over agents.
    pub(super) fn new() -> Scopes {
        Scopes { levels: vec![vec![NamedSource { alias: AGENTS.name.to_owned(), content: Content::Table(&AGENTS) }]] }
    }

    /// Enters a subquery.
    pub(super) fn enter(&mut self) {
        self.levels.push(Vec::new());
    }

    /// Leaves a subquery.
    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Returns the nesting depth of the current query; 0 is the outer one.
    pub(super) fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Returns the number of FROM items of the current query so far.
    pub(super) fn places(&self) -> usize {
        self.levels.last().map_or(0, Vec::len)
    }

    /// Makes a FROM item of the current query visible.
    pub(super) fn add(&mut self, source: NamedSource) -> Result<SourceName, TargetError> {
        let name = SourceName { depth: self.depth(), place: self.places() };
        if let Some(level) = self.levels.last_mut() {
            if level.iter().any(|other| other.alias == source.alias) {
                let help = "two tables of one FROM have this name: give one an alias";
                return Err(TargetError::not_allowed(&source.alias, help));
            }
            level.push(source);
        }
        Ok(name)
    }

    /// Resolves `name`.
    pub(super) fn column(&self, name: &str) -> Result<(ColumnReference, Type), TargetError> {
        for (depth, level) in self.levels.iter().enumerate().rev() {
            let mut found = level.iter().enumerate().filter_map(|(place, source)| {
                let found = source.column(name)?;
                Some(reference(SourceName { depth, place }, found))
            });
            if let Some(column) = found.next() {
                return match found.next() {
                    None => Ok(column),
                    Some(_) => Err(TargetError::UnknownColumn {
                        name: excerpt(&name),
                        help: "several tables of this FROM have it, write table.column".to_owned(),
                    }),
                };
            }
        }
        // The bare name of a json_array_elements means its value.
        for (depth, level) in self.levels.iter().enumerate().rev() {
            for (place, source) in level.iter().enumerate() {
                if source.alias == name && matches!(source.content, Content::Elements { .. }) {
                    return Ok(reference(SourceName { depth, place }, FoundColumn::Element));
                }
            }
        }
        Err(TargetError::UnknownColumn { name: excerpt(&name), help: self.describe() })
    }

    /// Resolves `table.name`.
    pub(super) fn qualified_column(&self, table: &str, name: &str) -> Result<(ColumnReference, Type), TargetError> {
        for (depth, level) in self.levels.iter().enumerate().rev() {
            let named = level.iter().enumerate().find(|(_, source)| source.alias == table);
            if let Some((place, source)) = named {
                let found = source.column(name).ok_or_else(|| TargetError::UnknownColumn {
                    name: excerpt(&format_args!("{table}.{name}")),
                    help: source.describe(),
                })?;
                return Ok(reference(SourceName { depth, place }, found));
            }
        }
        Err(TargetError::UnknownColumn { name: excerpt(&format_args!("{table}.{name}")), help: self.describe() })
    }

    fn describe(&self) -> String {
        let mut sources: Vec<String> = self.levels.iter().rev().flatten().map(NamedSource::describe).collect();
        // A table that is visible both inside and outside of a subquery is listed once.
        let mut listed = HashSet::new();
        sources.retain(|source| listed.insert(source.clone()));
        sources.join("; ")
    }
}

enum FoundColumn {
    Of(&'static super::names::Column),
    Element,
}

fn reference(source: SourceName, found: FoundColumn) -> (ColumnReference, Type) {
    match found {
        FoundColumn::Of(column) => (ColumnReference { source, column: Some(column) }, column.kind),
        FoundColumn::Element => (ColumnReference { source, column: None }, Type::Json),
    }
}

impl NamedSource {
    fn column(&self, name: &str) -> Option<FoundColumn> {
        match &self.content {
            Content::Table(table) => table.column(name).map(FoundColumn::Of),
            Content::Elements { column } => (column == name).then_some(FoundColumn::Element),
        }
    }

    fn describe(&self) -> String {
        match &self.content {
            Content::Table(table) => table.describe(),
            Content::Elements { column } => format!("{} has {column}", self.alias),
        }
    }
}
