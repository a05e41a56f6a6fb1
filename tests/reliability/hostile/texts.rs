//! Content that is no JSON, or odd JSON: bombs, duplicates, odd encodings.

use super::bench::Outcome::Accepted;
use super::bench::{Bench, Row, refused, text};
use mig::action::Action;
use serde_json::{Value, json};

/// A signed action with text put in front of one of its fields.
fn with(bench: &Bench, insertion: &str) -> String {
    bench.signed().to_string().replacen("\"name\":", &format!("{insertion}\"name\":"), 1)
}

fn no_json(bench: &Bench) -> Vec<Row> {
    let signed = bench.signed();
    let one = signed.to_string();
    let utf16: Vec<u8> = format!("\u{feff}{one}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let column = one.len();
    vec![
        text("no JSON", "{\"name\": ]", refused("not acceptable JSON: expected value at line 1 column 10")),
        text("shell script", "#!/bin/sh\nreboot\n", refused("not acceptable JSON: expected value at line 1 column 1")),
        text("zero bytes", vec![0; 4096], refused("not acceptable JSON: expected value at line 1 column 1")),
        text("an array", json!([signed]).to_string(), refused("not acceptable JSON: it is an array, not an object")),
        text("a string", json!(one).to_string(), refused("not acceptable JSON: it is a string, not an object")),
        text("a number", "1", refused("not acceptable JSON: it is a number, not an object")),
        text("null", "null\n", refused("not acceptable JSON: it is null, not an object")),
        text("an empty object", "{}", refused("field 'name': is missing")),
        text(
            "byte order mark",
            format!("\u{feff}{one}"),
            refused("not acceptable JSON: it begins with a byte order mark; save it as UTF-8 without one"),
        ),
        text("UTF-16", utf16, refused("not acceptable JSON: it is UTF-16; save it as UTF-8")),
        text(
            "something behind it",
            format!("{one} x"),
            refused(format!("not acceptable JSON: trailing characters at line 1 column {}", column + 2)),
        ),
        text(
            "two actions",
            format!("{one}\n{one}\n"),
            refused("not acceptable JSON: trailing characters at line 2 column 1"),
        ),
        text("line ends of Windows", one.replace(",\"", ",\r\n\"") + "\r\n\r\n", Accepted),
        text(
            "comment",
            with(bench, "/* mine */"),
            refused("not acceptable JSON: key must be a string at line 1 column 39"),
        ),
        text("single quotes", "{'name': 1}", refused("not acceptable JSON: key must be a string at line 1 column 2")),
        text("no number", "{\"x\": NaN}", refused("not acceptable JSON: expected value at line 1 column 7")),
    ]
}

fn bombs(bench: &Bench) -> Vec<Row> {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let keys = |count: usize| (0..count).map(|n| format!("\"k{n}\":{n},")).collect::<String>();
    let parameters = |value: &str| {
        let mut action = bench.signed();
        action["operations"][0]["parameters"] = "VALUE".into();
        action.to_string().replace("\"VALUE\"", value)
    };
    let numbers = parameters(&format!("[{}1]", "1e15,".repeat(99_000)));
    let written = Action::parse(numbers.as_bytes()).unwrap().to_json().len();
    vec![
        text("deep, where nobody looks", with(bench, &format!("\"x\":{},", deep(100_000))), Accepted),
        text(
            "deep description",
            with(bench, &format!("\"description\":{{\"x\":{}}},", deep(500))),
            refused("field 'description': not acceptable JSON: recursion limit exceeded at line 1 column 132"),
        ),
        text(
            "deeper description",
            with(bench, &format!("\"description\":{{\"x\":{}}},", deep(100_000))),
            refused("field 'description': has more than 2000 parts (objects, arrays and what stands in them)"),
        ),
        text(
            "deep parameters",
            parameters(&deep(500)),
            refused(
                "field 'operations[0].parameters': not acceptable JSON: recursion limit exceeded at line 1 column 128",
            ),
        ),
        text(
            "parameters of a hundred thousand parts",
            parameters(&format!("[{}1]", "1,".repeat(100_000))),
            refused(
                "field 'operations[0].parameters': has more than 100000 parts (objects, arrays and what stands in them)",
            ),
        ),
        text("sixty thousand fields", with(bench, &keys(60_000)), Accepted),
        text(
            "sixty thousand threats",
            with(bench, &format!("\"threat\":{{{}\"k\":1}},", keys(60_000))),
            refused("field 'threat': has more than 2000 parts (objects, arrays and what stands in them)"),
        ),
        text(
            "numbers that grow when they are written",
            numbers,
            refused(format!("has {written} bytes when it is written out, the limit is 1048576")),
        ),
        text(
            "number out of range",
            with(bench, "\"threat\":{\"level\":1e999},"),
            refused("field 'threat': not acceptable JSON: number out of range at line 1 column 14"),
        ),
        text("number of half a million digits", with(bench, &format!("\"x\":{},", "7".repeat(500_000))), Accepted),
    ]
}

fn keys_and_strings(bench: &Bench) -> Vec<Row> {
    const NO_UTF8: &str = "not acceptable JSON: byte 54 is no UTF-8; save it as UTF-8";
    let half_a_megabyte = "k".repeat(500_000);
    let escaped = |name: &str| bench.signed().to_string().replacen("\"hostile\"", &format!("\"hostile{name}\""), 1);
    let bytes = |name: &[u8]| {
        let text = escaped("HERE");
        let (before, after) = text.split_once("HERE").unwrap();
        [before.as_bytes(), name, after.as_bytes()].concat()
    };
    let twice = |key: &str, column: usize| {
        refused(format!("not acceptable JSON: the key '{key}' stands twice in one object at line 1 column {column}"))
    };
    let unknown: Value = json!({"investigators": [{"id": 1}], "status": "pending", "x": {"y": [null]}});
    let unknown = unknown.to_string();
    vec![
        text("unknown fields", with(bench, &format!("{},", &unknown[1..unknown.len() - 1])), Accepted),
        text("a field twice", "{\"name\":\"a\",\"name\":\"b\"}", twice("name", 23)),
        text("a field twice, in another case", "{\"name\":\"a\",\"NAME\":\"b\"}", twice("name", 23)),
        text("a field twice, once escaped", "{\"name\":\"a\",\"n\\u0061me\":\"b\"}", twice("name", 28)),
        text(
            "a key of half a megabyte twice",
            format!("{{\"{half_a_megabyte}\":1,\"{half_a_megabyte}\":2}}"),
            twice(&format!("{}…", "k".repeat(40)), 1_000_011),
        ),
        text("a key with an escape sequence twice", "{\"\\u001b[31m\":1,\"\\u001b[31m\":2}", twice("\\u{1b}[31m", 31)),
        text(
            "a parameter twice",
            "{\"name\":\"a\",\"target\":\"all\",\"syntaxversion\":2,\"operations\":[{\"module\":\"file\",\"parameters\":{\"a\":1,\"a\":2}}]}",
            refused(
                "field 'operations[0].parameters': not acceptable JSON: the key 'a' stands twice in one object at line 1 column 13",
            ),
        ),
        text(
            "a line end in a string",
            bytes(b"\n"),
            refused(
                "not acceptable JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 53",
            ),
        ),
        text(
            "a zero byte in a string",
            bytes(b"\0"),
            refused(
                "not acceptable JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 53",
            ),
        ),
        text("bytes that are no UTF-8", bytes(b"\xff\xfe"), refused(NO_UTF8)),
        text("a character in too many bytes", bytes(b"\xc0\xaf"), refused(NO_UTF8)),
        text(
            "half a surrogate",
            escaped("\\ud800"),
            refused("field 'name': not acceptable JSON: unexpected end of hex escape at line 1 column 15"),
        ),
        text(
            "an escape that is none",
            escaped("\\q"),
            refused("not acceptable JSON: invalid escape at line 1 column 55"),
        ),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [no_json(bench), bombs(bench), keys_and_strings(bench)].into_iter().flatten().collect()
}
