//! Doubts: searches that cannot mean what was intended.
//!
//! The original accepts a misspelt field, a wildcard in a path or a slash in an expression on names, and then finds
//! nothing: an investigator would take that for a negative result. So a search with a doubt is not run, and its doubt
//! is reported as an error; the programs that sign actions refuse it, unless `--force` is set.

use super::filter::{Check, FIELDS, Field};
use super::options::{self, Options};
use super::wildcard::{Exclude, Wildcard, is_wild};
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::fields::unknown_names;
use crate::modules::notation;
use crate::re2::Expression;
use regex::Regex;
use std::path::{Path, PathBuf};

/// Why a search may not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The field and the reason.
    pub(super) error: ParameterError,
    /// The doubt does not apply on machines where this path exists.
    pub(super) unless_exists: Option<PathBuf>,
}

impl Doubt {
    /// A doubt that applies on every machine.
    pub(super) fn new(error: ParameterError) -> Self {
        Doubt { error, unless_exists: None }
    }
}

/// Checks the keys of a search.
pub(super) fn about_names(given: &Fields) -> Vec<Doubt> {
    let mut known = vec!["description", "paths", "exclude", "options"];
    known.extend(FIELDS.iter().map(|(_, name, _)| *name));
    let errors = unknown_names(given, &known).into_iter().map(|error| {
        let name = error.field.rsplit('.').next().unwrap_or_default();
        if options::NAMES.contains(&name) {
            return ParameterError::new(&error.field, "is an option; move it into \"options\"");
        }
        error
    });
    errors.map(Doubt::new).collect()
}

/// Checks the filters of the search at `at`.
pub(super) fn about_filters(checks: &[Check], options: &Options, at: &str) -> Vec<Doubt> {
    if checks.is_empty() {
        let error = ParameterError::new(at, "has no filter; \"names\": [\".\"] is every file");
        return vec![Doubt::new(error)];
    }
    let unused = |word: &&String| !checks.iter().any(|check| check.field.is_named_by(word));
    let unused = options.mismatch.iter().filter(unused);
    let reason = |word: &String| format!("\"{word}\" inverts a filter that the search does not have");
    let unused = unused.map(|word| ParameterError::new(format!("{at}.options.mismatch"), reason(word)));
    unused.chain(about_targets(checks, options, at)).map(Doubt::new).collect()
}

/// Checks that a link can pass a filter on where it leads.
fn about_targets(checks: &[Check], options: &Options, at: &str) -> Option<ParameterError> {
    let has = |is_one: fn(&Field) -> bool| checks.iter().any(|check| is_one(&check.field));
    let reason = match has(|field| matches!(field, Field::Targets)) {
        true if !options.links => "needs the option links: without it, links are followed",
        true if options.matchall && has(|field| matches!(field, Field::Contents | Field::Hash(..))) => {
            "with a filter on contents or sums nothing passes, as a link has no contents"
        }
        _ => return None,
    };
    Some(ParameterError::new(format!("{at}.targets"), reason))
}

/// Checks the paths of the list at `at`, which are taken literally, except for wildcards with `glob`.
pub(super) fn about_paths(paths: &[PathBuf], glob: bool, at: &str) -> Vec<Doubt> {
    let doubt = |(index, path): (usize, &PathBuf)| {
        let reason = unexpanded(path, glob)?;
        let error = ParameterError::new(format!("{at}[{index}]"), format!("{}: {reason}", path.display()));
        Some(Doubt { error, unless_exists: Some(path.clone()) })
    };
    paths.iter().enumerate().filter_map(doubt).collect()
}

/// Checks that a search has something left to look at.
pub(super) fn about_exclude(exclude: &Exclude, paths: &[PathBuf], wildcards: &[Wildcard], at: &str) -> Vec<Doubt> {
    let of_wildcards = wildcards.iter().map(|wildcard| (&wildcard.parent, &wildcard.path));
    let swallowed =
        paths.iter().map(|path| (path, path)).chain(of_wildcards).filter(|(path, _)| exclude.swallows(path));
    let error = |(_, path): (_, &PathBuf)| {
        ParameterError::new(format!("{at}.exclude"), format!("excludes the whole path {}", path.display()))
    };
    let emptied = paths.iter().filter(|path| !exclude.swallows(path) && exclude.holds_all_of(path)).map(|path| {
        ParameterError::new(format!("{at}.exclude"), format!("excludes everything in the path {}", path.display()))
    });
    swallowed.map(error).chain(emptied).map(Doubt::new).collect()
}

fn unexpanded(path: &Path, glob: bool) -> Option<&'static str> {
    let text = path.to_string_lossy();
    if !glob && is_wild(path) {
        return Some("a path is taken literally, wildcards are not expanded without the option glob");
    }
    if text.starts_with('~') || text.contains('$') || (text.contains('{') && text.contains('}')) {
        return Some("a path is taken literally: ~, $ and {} are not expanded");
    }
    None
}

/// Checks an expression on names.
pub(super) fn about_name(expression: &Expression) -> Option<String> {
    let reason = "an expression on names is matched against the name without its directory, which holds no slash";
    expression.mentions('/', 4).then(|| format!("{reason}; put directories into \"paths\""))
}

/// Checks an expression on contents.
pub(super) fn about_content(expression: &Expression) -> Option<String> {
    let reason = "contents are matched line by line, and a line holds no newline";
    expression.mentions('\n', 1).then(|| reason.to_owned())
}

/// Checks an expression on modes.
pub(super) fn about_mode(text: &str, pattern: &Regex, options: &Options) -> Option<String> {
    if text.starts_with('!') {
        return Some("an expression on modes is not inverted by a !; use the option mismatch".to_owned());
    }
    let permissions: Vec<String> = (0..=0o777).map(|bits| notation::mode(bits)[1..].to_owned()).collect();
    let holds = |kind: &&str| permissions.iter().any(|rights| pattern.is_match(&format!("{kind}{rights}")));
    let is_found = ["-", "u", "g", "t", "ug", "ut", "gt", "ugt", "D", "Dc", "p", "S"].iter().any(&holds)
        || (options.links && holds(&"L"));
    let is_unfound = ["L", "d", "dt", "dg", "dgt", "du"].iter().any(holds);
    let is_inverted = options.mismatch.iter().any(|word| Field::Modes.is_named_by(word));
    let reason = "only links or directories have this mode: links are found with the option links, directories never";
    (is_unfound && !is_found && !is_inverted).then(|| reason.to_owned())
}
