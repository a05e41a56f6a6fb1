//! The module file over /usr beside find, ripgrep and sha256sum: same threads, same matches.

use crate::RUNS;
use crate::report::{Goal, Row};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

/// What is searched, the rival's command line, and at most how many times as long as it we may take.
fn comparisons(threads: usize) -> Vec<(&'static str, Value, String, &'static str, f64)> {
    let all = json!({"matchall": true, "matchlimit": 1e9, "returnsha256": false});
    let hash = "find /usr/lib -xtype f -name '*.so*' -print0 | xargs -0 -P 1 sha256sum";
    vec![
        (
            "file, /usr by name",
            json!({"paths": ["/usr"], "names": ["\\.h$"], "options": all}),
            "find /usr -xtype f -name '*.h'".into(),
            "find",
            1.0,
        ),
        (
            "file, /usr by content",
            json!({"paths": ["/usr"], "contents": ["Licensed under the Apache License"], "options": all}),
            format!("rg -uuu -a -l --no-messages -j {threads} 'Licensed under the Apache License' /usr"),
            "ripgrep",
            1.1,
        ),
        (
            "file, /usr/lib's libraries by sha256",
            json!({"paths": ["/usr/lib"], "names": ["\\.so"], "options": {"matchall": true, "matchlimit": 1e9, "returnsha256": true}}),
            hash.into(),
            "sha256sum",
            1.05,
        ),
    ]
}

/// Paths, with their hashes where there are some.
fn found_by_us(search: &Value) -> (BTreeSet<String>, f64) {
    let parameters = json!({"searches": {"s": search}}).to_string();
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_mig-agent")).args(["-m", "file", &parameters]).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["success"], true, "{result}");
    let line = |element: &Value| match element["fileinfo"]["sha256"].as_str() {
        Some(hash) => format!("{}  {}", hash.to_lowercase(), element["file"].as_str().unwrap()),
        None => element["file"].as_str().unwrap().to_owned(),
    };
    (result["elements"]["s"].as_array().unwrap().iter().map(line).collect(), seconds)
}

fn found_by_rival(command: &str) -> (BTreeSet<String>, f64) {
    let started = Instant::now();
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    (String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(), seconds)
}

/// The files themselves: we look through links to files, ripgrep does not.
fn real(lines: BTreeSet<String>) -> BTreeSet<String> {
    let resolve = |line: String| match line.split_once("  ") {
        Some((hash, path)) => format!("{hash}  {}", std::fs::canonicalize(path).unwrap().display()),
        None => std::fs::canonicalize(line).unwrap().display().to_string(),
    };
    lines.into_iter().map(resolve).collect()
}

/// The ratios.
pub fn measure() -> Vec<Row> {
    let threads = (std::thread::available_parallelism().unwrap().get() / 2).max(1);
    let measure = |(id, search, rival, rival_name, most): (&str, Value, String, &'static str, f64)| {
        // Once without the clock, for the page cache.
        let ((ours, _), (theirs, _)) = (found_by_us(&search), found_by_rival(&rival));
        let (ours, theirs) = (real(ours), real(theirs));
        let different: Vec<_> = ours.symmetric_difference(&theirs).take(5).collect();
        assert!(different.is_empty(), "{id}: not the same matches: {different:?}");
        assert!(!ours.is_empty(), "{id}: nothing matches");
        let (mut values, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            values.push(found_by_us(&search).1);
            raw.push(found_by_rival(&rival).1);
        }
        Row { id: id.into(), values, unit: "s", raw, raw_is: rival_name, goal: Goal::RatioAtMost(most) }
    };
    comparisons(threads).into_iter().map(measure).collect()
}
