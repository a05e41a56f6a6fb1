use super::*;

fn canon(text: &str) -> String {
    let mut out = String::new();
    canonical(&value(text).unwrap(), &mut out);
    out
}

#[test]
fn canonical_form_is_gos() {
    for (input, expected) in [
        (r#"{"b":1,"a":[true,null,{}],"B":""}"#, r#"{"B":"","a":[true,null,{}],"b":1}"#),
        (
            "[1.0, 0.5, -0.0, 1e-6, 1e-7, 1e20, 1e21, 123456789012345678, 1.5e300]",
            "[1,0.5,-0,0.000001,1e-7,100000000000000000000,1e+21,123456789012345680,1.5e+300]",
        ),
        (
            "\"<a>&\\u2028\\u2029\\b\\f\\n\\r\\t\\u0001\\\"\\\\\\u007fé\"",
            "\"\\u003ca\\u003e\\u0026\\u2028\\u2029\\u0008\\u000c\\n\\r\\t\\u0001\\\"\\\\\u{7f}é\"",
        ),
        (r#"{"é":1,"z":2,"a b":3}"#, r#"{"a b":3,"z":2,"é":1}"#),
        ("2.2250738585072011e-308", "2.225073858507201e-308"),
    ] {
        assert_eq!(canon(input), expected, "{input}");
    }
}

#[test]
fn duplicate_keys_are_refused_at_any_depth() {
    for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"b":2,"a":1}}]"#] {
        assert!(value(text).unwrap_err().to_string().contains("'a' stands twice"), "{text}");
    }
    assert!(Fields::parse(br#"{"Name":1,"name":2}"#).is_err());
    assert!(value(r#"{"a":1,"A":2}"#).is_ok(), "labels may differ in case only");
}

#[test]
fn deep_nesting_is_refused_without_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(value(&deep).is_err());
    let outer = format!("{{\"a\":{deep}}}");
    assert!(Fields::parse(outer.as_bytes()).unwrap().value("a", usize::MAX).is_err());
}

#[test]
fn a_cut_file_is_incomplete_and_a_wrong_one_is_not() {
    let whole = r#"{"name": "é", "list": [1, 2, {"y": "z"}], "n": 1.5e3}"#;
    for cut in 0..whole.len() {
        assert_eq!(Fields::parse(&whole.as_bytes()[..cut]).err(), Some(JsonError::Incomplete), "cut at {cut}");
    }
    for wrong in ["{]", "[1]", "{\"a\":1}}", "hello", "{\"a\":tru}", "\"s\"", "{'a':1}", "\u{0}"] {
        assert!(matches!(Fields::parse(wrong.as_bytes()), Err(JsonError::Syntax(_))), "{wrong}");
    }
}

#[test]
fn what_is_no_object_is_called_by_its_name() {
    let said = |text: &[u8]| Fields::parse(text).err().unwrap().to_string();
    for (text, reason) in [
        (&b" [1]"[..], "it is an array, not an object"),
        (b"\"x\"", "it is a string, not an object"),
        (b"-1", "it is a number, not an object"),
        (b"true", "it is true or false, not an object"),
        (b"null", "it is null, not an object"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark; save it as UTF-8 without one"),
        (b"\xff\xfe{\0}\0", "it is UTF-16; save it as UTF-8"),
        (b"{\"a\": \"\xe9\"}", "byte 8 is no UTF-8; save it as UTF-8"),
    ] {
        assert_eq!(said(text), format!("not acceptable JSON: {reason}"));
    }
    let long = "k".repeat(1000);
    let twice = said(format!("{{\"{long}\":1,\"{long}\":2}}").as_bytes());
    assert!(twice.contains("the key 'kkk") && twice.len() < 200, "a key is told in part: {twice}");
}

#[test]
fn levels_are_counted_outside_of_strings() {
    for (text, levels) in [
        ("1", 0),
        ("[]", 1),
        (r#"{"a": [1, {"b": []}], "c": {}}"#, 4),
        (r#"["[[[", "\"[[", "\\", [1]]"#, 2),
        (r#"[[1], [2], {"}": "]"}]"#, 2),
    ] {
        assert_eq!(depth(text), levels, "{text}");
    }
}

#[test]
fn raw_fields_are_kept_byte_for_byte() {
    let text = br#"{"Results": [{"elements": "\u0000 \ud800"}], "x": 1}"#;
    let fields = Fields::parse(text).unwrap();
    assert_eq!(fields.raw("results").unwrap().get(), r#"[{"elements": "\u0000 \ud800"}]"#);
}

#[test]
fn a_small_text_cannot_take_much_memory() {
    let bomb = format!("{{\"a\":[{}0]}}", "{\"\":0},".repeat(20_000));
    let fields = Fields::parse(bomb.as_bytes()).unwrap();
    assert_eq!(
        fields.value("a", 9_999).unwrap_err().to_string(),
        "field 'a': has more than 9999 parts (objects, arrays and what stands in them)"
    );
    assert!(fields.object("a").is_err());
}

#[test]
fn errors_name_the_field() {
    let fields = Fields::parse(br#"{"t": "yesterday", "s": 5, "n": 1.5, "o": [], "in": {"x": 1}}"#).unwrap();
    assert!(fields.time("t").unwrap_err().to_string().starts_with("field 't': is not a time"));
    assert!(fields.text("s", 9).unwrap_err().to_string().starts_with("field 's'"));
    assert!(fields.integer::<i64>("n").unwrap_err().to_string().contains("whole number"));
    assert!(fields.object("o").unwrap_err().to_string().contains("not an object"));
    assert!(fields.text_required("gone", 9).unwrap_err().to_string().contains("is missing"));
    let inner = fields.inner("in").unwrap().unwrap();
    assert_eq!(inner.text("x", 1).unwrap_err().to_string(), "field 'in.x': is not a string");
}

#[test]
fn whole_numbers_are_read_in_every_form_that_holds_them_exactly() {
    let read = |text: &str| Fields::parse(text.as_bytes()).unwrap().integer::<u64>("n").map_err(|e| e.to_string());
    for (text, number) in [
        (r#"{"n": 2.0}"#, Some(2)),
        (r#"{"n": 1e3}"#, Some(1000)),
        (r#"{"n": 18446744073709551615}"#, Some(u64::MAX)),
        (r#"{"N": null}"#, None),
    ] {
        assert_eq!(read(text), Ok(number), "{text}");
    }
    assert_eq!(read(r#"{"n": 1e17}"#).unwrap_err(), "field 'n': is not a whole number");
    assert_eq!(read(r#"{"n": -4}"#).unwrap_err(), "field 'n': is -4, which is out of range");
}

#[test]
fn the_name_of_a_field_twice_in_an_inner_object_is_told_without_a_misleading_column() {
    let error = Fields::at("a[0].b", r#"{"x": 1, "X": 2}"#).err().unwrap().to_string();
    assert_eq!(error, "field 'a[0].b': the key 'x' stands twice in one object");
}
