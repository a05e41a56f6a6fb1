//! From the JSON of an operation to a query.

use super::databases::Kind;
use super::versions::Condition;
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields;
use crate::modules::limits::LIST_VALUES_MAX;
use serde_json::Value;

/// Bytes of the conditions on a version.
const CONDITIONS_BYTES_MAX: usize = 4 << 10;

/// What is looked for.
#[derive(Debug)]
pub(super) struct Query {
    /// On the name: one is enough.
    pub(super) names: Vec<Pattern>,
    /// On the name of the source package: one is enough.
    pub(super) sources: Vec<Pattern>,
    /// On the text of the version.
    pub(super) version_text: Option<Pattern>,
    /// On the version: all of them.
    pub(super) conditions: Vec<Condition>,
    /// Which databases, and what below the paths.
    pub(super) kinds: Vec<Kind>,
    /// Where archives are looked for.
    pub(super) paths: Vec<String>,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Query, ParameterError> {
    let text = parameters.to_string();
    let given = Fields::at("parameters", &text)?;
    fields::only(&given, &["pkgmatch", "vermatch", "version", "sources", "types", "paths"])?;
    let mut patterns = Patterns::default();
    let names = match given.inner("pkgmatch")? {
        None => Vec::new(),
        Some(inner) => {
            fields::only(&inner, &["matches"])?;
            patterns.list(&inner, "matches")?
        }
    };
    let sources = patterns.list(&given, "sources")?;
    if names.is_empty() && sources.is_empty() {
        return Err(given.error("pkgmatch.matches", "has no expression on a name; \".\" is every package").into());
    }
    let version_text = Some(given.text("vermatch", crate::modules::limits::PATTERN_BYTES_MAX)?)
        .filter(|text| !text.is_empty())
        .map(|text| Pattern::parse(&text).map_err(|reason| given.error("vermatch", reason)))
        .transpose()?;
    let conditions = match given.text("version", CONDITIONS_BYTES_MAX)? {
        text if text.is_empty() => Vec::new(),
        text => Condition::parse_all(&text).map_err(|reason| given.error("version", reason))?,
    };
    let paths = given.strings("paths", LIST_VALUES_MAX)?;
    if let Some(index) = paths.iter().position(|path| !path.starts_with('/')) {
        return Err(given.error(&format!("paths[{index}]"), "does not begin with /").into());
    }
    let kinds = kinds(&given, &paths)?;
    Ok(Query { names, sources, version_text, conditions, kinds, paths })
}

/// The kinds that are named; else the databases, and below paths all that can be there.
fn kinds(given: &Fields, paths: &[String]) -> Result<Vec<Kind>, ParameterError> {
    let types = given.strings("types", LIST_VALUES_MAX)?;
    if types.is_empty() {
        return Ok(Kind::ALL.into_iter().filter(|kind| !kind.is_below_paths() || !paths.is_empty()).collect());
    }
    let mut kinds = Vec::new();
    for (index, name) in types.iter().enumerate() {
        let refuse = |reason: String| Err(given.error(&format!("types[{index}]"), reason).into());
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known = Kind::ALL.map(Kind::name).join(", ");
            return refuse(format!("\"{name}\" is none of {known}"));
        };
        if kind.is_below_paths() && paths.is_empty() {
            return refuse(format!("\"{name}\" is looked for below paths, and there are none"));
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if !paths.is_empty() && !kinds.iter().any(|kind| kind.is_below_paths()) {
        return Err(given.error("paths", "are of no use to these types").into());
    }
    Ok(kinds)
}
