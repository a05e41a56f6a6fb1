//! Which directories are watched, and under which paths.

use crate::modules::limits::PATH_BYTES_MAX;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Paths of directories that are watched: the kernel takes about 1 KiB for each.
pub(super) const DIRECTORIES_MAX: usize = 100_000;
/// Bytes of these paths; usually it is a tenth of that.
const PATHS_BYTES_MAX: usize = 64 << 20;

/// A directory that is watched.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    /// At least one. It has several where it is mounted several times.
    pub(super) paths: Vec<PathBuf>,
    /// Only these names in it; None for all.
    pub(super) only: Option<HashSet<OsString>>,
}

/// See the module docs.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_number: HashMap<i32, Watched>,
    paths: usize,
    paths_bytes: usize,
}

impl Watches {
    /// The one with this number.
    pub(super) fn get(&self, wd: i32) -> Option<&Watched> {
        self.by_number.get(&wd)
    }

    /// Whether all that is in this directory is watched already, by this path, or by one that was taken from it a moment ago.
    pub(super) fn has(&self, wd: i32, path: &Path) -> bool {
        self.get(wd).is_some_and(|watched| {
            watched.only.is_none() && (watched.paths.is_empty() || watched.paths.iter().any(|one| one == path))
        })
    }

    /// Why no directory with this path can be added.
    pub(super) fn is_full_for(&self, path: &Path) -> Option<String> {
        if path.as_os_str().len() >= PATH_BYTES_MAX {
            return Some(format!("its path has more than {PATH_BYTES_MAX} bytes"));
        }
        if self.paths >= DIRECTORIES_MAX {
            return Some(format!("{DIRECTORIES_MAX} directories are watched already"));
        }
        let is_full = self.paths_bytes + path.as_os_str().len() > PATHS_BYTES_MAX;
        is_full.then(|| format!("the paths of directories that are watched have {PATHS_BYTES_MAX} bytes already"))
    }

    /// Adds a directory with all that is in it. `is_it`: whether a path still leads to this directory.
    pub(super) fn add(&mut self, wd: i32, path: &Path, is_it: impl Fn(&Path) -> bool) {
        self.add_path(wd, path, None, is_it).only = None;
    }

    /// Adds one name in a directory.
    pub(super) fn add_name(&mut self, wd: i32, path: &Path, name: &OsStr, is_it: impl Fn(&Path) -> bool) {
        let watched = self.add_path(wd, path, Some(HashSet::new()), is_it);
        if let Some(names) = &mut watched.only {
            names.insert(name.to_owned());
        }
    }

    fn add_path(
        &mut self,
        wd: i32,
        path: &Path,
        only: Option<HashSet<OsString>>,
        is_it: impl Fn(&Path) -> bool,
    ) -> &mut Watched {
        let watched = self.by_number.entry(wd).or_insert(Watched { paths: Vec::new(), only });
        for old in watched.paths.extract_if(.., |old| old != path && !is_it(old)) {
            self.paths -= 1;
            self.paths_bytes -= old.as_os_str().len();
        }
        if !watched.paths.iter().any(|old| old == path) {
            watched.paths.push(path.to_owned());
            self.paths += 1;
            self.paths_bytes += path.as_os_str().len();
        }
        watched
    }

    /// The kernel has ended this watch.
    pub(super) fn remove(&mut self, wd: i32) -> Option<Watched> {
        let removed = self.by_number.remove(&wd)?;
        self.paths -= removed.paths.len();
        self.paths_bytes -= removed.paths.iter().map(|path| path.as_os_str().len()).sum::<usize>();
        Some(removed)
    }

    /// A directory, and what is below it, has another path.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        for path in self.by_number.values_mut().flat_map(|watched| &mut watched.paths) {
            if let Some(below) = below(path, from) {
                let mut renamed = to.as_os_str().to_owned();
                renamed.push(OsStr::from_bytes(below));
                self.paths_bytes = self.paths_bytes + renamed.len() - path.as_os_str().len();
                *path = renamed.into();
            }
        }
    }

    /// The numbers of those that are at this path or below it.
    pub(super) fn at_and_below(&self, top: &Path) -> Vec<i32> {
        let is_below = |watched: &Watched| watched.paths.iter().any(|path| below(path, top).is_some());
        self.by_number.iter().filter(|(_, watched)| is_below(watched)).map(|(wd, _)| *wd).collect()
    }

    /// Those of which only names are watched, this one among them: their numbers and paths.
    pub(super) fn with_name(&self, directory: &Path, name: &OsStr) -> Vec<(i32, Vec<PathBuf>)> {
        let has_name = |watched: &Watched| {
            watched.only.as_ref().is_some_and(|only| only.contains(name))
                && watched.paths.iter().any(|p| p == directory)
        };
        let found = self.by_number.iter().filter(|(_, watched)| has_name(watched));
        found.map(|(wd, watched)| (*wd, watched.paths.clone())).collect()
    }

    /// Removes a name of one of which only names are watched. Returns whether it has none left, and so is removed.
    pub(super) fn forget_name(&mut self, wd: i32, name: &OsStr) -> bool {
        let Some(only) = self.by_number.get_mut(&wd).and_then(|watched| watched.only.as_mut()) else { return false };
        only.remove(name);
        only.is_empty() && self.remove(wd).is_some()
    }

    /// Takes the paths at this path and below it from one. It stays, even if it has none left.
    pub(super) fn take_paths(&mut self, wd: i32, top: &Path) {
        let Some(watched) = self.by_number.get_mut(&wd) else { return };
        for old in watched.paths.extract_if(.., |path| below(path, top).is_some()) {
            self.paths -= 1;
            self.paths_bytes -= old.as_os_str().len();
        }
    }

    /// Removes one that has no path. Returns whether it did.
    pub(super) fn remove_without_path(&mut self, wd: i32) -> bool {
        self.get(wd).is_some_and(|watched| watched.paths.is_empty()) && self.by_number.remove(&wd).is_some()
    }
}

