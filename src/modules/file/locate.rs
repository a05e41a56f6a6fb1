//! Where files are, for other modules: a search of this module by name, without its contents.

use super::evaluate::{To, Visit};
use super::{File, Module, Mounts, parameters, search};
use crate::modules::{Context, ModuleResult, ParameterError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The label of the search.
const LABEL: &str = "located";

/// What is looked for.
#[derive(Debug)]
pub(in crate::modules) struct Wanted<'w> {
    /// Below these; a missing one is an error.
    pub(in crate::modules) paths: &'w [String],
    /// The expression on the name.
    pub(in crate::modules) names: &'w str,
    /// The expression on the mode.
    pub(in crate::modules) modes: Option<&'w str>,
    /// Levels; 0 is no limit.
    pub(in crate::modules) maxdepth: u64,
}

impl Wanted<'_> {
    fn parameters(&self) -> Value {
        let Wanted { paths, names, modes, maxdepth } = self;
        // So that an expression that begins with ! does not negate.
        let names = format!("(?:{names})");
        let options =
            json!({"matchall": true, "maxdepth": maxdepth, "matchlimit": crate::modules::limits::ELEMENTS_MAX});
        let mut search = json!({"paths": paths, "names": [names], "options": options});
        if let Some(modes) = modes {
            search["modes"] = json!([modes]);
        }
        json!({"searches": {LABEL: search}})
    }

    /// Refuses what cannot be looked for, or cannot mean what was intended.
    pub(in crate::modules) fn check(&self) -> Result<(), ParameterError> {
        File.validate(&self.parameters())?.into_iter().next().map_or(Ok(()), Err)
    }
}

/// What was found.
#[derive(Debug)]
pub(in crate::modules) struct Located {
    /// In the order of their names.
    pub(in crate::modules) files: Vec<PathBuf>,
    /// What could not be looked at, and limits.
    pub(in crate::modules) unseen: Vec<String>,
}

/// Looks for files.
pub(in crate::modules) fn locate(wanted: &Wanted, context: Context) -> Located {
    let context =
        Context { result_bytes_max: crate::limits::MODULE_OUTPUT_BYTES_BY_HAND_MAX, progress: None, ..context };
    let plan = match parameters::parse(&wanted.parameters()) {
        Ok(plan) => plan,
        Err(error) => return Located { files: Vec::new(), unseen: vec![error.to_string()] },
    };
    let files = Mutex::new(Vec::new());
    let add = |path: &Path| files.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    let ModuleResult { errors, .. } = search(&plan, Mounts::read(), context, To::Paths(&add));
    let mut files = files.into_inner().unwrap_or_else(PoisonError::into_inner);
    files.sort();
    Located { files, unseen: errors.unwrap_or_default() }
}

/// Shows `visit` the regular files, opened; returns what could not be looked at.
pub(in crate::modules) fn look(wanted: &Wanted, context: Context, visit: Visit) -> Vec<String> {
    super::visit(&wanted.parameters(), context, visit).errors.unwrap_or_default()
}

/// Whether a walk below these paths may come to `/proc`.
pub(in crate::modules) fn leads_to_proc(paths: &[String]) -> bool {
    let Ok(mounts) = Mounts::read() else { return true };
    paths.iter().any(|path| mounts.leads_to_proc(Path::new(path)))
}
