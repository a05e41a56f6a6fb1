//! Jars: `META-INF/maven/**/pom.properties` of each artifact in it, else the manifest, and the name of the file; and the
//! archives inside of it, as those of wars and of Spring Boot have their libraries.

use super::broken;
use super::zip::{Archive, Entry};
use crate::modules::limits::PATH_BYTES_MAX;
use crate::modules::pkg::databases::{Kind, Package, Sink};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of one text of metadata.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Artifacts in one archive: the largest have some hundred.
const ARTIFACTS_MAX: usize = 10_000;
/// Bytes of all texts of metadata of an archive: entries may share what they are made of.
const TEXTS_BYTES_MAX: usize = 64 << 20;
/// Archives inside of each other: an ear has wars, which have jars, which may have one more.
const DEPTH_MAX: usize = 4;
/// Archives inside of one file, at all depths: the largest have some hundred.
const INNER_MAX: u32 = 10_000;
/// Bytes of archives inside of one file that are in memory at a time: a quarter of what an operation may have. One that is
/// stored without compression is read where it is.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are inflated for one file: a bomb would take the time of all others.
const INFLATED_BYTES_MAX: u64 = 4 << 30;

/// The manifest.
const MANIFEST: &str = "META-INF/MANIFEST.MF";

/// Words at the beginning of a part of a version, which numbers may follow: `2.0-beta-9`.
const QUALIFIERS: [&str; 12] =
    ["alpha", "beta", "b", "build", "cr", "m", "milestone", "pre", "rc", "release", "snapshot", "sp"];

/// What may still be read for one file.
struct Budget {
    archives: u32,
    memory_bytes: u64,
    inflated_bytes: u64,
}

/// Finds the packages of a file.
pub(super) fn read(path: &Path, file: &File, found: &mut dyn Sink) -> io::Result<()> {
    let mut budget = Budget { archives: INNER_MAX, memory_bytes: MEMORY_BYTES_MAX, inflated_bytes: INFLATED_BYTES_MAX };
    read_archive(path, Archive::of_file(file)?, 0, &mut budget, found)
}

/// Finds the packages of an archive, and of those inside of it.
fn read_archive(
    place: &Path,
    archive: Archive,
    depth: usize,
    budget: &mut Budget,
    found: &mut dyn Sink,
) -> io::Result<()> {
    let entries = archive.entries(|name| is_artifact(name) || name == MANIFEST || is_archive(name))?;
    packages(place, archive, &entries, found)?;
    let mut left = entries.iter().filter(|entry| is_archive(&entry.name));
    while let Some(entry) = left.next() {
        if found.is_over() {
            return Err(broken("the time is over"));
        }
        if budget.archives == 0 {
            let count = 1 + left.count();
            let reason =
                format!("{INNER_MAX} archives inside of the file were looked into, and {count} of its own not");
            return Err(broken(&reason));
        }
        let inner = inside(place, &entry.name);
        if let Err(error) = read_inner(&inner, archive, entry, depth + 1, budget, found) {
            found.failed(&inner, &error);
        }
    }
    Ok(())
}

/// Finds the packages of an archive inside of another one.
fn read_inner(
    place: &Path,
    archive: Archive,
    entry: &Entry,
    depth: usize,
    budget: &mut Budget,
    found: &mut dyn Sink,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(broken(&format!("archives are looked into {DEPTH_MAX} deep")));
    }
    if entry.name.len() > PATH_BYTES_MAX {
        return Err(broken(&format!("its name has more than {PATH_BYTES_MAX} bytes")));
    }
    budget.archives -= 1;
    if let Some(stored) = archive.inner(entry)? {
        return read_archive(place, stored, depth, budget, found);
    }
    let contents = archive.contents(entry, budget.memory_bytes.min(budget.inflated_bytes))?;
    let bytes = contents.len() as u64;
    budget.inflated_bytes -= bytes;
    budget.memory_bytes -= bytes;
    let read = read_archive(place, Archive::of_memory(&contents), depth, budget, found);
    budget.memory_bytes += bytes;
    read
}

/// What an archive inside of another one is called.
fn inside(place: &Path, name: &str) -> PathBuf {
    let mut path = place.as_os_str().to_owned();
    path.push("!/");
    path.push(name);
    path.into()
}

