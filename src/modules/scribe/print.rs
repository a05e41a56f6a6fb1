//! Results as lines, as the original prints them: one for each result, several, or JSON.

use crate::modules::{ModuleResult, notation};
use serde_json::Value;

/// See the module docs.
pub(super) fn lines(result: &ModuleResult) -> Vec<String> {
    let elements = &result.elements;
    let (is_human, is_json) = (elements["humanoutput"] == true, elements["jsonoutput"] == true);
    let one = |test: &Value| match (is_human, is_json) {
        (true, _) => human(test),
        (false, true) => vec![test.to_string()],
        (false, false) => single(test),
    };
    let tests = elements["results"].as_array().into_iter().flatten();
    let lines = tests.flat_map(one).map(|line| notation::printable(&line));
    lines.chain(notation::ending(result, |statistics| format!("{} tests run", statistics["examined"]))).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

fn single(test: &Value) -> Vec<String> {
    let id = text(test, "testid");
    let name = if text(test, "name").is_empty() { id } else { text(test, "name") };
    let state = if test["iserror"] == true { "error" } else { truth(&test["masterresult"]) };
    let (has_true, error) = (truth(&test["hastrueresults"]), text(test, "error"));
    let master = format!("master [{state}] name:\"{name}\" id:\"{id}\" hastrue:{has_true} error:\"{error}\"");
    let sub = list(test, "results").map(|sub| {
        let (result, identifier) = (truth(&sub["result"]), text(sub, "identifier"));
        format!("sub [{result}] name:\"{name}\" id:\"{id}\" identifier:\"{identifier}\"")
    });
    std::iter::once(master).chain(sub).collect()
}

fn human(test: &Value) -> Vec<String> {
    let (id, name, description) = (text(test, "testid"), text(test, "name"), text(test, "description"));
    let title = if name.is_empty() { format!("\"{id}\"") } else { format!("\"{name}\" ({id})") };
    let mut lines = vec![format!("result for {title}")];
    if !description.is_empty() {
        lines.push(format!("    description: {description}"));
    }
    let is_true = test["masterresult"] == true;
    let caused = if !is_true && test["hastrueresults"] == true {
        ", has true results, failure caused by dependency"
    } else {
        ""
    };
    lines.push(format!("    master result: {is_true}{caused}"));
    lines.extend(list(test, "tags").map(|tag| format!("    tag: {}: {}", text(tag, "key"), text(tag, "value"))));
    if test["iserror"] == true {
        lines.push(format!("    [error] error: {}", text(test, "error")));
    }
    lines.extend(
        list(test, "results")
            .map(|sub| format!("    [{}] identifier: \"{}\"", truth(&sub["result"]), text(sub, "identifier"))),
    );
    lines
}

fn truth(value: &Value) -> &'static str {
    if *value == true { "true" } else { "false" }
}
