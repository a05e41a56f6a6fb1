//! Reads the packages, and compares them.

use super::archives;
use super::databases::{Kind, Package, Sink, installed};
use super::parameters::Query;
use crate::modules::expressions::{Pattern, Texts};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::{Value, json};
use std::path::Path;

/// The only label of elements.
const LABEL: &str = "packages";
/// Bytes of each text of a package: one that is larger would take the room of all others.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// Runs a query on the machine whose root directory is `root`.
pub(super) fn run(query: &Query, root: &Path, context: Context) -> ModuleResult {
    let mut comparison = Comparison { query, report: Report::new(context, [LABEL]), examined: 0 };
    installed(root, &query.kinds, &mut comparison);
    archives::below(&query.paths, &query.kinds, context, &mut comparison);
    let Comparison { report, examined, .. } = comparison;
    let mut result = report.finish(&json!({"examined": examined}));
    // As the original calls it.
    result.statistics["execruntime"] = result.statistics["exectime"].clone();
    result
}

/// Adds the packages that are looked for to the report.
struct Comparison<'r> {
    query: &'r Query,
    report: Report<'r>,
    /// Packages that were looked at.
    examined: u64,
}

impl Sink for Comparison<'_> {
    fn package(&mut self, package: Package) {
        self.examined += 1;
        let Package { name, version, arch, source, status, .. } = &package;
        if [name, version, arch, source, status].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            let path = package.path.map(|path| format!(" in {}", path.display())).unwrap_or_default();
            let kind = package.kind.name();
            return self.unseen(format!("a package of {kind}{path} has texts of more than {TEXT_BYTES_MAX} bytes"));
        }
        match is_wanted(self.query, &package) {
            Ok(true) => {
                self.report.add(LABEL, element(&package));
            }
            Ok(false) => {}
            Err(reason) => self.unseen(reason),
        }
    }

    fn unseen(&mut self, text: String) {
        self.report.unseen(text);
    }

    fn is_over(&mut self) -> bool {
        self.report.is_over()
    }
}

/// Whether a package is looked for; an error if its version cannot be compared.
fn is_wanted(query: &Query, package: &Package) -> Result<bool, String> {
    let one_of = |patterns: &[Pattern], known: Vec<Vec<u8>>| {
        let texts = Texts { known, are_all: true };
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_met_by_one_of(&texts) == Some(true))
    };
    if !one_of(&query.names, names(package)) || !one_of(&query.sources, vec![package.source.clone().into()]) {
        return Ok(false);
    }
    let version_text = query.version_text.as_ref();
    if package.version.is_empty() && (version_text.is_some() || !query.conditions.is_empty()) {
        let path = package.path.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default();
        return Err(format!("compare the version of {}{path}: nothing says which it is", package.name));
    }
    if version_text.is_some_and(|pattern| !pattern.is_met_by(package.version.as_bytes())) {
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

/// The names by which a package is known: Python's in any case and with any of `-_.`, Java's also without the group.
fn names(package: &Package) -> Vec<Vec<u8>> {
    let name = &package.name;
    let other = match package.kind {
        Kind::Python => {
            let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
            Some(words.collect::<Vec<_>>().join("-").to_ascii_lowercase())
        }
        Kind::Java => name.split_once(':').map(|(_, artifact)| artifact.to_owned()),
        _ => None,
    };
    [name.clone()].into_iter().chain(other).map(String::into_bytes).collect()
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
