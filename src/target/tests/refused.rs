//! Targets that are refused, each with a part of the message that names the piece.

use super::Target;

fn check(cases: &[(&str, &str)]) {
    for (target, part) in cases {
        match Target::parse(target) {
            Ok(_) => panic!("accepted: {target}"),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains(part), "{target}\nsays: {message}\nwithout: {part}");
            }
        }
    }
}

#[test]
fn text_that_is_no_plain_sql_is_refused() {
    check(&[
        ("", "empty"),
        (" \n\t ", "empty"),
        ("status='online'; DROP TABLE agents", "`;` is not allowed"),
        ("status='online';", "`;` is not allowed"),
        ("status='online' -- x", "comments"),
        ("status='online' /* x */", "comments"),
        ("/* x */ all", "comments"),
        ("name = E'a'", "`E'a'`"),
        ("name = U&'a'", "`U&'a'`"),
        ("name = N'a'", "`N'a'`"),
        ("name = X'61'", "`X'61'`"),
        ("name = B'01'", "`B'01'`"),
        ("name = $$a$$", "`$$a$$`"),
        ("name = $tag$a$tag$", "plain single quotes"),
        ("name = $1", "`$1`"),
        ("name = ?", "`?`"),
        ("name = :name", "`:`"),
        ("name = 'a' 'b'", "two strings in a row"),
        ("name = 'a\0'", "control character '\\0' at byte 9"),
        ("name = 'a\u{1b}[31m'", "control character"),
        ("name = 'a", "Unterminated string"),
        ("name = \"a", "the target is not a condition"),
        ("name = `a`", "`"),
        ("status=", "the target is not a condition"),
        ("status='online' status", "`status` is not allowed in a target: the target must end"),
        ("status='online' GROUP BY 1", "`GROUP` is not allowed"),
        ("status='online' LIMIT 1", "`LIMIT` is not allowed"),
        ("SELECT 1", "not"),
        ("DELETE FROM agents", "not"),
        ("status = 'a') OR (TRUE", "`)` is not allowed"),
    ]);
}

#[test]
fn names_outside_the_list_are_refused() {
    check(&[
        ("xmin = 1", "no column `xmin`"),
        ("ctid = '(0,1)'", "no column `ctid`"),
        ("oid = 1", "no column `oid`"),
        ("heartbeatts > NOW()", "no column `heartbeatts`"),
        ("\"Name\" = 'x'", "no column `Name`"),
        ("\"\" = 'x'", "no column `\"\"`"),
        ("agents.publickey = 'x'", "no column `agents.publickey`"),
        ("commands.id = 1", "no column `commands.id`"),
        ("public.agents.name = 'x'", "`public.agents.name`"),
        ("agents IS NULL", "no column `agents`"),
        ("status = \"online\"", "no column `online`"),
        ("id IN (SELECT id FROM investigators)", "no table `investigators`"),
        ("id IN (SELECT id FROM pg_catalog.pg_class)", "no table `pg_catalog.pg_class`"),
        ("id IN (SELECT id FROM public.agents)", "no table `public.agents`"),
        ("id IN (SELECT usesysid FROM pg_user)", "no table `pg_user`"),
        ("id IN (SELECT commands.id FROM commands c)", "no column `commands.id`"),
        ("id IN (SELECT a.agentid FROM agents a)", "no column `a.agentid`"),
        ("id IN (SELECT id FROM agents, commands)", "several tables"),
        ("id IN (SELECT 1 FROM agents, agents)", "give one an alias"),
        ("current_user = 'x'", "current_user"),
        ("user = 'x'", "user"),
    ]);
}

