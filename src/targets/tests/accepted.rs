//! Targets with the agents they select in SQLite.

use super::database::select;

const EVERYONE: &str = "alpha beta gamma delta epsilon obrien";

fn check(cases: &[(&str, &str)]) {
    for (target, names) in cases {
        match select(target) {
            Ok(selected) => assert_eq!(selected, *names, "{target}\n{}", super::sqlite(target)),
            Err(error) => panic!("{target}\n{}\n{error}", super::sqlite(target)),
        }
    }
}

/// All targets in the samples directory, including the API's searches and heartbeat captures.
#[test]
fn real_targets_select() {
    check(&[
        ("agents.environment->>'os' = 'linux' AND agents.environment->>'arch' = 'amd64'", "alpha epsilon"),
        ("agents.environment->>'os' = 'windows'", "gamma"),
        ("agents.queueloc like 'linux.%'", "alpha beta epsilon obrien"),
        ("environment->>'ident' ilike 'amazon%'", "epsilon"),
        ("environment->>'ident' ilike 'red%6.%' or environment->>'ident' ilike 'centos%6.%'", "beta obrien"),
        ("environment->>'ident' ilike 'ubuntu 12.04%'", "alpha"),
        ("queueloc LIKE 'linux.%' AND environment->>'ident' ILIKE '%ubuntu%'", "alpha"),
        ("queueloc LIKE 'linux.%'", "alpha beta epsilon obrien"),
        ("queueloc like 'linux.%'", "alpha beta epsilon obrien"),
        ("status='online'", "alpha gamma epsilon"),
        ("all", EVERYONE),
    ]);
}

#[test]
fn comparisons_select() {
    check(&[
        ("TRUE", EVERYONE),
        ("1 = 2", ""),
        ("\"status\" = 'idle'", "beta"),
        ("name = 'O''Brien ÄÖ'", "obrien"),
        ("status <> 'online' AND status != 'idle'", "delta obrien"),
        ("pid < 202 OR pid >= 606", "alpha obrien"),
        ("pid = '303'", "gamma"),
        ("- pid < -404.5", "epsilon obrien"),
        ("(pid + 1) * 2 / 4 = 51", "alpha"),
        ("pid - -1 = 102", "alpha"),
        ("pid / 2.0 = 50.5", "alpha"),
        ("(pid > 300) = (status = 'online')", "beta gamma epsilon"),
        ("NOT status = 'online'", "beta delta obrien"),
        ("NOT (status = 'online' OR status = 'idle') AND pid > 404", "obrien"),
        ("status IN ('idle', 'offline')", "beta delta"),
        ("pid NOT IN (101, 202.0, '303')", "delta epsilon obrien"),
        ("pid BETWEEN 202 AND 404", "beta gamma delta"),
        ("version NOT BETWEEN '2014' AND '20150122'", "alpha beta epsilon obrien"),
        ("tags IS NULL", "delta"),
        ("tags IS NOT NULL AND (pid > 500) IS TRUE", "epsilon obrien"),
        ("(tags->>'floor' = '3') IS NOT TRUE", "beta gamma delta epsilon obrien"),
        ("(tags->>'floor' = '3') IS FALSE", "gamma epsilon obrien"),
        ("id = NULL", ""),
        ("mode = ''", "gamma"),
        ("id BETWEEN 1 AND 3 = TRUE", "alpha beta gamma"),
    ]);
}

#[test]
fn patterns_select() {
    check(&[
        ("name LIKE 'ALPHA'", ""),
        ("name ILIKE 'ALPHA'", "alpha"),
        ("name ILIKE '%äö'", "obrien"),
        ("name LIKE '_____'", "alpha gamma delta"),
        ("name NOT LIKE '%a'", "epsilon obrien"),
        ("name NOT ILIKE '%A%'", "epsilon obrien"),
        (r"tags->>'note' LIKE '50\%\_off\\%'", "epsilon"),
        (r"tags->>'note' LIKE '50\%off%'", ""),
        ("tags->>'note' NOT LIKE 'x'", "epsilon"),
        ("name LIKE name AND name LIKE '%l%p%'", "alpha"),
        ("queueloc ~ '^linux[.](alpha|beta)'", "alpha beta"),
        ("name ~ 'ALPHA'", ""),
        ("name ~* 'ALPHA$'", "alpha"),
        (r"queueloc !~ '\.[a-d]\d$'", "epsilon obrien"),
        ("name !~* '[AO]'", ""),
        ("environment->>'ident' ~ '6.Final$' OR environment->>'ident' ~ '6$'", "obrien"),
        ("tags->>'operator' ~ 'I'", "alpha"),
        ("environment::text LIKE '%precise%'", "alpha"),
    ]);
}

