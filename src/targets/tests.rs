//! Which agents targets select, what is refused and why, and robustness of the parser.

use super::{Dialect, Target, TargetError};

mod accepted;
#[cfg(feature = "server")]
mod database;
mod plain;
mod properties;

/// NOW() in the tests: 2026-11-22T12:00:00Z.
const NOW_US: i64 = 1_795_348_800_000_000;

fn parse(text: &str) -> Target {
    Target::parse(text).unwrap_or_else(|error| panic!("{text}\nwas refused: {error}"))
}

fn postgres(text: &str) -> String {
    parse(text).condition(Dialect::PostgreSql, NOW_US)
}

fn sqlite(text: &str) -> String {
    parse(text).condition(Dialect::Sqlite, NOW_US)
}

#[test]
fn all_alone_means_every_agent() {
    for text in ["all", " ALL ", "All\n"] {
        assert!(parse(text).is_all());
        assert_eq!(postgres(text), "TRUE");
        assert_eq!(sqlite(text), "1");
    }
    assert!(!parse("TRUE").is_all());
    assert!(Target::parse("all OR status='online'").is_err());
}

#[test]
fn postgresql_gets_the_checked_tree() {
    let cases = [
        ("status='online'", "(agents.status = 'online')"),
        ("AGENTS.Name = 'O''Brien'", "(agents.name = 'O''Brien')"),
        (r"name LIKE 'a\_b'", r"(agents.name LIKE E'a\\_b')"),
        ("name = '''; DROP TABLE agents; --'", "(agents.name = '''; DROP TABLE agents; --')"),
        (
            "heartbeattime > NOW() - INTERVAL '5 minutes'",
            "(agents.heartbeattime > (TIMESTAMP WITH TIME ZONE '2026-11-22 12:00:00.000000+00' - INTERVAL '300.000000 seconds'))",
        ),
        ("starttime >= '2015-03-01'", "(agents.starttime >= TIMESTAMP WITH TIME ZONE '2015-03-01 00:00:00.000000+00')"),
        ("environment->>'os' = 'linux'", "((agents.environment ->> 'os') = 'linux')"),
        ("environment #>> '{a, 0}' = 'x'", r#"((agents.environment #>> '{"a","0"}') = 'x')"#),
        ("pid = '7' AND NOT (pid = -7)", "((agents.pid = 7) AND (NOT (agents.pid = (- 7))))"),
        (
            "id IN (SELECT c.agentid FROM commands c WHERE c.status = 'success')",
            "(agents.id IN (SELECT t1_0.agentid FROM commands AS t1_0 WHERE (t1_0.status = 'success')))",
        ),
        (
            "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r WHERE r->>'foundanything'='true')",
            "(agents.id IN (SELECT t1_0.agentid FROM commands AS t1_0 CROSS JOIN \
             json_array_elements((SELECT CASE json_typeof(s.j) WHEN 'array' THEN s.j END FROM \
             (SELECT CAST(t1_0.results AS JSON) AS j) AS s)) AS t1_1 (value) WHERE ((t1_1.value ->> 'foundanything') = 'true')))",
        ),
        (
            "starttime::date = '2015-03-01'::date",
            "(CAST(CAST(agents.starttime AS DATE) AS TIMESTAMP WITH TIME ZONE) = \
             TIMESTAMP WITH TIME ZONE '2015-03-01 00:00:00.000000+00')",
        ),
    ];
    for (target, condition) in cases {
        assert_eq!(postgres(target), condition);
    }
}

/// The order is that of PostgreSQL's manual (Lexical Structure, Operator Precedence).
#[test]
fn operators_bind_as_in_postgresql() {
    let cases = [
        ("pid = 1 IS NULL", "(pid = 1) IS NULL"),
        ("NOT pid = 1 IS NULL", "NOT ((pid = 1) IS NULL)"),
        ("name ~ 'x' IS TRUE", "(name ~ 'x') IS TRUE"),
        ("pid < 5 IS NOT TRUE", "(pid < 5) IS NOT TRUE"),
        ("name LIKE 'x' = TRUE", "(name LIKE 'x') = TRUE"),
        ("name ~ 'x' = TRUE", "(name ~ 'x') = TRUE"),
        ("TRUE = name LIKE 'x'", "TRUE = (name LIKE 'x')"),
        ("TRUE = pid IN (1)", "TRUE = (pid IN (1))"),
        ("TRUE = pid BETWEEN 1 AND 2", "TRUE = (pid BETWEEN 1 AND 2)"),
        ("NOT pid BETWEEN 1 AND 2 AND TRUE", "(NOT (pid BETWEEN 1 AND 2)) AND TRUE"),
        ("NOT name LIKE 'x'", "NOT (name LIKE 'x')"),
        ("environment->>'a' LIKE 'x'", "(environment->>'a') LIKE 'x'"),
        ("environment->>'a' ~ 'x'", "(environment->>'a') ~ 'x'"),
        ("environment->'a'->>'b' IN ('x')", "((environment->'a')->>'b') IN ('x')"),
        ("environment->>'a' IS NULL", "(environment->>'a') IS NULL"),
        ("environment->>'a'::text = 'x'", "(environment->>('a'::text)) = 'x'"),
        ("pid + 2 * 3 - 4 = 5", "((pid + (2 * 3)) - 4) = 5"),
        ("pid - 1 - 2 / 3 / 4 < 5", "((pid - 1) - ((2 / 3) / 4)) < 5"),
        ("- pid::numeric * 2 > 1", "((- (pid::numeric)) * 2) > 1"),
        ("pid = 1 OR pid = 2 AND NOT pid = 3 OR TRUE", "(pid = 1) OR ((pid = 2) AND (NOT (pid = 3))) OR TRUE"),
        ("starttime - INTERVAL '1 day' * 2 < NOW()", "(starttime - ((INTERVAL '1 day') * 2)) < NOW()"),
        ("pid BETWEEN 1 + 1 AND 2 + 2", "pid BETWEEN (1 + 1) AND (2 + 2)"),
    ];
    for (target, meaning) in cases {
        assert_eq!(postgres(target), postgres(meaning), "{target}");
    }
}

#[test]
fn intervals_are_read_as_postgresql_does() {
    let minute = 60_000_000_i64;
    let cases = [
        ("5 minutes", 5 * minute),
        ("5min", 5 * minute),
        ("-5 min", -5 * minute),
        ("1 day 2 hours", 26 * 60 * minute),
        ("01:30:00", 90 * minute),
        ("-01:30", -90 * minute),
        ("1 day 00:00:01.5", 24 * 60 * minute + 1_500_000),
        ("2 weeks ago", -14 * 24 * 60 * minute),
        ("30", minute / 2),
        ("1.5 days", 36 * 60 * minute),
        ("1 month", 30 * 24 * 60 * minute),
        ("1 year 1 day", 366 * 24 * 60 * minute),
        ("250 milliseconds", 250_000),
    ];
    for (text, microseconds) in cases {
        let interval = super::interval::Interval::parse(text).unwrap();
        assert_eq!(interval.as_microseconds(), microseconds, "{text}");
        assert_eq!(super::interval::Interval::parse(&interval.to_text()).unwrap(), interval, "{text}");
    }
    for text in [
        "",
        "ago",
        "soon",
        "5 parsecs",
        "1:2:3:4",
        "1.5 months",
        "99999 years",
        "5 minutes ago ago",
        "P1D",
        "1 2 3:4",
        "½ day",
    ] {
        assert!(super::interval::Interval::parse(text).is_err(), "{text}");
    }
}

#[test]
fn times_are_read_in_utc_unless_an_offset_says_otherwise() {
    let cases = [
        ("1970-01-01", 0),
        ("1970-01-01 00:01", 60_000_000),
        ("1970-01-01 00:00:01.5", 1_500_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 01:00:00+01", 0),
        ("1970-01-01t00:00:00.000001999Z", 1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9998-01-11T11:11:11Z", 253_340_133_071_000_000),
    ];
    for (text, microseconds) in cases {
        assert_eq!(super::time::parse(text), Ok(microseconds), "{text}");
        assert_eq!(super::time::parse(&super::time::to_text(microseconds)), Ok(microseconds), "{text}");
    }
    let bad = [
        "",
        "now",
        "yesterday",
        "infinity",
        "2015-13-01",
        "2015-02-30",
        "15-01-01",
        "2015-W01-1",
        "+002015-01-01",
        "0000-01-01",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31",
        "2015-01-01[UTC]",
        "2015-01-01 25:00",
    ];
    for text in bad {
        assert!(super::time::parse(text).is_err(), "{text}");
    }
}

#[test]
fn any_now_can_be_rendered() {
    let target = parse("heartbeattime > NOW()");
    for now_us in [i64::MIN, -1, 0, i64::MAX] {
        for dialect in [Dialect::PostgreSql, Dialect::Sqlite] {
            assert!(target.condition(dialect, now_us).starts_with("(agents.heartbeattime > "));
        }
    }
}

#[test]
fn an_error_names_the_piece() {
    let error = Target::parse("xmin = 1").unwrap_err();
    assert!(matches!(error, TargetError::UnknownColumn { .. }));
    assert!(error.to_string().starts_with("there is no column `xmin` here: agents has id, name, queueloc, "));
}
