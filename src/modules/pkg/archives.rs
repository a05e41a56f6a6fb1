//! Packages that no database of the machine has: the metadata of Python, npm, Go and Java below given paths.

mod go;
mod java;

use super::databases::{Found, Kind, Package, read_text};
use crate::modules::Context;
use crate::modules::file::{Located, Wanted, locate};
use serde_json::Value;
use std::io;
use std::path::Path;

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

/// Looks for these kinds below paths. Ends early when `is_over` says so.
pub(super) fn below(paths: &[String], kinds: &[Kind], context: Context, is_over: &mut dyn FnMut() -> bool) -> Found {
    let mut found = Found::default();
    for kind in kinds {
        let Some(names) = names(*kind) else { continue };
        let wanted = Wanted { paths, names, modes: matches!(kind, Kind::Go).then_some("^-.*x"), maxdepth: 0 };
        let Located { files, mut unseen } = locate(&wanted, context);
        found.unseen.append(&mut unseen);
        for path in files {
            if is_over() {
                return found;
            }
            match read(*kind, &path) {
                Ok((packages, unseen)) => {
                    found.unseen.extend(unseen.map(|text| format!("read {}: {text}", path.display())));
                    let at = |package: Package| Package { path: Some(path.clone()), ..package };
                    found.packages.extend(packages.into_iter().map(at));
                }
                // It ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.unseen.push(format!("read {}: {error}", path.display())),
            }
        }
    }
    found
}

/// The packages of a file, and what in it is not looked into.
fn read(kind: Kind, path: &Path) -> io::Result<(Vec<Package>, Option<String>)> {
    let packages = match kind {
        Kind::Python => python(path),
        Kind::Npm => npm(path),
        Kind::Go => go::read(path),
        _ => return java::read(path),
    };
    Ok((packages?, None))
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// `NAME-VERSION.dist-info/METADATA`, `NAME.egg-info/PKG-INFO` or a file `NAME.egg-info`: fields as in mail.
fn python(path: &Path) -> io::Result<Vec<Package>> {
    let parent = path.parent().and_then(Path::extension).unwrap_or_default();
    let is_metadata = path.extension().is_some_and(|extension| extension == "egg-info")
        || (path.ends_with("METADATA") && parent == "dist-info")
        || (path.ends_with("PKG-INFO") && parent == "egg-info")
        // An egg that is a directory.
        || path.ends_with("EGG-INFO/PKG-INFO");
    if !is_metadata {
        return Ok(Vec::new());
    }
    let text = read_text(path, METADATA_BYTES_MAX)?;
    let field = |name: &str| {
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix(name)).map(str::trim).filter(|value| !value.is_empty())
    };
    match (field("Name:"), field("Version:")) {
        (Some(name), Some(version)) => Ok(vec![Package::new(Kind::Python, name, version)]),
        _ => Err(broken("it has no name or no version")),
    }
}

/// `node_modules/NAME/package.json`. Other files of that name describe programs under development, or parts of a package.
fn npm(path: &Path) -> io::Result<Vec<Package>> {
    let value: Value = crate::json::value(&read_text(path, METADATA_BYTES_MAX)?).map_err(io::Error::other)?;
    let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty());
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => Ok(vec![Package::new(Kind::Npm, name, version)]),
        // Such as one that says only {"type": "module"}.
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
