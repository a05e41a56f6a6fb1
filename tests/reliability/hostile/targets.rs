//! Signed actions whose target is refused. What targets may say is in target_table; here are the reasons that the dropper reads.

use super::bench::{Bench, Row, refused, text};

/// A signed action with that target, refused for that reason.
pub fn row(bench: &Bench, target: &str, reason: &str) -> Row {
    let mut draft = bench.draft();
    draft["target"] = target.into();
    let what: String = target.chars().take(40).collect();
    text(format!("target {what}"), bench.sandbox.sign(draft).to_string(), refused(format!("field 'target': {reason}")))
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    let row = |target: &str, reason: &str| row(bench, target, reason);
    let many = vec!["1"; 1001].join(",");
    vec![
        row(
            "status = 'offline'",
            "it selects no agent; look at it with mig-scheduler --explain-target, and at the agents that are online",
        ),
        row(
            "status='online'; DROP TABLE agents",
            "`;` is not allowed in a target: a target is one condition, not a list of statements",
        ),
        row(
            "1=1 OR pg_sleep(10) IS NULL",
            "`the function pg_sleep` is not allowed in a target: the functions are NOW(), and in subqueries COUNT, MIN, MAX and json_array_elements",
        ),
        row(
            "id IN (SELECT id FROM investigators)",
            "there is no table `investigators` for targets: agents, commands and actions may be used",
        ),
        row(
            "id IN (SELECT password FROM agents)",
            "there is no column `password` here: agents has id, name, queueloc, mode, version, pid, starttime, destructiontime, heartbeattime, status, environment, tags",
        ),
        row("status='online' -- '", "`-- '` is not allowed in a target: comments are not allowed"),
        row(" ", "the target is empty: write a condition on agents such as status='online', or `all` for every agent"),
        row("status", "`status` is text, not a condition: compare it with something, as in status='online'"),
        row("pid = 'x'", "`'x'` is not an integer: write digits, in the range of 64-bit integers"),
        row("status = ", "the target is not a condition in PostgreSQL syntax: Expected: an expression, found: EOF"),
        row(
            "status = 'a\u{0}'",
            "the target has the control character '\\0' at byte 11: it is not allowed, not even quoted",
        ),
        row("pid LIKE '1%'", "`pid`: text is needed here, but this is an integer"),
        row(&format!("id IN ({many})"), "the IN list has 1001 items: at most 1000 are allowed"),
        row(
            &format!("{}TRUE{}", "(".repeat(65), ")".repeat(65)),
            "the target nests parentheses, operators or subqueries more than 64 levels deep",
        ),
        row(
            &format!("{}1=1", "1=1 OR ".repeat(800)),
            "the target has too many parts: at most 3000 words and 2000 columns, values and operators",
        ),
        row(
            "EXISTS (SELECT 1 FROM agents a, agents b, agents c, agents d, agents e)",
            "the subquery reads 5 tables: at most 4 are allowed",
        ),
        row(
            "(environment->>'os')::int = 1",
            "it cannot be evaluated on every agent: `'linux'` is not an integer: write digits, in the range of 64-bit integers",
        ),
        row("name ~ '('", "`'('` is not a regular expression for targets: unclosed group"),
    ]
}
