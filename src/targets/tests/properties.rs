//! Properties of any text, and of any target made of accepted pieces.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::limits::TEXT_BYTES_MAX;
use super::super::postgres::{ARRAY_AFTER, ARRAY_BEFORE};
use super::super::sqlite_functions::like;
use super::plain::plain;
use super::{Dialect, NOW_US, Target, database, parse};

fn assert_fixpoint(target: &Target, text: &str) {
    let once = target.condition(Dialect::PostgreSql, NOW_US);
    let again = Target::parse(&plain(&once, (ARRAY_BEFORE, ARRAY_AFTER)))
        .unwrap_or_else(|error| panic!("{text}\nbecame {once}\n{error}"));
    assert_eq!(again.condition(Dialect::PostgreSql, NOW_US), once, "{text}");
    // NOW() has become a literal with the same value in SQLite.
    assert_eq!(again.condition(Dialect::Sqlite, NOW_US), target.condition(Dialect::Sqlite, NOW_US), "{text}");
}

/// Words of targets and other words of SQL, to get past the tokenizer.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "status",
        "pid",
        "environment",
        "agents",
        ".",
        "heartbeattime",
        "name",
        "'online'",
        "'5 minutes'",
        "'2015-03-01'",
        "1",
        "2.5",
        "TRUE",
        "NULL",
        "=",
        "<>",
        "<",
        ">=",
        "AND",
        "OR",
        "NOT",
        "IN",
        "(",
        ")",
        "(",
        ")",
        ",",
        "LIKE",
        "ILIKE",
        "~",
        "!~*",
        "BETWEEN",
        "IS",
        "->",
        "->>",
        "#>",
        "#>>",
        "'os'",
        "'{a,0}'",
        "::",
        "int",
        "text",
        "date",
        "timestamp",
        "with",
        "time",
        "zone",
        "interval",
        "CAST",
        "AS",
        "NOW()",
        "+",
        "-",
        "*",
        "/",
        "COUNT",
        "MAX",
        "EXISTS",
        "SELECT",
        "DISTINCT",
        "FROM",
        "JOIN",
        "LEFT",
        "ON",
        "WHERE",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "commands",
        "actions",
        "json_array_elements",
        "results",
        "agentid",
        "UNION",
        "CASE",
        "WHEN",
        "THEN",
        "END",
        "OVER",
        "ALL",
        "ANY",
        "FOR",
        "UPDATE",
        "USING",
        "LATERAL",
        "EXTRACT",
        "POSITION",
        "ARRAY",
        "VALUES",
        "INTO",
        "TRIM",
        "SUBSTRING",
        "OVERLAY",
        "COLLATE",
        "AT",
        "ESCAPE",
        "DATE",
        "TIMESTAMP",
        "SECOND",
        "TO",
        "LISTAGG",
        "CONVERT",
        "FLOOR",
        "STRUCT",
        "MAP",
        "INSERT",
        "DELETE",
        "WITH",
        "TABLE",
        "UNNEST",
        "PIVOT",
        "MATCH",
        "GROUPING",
        "SETS",
    ])
}