#[test]
fn functions_outside_the_list_are_refused() {
    check(&[
        ("pg_sleep(10) IS NULL", "the function pg_sleep"),
        ("lower(name) = 'x'", "the function lower"),
        ("pg_catalog.now() > starttime", "the function pg_catalog.now"),
        ("name = (SELECT pg_read_file('/etc/passwd') FROM agents LIMIT 1)", "the function pg_read_file"),
        ("mig_like(name, 'x')", "the function mig_like"),
        ("load_extension('x') = 1", "the function load_extension"),
        ("current_date < starttime", "current_date"),
        ("localtimestamp < starttime", "the function localtimestamp"),
        ("NOW(1) > starttime", "wrong number of arguments"),
        ("COUNT(*) > 1", "COUNT(*)"),
        ("MAX(pid) = 1", "MAX(pid)"),
        ("id IN (SELECT id FROM agents WHERE COUNT(*) > 1)", "COUNT(*)"),
        ("1 = (SELECT COUNT(MAX(id)) FROM agents)", "MAX(id)"),
        ("1 = (SELECT MAX(agents.id) FROM commands)", "MAX(agents.id)"),
        ("1 = (SELECT SUM(id) FROM agents)", "the function SUM"),
        ("1 = (SELECT COUNT(*) FILTER (WHERE id > 1) FROM agents)", "FILTER"),
        ("id IN (SELECT MAX(id) OVER () FROM agents)", "window functions"),
        ("1 = (SELECT MAX(environment) FROM agents)", "json has no order"),
        ("json_array_elements(tags) IS NULL", "json_array_elements(tags)"),
        ("id IN (SELECT id FROM generate_series(1, 9))", "the function generate_series"),
        ("id IN (SELECT id FROM agents WHERE json_array_elements(tags)->>'a' = 'b')", "json_array_elements(tags)"),
        ("COALESCE(name, 'x') = 'x'", "the function COALESCE"),
    ]);
}

#[test]
fn syntax_outside_the_list_is_refused() {
    check(&[
        ("name COLLATE \"C\" = 'x'", "COLLATE"),
        ("starttime AT TIME ZONE 'UTC' > NOW()", "AT TIME ZONE"),
        ("ARRAY[1] = ARRAY[1]", "`[`"),
        ("(id, pid) = (1, 2)", "`(id, pid)`"),
        ("(id, pid) IN (SELECT id, pid FROM agents)", "`(id, pid)`"),
        ("ROW(1) = ROW(1)", "ROW"),
        ("id = ANY(SELECT id FROM agents)", "ANY"),
        ("id = ALL(SELECT id FROM agents)", "ALL"),
        ("name LIKE ANY('x')", "ANY"),
        ("name SIMILAR TO 'x'", "SIMILAR TO"),
        ("name LIKE 'x' ESCAPE '!'", "ESCAPE"),
        ("name IS DISTINCT FROM 'x'", "IS DISTINCT FROM"),
        ("(pid > 1) IS UNKNOWN", "IS UNKNOWN"),
        ("CASE WHEN TRUE THEN TRUE END", "CASE"),
        ("name || 'x' = 'y'", "`||`"),
        ("pid % 2 = 1", "`%`"),
        ("pid ^ 2 = 1", "`^`"),
        ("environment @> '{}'", "`@>`"),
        ("environment::jsonb ? 'os'", "`?`"),
        ("name ~~ 'x'", "`~~`"),
        ("name OPERATOR(pg_catalog.=) 'x'", "OPERATOR"),
        ("EXTRACT(year FROM starttime) = 2015", "EXTRACT"),
        ("SUBSTRING(name FROM 1) = 'x'", "SUBSTRING"),
        ("TRIM(name) = 'x'", "TRIM"),
        ("name = 'x'::name", "the type name"),
        ("'agents'::regclass = 'x'", "the type REGCLASS"),
        ("pid::varchar(5) = '1'", "VARCHAR(5)"),
        ("TRY_CAST(pid AS text) = '1'", "TRY_CAST"),
        ("id IN ()", "Expected: an expression"),
        ("INTERVAL '1' DAY TO SECOND = '1 day'", "INTERVAL '1' DAY TO SECOND"),
        ("NOW() > TIME '10:00'", "the type TIME"),
    ]);
}

