//! Packages that no database of the machine has: the metadata of Python, npm, Go and Java below given paths.

mod go;
mod java;
mod zip;

use super::databases::{Kind, Package, Sink, text};
use crate::modules::file::{Wanted, look};
use crate::modules::{Context, ModuleResult};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes of metadata in text: `package.json` of the largest packages has a tenth of it.
const METADATA_BYTES_MAX: u64 = 4 << 20;

/// What the files of a kind are called.
fn names(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Python => Some(r"^(METADATA|PKG-INFO|.*\.egg-info)$"),
        Kind::Npm => Some(r"^package\.json$"),
        // A program may have any name.
        Kind::Go => Some("."),
        Kind::Java => Some(r"(?i)\.(jar|war|ear)$"),
        _ => None,
    }
}

/// Looks for these kinds below paths. Files are read one at a time: their memory is what an operation may have.
pub(super) fn below(paths: &[String], kinds: &[Kind], context: Context, found: &mut (dyn Sink + Send)) {
    let found = Mutex::new(found);
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    // While no file is found, what was found until then is still reported.
    let progress = |_: &ModuleResult| {
        if let Ok(mut found) = found.try_lock() {
            found.is_over();
        }
    };
    for kind in kinds {
        let Some(names) = names(*kind).filter(|_| !paths.is_empty() && !lock().is_over()) else { continue };
        let wanted = Wanted { paths, names, modes: matches!(kind, Kind::Go).then_some("^-.*x"), maxdepth: 0 };
        let unseen = look(&wanted, Context { progress: Some(&progress), ..context }, &|path, file| {
            let mut found = lock();
            if let Err(error) = read(*kind, path, file, &mut **found) {
                found.failed(path, &error);
            }
            !found.is_over()
        });
        unseen.into_iter().for_each(|text| lock().unseen(text));
    }
}

/// Finds the packages of a file.
fn read(kind: Kind, path: &Path, file: &File, found: &mut dyn Sink) -> io::Result<()> {
    let packages = match kind {
        Kind::Python => python(path, file)?,
        Kind::Npm => npm(file)?,
        Kind::Go => go::read(file, found)?,
        _ => return java::read(path, file, found),
    };
    packages.into_iter().for_each(|package| found.package(package.at(path)));
    Ok(())
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// `NAME-VERSION.dist-info/METADATA`, `NAME.egg-info/PKG-INFO` or a file `NAME.egg-info`: fields as in mail.
fn python(path: &Path, file: &File) -> io::Result<Vec<Package>> {
    let parent = path.parent().and_then(Path::extension).unwrap_or_default();
    let is_metadata = path.extension().is_some_and(|extension| extension == "egg-info")
        || (path.ends_with("METADATA") && parent == "dist-info")
        || (path.ends_with("PKG-INFO") && parent == "egg-info")
        // An egg that is a directory.
        || path.ends_with("EGG-INFO/PKG-INFO");
    if !is_metadata {
        return Ok(Vec::new());
    }
    let text = text(file, METADATA_BYTES_MAX)?;
    let field = |name: &str| {
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix(name)).map(str::trim).filter(|value| !value.is_empty())
    };
    match (field("Name:"), field("Version:")) {
        (Some(name), Some(version)) => Ok(vec![Package::new(Kind::Python, name, version)]),
        _ => Err(broken("it has no name or no version")),
    }
}

/// `package.json`, wherever it is: of an installed package, and of a program under development.
fn npm(file: &File) -> io::Result<Vec<Package>> {
    let value: Value = crate::json::value(&text(file, METADATA_BYTES_MAX)?).map_err(io::Error::other)?;
    let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty());
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => Ok(vec![Package::new(Kind::Npm, name, version)]),
        // Such as one that says only {"type": "module"}.
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
