//! Commands as items of compliance: one for each file that a check found, and one for each check that found none; one for each
//! test of the module `scribe`.
//!
//! A test of a document complies when it is true. One with a tag `severity` looks for a vulnerability, and complies when it is
//! false; others beside it are what such tests depend on, such as the system's release, and check nothing. The original's
//! collector of vulnerabilities has the same sign.

use super::answer::Item;
use super::call::Api;
use super::error::ApiError;
use crate::action::Operation;
use crate::command::{Command, CommandStatus};
use serde_json::{Map, Value, json};

/// What the checks of a search are called; others are called like their field.
const CHECKS: [(&str, &str); 5] =
    [("names", "name"), ("sizes", "size"), ("modes", "mode"), ("mtimes", "mtime"), ("contents", "content")];

/// The items of a command. What failed says nothing about compliance.
pub fn items(api: &Api, command: &Command) -> Result<Vec<Item>, ApiError> {
    let mut items = Vec::new();
    if command.status != CommandStatus::Success {
        return Ok(items);
    }
    let results: Vec<Value> = serde_json::from_str(command.results.get()).unwrap_or_default();
    for (operation, result) in command.action.operations.iter().zip(&results) {
        for check in checks(operation, result) {
            items.push(item(api, command, check)?);
        }
    }
    Ok(items)
}

/// What an operation checked. Modules other than these two check nothing: what they find complies with nothing, or not.
fn checks<'f>(operation: &'f Operation, result: &'f Value) -> Vec<Check<'f>> {
    let module = operation.module.as_str();
    let elements = result["elements"].as_object().filter(|_| result["success"] == true);
    let found = |(label, found): (&'f String, &'f Value)| {
        found.as_array().into_iter().flatten().map(move |found| (label.as_str(), found))
    };
    let has_vulnerabilities = has_vulnerabilities(&operation.parameters);
    let check = |(label, found)| match module {
        "file" => Some(of_file(module, label, found)),
        "scribe" => of_test(found, has_vulnerabilities),
        _ => None,
    };
    elements.into_iter().flatten().flat_map(found).filter_map(check).collect()
}

/// What was checked.
struct Check<'f> {
    name: &'f str,
    location: String,
    /// The module and the test, in words.
    test: (&'f str, String),
    complies: bool,
}

/// A search of the module `file`, and a file that it found.
fn of_file<'f>(module: &'f str, label: &'f str, found: &'f Value) -> Check<'f> {
    let file = found["file"].as_str().unwrap_or_default();
    let location = if file.is_empty() { texts(&found["search"]["paths"]).join(", ") } else { file.to_owned() };
    Check { name: label, location, test: (module, test(&found["search"])), complies: !file.is_empty() }
}

/// A test of a document; one that failed says nothing, and so does one beside tests for vulnerabilities.
fn of_test(found: &Value, has_vulnerabilities: bool) -> Option<Check<'_>> {
    let text = |name: &str| found[name].as_str().filter(|text| !text.is_empty());
    let is_vulnerability = is_vulnerability(found);
    let id = text("testid").filter(|_| found["iserror"] == false && is_vulnerability == has_vulnerabilities)?;
    let looked_at = found["results"].as_array().into_iter().flatten();
    let location = looked_at.filter_map(|one| one["identifier"].as_str()).collect::<Vec<_>>().join(", ");
    let name = text("name").unwrap_or(id);
    let complies = (found["masterresult"] == true) != is_vulnerability;
    Some(Check { name, location, test: ("scribe", id.to_owned()), complies })
}

/// Whether a document has tests for vulnerabilities. A result may have a part of its tests.
fn has_vulnerabilities(parameters: &Value) -> bool {
    let tests = field(parameters, "scribedoc").and_then(|document| field(document, "tests")).and_then(Value::as_array);
    tests.into_iter().flatten().any(is_vulnerability)
}

/// Whether a test, or its result, looks for a vulnerability.
fn is_vulnerability(test: &Value) -> bool {
    let tags = field(test, "tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| field(tag, "key")).any(|key| key == "severity")
}

/// A field, whose name may be written in any case.
fn field<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    object.as_object()?.iter().find(|(key, _)| key.to_lowercase() == name).map(|(_, value)| value)
}