/// Generates a condition that is accepted.
fn condition() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("name".to_owned()),
        Just("agents.status".to_owned()),
        "[a-zA-Z'%_\\\\ éß-]{0,8}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        "[a-z '$.]{1,6}".prop_map(|key| format!("(environment->>'{}')", key.replace('\'', "''"))),
        (0..3_i64).prop_map(|index| format!("(tags #>> '{{rack,{index}}}')")),
    ];
    let number =
        prop_oneof![Just("pid".to_owned()), (0..1000_u32).prop_map(|n| n.to_string()), Just("(- 1.5)".to_owned())];
    let time = prop_oneof![
        Just("heartbeattime".to_owned()),
        Just("NOW() - INTERVAL '1 day 02:00'".to_owned()),
        Just("'2015-03-01'::date + '5 min'".to_owned()),
        Just("starttime::date".to_owned()),
    ];
    let compare = prop::sample::select(vec!["=", "<>", "<", ">="]);
    let leaf = prop_oneof![
        (text.clone(), compare.clone(), text.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (text.clone(), "[a-z%_é]{0,5}").prop_map(|(a, b)| format!("{a} NOT ILIKE '{b}'")),
        (text.clone(), r"[a-z]{1,3}(\\\.|\.|\[a-c\])?[+*?]?").prop_map(|(a, b)| format!("{a} ~* '{b}'")),
        (number.clone(), compare.clone(), number.clone()).prop_map(|(a, sign, b)| format!("{a} + 1 {sign} {b} * 2")),
        (time.clone(), compare, time).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (number.clone(), prop::collection::vec(number, 1..4)).prop_map(|(a, b)| format!("{a} IN ({})", b.join(", "))),
        text.prop_map(|a| format!("{a} IS NOT NULL")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("{a} OR {b} OR {c}")),
            inner.clone().prop_map(|a| format!("NOT ({a})")),
            inner.clone().prop_map(|a| format!("({a}) IS NOT TRUE")),
            inner
                .clone()
                .prop_map(|a| format!("id IN (SELECT agentid FROM commands c WHERE c.agentid = agents.id AND {a})")),
            inner.prop_map(|a| format!(
                "EXISTS (SELECT * FROM agents b, json_array_elements(b.tags) e WHERE e->>0 = b.name AND ({a}))"
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = Target::parse(&text);
    }

    #[test]
    fn any_sequence_of_words_is_answered_and_accepted_ones_are_fixpoints(words in prop::collection::vec(word(), 1..25)) {
        let text = words.join(" ");
        if let Ok(target) = Target::parse(&text) {
            assert_fixpoint(&target, &text);
        }
    }

    #[test]
    fn like_finds_what_a_naive_search_finds(text in "[ab]{0,8}", pattern in "[ab%_]{0,6}") {
        prop_assert_eq!(like(&text, &pattern, false), naive_like(text.as_bytes(), pattern.as_bytes()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conditions_are_fixpoints_and_run(text in condition()) {
        assert_fixpoint(&parse(&text), &text);
        database::select(&text).unwrap();
    }
}

fn naive_like(text: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'%', rest)) => (0..=text.len()).any(|skip| naive_like(&text[skip..], rest)),
        Some((b'_', rest)) => !text.is_empty() && naive_like(&text[1..], rest),
        Some((own, rest)) => text.first() == Some(own) && naive_like(&text[1..], rest),
    }
}

/// Bounded stack and time: a thread with half of the usual stack, at most 20 s for each text.
#[test]
fn hostile_texts_are_answered_quickly_on_a_small_stack() {
    let texts: Vec<String> = vec![
        "(".repeat(100_000),
        "NOT ".repeat(100_000),
        "- ".repeat(100_000),
        "(".repeat(TEXT_BYTES_MAX),
        "NOT ".repeat(TEXT_BYTES_MAX / 4),
        "- ".repeat(TEXT_BYTES_MAX / 2),
        "1+".repeat(1_490) + "1",
        "a.".repeat(1_490) + "a",
        "pid".to_owned() + &"::int".repeat(1_490),
        "pid".to_owned() + &" IS NULL".repeat(1_000),
        "id=1 AND ".repeat(700) + "id=1",
        "EXISTS (SELECT 1 FROM agents WHERE ".repeat(200),
        "EXISTS (SELECT 1 FROM agents WHERE ".repeat(60) + "TRUE" + &")".repeat(60),
        "EXISTS (SELECT 1 FROM ".to_owned() + &"(".repeat(62),
        "(SELECT ".repeat(64),
        "CASE WHEN ".repeat(700),
        "INTERVAL ".repeat(900),
        "CAST(".repeat(64),
        "COUNT(".repeat(64),
        "id IN (".repeat(64),
        "((1,".repeat(32),
        "name LIKE ".repeat(800),
        "pid BETWEEN ".repeat(600),
        "DATE ".repeat(1_500),
        "x(".repeat(64) + "FROM",
        "EXTRACT(".repeat(64),
        "id IN (SELECT ".repeat(64) + "FROM",
        "EXISTS (WITH a AS ".repeat(64),
    ];
    let answer = move || {
        for text in texts {
            let start = Instant::now();
            let _ = Target::parse(&text);
            assert!(start.elapsed() < Duration::from_secs(20), "{text:.80} took {:?}", start.elapsed());
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(answer).unwrap().join().unwrap();
}