#[test]
fn json_selects() {
    check(&[
        ("environment->>'isproxied' = 'true'", "beta epsilon"),
        ("(environment->>'isproxied')::boolean", "beta epsilon"),
        ("NOT CAST(environment->>'isproxied' AS boolean) AND pid < 400", "alpha gamma"),
        ("environment->'addresses'->>0 = '10.0.0.3/8'", "gamma"),
        ("environment->'addresses'->> -1 = 'fe80::1/64'", "alpha"),
        ("environment#>>'{addresses,0}' = '10.0.0.5/8'", "epsilon"),
        ("environment#>'{addresses, 0}' IS NOT NULL", "alpha gamma epsilon"),
        ("tags#>>'{rack,0}' = 'zero'", "alpha"),
        ("tags#>>'{\"rack\",row}' = '7'", "alpha"),
        ("(tags->'rack'->>'row')::int = 7", "alpha"),
        ("tags->'rack'->>0 IS NULL", EVERYONE),
        ("environment->'init' IS NULL", "alpha beta gamma epsilon obrien"),
        ("environment->>'init' IS NULL", EVERYONE),
        ("environment->>'addresses' = '[]'", "beta"),
        ("(tags->>'floor')::int < 3", "gamma obrien"),
        ("(tags->>'floor')::numeric = 12.0", "epsilon"),
        ("(tags->>'floor')::double precision + 0.5 > 3", "alpha epsilon"),
        ("(tags->>'active')::boolean IS TRUE", "gamma"),
        ("pid::text LIKE '1%' OR (pid > 600)::text = 'true'", "alpha obrien"),
        ("(pid / 100.0)::int = 5 AND pid::numeric > 1", "epsilon"),
        ("tags::jsonb->>'operator' = 'IT'", "alpha"),
        ("tags->>'$.floor' IS NOT NULL", ""),
        ("(tags->>'operator')::varchar = 'IT'", "alpha"),
    ]);
}

#[test]
fn times_select() {
    check(&[
        ("heartbeattime > NOW() - INTERVAL '5 minutes'", "alpha gamma epsilon"),
        ("heartbeattime > now() - '5 minutes'::interval", "alpha gamma epsilon"),
        ("heartbeattime + '5 minutes' > current_timestamp", "alpha gamma epsilon"),
        ("heartbeattime < NOW() - INTERVAL '1 day' * 5", "obrien"),
        ("heartbeattime < NOW() - INTERVAL '5' DAY", "obrien"),
        ("NOW() - heartbeattime > '1 week'", "obrien"),
        ("NOW() - heartbeattime BETWEEN INTERVAL '00:02' AND INTERVAL '1 hour'", "beta gamma epsilon"),
        ("heartbeattime - starttime = INTERVAL '1 hour'", "alpha beta gamma epsilon obrien"),
        ("starttime = '0001-01-01T00:00:00Z'", "delta"),
        ("destructiontime = '9998-01-11 11:11:11'", EVERYONE),
        ("heartbeattime >= '2026-11-22 13:58:00+02:00'", "alpha gamma"),
        ("heartbeattime::date = '2026-11-22'", "alpha beta gamma epsilon"),
        ("heartbeattime::date = DATE '2026-11-19 05:00'", "delta"),
        ("starttime::date = '0001-01-01'", "delta"),
        ("heartbeattime < TIMESTAMP '2026-11-15 00:00:00'", "obrien"),
        ("heartbeattime < CAST('2026-11-15' AS timestamp with time zone)", "obrien"),
        ("(tags->>'installed')::timestamptz < NOW()", "gamma"),
        ("(tags->>'installed')::date = '2015-03-01'", "gamma"),
        (
            "heartbeattime > NOW() - INTERVAL '1 month' AND heartbeattime < NOW() - INTERVAL '2 days 12:00'",
            "delta obrien",
        ),
    ]);
}