fn item(api: &Api, command: &Command, check: Check) -> Result<Item, ApiError> {
    let action = &command.action;
    let text = |notes: &Map<String, Value>, field: &str| notes.get(field).cloned().unwrap_or_else(|| "".into());
    let Check { name, location, test: (module, test), complies } = check;
    let link = api.href(&format!("command?commandid={}", command.id));
    let value = json!({
        "utctimestamp": command.finish_time,
        "target": command.agent.name,
        "policy": {
            "name": text(&action.threat, "type"),
            "url": text(&action.description, "url"),
            "level": text(&action.threat, "level"),
        },
        "check": {
            "ref": text(&action.threat, "ref"),
            "description": action.name,
            "name": name,
            "location": location,
            "test": {"type": module, "value": test},
        },
        "compliance": complies,
        "link": link,
        "tags": command.agent.tags,
    });
    Item::new(link).with("compliance item", &value)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The checks of a search, in words.
fn test(search: &Value) -> String {
    let others = search.as_object().into_iter().flatten().map(|(field, _)| (field.as_str(), field.as_str()));
    let others = others.filter(|(field, _)| *field != "paths" && CHECKS.iter().all(|(known, _)| known != field));
    let check = |(field, name)| texts(&search[field]).into_iter().map(move |value| format!("{name}='{value}'"));
    CHECKS.into_iter().chain(others).flat_map(check).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_that_check_something_have_items() {
        let count = |module: &str, success: bool, elements: Value| {
            let operation = Operation { module: module.into(), parameters: Value::Null };
            checks(&operation, &json!({"success": success, "elements": elements})).len()
        };
        let found = json!({"s1": [{"file": "/a", "search": {"paths": ["/"], "names": ["a"]}}]});
        assert_eq!(count("file", true, found.clone()), 1);
        assert_eq!(count("file", false, found), 0);
        assert_eq!(count("pkg", true, json!({"packages": [{"name": "bash", "version": "5", "type": "dpkg"}]})), 0);
        assert_eq!(count("scribe", true, json!({"results": [{"testid": "t", "iserror": false}]})), 1);
    }

    #[test]
    fn a_test_of_scribe_complies_when_it_is_true_and_says_nothing_when_it_failed() {
        let found = |is_true: bool, is_error: bool| {
            json!({"testid": "t1", "name": "a test", "iserror": is_error, "masterresult": is_true,
                   "results": [{"result": true, "identifier": "/a"}, {"result": false, "identifier": "/b"}]})
        };
        for is_true in [true, false] {
            let found = found(is_true, false);
            let check = of_test(&found, false).unwrap();
            assert_eq!((check.name, &*check.location, check.complies), ("a test", "/a, /b", is_true));
            assert_eq!(check.test, ("scribe", "t1".to_owned()));
        }
        assert!(of_test(&found(false, true), false).is_none());
    }

    #[test]
    fn a_test_for_a_vulnerability_complies_when_it_is_false_and_what_it_depends_on_says_nothing() {
        let results = json!([
            {"testid": "release", "iserror": false, "masterresult": true, "tags": [{"key": "category", "value": "os"}]},
            {"testid": "cve-1", "iserror": false, "masterresult": true, "tags": [{"key": "severity", "value": "high"}]},
            {"testid": "cve-2", "iserror": false, "masterresult": false, "tags": [{"key": "severity", "value": "low"}]},
            {"testid": "cve-3", "iserror": true, "masterresult": false, "tags": [{"key": "severity", "value": "low"}]},
        ]);
        let tests = json!([
            {"Test": "release", "Object": "os"},
            {"Test": "cve-1", "Object": "ssl", "Tags": [{"Key": "severity", "Value": "high"}], "If": ["release"]},
        ]);
        let operation =
            Operation { module: "scribe".into(), parameters: json!({"ScribeDoc": {"Tests": tests}, "OnlyTrue": true}) };
        let items = |results: &Value| -> Vec<(String, bool)> {
            let result = json!({"success": true, "elements": {"results": results}});
            checks(&operation, &result).iter().map(|one| (one.name.to_owned(), one.complies)).collect()
        };
        assert_eq!(items(&results), [("cve-1".to_owned(), false), ("cve-2".to_owned(), true)]);
        assert_eq!(items(&json!([results[0]])), [], "the other ones are false, and not returned");
    }
}
