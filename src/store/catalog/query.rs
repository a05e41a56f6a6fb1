//! The SQL of a search, for both databases: conditions with placeholders, and the values for them.

use super::{Kind, Page, Search};
use crate::targets::Dialect;
use crate::time::Timestamp;

/// A value for a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Value {
    /// An id or a count.
    Number(i64),
    /// A pattern.
    Text(String),
    /// A time.
    Time(Timestamp),
}

/// A query and the values of its placeholders, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct Query {
    pub sql: String,
    pub values: Vec<Value>,
}

/// Conditions that all hold.
struct Conditions {
    dialect: Dialect,
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn new(dialect: Dialect) -> Conditions {
        Conditions { dialect, sql: String::new(), values: Vec::new() }
    }

    /// A placeholder for the value.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        let sign = match self.dialect {
            Dialect::PostgreSql => '$',
            Dialect::Sqlite => '?',
        };
        format!("{sign}{}", self.values.len())
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
    }

    /// `before`, a comparison of `column` with the value, `after`.
    fn compare(&mut self, before: &str, column: &str, comparison: &str, value: Value, after: &str) {
        let place = self.bind(value);
        self.and(&format!("{before}{column} {comparison} {place}{after}"));
    }

    /// The same for a pattern, in any case.
    fn like(&mut self, before: &str, column: &str, pattern: &str, after: &str) {
        let (comparison, after) = match self.dialect {
            Dialect::PostgreSql => ("ILIKE", after.to_owned()),
            Dialect::Sqlite => ("LIKE", format!(" ESCAPE '\\'{after}")),
        };
        self.compare(before, column, comparison, Value::Text(pattern.to_owned()), &after);
    }
}

/// How a kind of row relates to another one.
struct Related {
    /// Its id is this column of the row itself, if there is one.
    column: Option<&'static str>,
    /// The others are found through this subquery, which a condition ends.
    through: &'static str,
}

impl Kind {
    pub(in crate::store) fn table(self) -> &'static str {
        match self {
            Kind::Action => "actions",
            Kind::Command => "commands",
            Kind::Agent => "agents",
            Kind::Investigator => "investigators",
        }
    }

    /// The times of a row that `before` and `after` are compared with: it was there from the first to the second.
    fn times(self) -> (&'static str, &'static str) {
        match self {
            Kind::Action => ("actions.starttime", "actions.lastupdatetime"),
            Kind::Command => ("commands.starttime", "commands.finishtime"),
            Kind::Agent => ("agents.heartbeattime", "agents.heartbeattime"),
            Kind::Investigator => ("investigators.createdat", "investigators.lastmodified"),
        }
    }

    fn actions(self) -> Related {
        let (column, through) = match self {
            Kind::Action => (Some("actions.id"), ""),
            Kind::Command => (Some("commands.actionid"), "commands.actionid IN (SELECT actions.id FROM actions WHERE "),
            Kind::Agent => (
                None,
                "agents.id IN (SELECT commands.agentid FROM commands JOIN actions ON actions.id = commands.actionid WHERE ",
            ),
            Kind::Investigator => (
                None,
                "investigators.id IN (SELECT signatures.investigatorid FROM signatures \
                JOIN actions ON actions.id = signatures.actionid WHERE ",
            ),
        };
        Related { column, through }
    }

    fn commands(self) -> Related {
        let (column, through) = match self {
            Kind::Action => (None, "actions.id IN (SELECT commands.actionid FROM commands WHERE "),
            Kind::Command => (Some("commands.id"), ""),
            Kind::Agent => (None, "agents.id IN (SELECT commands.agentid FROM commands WHERE "),
            Kind::Investigator => (
                None,
                "investigators.id IN (SELECT signatures.investigatorid FROM signatures \
                JOIN commands ON commands.actionid = signatures.actionid WHERE ",
            ),
        };
        Related { column, through }
    }

    fn agents(self) -> Related {
        let (column, through) = match self {
            Kind::Action => (
                None,
                "actions.id IN (SELECT commands.actionid FROM commands JOIN agents ON agents.id = commands.agentid WHERE ",
            ),
            Kind::Command => (Some("commands.agentid"), "commands.agentid IN (SELECT agents.id FROM agents WHERE "),
            Kind::Agent => (Some("agents.id"), ""),
            Kind::Investigator => (
                None,
                "investigators.id IN (SELECT signatures.investigatorid FROM signatures \
                JOIN commands ON commands.actionid = signatures.actionid JOIN agents ON agents.id = commands.agentid WHERE ",
            ),
        };
        Related { column, through }
    }

    fn investigators(self) -> Related {
        let (column, through) = match self {
            Kind::Action => (
                None,
                "actions.id IN (SELECT signatures.actionid FROM signatures \
                JOIN investigators ON investigators.id = signatures.investigatorid WHERE ",
            ),
            Kind::Command => (
                None,
                "commands.actionid IN (SELECT signatures.actionid FROM signatures \
                JOIN investigators ON investigators.id = signatures.investigatorid WHERE ",
            ),
            Kind::Agent => (
                None,
                "agents.id IN (SELECT commands.agentid FROM commands JOIN signatures ON signatures.actionid = commands.actionid \
                JOIN investigators ON investigators.id = signatures.investigatorid WHERE ",
            ),
            Kind::Investigator => (Some("investigators.id"), ""),
        };
        Related { column, through }
    }
}