/// What of `path` is below `top`: nothing, or it begins with a slash. By bytes: it is done for each directory when one is renamed.
fn below<'p>(path: &'p Path, top: &Path) -> Option<&'p [u8]> {
    let top = top.as_os_str().as_bytes();
    let below = path.as_os_str().as_bytes().strip_prefix(top.strip_suffix(b"/").unwrap_or(top))?;
    (below.is_empty() || below.starts_with(b"/")).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_renamed_and_forgotten_with_those_below_them_by_each_path() {
        let mut watches = Watches::default();
        let path = |text: &str| PathBuf::from(text);
        for (wd, text) in [(1, "/t"), (2, "/t/a"), (3, "/t/a/b"), (4, "/t/ab"), (3, "/u/b")] {
            watches.add(wd, &path(text), |_| true);
        }
        watches.rename(&path("/t/a"), &path("/t/long"));
        assert_eq!(watches.get(3).unwrap().paths, [path("/t/long/b"), path("/u/b")]);
        assert_eq!(watches.get(4).unwrap().paths, [path("/t/ab")]);
        let mut found = watches.at_and_below(&path("/t/long"));
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
        [2, 3].iter().for_each(|wd| watches.take_paths(*wd, &path("/t/long")));
        // As long as it is not removed, it is the same by any path.
        assert!(watches.has(2, &path("/w")) && watches.has(3, &path("/u/b")) && !watches.has(3, &path("/w")));
        assert!(watches.remove_without_path(2) && !watches.has(2, &path("/w")) && !watches.remove_without_path(3));
        assert_eq!(watches.get(3).unwrap().paths, [path("/u/b")]);
        watches.add(3, &path("/v"), |_| false);
        assert_eq!(watches.get(3).unwrap().paths, [path("/v")]);
        [1, 3, 4].iter().for_each(|wd| assert!(watches.remove(*wd).is_some()));
        assert_eq!((watches.paths, watches.paths_bytes), (0, 0));
    }

    #[test]
    fn one_of_some_names_becomes_one_of_all_and_never_the_other_way() {
        let mut watches = Watches::default();
        let (directory, name) = (Path::new("/etc"), OsStr::new("hosts"));
        watches.add_name(1, directory, name, |_| true);
        assert!(watches.get(1).unwrap().only.as_ref().unwrap().contains(name));
        watches.add_name(1, directory, OsStr::new("group"), |_| true);
        assert_eq!(watches.with_name(directory, name), [(1, vec![directory.to_owned()])]);
        assert!(!watches.forget_name(1, name) && watches.with_name(directory, name).is_empty());
        watches.add(1, directory, |_| true);
        watches.add_name(1, directory, name, |_| true);
        assert_eq!(watches.get(1).unwrap().only, None);
        assert!(watches.with_name(directory, name).is_empty() && !watches.forget_name(1, name));
        watches.add_name(2, Path::new("/usr"), name, |_| true);
        assert!(watches.forget_name(2, name) && watches.get(2).is_none());
    }

    #[test]
    fn the_number_and_the_bytes_of_paths_are_limited() {
        let mut watches = Watches::default();
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX - 8));
        assert!(watches.is_full_for(Path::new(&format!("{long}1234567"))).unwrap().contains("its path"));
        (0..PATHS_BYTES_MAX / long.len()).for_each(|n| {
            let wd = i32::try_from(n).unwrap();
            watches.add(wd, Path::new(&format!("{long}{n}")), |_| true);
        });
        assert!(watches.is_full_for(Path::new(&long)).unwrap().starts_with("the paths"));
        let mut watches = Watches::default();
        (0..DIRECTORIES_MAX).for_each(|n| watches.add(i32::try_from(n).unwrap(), Path::new("/a"), |_| true));
        assert!(watches.is_full_for(Path::new("/a")).unwrap().starts_with("100000 directories"));
    }
}
