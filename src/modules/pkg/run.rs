//! Reads the packages, and compares them.

use super::archives;
use super::databases::{Found, Package, installed};
use super::parameters::Query;
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::{Value, json};
use std::path::Path;

/// The only label of elements.
const LABEL: &str = "packages";

/// Runs a query on the machine whose root directory is `root`.
pub(super) fn run(query: &Query, root: &Path, context: Context) -> ModuleResult {
    let mut report = Report::new(context, [LABEL]);
    let found = installed(root, &query.kinds, &mut || report.is_over());
    let mut examined = compare(query, found, &mut report);
    if !query.paths.is_empty() && !report.is_over() {
        let found = archives::below(&query.paths, &query.kinds, context, &mut || report.is_over());
        examined += compare(query, found, &mut report);
    }
    let mut result = report.finish(&json!({"examined": examined}));
    // As the original calls it.
    result.statistics["execruntime"] = result.statistics["exectime"].clone();
    result
}

/// Adds the packages that are looked for; returns how many there are.
fn compare(query: &Query, found: Found, report: &mut Report) -> usize {
    for text in found.unseen {
        report.unseen(text);
    }
    for package in &found.packages {
        if report.is_over() {
            break;
        }
        match is_wanted(query, package) {
            Ok(true) => {
                report.add(LABEL, element(package));
            }
            Ok(false) => {}
            Err(reason) => report.unseen(reason),
        }
    }
    found.packages.len()
}

/// Whether a package is looked for; an error if its version cannot be compared.
fn is_wanted(query: &Query, package: &Package) -> Result<bool, String> {
    let one_of = |patterns: &[crate::modules::fields::Pattern], text: &str| {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_met_by(text.as_bytes()))
    };
    let is_named = one_of(&query.names, &package.name) && one_of(&query.sources, &package.source);
    let version_text = query.version_text.as_ref();
    if !is_named || version_text.is_some_and(|pattern| !pattern.is_met_by(package.version.as_bytes())) {
        return Ok(false);
    }
    for condition in &query.conditions {
        match condition.is_met_by(&package.version, package.kind.scheme()) {
            Some(true) => {}
            Some(false) => return Ok(false),
            None => {
                let (kind, Package { name, version, .. }) = (package.kind.name(), package);
                return Err(format!("compare version {version:?} of {name}: one of the two is no version of {kind}"));
            }
        }
    }
    Ok(true)
}

fn element(package: &Package) -> Value {
    let Package { name, version, kind, arch, source, status, path } = package;
    let mut element = json!({"name": name, "version": version, "type": kind.name(), "arch": arch});
    for (field, text) in [("source", source), ("status", status)] {
        if !text.is_empty() {
            element[field] = json!(text);
        }
    }
    if let Some(path) = path {
        element["path"] = json!(path.to_string_lossy());
    }
    element
}

#[cfg(test)]
mod tests;
