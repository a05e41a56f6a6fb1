//! Rules and files that explode.

use super::{below, matches, scan};
use crate::modules::yara::Yara;
use crate::modules::yara::rules::compile;
use crate::modules::{Context, Module};
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

/// Rules with one string each.
fn rules(count: usize, string: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for n in 0..count {
        let _ = writeln!(text, "rule r{n} {{ strings: $s = {} condition: $s }}", string(n));
    }
    text
}

#[test]
fn what_would_need_too_much_memory_is_refused_before_it_is_compiled() {
    let started = Instant::now();
    let many = |text: &str, count: usize| text.repeat(count);
    let strings: String = (0..9_999).map(|n| format!("$a{n} = \"abcd{n}\"\n")).collect();
    for (text, error) in [
        (rules(3000, |n| format!("/{n}x(a{{1,100}}b){{1,10}}/")), "with \"s\" of it the compiled rules are too large"),
        (rules(9000, |n| format!("{{ {:02x} 01 02 03 [0-9999] 04 05 06 }}", n % 256)), "too large"),
        (rules(9000, |n| format!("\"{n:030}\" xor wide ascii")), "too large"),
        (rules(1, |_| "/a((((b{1000}){1000}){1000}){1000}){1000}/".into()), "line 1: rule r0: with \"s\" of it"),
        (rules(20_001, |n| format!("\"{n}\"")), "line 20001: more than 20000 strings"),
        (
            format!("rule a {{ strings: {strings} condition: {} true }}", many("any of ($a*) or ", 40_000)),
            "line 10000: rule a: with \"sets\" of it",
        ),
        (
            format!(
                "{} rule z {{ condition: {} true }}",
                rules(9_999, |_| "\"abc\"".into()),
                many("any of (r*) or ", 40_000)
            ),
            "line 10000: rule z: with \"sets\" of it",
        ),
    ] {
        let found = compile(&text).err().unwrap().to_string();
        assert!(found.starts_with("yara: line ") && found.contains(error), "{error}: {found}");
    }
    // Deep nesting is no stack overflow.
    for text in [
        format!("rule a {{ condition: {}true{} }}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("rule a {{ condition: {} true }}", "not ".repeat(100_000)),
        format!("rule a {{ strings: $a = /x{}a{}/ condition: $a }}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("rule a {{ condition: {} true }}", "true and ".repeat(100_000)),
        format!("rule a {{ condition: {}1 }}", "-".repeat(1_000_000)),
        format!("rule a {{ condition: {}1 }}", "1+".repeat(500_000)),
        format!("rule a {{ condition: {}1 }}", "1==".repeat(300_000)),
        format!(
            "rule a {{ strings: $a = {{ 01 {} 02 {} }} condition: $a }}",
            "( 03 | ".repeat(50_000),
            ")".repeat(50_000)
        ),
    ] {
        assert!(text.len() <= 1 << 20);
        let _ = compile(&text);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_string_with_too_many_matches_leaves_its_rule_unknown() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "ab".repeat(20_000)).unwrap();
    let condition = |condition: &str| format!("rule a {{ strings: $s = \"ab\" condition: {condition} }}");
    let unknown = scan(&condition("#s > 15000"), &below(directory.path()));
    assert_eq!((&unknown.elements, &unknown.statistics["partial"]), (&json!({}), &json!(true)));
    let errors = unknown.errors.unwrap();
    assert!(errors[0].ends_with("rule a does not match by the first 10000 places of $s; there are more"), "{errors:?}");
    // A rule that matches by the places that were counted may not match by all of them.
    for doubtful in ["#s == 10000", "not $s in(30000..40000)"] {
        let result = scan(&condition(doubtful), &below(directory.path()));
        assert_eq!((matches(&result).len(), &result.statistics["partial"]), (1, &json!(true)), "{doubtful}");
        let errors = result.errors.unwrap();
        assert!(errors[0].ends_with("rule a matches by the first 10000 places of $s; there are more"), "{errors:?}");
    }
    // What asks for no number is known, and so is the first place.
    for known in ["$s and filesize < 7", "$s at 0 and filesize < 7"] {
        assert_eq!(scan(&condition(known), &below(directory.path())).elements, json!({"Matches": []}), "{known}");
    }
    for unknown in ["$s at 39000 ", "$s in (39000..39100)", "@s[12000] > 1"] {
        assert_eq!(scan(&condition(unknown), &below(directory.path())).elements, json!({}), "{unknown}");
    }
    let found = scan(&condition("#s > 9000"), &below(directory.path()));
    let string = &matches(&found)[0]["Rules"][0]["strings"][0];
    assert_eq!((&string["count"], string["places"].as_array().unwrap().len()), (&json!(10_000), 100));
}

#[test]
fn a_scan_that_takes_too_long_is_named_and_what_was_found_stands() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name), name.repeat(1000)).unwrap();
    }
    let slow = "rule slow { condition: filename == \"b\" and for all i in (1..1000000000) : (for all j in (1..1000000000) : (i < j + 1000000000)) }";
    let quick = "rule quick { condition: filename == \"a\" }";
    let deadline = Instant::now() + Duration::from_secs(2);
    let parameters = json!({"yara": format!("{quick} {slow}"), "filesearch": below(directory.path())});
    let result = Yara.run(&parameters, Context { deadline: Some(deadline), ..Context::by_hand() });
    assert!(Instant::now() < deadline + Duration::from_secs(5), "it goes on for long");
    let errors = result.errors.clone().unwrap();
    let place = directory.path().join("b").display().to_string();
    assert!(errors.iter().any(|error| error.contains(&place)), "{errors:?}");
    assert!(errors[0].starts_with("partial: stopped at the time limit"), "{errors:?}");
    // In whatever order the directory has them.
    assert!(
        result.elements.get("Matches").is_none_or(|found| found[0]["MatchedRules"] == json!(["quick"])),
        "{result:?}"
    );
}

#[test]
fn the_run_ends_without_a_scan_that_cannot_be_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "a".repeat(64 << 20)).unwrap();
    // No part of the expression can be looked for: the engine tries each place, and does not look at the clock.
    let rules = "rule a { strings: $a = /[a-y][a-z]*[0-9]/ condition: $a }";
    let deadline = Instant::now() + Duration::from_secs(1);
    let parameters = json!({"yara": rules, "filesearch": below(directory.path())});
    let result = Yara.run(&parameters, Context { deadline: Some(deadline), ..Context::by_hand() });
    assert!(Instant::now() < deadline + Duration::from_secs(4), "it waits for it");
    assert!(result.success, "{result:?}");
}