#[test]
fn subqueries_beyond_the_list_are_refused() {
    check(&[
        ("id IN (WITH x AS (SELECT 1) SELECT id FROM agents)", "WITH x"),
        ("id IN (SELECT id FROM agents UNION SELECT id FROM commands)", "UNION"),
        ("id IN (VALUES (1))", "VALUES"),
        ("id IN (TABLE agents)", "the target is not a condition"),
        ("id IN (SELECT id FROM agents FOR UPDATE)", "FOR UPDATE"),
        ("id IN (SELECT id INTO x FROM agents)", "INTO x"),
        ("id IN (SELECT id FROM agents OFFSET 1)", "OFFSET"),
        ("id IN (SELECT id FROM agents LIMIT 1 + 1)", "LIMIT"),
        ("id IN (SELECT id FROM agents FETCH FIRST 1 ROW ONLY)", "FETCH"),
        ("id IN (SELECT id FROM (SELECT id FROM agents) x)", "(SELECT id FROM agents)"),
        ("id IN (SELECT id FROM agents NATURAL JOIN commands)", "the join to commands"),
        ("id IN (SELECT a.id FROM agents a FULL JOIN commands c ON TRUE)", "the join to commands"),
        ("id IN (SELECT a.id FROM agents a JOIN commands c USING (id))", "the join to commands"),
        ("id IN (SELECT id FROM agents TABLESAMPLE SYSTEM (1))", "agents TABLESAMPLE"),
        ("id IN (SELECT id, pid FROM agents)", "selects one column"),
        ("id IN (SELECT * FROM agents)", "must select one column"),
        ("id IN (SELECT agents.* FROM agents)", "selects one column"),
        ("id IN (SELECT 1)", "must have a FROM"),
        ("id IN (SELECT DISTINCT ON (pid) id FROM agents)", "DISTINCT ON"),
        ("id = (SELECT id FROM agents)", "gives one row"),
        ("id IN (SELECT id FROM agents GROUP BY 1)", "`1` is not allowed"),
        ("id IN (SELECT id FROM agents GROUP BY status)", "`id` is not allowed"),
        ("id IN (SELECT id FROM agents GROUP BY ROLLUP (id))", "ROLLUP"),
        ("id IN (SELECT MAX(id) FROM agents HAVING pid > 1)", "`pid` is not allowed"),
        ("id IN (SELECT DISTINCT id FROM agents ORDER BY pid)", "ORDER BY"),
        ("id IN (SELECT id FROM agents ORDER BY tags)", "json has no order"),
        ("id IN (SELECT id FROM agents ORDER BY id NULLS FIRST)", "NULLS FIRST"),
        ("EXISTS (SELECT 1 FROM agents a, agents b, agents c, agents d, agents e)", "reads 5 tables"),
        ("EXISTS (DELETE FROM agents RETURNING id)", "DELETE"),
        ("id IN (SELECT id FROM agents WINDOW w AS ())", "WINDOW"),
        ("(SELECT 1 FROM agents LIMIT 1)", "not a condition"),
    ]);
}

