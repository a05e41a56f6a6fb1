//! Debian's database (dpkg(1), deb822(5)): `status`, what a running dpkg has added to it in `updates`, and `status.d` of
//! images without dpkg.

use super::{Kind, Package, Sink, TEXT_BYTES_MAX, is_there, read_text};
use crate::modules::files::names;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Reads it; false if there is none.
pub(super) fn read(root: &Path, found: &mut dyn Sink) -> bool {
    let place = root.join("var/lib/dpkg");
    let (status, directory) = (place.join("status"), place.join("status.d"));
    if !is_there(&place) {
        return false;
    }
    let has_directory = is_there(&directory);
    let mut packages = Packages::default();
    if is_there(&status) || !has_directory {
        packages.read(&status, false, found);
        // They are numbers; other names are being written.
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        for path in files(&place.join("updates"), is_number, found) {
            packages.read(&path, false, found);
        }
    }
    if has_directory {
        for path in files(&directory, |name| !name.ends_with(".md5sums"), found) {
            packages.read(&path, true, found);
        }
    }
    packages.list.into_iter().flatten().for_each(|package| found.package(package));
    true
}

/// The files of a directory, in order of their names; none if it is missing.
fn files(directory: &Path, is_wanted: impl Fn(&str) -> bool, found: &mut dyn Sink) -> Vec<PathBuf> {
    let names = names(directory);
    if let Some(error) = names.error {
        found.failed(directory, &error);
    }
    let wanted = names.list.into_iter().filter(|name| is_wanted(&name.to_string_lossy()));
    wanted.map(|name| directory.join(name)).collect()
}

/// Packages by name and architecture; the last that is said of one holds.
#[derive(Default)]
struct Packages {
    places: HashMap<(String, String), usize>,
    list: Vec<Option<Package>>,
}

impl Packages {
    fn read(&mut self, path: &Path, is_without_status: bool, found: &mut dyn Sink) {
        let text = match read_text(path, TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => return found.failed(path, &error),
        };
        if text.trim().is_empty() {
            return found.failed(path, &"it is empty");
        }
        if !text.ends_with('\n') {
            found.failed(path, &"it ends in the middle of a line; packages may be missing");
        }
        let mut line = 1;
        let mut stanza = Stanza::default();
        for text in text.lines().chain([""]) {
            if text.trim().is_empty() {
                self.add(std::mem::take(&mut stanza), path, line, is_without_status, found);
                line += 1;
                continue;
            }
            stanza.lines += 1;
            line += 1;
            let Some((name, value)) = text.split_once(':').filter(|_| !text.starts_with([' ', '\t'])) else {
                stanza.is_broken |= !text.starts_with([' ', '\t']);
                continue;
            };
            let place = match name {
                "Package" => &mut stanza.name,
                "Version" => &mut stanza.version,
                "Architecture" => &mut stanza.arch,
                "Status" => &mut stanza.status,
                "Source" => &mut stanza.source,
                _ => continue,
            };
            value.trim().clone_into(place);
        }
    }

    fn add(&mut self, stanza: Stanza, path: &Path, line: usize, is_without_status: bool, found: &mut dyn Sink) {
        if stanza.lines == 0 {
            return;
        }
        let state = match stanza.status.rsplit(' ').next().unwrap_or_default() {
            "" if is_without_status => "installed",
            state => state,
        };
        // Its files are not there; it may have no version.
        let is_absent = matches!(state, "not-installed" | "config-files");
        if stanza.name.is_empty() || state.is_empty() || stanza.is_broken || (!is_absent && stanza.version.is_empty()) {
            let name = if stanza.name.is_empty() { "a package" } else { &stanza.name };
            return found.failed(path, &format_args!("what it says of {name}, ahead of line {line}, is broken"));
        }
        let key = (stanza.name.clone(), stanza.arch.clone());
        // It is left out when it has the name of the package.
        let source = stanza.source.split(' ').next().filter(|source| !source.is_empty());
        let source = source.unwrap_or(&stanza.name).to_owned();
        let package = (!is_absent).then(|| Package {
            arch: stanza.arch,
            source,
            status: if state == "installed" { String::new() } else { state.to_owned() },
            ..Package::new(Kind::Dpkg, stanza.name, stanza.version)
        });
        let place = *self.places.entry(key).or_insert(self.list.len());
        if place == self.list.len() {
            self.list.push(package);
        } else {
            self.list[place] = package;
        }
    }
}

#[derive(Default)]
struct Stanza {
    name: String,
    version: String,
    arch: String,
    status: String,
    source: String,
    lines: usize,
    is_broken: bool,
}
