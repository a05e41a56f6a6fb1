//! Formats a result as lines of text.
//!
//! Results come from other machines, also from agents of the original: missing fields are omitted, and control
//! characters in file names are escaped, so that they do not reach the terminal.

use super::filter::FIELDS;
use crate::modules::ModuleResult;
use crate::modules::notation::printable;
use serde_json::Value;

/// Returns one line per entry, then the errors, then the statistics.
pub(super) fn lines(result: &ModuleResult) -> Vec<String> {
    let mut lines = Vec::new();
    for (label, entries) in result.elements.as_object().into_iter().flatten() {
        for entry in entries.as_array().into_iter().flatten() {
            lines.push(printable(&entry_line(label, entry)));
        }
    }
    lines.extend(result.errors.iter().flatten().map(|error| printable(&format!("error: {error}"))));
    if result.statistics.is_object() {
        let number = |name: &str| result.statistics[name].as_f64().unwrap_or(0.0);
        let exectime = result.statistics["exectime"].as_str().unwrap_or("0s");
        lines.push(printable(&format!(
            "Statistics: {} files checked, {} failed to open, {} matched, ran in {exectime}.",
            number("filescount"),
            number("openfailed"),
            number("totalhits"),
        )));
    }
    lines
}

fn entry_line(label: &str, entry: &Value) -> String {
    let (file, info, search) = (&entry["file"], &entry["fileinfo"], &entry["search"]);
    let mut line = match file.as_str() {
        None | Some("") => format!("0 match found in search '{label}'"),
        Some(file) => {
            let text = |name: &str| info[name].as_str().unwrap_or("");
            let size = info["size"].as_f64().unwrap_or(0.0);
            let sha256 = match text("sha256") {
                "" => String::new(),
                digest => format!(", sha256:{digest}"),
            };
            let inode = match (info["inode"].as_u64(), text("device")) {
                (Some(inode), device) => format!(", inode:{inode}, device:{device}"),
                (None, _) => String::new(),
            };
            let account = |word: &str, name: &str, number: &str| match (text(name), info[number].as_u64()) {
                ("", Some(number)) => format!(", {word}:{number}"),
                (name, Some(number)) => format!(", {word}:{name}({number})"),
                (_, None) => String::new(),
            };
            let (owner, group) = (account("owner", "owner", "uid"), account("group", "group", "gid"));
            let target = match text("linkto") {
                "" => String::new(),
                target => format!(", linkto:{target}"),
            };
            let (time, mode) = (text("lastmodified"), text("mode"));
            format!(
                "{file} [lastmodified:{time}, mode:{mode}, size:{size}{sha256}{inode}{owner}{group}{target}] in search '{label}'"
            )
        }
    };
    if search["options"]["matchall"] == Value::Bool(true) {
        return line;
    }
    let mut checks = String::new();
    for (_, field, word) in FIELDS {
        for value in search[field].as_array().into_iter().flatten().filter_map(Value::as_str) {
            checks.push_str(&format!(" {word}='{value}'"));
        }
    }
    if !checks.is_empty() {
        line.push_str(" on checks");
        line.push_str(&checks);
    }
    line
}
