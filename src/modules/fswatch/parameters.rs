//! From JSON to what is watched.

use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields;
use crate::modules::limits::{LIST_VALUES_MAX, PATH_BYTES_MAX};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is watched.
#[derive(Debug)]
pub(super) struct Plan {
    /// Absolute, without `.` and double slashes.
    pub(super) paths: Vec<PathBuf>,
    /// Not these, nor what is below them.
    pub(super) exclude: Vec<PathBuf>,
    /// Only names of files that match one of these, and the paths themselves; all if there are none.
    names: Vec<Pattern>,
}

impl Plan {
    /// Whether a path is left out.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        self.exclude.iter().any(|exclude| path.starts_with(exclude))
    }

    /// Whether a file of this name is of interest, wherever it is.
    pub(super) fn has_name(&self, name: &OsStr) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.is_met_by(name.as_bytes()))
    }
}

/// What has no events for the kernel to tell.
const WITHOUT_EVENTS: [&str; 2] = ["/proc", "/sys"];

/// Reads the parameters.
pub(super) fn parse(parameters: &Value) -> Result<Plan, ParameterError> {
    let text = parameters.to_string();
    let given = Fields::at("parameters", &text)?;
    fields::only(&given, &["paths", "exclude", "names"])?;
    let paths = paths(&given, "paths")?;
    if paths.is_empty() {
        return Err(given.error("paths", "at least one path is needed").into());
    }
    let mut exclude = self::paths(&given, "exclude")?;
    if let Some(path) = paths.iter().find(|path| exclude.iter().any(|exclude| path.starts_with(exclude))) {
        return Err(given.error("exclude", format!("excludes {} of paths", path.display())).into());
    }
    if let Some(path) = paths.iter().find(|path| WITHOUT_EVENTS.iter().any(|without| path.starts_with(without))) {
        return Err(given.error("paths", format!("{}: the kernel tells no changes there", path.display())).into());
    }
    exclude.extend(WITHOUT_EVENTS.map(PathBuf::from));
    Ok(Plan { paths, exclude, names: Patterns::default().list(&given, "names")? })
}

fn paths(given: &Fields, name: &str) -> Result<Vec<PathBuf>, ParameterError> {
    let path = |(index, path): (usize, String)| {
        let refuse = |reason: &str| Err(given.error(&format!("{name}[{index}]"), reason).into());
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return refuse("is not an absolute path without ..");
        }
        if path.len() >= PATH_BYTES_MAX || path.contains('\0') {
            return refuse("the path is longer than the system allows, or holds a NUL");
        }
        Ok(PathBuf::from(path).components().collect())
    };
    given.strings(name, LIST_VALUES_MAX)?.into_iter().enumerate().map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::super::FsWatch;
    use super::*;
    use crate::modules::persistent::Persistent;
    use serde_json::json;

    #[test]
    fn what_is_watched_is_read_and_the_rest_is_refused() {
        let words = ["-path", "/etc//x/", "-exclude", "/etc/x/a", "-name", "[.]conf$"].map(str::to_owned);
        let plan = parse(&FsWatch.parse_arguments(&words).unwrap()).unwrap();
        assert_eq!(plan.paths, [PathBuf::from("/etc/x")]);
        assert!(plan.excludes(Path::new("/etc/x/a/b")) && !plan.excludes(Path::new("/etc/x/ab")));
        assert!(plan.has_name(OsStr::new("a.conf")) && !plan.has_name(OsStr::new("a.conf~")));
        for (parameters, error) in [
            (json!({}), "parameters.paths: at least one path"),
            (json!({"paths": ["etc"]}), "parameters.paths[0]: is not an absolute path"),
            (json!({"paths": ["/a/../b"]}), "parameters.paths[0]: is not an absolute path"),
            (json!({"paths": ["/a"], "exclude": ["/"]}), "parameters.exclude: excludes /a of paths"),
            (json!({"paths": ["/a", "/proc/1"]}), "parameters.paths: /proc/1: the kernel tells no changes"),
            (json!({"paths": ["/a"], "name": ["x"]}), "parameters.name: unknown key; did you mean \"names\"?"),
            (json!({"paths": ["/a"], "names": ["("]}), "parameters.names[0]: bad regular expression"),
        ] {
            let found = parse(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
