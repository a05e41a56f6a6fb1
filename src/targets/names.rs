//! The tables and columns that targets may name.
//!
//! This is an allow-list: nothing else resolves, neither PostgreSQL's system columns (`ctid`, `xmin`) nor other tables
//! or schemas.

use super::types::Type::{self, Integer, Json, Text, Time};

/// A table that subqueries may read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
}

/// A column of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Type,
}

/// The table of the outer query.
pub(super) static AGENTS: Table = Table {
    name: "agents",
    columns: &[
        column("id", Integer),
        column("name", Text),
        column("queueloc", Text),
        column("mode", Text),
        column("version", Text),
        column("pid", Integer),
        column("starttime", Time),
        column("destructiontime", Time),
        column("heartbeattime", Time),
        column("status", Text),
        column("environment", Json),
        column("tags", Json),
    ],
};

static COMMANDS: Table = Table {
    name: "commands",
    columns: &[
        column("id", Integer),
        column("actionid", Integer),
        column("agentid", Integer),
        column("status", Text),
        column("results", Json),
        column("starttime", Time),
        column("finishtime", Time),
    ],
};

static ACTIONS: Table = Table {
    name: "actions",
    columns: &[
        column("id", Integer),
        column("name", Text),
        column("target", Text),
        column("description", Json),
        column("threat", Json),
        column("operations", Json),
        column("validfrom", Time),
        column("expireafter", Time),
        column("starttime", Time),
        column("finishtime", Time),
        column("lastupdatetime", Time),
        column("status", Text),
        column("syntaxversion", Integer),
        column("pgpsignatures", Json),
    ],
};

const fn column(name: &'static str, kind: Type) -> Column {
    Column { name, kind }
}

impl Table {
    /// Returns the table of this lower-case name.
    pub(super) fn named(name: &str) -> Option<&'static Table> {
        [&AGENTS, &COMMANDS, &ACTIONS].into_iter().find(|table| table.name == name)
    }

    /// Returns the column of this lower-case name.
    pub(super) fn column(&'static self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Lists its columns for messages: `agents has id, name`.
    pub(super) fn describe(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        format!("{} has {}", self.name, names.join(", "))
    }
}