#[test]
fn subqueries_select() {
    check(&[
        (
            "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r WHERE r->>'foundanything'='true')",
            "alpha",
        ),
        (
            "id IN (SELECT agentid FROM commands c, LATERAL json_array_elements(c.results) AS r(v) WHERE r.v->>'success'='false')",
            "gamma",
        ),
        (
            "'true' IN (SELECT json_array_elements(results)->>'foundanything' FROM commands WHERE agentid = agents.id)",
            "alpha",
        ),
        (
            "'text' IN (SELECT value#>>'{}' FROM commands JOIN json_array_elements(results) ON TRUE WHERE agentid = agents.id)",
            "obrien",
        ),
        ("id IN (SELECT agentid FROM commands, json_array_elements(results) WHERE value::text = '\"text\"')", "obrien"),
        ("id IN (SELECT agentid FROM commands, json_array_elements(results) e WHERE e->>1 = '2')", "obrien"),
        ("EXISTS (SELECT * FROM commands WHERE commands.agentid = agents.id)", "alpha beta gamma epsilon obrien"),
        ("NOT EXISTS (SELECT 1 FROM commands c WHERE c.agentid = agents.id)", "delta"),
        ("id NOT IN (SELECT agentid FROM commands WHERE status IN ('success', 'sent'))", "gamma delta epsilon obrien"),
        ("id IN (SELECT agentid FROM commands GROUP BY agentid HAVING COUNT(*) > 1)", "alpha"),
        ("(SELECT COUNT(*) FROM commands WHERE agentid = agents.id) = 0", "delta"),
        ("(SELECT COUNT(DISTINCT c.status) FROM commands AS c WHERE c.agentid = agents.id) = 2", "alpha"),
        ("heartbeattime = (SELECT MAX(heartbeattime) FROM agents)", "alpha"),
        (
            "heartbeattime = (SELECT MIN(a.heartbeattime) FROM agents a WHERE a.status = agents.status)",
            "beta delta epsilon obrien",
        ),
        (
            "id IN (SELECT agentid FROM commands JOIN actions ON actions.id = commands.actionid WHERE actions.name LIKE 'shell%')",
            "alpha beta gamma",
        ),
        (
            "id IN (SELECT c.agentid FROM commands c INNER JOIN actions a ON a.id = c.actionid, json_array_elements(a.operations) o \
          WHERE o->>'module' = 'upgrade')",
            "alpha epsilon obrien",
        ),
        ("id IN (SELECT a.id FROM agents a LEFT JOIN commands c ON c.agentid = a.id WHERE c.id IS NULL)", "delta"),
        (
            "id IN (SELECT agents.id FROM agents CROSS JOIN actions WHERE actions.id = 1 AND agents.pid < 300)",
            "alpha beta",
        ),
        ("id IN (SELECT id FROM agents ORDER BY heartbeattime DESC LIMIT 2)", "alpha gamma"),
        ("pid > (SELECT pid FROM agents ORDER BY pid DESC NULLS FIRST, id LIMIT 1) - 102", "epsilon obrien"),
        ("id = (SELECT DISTINCT agentid FROM commands WHERE status = 'failed' ORDER BY agentid LIMIT 1)", "gamma"),
        (
            "EXISTS (SELECT * FROM commands WHERE agentid = agents.id AND starttime > (SELECT validfrom FROM actions WHERE \
          actions.id = commands.actionid LIMIT 1) + INTERVAL '50 min')",
            "alpha epsilon obrien",
        ),
        ("id IN (SELECT agentid FROM commands WHERE results IS NULL)", "alpha"),
        (
            "status IN (SELECT MAX(status) FROM agents a GROUP BY a.environment->>'os')",
            "alpha gamma delta epsilon obrien",
        ),
    ]);
}

/// A cast that fails in PostgreSQL must not select agents in SQLite.
#[test]
fn a_cast_of_the_wrong_text_is_an_error() {
    for target in [
        "(tags->>'operator')::int = 0",
        "(tags->>'operator')::numeric = 0",
        "(tags->>'operator')::boolean",
        "(tags->>'operator')::timestamptz < NOW()",
    ] {
        let error = select(target).unwrap_err();
        assert!(error.to_string().contains("`'IT'` is not"), "{error}");
    }
}

/// The largest accepted conditions must stay within SQLite's own limits.
#[test]
fn the_largest_targets_run() {
    let chain = vec!["TRUE"; 900].join(" AND ");
    assert_eq!(select(&chain).unwrap(), EVERYONE);
    let list: Vec<String> = (1..=1_000).map(|number| number.to_string()).collect();
    assert_eq!(select(&format!("id IN ({})", list.join(","))).unwrap(), EVERYONE);
    let nested = format!("{}TRUE{}", "NOT (".repeat(30), ")".repeat(30));
    assert_eq!(select(&nested).unwrap(), EVERYONE);
    let path = vec!["0"; 16].join(",");
    assert_eq!(select(&format!("tags #>> '{{{path}}}' IS NULL")).unwrap(), EVERYONE);
    let days = format!("{}starttime{} < NOW()", "(".repeat(20), "::date + INTERVAL '1 hour')".repeat(20));
    assert_eq!(select(&days).unwrap(), EVERYONE);
}
