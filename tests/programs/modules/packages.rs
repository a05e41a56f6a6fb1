//! Packages, and documents that test them.

use super::limited;
use serde_json::{Value, json};
use std::fs;

#[test]
fn pkg_reads_the_database_and_what_is_below_a_path() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("package.json");
    fs::write(&package, r#"{"name": "dpkg", "version": "1.2.3"}"#).unwrap();
    let result =
        limited("pkg", &json!({"pkgmatch": {"matches": ["^dpkg$"]}, "version": "<99", "paths": [directory.path()]}));
    let found: Vec<&Value> =
        result["elements"]["packages"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!((found, &result["errors"]), (vec![&json!("dpkg"), &json!("npm")], &json!(null)));
}

#[test]
fn scribe_tests_packages_and_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("app.conf"), "Version = 0.5\n").unwrap();
    let place = json!({"path": directory.path(), "file": "^app", "expression": "^Version = (\\S+)"});
    let document = json!({
        "objects": [{"object": "dpkg", "package": {"name": "dpkg"}}, {"object": "app", "filecontent": place}],
        "tests": [
            {"test": "old app", "object": "app", "evr": {"operation": "<", "value": "0.6"}, "if": ["dpkg"]},
            {"test": "dpkg", "object": "dpkg", "evr": {"operation": ">", "value": "1.0"}},
        ],
    });
    let result = limited("scribe", &json!({"scribedoc": document}));
    let tests = result["elements"]["results"].as_array().unwrap();
    assert!(tests.len() == 2 && tests.iter().all(|test| test["masterresult"] == true), "{result}");
}