#[test]
fn types_that_do_not_fit_are_refused() {
    check(&[
        ("'online'", "`'online'` is a bare value, not a condition"),
        ("1", "`1` is an integer, not a condition"),
        ("status", "`status` is text, not a condition"),
        ("environment", "is json, not a condition"),
        ("NOW()", "is a time, not a condition"),
        ("NULL", "not a condition"),
        ("status AND TRUE", "`status`: a condition is needed here, but this is text"),
        ("NOT pid", "`pid`: a condition is needed here"),
        ("name = 5", "text can't be compared with an integer"),
        ("environment->>'os' = 5", "put a cast"),
        ("environment = '{}'", "json can't be compared"),
        ("environment->'os' = 'linux'", "->>"),
        ("environment LIKE '%linux%'", "`environment`: text is needed here, but this is json"),
        ("pid LIKE '1%'", "`pid`: text is needed"),
        ("name->>'x' = 'y'", "`name`: json is needed here"),
        ("environment->name = 'x'", "what follows -> or ->>"),
        ("environment->>'a\"b' = 'x'", "`'a\"b'` is not a key"),
        ("environment#>>'addresses' = 'x'", "is not a path into json"),
        ("environment#>>'{a,{b}}' = 'x'", "is not a path into json"),
        ("heartbeattime > 5", "a time can't be compared with an integer"),
        ("heartbeattime > 'yesterday'", "`'yesterday'` is not a time"),
        ("heartbeattime > NOW() - 5", "a time and an integer can't be combined"),
        ("heartbeattime > NOW() - INTERVAL '5 parsecs'", "`'5 parsecs '` is not an interval"),
        ("heartbeattime + heartbeattime > NOW()", "can't be combined"),
        ("pid = 'x'", "`'x'` is not an integer"),
        ("pid = 99999999999999999999", "`99999999999999999999`"),
        ("(pid > 1) = 'maybe'", "`'maybe'` is not a boolean"),
        ("starttime::text = 'x'", "a time can't be cast to text"),
        ("pid::boolean", "an integer can't be cast to a condition"),
        ("-name = 'x'", "a sign can't stand before text"),
        ("id IN (SELECT name FROM agents)", "an integer can't be compared with text"),
        ("pid BETWEEN 1 AND name", "can't be compared"),
        ("pid IN (1, name)", "can't be compared"),
    ]);
}

#[test]
fn patterns_that_the_databases_read_differently_are_refused() {
    let long = format!("name ~ '{}'", "a".repeat(513));
    check(&[
        ("name ~ '('", "unclosed group"),
        ("name ~ '[z-a]'", "invalid character class range"),
        (r"name ~ '\bword'", r"the escape \b is not allowed"),
        (r"name ~ '\mword'", r"the escape \m is not allowed"),
        (r"name ~ '(a)\1'", r"the escape \1 is not allowed"),
        (r"name ~ '\p{L}'", r"the escape \p is not allowed"),
        ("name ~ '(?=a)'", "only (?: is allowed"),
        ("name ~ '(?i)a'", "only (?: is allowed"),
        ("name ~ '***=a'", "directors"),
        ("name ~ '[a&&b]'", "&& inside brackets"),
        ("name ~ '[a[b]]'", "[ inside brackets"),
        ("name ~ 'a{256}'", "{256} is not a repetition"),
        ("name ~ 'a{,3}'", "{,3} is not a repetition"),
        ("name ~ '((a{200}){200}){200}'", "size limit"),
        (&long, "at most 512 bytes"),
        ("name ~ queueloc", "must be written as a string"),
        (r"name LIKE 'a\'", "ends with the escape character"),
    ]);
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let too_long = format!("name = '{}'", "a".repeat(9_000));
    let list = format!("id IN ({})", vec!["1"; 1_001].join(","));
    let nodes = vec!["NOT -1=1"; 401].join(" OR ");
    let tokens = format!("1 {} = 1", "+1".repeat(2_000));
    let sum = format!("1 {} = 1", "+1".repeat(100));
    let parentheses = format!("{}TRUE{}", "(".repeat(65), ")".repeat(65));
    let nots = format!("{} TRUE", "NOT ".repeat(100));
    let casts = format!("pid{} = 1", "::int".repeat(70));
    let deep = "more than 64 levels deep";
    check(&[
        (&too_long, "9009 bytes"),
        (&list, "has 1001 items"),
        (&nodes, "too many parts"),
        (&tokens, "too many parts"),
        (&sum, deep),
        (&parentheses, deep),
        (&nots, deep),
        (&casts, deep),
    ]);
}