/// Whether a command has a result that found something. What an agent sent may have any shape.
fn found(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::PostgreSql => {
            "EXISTS (SELECT 1 FROM json_array_elements(CASE WHEN json_typeof(commands.results) = 'array' \
            THEN commands.results ELSE '[]' END) AS result WHERE CASE WHEN json_typeof(result) = 'object' \
            THEN result ->> 'foundanything' = 'true' END)"
        }
        Dialect::Sqlite => {
            "EXISTS (SELECT 1 FROM json_each(commands.results) AS result WHERE CASE WHEN result.type = 'object' \
            THEN json_type(result.value, '$.foundanything') = 'true' END)"
        }
    }
}

fn family(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::PostgreSql => "actions.threat ->> 'family'",
        Dialect::Sqlite => "actions.threat ->> '$.family'",
    }
}

fn conditions(search: &Search, dialect: Dialect) -> Conditions {
    let mut all = Conditions::new(dialect);
    let kind = search.kind;
    let ids = [
        (kind.actions(), "actions.id", search.action_id),
        (kind.commands(), "commands.id", search.command_id),
        (kind.agents(), "agents.id", search.agent_id),
        (kind.investigators(), "investigators.id", search.investigator_id),
    ];
    for (related, id, wanted) in ids {
        let Some(wanted) = wanted.map(|id| Value::Number(id as i64)) else { continue };
        match related.column {
            Some(column) => all.compare("", column, "=", wanted, ""),
            None => all.compare(related.through, id, "=", wanted, ")"),
        }
    }
    let texts = [
        (kind.actions(), Kind::Action, "actions.name", &search.action_name),
        (kind.actions(), Kind::Action, family(dialect), &search.threat_family),
        (kind.agents(), Kind::Agent, "agents.name", &search.agent_name),
        (kind.investigators(), Kind::Investigator, "investigators.name", &search.investigator_name),
    ];
    for (related, own, column, pattern) in texts {
        let Some(pattern) = pattern else { continue };
        if kind == own {
            all.like("", column, pattern, "");
        } else {
            all.like(related.through, column, pattern, ")");
        }
    }
    if let Some(status) = &search.status {
        all.like("", &format!("{}.status", kind.table()), status, "");
    }
    if search.found_anything {
        all.and(found(dialect));
    }
    let (first, last) = kind.times();
    all.compare("", last, ">=", Value::Time(search.after), "");
    if let Some(before) = search.before {
        all.compare("", first, "<=", Value::Time(before), "");
    }
    all
}

/// The query for a page: these columns of the rows, in their order.
pub(in crate::store) fn page(columns: &str, search: &Search, page: Page, dialect: Dialect) -> Query {
    let mut all = conditions(search, dialect);
    let table = search.kind.table();
    if let Some(id) = page.after_id {
        all.compare("", &format!("{table}.id"), "<", Value::Number(id as i64), "");
    }
    let count = all.bind(Value::Number(page.count as i64));
    let offset = all.bind(Value::Number(i64::try_from(page.offset).unwrap_or(i64::MAX)));
    let Conditions { sql, values, .. } = all;
    let sql = format!("SELECT {columns} FROM {table}{sql} ORDER BY {table}.id DESC LIMIT {count} OFFSET {offset}");
    Query { sql, values }
}

/// The query for the number of rows, counted up to `max` and one.
pub(in crate::store) fn count(search: &Search, max: u64, dialect: Dialect) -> Query {
    let mut all = conditions(search, dialect);
    let limit = all.bind(Value::Number(max as i64 + 1));
    let Conditions { sql, values, .. } = all;
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {}{sql} LIMIT {limit}) AS found", search.kind.table());
    Query { sql, values }
}
