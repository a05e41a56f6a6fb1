//! Which parameters are accepted, and how the others are refused.

use super::{File, Module, context, run};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Returns the error message for a search with these fields and a path.
fn refusal(search: Value) -> String {
    let mut search = search;
    if search.is_object() && search.get("paths").is_none() {
        search["paths"] = json!(["/nowhere"]);
    }
    let parameters = json!({"searches": {"s1": search}});
    let message = File.validate(&parameters).expect_err(&parameters.to_string()).to_string();
    let result = File.run(&parameters, context(1));
    assert!(!result.success && !result.foundanything);
    assert_eq!(result.errors, Some(vec![message.clone()]), "run says the same as validate");
    message
}

#[test]
fn a_refusal_names_the_field_and_the_reason() {
    let long = "x".repeat(20_000);
    for (search, message) in [
        (json!([]), "searches.s1: is an array, not an object"),
        (json!({"paths": []}), "searches.s1.paths: at least one path is needed"),
        (json!({"paths": "/etc"}), "searches.s1.paths: is not an array"),
        (json!({"paths": [""]}), "searches.s1.paths[0]: the path is empty"),
        (json!({"paths": ["/a\u{0}b"]}), "searches.s1.paths[0]: a path can't hold a NUL"),
        (json!({"paths": ["/etc", long]}), "searches.s1.paths[1]: the path is longer"),
        (json!({"names": [7]}), "searches.s1.names[0]: is not a string"),
        (json!({"names": {}}), "searches.s1.names: is not an array"),
        (json!({"names": ["a", "("]}), "searches.s1.names[1]: bad regular expression: missing closing ): `(`"),
        (json!({"names": [""]}), "searches.s1.names[0]: the regular expression is empty"),
        (json!({"names": [long]}), "searches.s1.names[0]: the regular expression is longer than"),
        (json!({"names": ["(.{1000}){1000}"]}), "searches.s1.names[0]: bad regular expression"),
        (json!({"contents": ["!"]}), "searches.s1.contents[0]: the regular expression is empty"),
        (json!({"contents": ["(.{1000}){1000}"]}), "searches.s1.contents[0]: bad regular expression"),
    ] {
        assert_refused(search, message);
    }
}

#[test]
fn a_refusal_of_a_comparison_or_an_option_names_it_too() {
    for (search, message) in [
        (json!({"modes": ["["]}), "searches.s1.modes[0]: bad regular expression"),
        (json!({"modes": [""]}), "searches.s1.modes[0]: the regular expression is empty"),
        (json!({"sizes": ["10q"]}), "searches.s1.sizes[0]: \"10q\" is not a size"),
        (json!({"sizes": ["<"]}), "searches.s1.sizes[0]: \"<\" is not a size"),
        (json!({"sizes": ["-1"]}), "searches.s1.sizes[0]: \"-1\" is not a size"),
        (json!({"sizes": ["99999999999t"]}), "searches.s1.sizes[0]"),
        (json!({"mtimes": ["90d"]}), "searches.s1.mtimes[0]: \"90d\" is not an age"),
        (json!({"mtimes": ["<90s"]}), "searches.s1.mtimes[0]"),
        (json!({"mtimes": ["<+9d"]}), "searches.s1.mtimes[0]"),
        (json!({"mtimes": [">d"]}), "searches.s1.mtimes[0]"),
        (json!({"mtimes": [">99999999999999999d"]}), "searches.s1.mtimes[0]"),
        (json!({"md5": ["abc"]}), "searches.s1.md5[0]: \"abc\" is not hexadecimal"),
        (json!({"md5": ["xy"]}), "searches.s1.md5[0]: \"xy\" is not hexadecimal"),
        (json!({"md5": ["abcd"]}), "searches.s1.md5[0]: 4 hexadecimal digits, where 32 are expected"),
        (json!({"sha2": ["abcd"]}), "searches.s1.sha2[0]: 4 hexadecimal digits, where 64 or 96 or 128 are expected"),
        (json!({"sha3_224": ["ab".repeat(32)]}), "searches.s1.sha3_224[0]: 64 hexadecimal digits, where 56"),
        (json!({"description": 1}), "searches.s1.description: is not a string"),
        (json!({"names": ["a"], "Names": ["b"]}), "searches.s1: the key 'names' stands twice in one object"),
        (json!({"options": []}), "searches.s1.options: is an array, not an object"),
        (json!({"options": {"maxdepth": -1}}), "searches.s1.options.maxdepth: is -1, which is out of range"),
        (json!({"options": {"maxdepth": "2"}}), "searches.s1.options.maxdepth: is not a number"),
        (json!({"options": {"matchlimit": 1.5}}), "searches.s1.options.matchlimit: is not a whole number"),
        (json!({"options": {"maxerrors": true}}), "searches.s1.options.maxerrors: is not a number"),
        (json!({"options": {"matchall": "yes"}}), "searches.s1.options.matchall: is not true or false"),
        (json!({"options": {"mismatch": ["colour"]}}), "searches.s1.options.mismatch[0]: \"colour\" is not the name"),
    ] {
        assert_refused(search, message);
    }
}

