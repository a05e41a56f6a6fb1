//! What is no injection but a mistake: types, patterns, sizes.

use super::Row;

/// Operands that do not fit.
const TYPES: &[Row] = &[
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
    ("environment->name = 'x'", "-> and ->> take a 'name' or a number"),
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
    ("-name = 'x'", "a sign can't precede text"),
    ("id IN (SELECT name FROM agents)", "an integer can't be compared with text"),
    ("pid BETWEEN 1 AND name", "can't be compared"),
    ("pid IN (1, name)", "can't be compared"),
];

/// Patterns that the databases read differently.
const PATTERNS: &[Row] = &[
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
    ("name ~ queueloc", "must be written as a string"),
    (r"name LIKE 'a\'", "ends with the escape character"),
];

/// Texts beyond the limits.
fn sizes() -> Vec<(String, &'static str)> {
    let deep = "more than 64 levels deep";
    let parentheses = |levels: usize| format!("{}TRUE{}", "(".repeat(levels), ")".repeat(levels));
    vec![
        (format!("name = '{}'", "a".repeat(9_000)), "9009 bytes"),
        (format!("name ~ '{}'", "a".repeat(513)), "at most 512 bytes"),
        (format!("id IN ({})", vec!["1"; 1_001].join(",")), "has 1001 items"),
        (vec!["NOT -1=1"; 401].join(" OR "), "too many parts"),
        (format!("1 {} = 1", "+1".repeat(2_000)), "too many parts"),
        (format!("1 {} = 1", "+1".repeat(100)), deep),
        (parentheses(65), deep),
        (parentheses(4_000), deep),
        (format!("{} TRUE", "NOT ".repeat(100)), deep),
        (format!("pid{} = 1", "::int".repeat(70)), deep),
        (format!("1{} = 1", " - -1".repeat(900)), deep),
    ]
}

/// All of them.
pub fn rows() -> Vec<(String, &'static str)> {
    let written = TYPES.iter().chain(PATTERNS).map(|(target, part)| ((*target).to_owned(), *part));
    written.chain(sizes()).collect()
}
