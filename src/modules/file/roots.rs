//! The paths of all searches: which searches begin at which path, and which paths are inside others.

use super::entry::Active;
use super::parameters::Plan;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Every path once, with the searches that begin there. A path is taken once, when its walk begins.
#[derive(Debug)]
pub(super) struct Roots {
    by_path: BTreeMap<PathBuf, Root>,
    /// Per directory, the names in it that are roots.
    inside: HashMap<PathBuf, HashSet<OsString>>,
}

#[derive(Debug, Default)]
struct Root {
    active: Vec<Active>,
    taken: AtomicBool,
}

impl Roots {
    /// Collects the roots of the searches of a plan that are run; `expand` returns those for the wildcards of a search.
    pub(super) fn new(plan: &Plan, is_run: impl Fn(usize) -> bool, expand: impl Fn(usize) -> Vec<PathBuf>) -> Self {
        let mut by_path: BTreeMap<PathBuf, Root> = BTreeMap::new();
        for (search, of) in plan.searches.iter().enumerate().filter(|(search, _)| is_run(*search)) {
            let levels = if of.options.maxdepth == 0 { u64::MAX } else { of.options.maxdepth };
            for path in of.paths.iter().cloned().chain(expand(search)) {
                let active = &mut by_path.entry(path).or_default().active;
                // Two wildcards can match the same path.
                if active.last().is_none_or(|last| last.search != search) {
                    active.push(Active { search, levels });
                }
            }
        }
        let mut inside: HashMap<PathBuf, HashSet<OsString>> = HashMap::new();
        for path in by_path.keys() {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                inside.entry(parent.to_owned()).or_default().insert(name.to_owned());
            }
        }
        Roots { by_path, inside }
    }

    /// Returns the names in `directory` that are roots, taken or not; `None`, as nearly always, if there are none.
    pub(super) fn inside(&self, directory: &Path) -> Option<&HashSet<OsString>> {
        self.inside.get(directory)
    }

    /// Takes the root `path` and returns the searches that begin there; `None` if it is not a root or was taken.
    pub(super) fn take(&self, path: &Path) -> Option<&[Active]> {
        let root = self.by_path.get(path)?;
        if root.taken.swap(true, Relaxed) { None } else { Some(&root.active) }
    }

    /// Takes all roots that are not inside another untaken root.
    pub(super) fn take_outermost(&self) -> Vec<(&Path, &[Active])> {
        let free = |path: &Path| self.by_path.get(path).is_some_and(|root| !root.taken.load(Relaxed));
        let outermost = |path: &&PathBuf| free(path) && !path.ancestors().skip(1).any(free);
        let paths: Vec<&PathBuf> = self.by_path.keys().filter(outermost).collect();
        paths.into_iter().filter_map(|path| Some((path.as_path(), self.take(path)?))).collect()
    }
}

/// Returns the searches of a directory or file that is covered by `active` and is a root of `root`.
pub(super) fn merge(active: &[Active], root: &[Active]) -> Vec<Active> {
    let mut merged = active.to_vec();
    for new in root {
        match merged.iter_mut().find(|known| known.search == new.search) {
            Some(known) => known.levels = known.levels.max(new.levels),
            None => merged.push(*new),
        }
    }
    merged
}

/// Returns the searches that continue below a directory.
pub(super) fn one_level_down(active: &Arc<[Active]>) -> Arc<[Active]> {
    if active.iter().all(|active| active.levels == u64::MAX) {
        return active.clone();
    }
    let deeper = active.iter().filter(|active| active.levels > 1);
    deeper
        .map(|active| match active.levels {
            u64::MAX => *active,
            levels => Active { search: active.search, levels: levels - 1 },
        })
        .collect()
}