fn assert_refused(search: Value, message: &str) {
    let refused = refusal(search.clone());
    assert!(refused.starts_with(message), "{search}\n got  {refused}\n want {message}");
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(value in "\\PC{0,12}|[<>!]?[0-9]{0,20}[kmgtdhKé]?") {
        for field in ["names", "sizes", "modes", "mtimes", "contents", "md5", "sha1", "sha2", "sha3_512"] {
            let parameters = json!({"searches": {"s1": {"paths": ["/nowhere"], field: [value]}}});
            if let Err(error) = File.validate(&parameters) {
                prop_assert_eq!(error.field, format!("searches.s1.{field}[0]"));
            }
        }
    }
}

#[test]
fn searches_are_needed_with_good_labels_and_within_limits() {
    let many: serde_json::Map<String, Value> =
        (0..1001).map(|number| (number.to_string(), json!({"paths": ["/"]}))).collect();
    let long_list: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    let patterns: Vec<String> = (0..2_001).map(|number| number.to_string()).collect();
    for (parameters, message) in [
        (json!(null), "parameters: is null, not an object"),
        (json!({}), "searches: is missing"),
        (json!({"searches": null}), "searches: is missing"),
        (json!({"searches": []}), "searches: is not an object of searches by label"),
        (json!({"searches": {}}), "searches: holds no search"),
        (json!({"searches": many}), "searches: holds more than 1000 searches"),
        (json!({"searches": {"a\u{7}b": {"paths": ["/"]}}}), "searches.a\\u{7}b: a label is"),
        (json!({"searches": {"": {"paths": ["/"]}}}), "searches.: a label is"),
        (json!({"searches": {"x".repeat(65): {"paths": ["/"]}}}), "searches.xxxxx"),
        (json!({"searches": {"s": {"paths": long_list}}}), "searches.s.paths: has 10001 elements, the limit is 1000"),
        (
            json!({"searches": {"s": {"paths": ["/"], "sizes": long_list}}}),
            "searches.s.sizes: has 10001 elements, the limit is 10000",
        ),
        (json!({"searches": {"s": {"paths": ["/"], "modes": patterns}}}), "searches.s.modes[2000]: more than 2000"),
    ] {
        let refused = File.validate(&parameters).unwrap_err().to_string();
        assert!(refused.starts_with(message), "{refused}\n not {message}");
    }
    for label in ["é".repeat(64).as_str(), "fake.cfg", "backdoored/bin/ls", "CVE-2014:6271", "with space", "\u{1f4a9}"]
    {
        let parameters = json!({"searches": {label: {"paths": ["/etc/passwd"], "names": ["."]}}});
        assert_eq!(File.validate(&parameters), Ok(vec![]), "{label}");
        assert_eq!(run(&parameters).elements[label][0]["file"], "/etc/passwd");
    }
}

#[test]
fn actions_of_the_original_are_accepted() {
    for parameters in [
        json!({"searches": {"s1": {"contents": ["^root:"], "names": ["^passwd$"], "paths": ["/etc"],
            "options": {"matchall": true, "matchlimit": 0, "maxdepth": 0}}}}),
        json!({"searches": {"z": {"contents": ["^root:<&>"], "names": ["^passwd$"], "paths": ["/etc"],
            "options": {"matchall": true, "maxdepth": 1}}}}),
        json!({"searches": {"iocs": {"paths": ["/usr/bin", "/tmp"],
            "sha256": ["73b0d95541c84965fa42c3e257bb349957b3be626dec9d55efcc6ebcba6fa489"],
            "contents": ["/bin/busybox;echo -e '\\\\147\\\\141\\\\171'", "legend.rocks"],
            "names": ["legend.txt"]}}}),
        json!({"searches": {"charts_swf_2_4_1": {"paths": ["/"], "names": ["charts.swf"],
            "md5": ["1c1aa14050f837236541b940781ff607"], "options": {"matchall": true}}}}),
        json!({"searches": {"s6": {"mtimes": ["<90d"], "sizes": [">1g"], "paths": ["/home/ulfr"],
            "options": {"matchall": true, "maxdepth": 2}}, "s7": {"modes": ["gt"], "paths": ["/home/ulfr"]}}}),
        json!({"Searches": {"s1": {"Paths": ["/etc"], "NAMES": ["x"], "sizes": null, "options": null}}}),
        json!({"searches": {"s1": {"paths": ["/etc"], "names": ["x"], "options": {"maxdepth": 2.0, "matchlimit": 1e3}}}}),
    ] {
        assert_eq!(File.validate(&parameters), Ok(vec![]), "{parameters}");
    }
}

#[test]
fn a_path_that_does_not_exist_is_an_error_of_that_path_only() {
    let result = run(&json!({"searches": {"s4": {"paths": ["/nowhere", "/etc/passwd"], "names": ["^passwd$"],
        "options": {"matchall": true}}}}));
    assert!(result.success && result.foundanything);
    let errors = result.errors.unwrap();
    assert!(errors.len() == 1 && errors[0].starts_with("search /nowhere: No such file"), "{errors:?}");
    assert_eq!(result.statistics["openfailed"], 0);
    assert_eq!(result.elements["s4"][0]["file"], "/etc/passwd");
}
