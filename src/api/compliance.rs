//! Commands as items of compliance: one for each file that a check found, and one for each check that found none.

use super::answer::Item;
use super::call::Api;
use super::error::ApiError;
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
        if result["success"] != true {
            continue;
        }
        for (label, found) in result["elements"].as_object().into_iter().flatten() {
            for found in found.as_array().into_iter().flatten() {
                items.push(item(api, command, &operation.module, label, found)?);
            }
        }
    }
    Ok(items)
}

fn item(api: &Api, command: &Command, module: &str, label: &str, found: &Value) -> Result<Item, ApiError> {
    let action = &command.action;
    let text = |notes: &Map<String, Value>, field: &str| notes.get(field).cloned().unwrap_or_else(|| "".into());
    let file = found["file"].as_str().unwrap_or_default();
    let location = if file.is_empty() { texts(&found["search"]["paths"]).join(", ") } else { file.to_owned() };
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
            "name": label,
            "location": location,
            "test": {"type": module, "value": test(&found["search"])},
        },
        "compliance": !file.is_empty(),
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