fn is_artifact(name: &str) -> bool {
    name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties")
}

/// Whether a file in an archive is an archive itself.
fn is_archive(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    ["jar", "war", "ear", "rar"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The packages that an archive itself says it has.
fn packages(place: &Path, archive: Archive, entries: &[Entry], found: &mut dyn Sink) -> io::Result<()> {
    let (mut names, mut bytes) = (Vec::new(), 0);
    for (count, entry) in entries.iter().filter(|entry| is_artifact(&entry.name)).enumerate() {
        if found.is_over() {
            return Err(broken("the time is over"));
        }
        if count == ARTIFACTS_MAX || bytes > TEXTS_BYTES_MAX {
            let reason = format!("it has more than {ARTIFACTS_MAX} artifacts, or {TEXTS_BYTES_MAX} bytes of them");
            found.failed(place, &reason);
            break;
        }
        let text = text(archive, entry);
        bytes += text.as_ref().map_or(0, String::len);
        match text.as_deref().map(artifact) {
            Ok(Some((group, name, version))) => {
                found.package(Package::new(Kind::Java, format!("{group}:{name}"), version).at(place));
                names.push(name.to_owned());
            }
            Ok(None) => {
                let name = &entry.name;
                found.failed(place, &format_args!("{name} has no groupId, artifactId or version"));
            }
            Err(error) => found.failed(place, error),
        }
    }
    let stem = &*place.file_stem().unwrap_or_default().to_string_lossy();
    if let Some(manifest) = entries.iter().find(|entry| names.is_empty() && entry.name == MANIFEST) {
        match text(archive, manifest).as_deref().map(of_manifest) {
            Ok((name, Some(version))) => {
                let name = name.unwrap_or_else(|| of_file_name(stem).map_or(stem, |(name, _)| name).to_owned());
                found.package(Package::new(Kind::Java, &*name, version).at(place));
                names.push(name);
            }
            Ok((_, None)) => {}
            Err(error) => found.failed(place, error),
        }
    }
    match of_file_name(stem) {
        // An artifact has there the name by which it is known; in its manifest it may have another one.
        Some((name, version)) if names.iter().all(|known| known != name) => {
            found.package(Package::new(Kind::Java, name, version).at(place));
        }
        // It is there, of a version that nothing says.
        None if names.is_empty() => found.package(Package::new(Kind::Java, stem, "").at(place)),
        _ => {}
    }
    Ok(())
}

/// What `pom.properties` say: group, artifact and version.
fn artifact(text: &str) -> Option<(&str, &str, &str)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
    Some((field("groupId")?.trim(), field("artifactId")?.trim(), field("version")?.trim()))
}

/// The name and the version that a manifest says.
fn of_manifest(text: &str) -> (Option<String>, Option<String>) {
    // A line that begins with a space goes on.
    let text = text.replace("\r\n", "\n").replace("\n ", "");
    let field = |names: &[&str]| {
        let value = |name: &&str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = names.iter().find_map(value).map(|value| value.split(';').next().unwrap_or_default().trim());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    (
        field(&["Bundle-SymbolicName", "Implementation-Title", "Specification-Title", "Automatic-Module-Name"]),
        field(&["Bundle-Version", "Implementation-Version", "Specification-Version"]),
    )
}

/// The name and the version of `log4j-1.2-api-2.14.1`: the version begins at the last number that is behind a word of the name.
fn of_file_name(stem: &str) -> Option<(&str, &str)> {
    let is_number = |part: &str| part.starts_with(|letter: char| letter.is_ascii_digit());
    let is_of_version = |part: &str| {
        let word = part.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_ascii_lowercase();
        is_number(part) || QUALIFIERS.contains(&&*word)
    };
    stem.match_indices('-').rev().map(|(at, _)| (&stem[..at], &stem[at + 1..])).find(|(name, version)| {
        let word = name.rsplit('-').next().unwrap_or_default();
        is_number(version) && !word.is_empty() && !is_of_version(word)
    })
}

fn text(archive: Archive, entry: &Entry) -> io::Result<String> {
    let contents = archive.contents(entry, TEXT_BYTES_MAX);
    let contents = contents.map_err(|error| broken(&format!("{} in it: {error}", entry.name)))?;
    Ok(String::from_utf8_lossy(&contents).into_owned())
}
