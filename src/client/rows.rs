//! An answer as rows: one per file that was found, and one per error, with the same columns for every module.

use super::answer::Answer;
use crate::command::CommandStatus;
use crate::modules::{ModuleResult, by_name};
use serde::Serialize;
use serde_json::Value;

/// Which results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// What was found.
    Found,
    /// Agents that found nothing.
    NotFound,
    /// Both, with statistics.
    All,
    /// Agents that have not answered.
    Missing,
}

impl Show {
    /// Reads the word of `--show`.
    pub fn parse(text: &str) -> Result<Show, String> {
        match text {
            "found" => Ok(Show::Found),
            "notfound" => Ok(Show::NotFound),
            "all" => Ok(Show::All),
            "missing" => Ok(Show::Missing),
            _ => Err(format!("'{text}' is none of found, notfound, all and missing")),
        }
    }

    /// Whether a result is shown.
    pub fn includes(self, found_anything: bool) -> bool {
        match self {
            Show::Found => found_anything,
            Show::NotFound => !found_anything,
            Show::All => true,
            Show::Missing => false,
        }
    }
}

/// One row. Fields that a module does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The action; 0 on this machine.
    pub action: u64,
    /// The command.
    pub command: u64,
    /// Its status.
    pub status: &'static str,
    /// The module.
    pub module: &'a str,
    /// The search that found it.
    pub label: &'a str,
    /// The file's path; where bytes of it are not UTF-8 the agent wrote U+FFFD, and each file still has its own row.
    pub path: &'a str,
    /// Bytes.
    pub size: Option<u64>,
    /// As ls(1) writes it, in Go's form.
    pub mode: &'a str,
    /// When it was changed last.
    pub time: &'a str,
    /// SHA-256, if it was asked for.
    pub sum: &'a str,
    /// What other modules say: a line each.
    pub text: &'a str,
    /// What was not looked at, or not to its end, and why: a row each.
    pub error: &'a str,
}

/// The columns of [`Row`], in order.
pub const COLUMNS: [&str; 13] =
    ["agent", "action", "command", "status", "module", "label", "path", "size", "mode", "time", "sum", "text", "error"];

impl Row<'_> {
    /// Its cells, in the order of [`COLUMNS`].
    pub fn cells(&self) -> [String; 13] {
        [
            self.agent.to_owned(),
            self.action.to_string(),
            self.command.to_string(),
            self.status.to_owned(),
            self.module.to_owned(),
            self.label.to_owned(),
            self.path.to_owned(),
            self.size.map_or(String::new(), |size| size.to_string()),
            self.mode.to_owned(),
            self.time.to_owned(),
            self.sum.to_owned(),
            self.text.to_owned(),
            self.error.to_owned(),
        ]
    }
}

/// Calls `each` with every row of an answer. `modules` are those of the action's operations, in order.
pub fn rows<E>(
    action: u64,
    answer: &Answer,
    modules: &[String],
    show: Show,
    mut each: impl FnMut(&Row) -> Result<(), E>,
) -> Result<(), E> {
    if show == Show::Missing {
        return Ok(());
    }
    for (index, result) in answer.results.iter().enumerate() {
        let module = modules.get(index).map_or("", String::as_str);
        let empty = Row {
            agent: &answer.agent,
            action,
            command: answer.id,
            status: answer.status.as_str(),
            module,
            label: "",
            path: "",
            size: None,
            mode: "",
            time: "",
            sum: "",
            text: "",
            error: "",
        };
        for error in result.errors.iter().flatten() {
            each(&Row { error, ..empty.clone() })?;
        }
        if !has_looked(answer, result, show) {
            continue;
        }
        if module == "file" {
            file_rows(result, show, &empty, &mut each)?;
            continue;
        }
        if show.includes(result.foundanything) {
            for line in lines(module, result, show) {
                each(&Row { text: &line, ..empty.clone() })?;
            }
        }
    }
    Ok(())
}

/// Whether a result may be shown as one that found nothing: what failed, or met a limit, did not look to its end.
pub fn has_looked(answer: &Answer, result: &ModuleResult, show: Show) -> bool {
    let is_whole = result.success && result.statistics["partial"] != Value::Bool(true);
    show != Show::NotFound || (answer.status == CommandStatus::Success && is_whole)
}

fn file_rows<E>(
    result: &ModuleResult,
    show: Show,
    empty: &Row,
    each: &mut impl FnMut(&Row) -> Result<(), E>,
) -> Result<(), E> {
    for (label, entries) in result.elements.as_object().into_iter().flatten() {
        for entry in entries.as_array().into_iter().flatten() {
            let path = entry["file"].as_str().unwrap_or("");
            if !show.includes(!path.is_empty()) {
                continue;
            }
            let info = |name: &str| entry["fileinfo"][name].as_str().unwrap_or("");
            let size = entry["fileinfo"]["size"].as_f64().filter(|size| *size >= 0.0 && !path.is_empty());
            let size = size.map(|size| size as u64);
            let (mode, time, sum) = (info("mode"), info("lastmodified"), info("sha256"));
            each(&Row { label, path, size, mode, time, sum, ..empty.clone() })?;
        }
    }
    Ok(())
}

/// The lines for people of one result, without its errors: those go to standard error.
pub fn lines(module: &str, result: &ModuleResult, show: Show) -> Vec<String> {
    let statistics = if show == Show::All { result.statistics.clone() } else { Value::Null };
    let elements = match (module, show) {
        ("file", _) => filtered(&result.elements, show),
        (_, Show::Found) => without_empty(&result.elements),
        _ => result.elements.clone(),
    };
    let shown = ModuleResult { elements, statistics, errors: None, ..*result };
    match by_name(module) {
        Some(module) => module.print(&shown),
        None if shown.elements.is_null() => Vec::new(),
        None => vec![shown.elements.to_string()],
    }
}

/// The elements without empty lists: searches that found nothing.
fn without_empty(elements: &Value) -> Value {
    let Value::Object(fields) = elements else { return elements.clone() };
    let is_found = |value: &Value| value.as_array().is_none_or(|list| !list.is_empty());
    let found = fields.iter().filter(|(_, value)| is_found(value));
    Value::Object(found.map(|(name, value)| (name.clone(), without_empty(value))).collect())
}

/// The entries of the module file that are shown.
fn filtered(elements: &Value, show: Show) -> Value {
    let is_shown = |entry: &&Value| show.includes(entry["file"].as_str().is_some_and(|path| !path.is_empty()));
    let search = |(label, entries): (&String, &Value)| {
        let entries: Vec<Value> = entries.as_array().into_iter().flatten().filter(is_shown).cloned().collect();
        (label.clone(), Value::Array(entries))
    };
    Value::Object(elements.as_object().into_iter().flatten().map(search).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn searches_that_found_nothing_are_shown_with_all_results_only() {
        let elements = json!({"connectedip": {"::1": [], "10.0.0.1": [{"remoteaddr": "10.0.0.1"}]}});
        let result = ModuleResult { foundanything: true, success: true, elements, ..ModuleResult::default() };
        for (show, nothing) in [(Show::Found, 0), (Show::All, 1)] {
            let lines = lines("netstat", &result, show);
            assert_eq!(
                lines.iter().filter(|line| line.starts_with("did not find anything")).count(),
                nothing,
                "{lines:?}"
            );
            assert_eq!(lines.iter().filter(|line| line.starts_with("found connected tuple 10.0.0.1:")).count(), 1);
        }
    }
}
