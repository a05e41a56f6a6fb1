//! Jars: `META-INF/maven/**/pom.properties` of each artifact in it, else the manifest. Archives inside of a jar are named
//! as not looked into.

use super::broken;
use crate::modules::pkg::databases::{Kind, Package, Sink};
use flate2::read::DeflateDecoder;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the list of what is in a jar: some 500,000 files.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one text of metadata.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Artifacts in one jar: the largest have some hundred.
const ARTIFACTS_MAX: usize = 10_000;
/// Bytes of all texts of metadata of a jar: entries may share what they are made of.
const TEXTS_BYTES_MAX: usize = 64 << 20;
/// Bytes of the end of a zip archive without, and with the longest comment.
const END_BYTES: usize = 22;
const END_BYTES_MAX: u64 = 22 + 0xffff;

/// A file in an archive.
struct Entry {
    name: String,
    method: u64,
    compressed_bytes: u64,
    offset: u64,
}

/// Finds the packages of a jar.
pub(super) fn read(path: &Path, file: &File, found: &mut dyn Sink) -> io::Result<()> {
    let entries = entries(file)?;
    let inner = entries.iter().filter(|entry| is_archive(&entry.name)).count();
    if inner > 0 {
        found.failed(path, &format_args!("{inner} archives inside of it are not looked into"));
    }
    let is_artifact =
        |entry: &&Entry| entry.name.starts_with("META-INF/maven/") && entry.name.ends_with("/pom.properties");
    let (mut count, mut bytes, mut has_package) = (0, 0, false);
    for entry in entries.iter().filter(is_artifact) {
        if found.is_over() {
            return Err(broken("the time is over"));
        }
        if count == ARTIFACTS_MAX || bytes > TEXTS_BYTES_MAX {
            let reason = format!("it has more than {ARTIFACTS_MAX} artifacts, or {TEXTS_BYTES_MAX} bytes of them");
            return Err(broken(&reason));
        }
        count += 1;
        match text(file, entry) {
            Err(error) => found.failed(path, &error),
            Ok(text) => {
                bytes += text.len();
                match artifact(&text) {
                    Some(package) => {
                        has_package = true;
                        found.package(package.at(path));
                    }
                    None => {
                        let name = &entry.name;
                        found.failed(path, &format_args!("{name} has no groupId, artifactId or version"));
                    }
                }
            }
        }
    }
    if !has_package && let Some(package) = of_manifest(file, &entries, path)? {
        found.package(package.at(path));
    }
    Ok(())
}

/// Whether a file in a jar is an archive itself.
fn is_archive(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    ["jar", "war", "ear", "rar"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// What `pom.properties` say.
fn artifact(text: &str) -> Option<Package> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
    let (group, artifact, version) = (field("groupId")?, field("artifactId")?, field("version")?);
    Some(Package::new(Kind::Java, format!("{}:{}", group.trim(), artifact.trim()), version.trim()))
}

/// What a manifest says; the name of the file if that says nothing.
fn of_manifest(file: &File, entries: &[Entry], path: &Path) -> io::Result<Option<Package>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let by_name = || {
        let (name, version) = stem
            .match_indices('-')
            .map(|(at, _)| stem.split_at(at))
            .find(|(_, version)| version[1..].starts_with(|letter: char| letter.is_ascii_digit()))?;
        Some(Package::new(Kind::Java, name, &version[1..]))
    };
    let Some(entry) = entries.iter().find(|entry| entry.name == "META-INF/MANIFEST.MF") else { return Ok(by_name()) };
    // A line that begins with a space goes on.
    let text = text(file, entry)?.replace("\r\n", "\n").replace("\n ", "");
    let field = |names: &[&str]| {
        let value = |name: &&str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        names.iter().find_map(value).map(|value| value.split(';').next().unwrap_or_default().trim().to_owned())
    };
    let name = field(&["Bundle-SymbolicName", "Implementation-Title", "Specification-Title", "Automatic-Module-Name"]);
    let version = field(&["Bundle-Version", "Implementation-Version", "Specification-Version"]);
    Ok(version.map(|version| Package::new(Kind::Java, name.unwrap_or(stem.clone()), version)).or_else(by_name))
}

/// The central directory of a zip archive, which may have something ahead of it: a script that starts it.
fn entries(file: &File) -> io::Result<Vec<Entry>> {
    let is_broken = || broken("its directory is broken");
    let length = file.metadata()?.len();
    let from = length.saturating_sub(END_BYTES_MAX);
    let end = bytes(file, from, length - from)?;
    let at = memchr::memmem::rfind(&end, b"PK\x05\x06").filter(|at| end.len() - at >= END_BYTES);
    let at = at.ok_or_else(|| broken("it is no zip archive"))?;
    let end_offset = from + at as u64;
    let end = &end[at..];
    let (count, size, offset) = (number(end, 10, 2), number(end, 12, 4), number(end, 16, 4));
    if offset == 0xffff_ffff || size == 0xffff_ffff {
        return Err(broken("it is a zip archive of the large kind, which is not read"));
    }
    if size > DIRECTORY_BYTES_MAX {
        return Err(broken(&format!("its directory has {size} bytes")));
    }
    // The directory ends where the end begins; offsets count from where the archive does.
    let base = end_offset.checked_sub(size + offset).ok_or_else(is_broken)?;
    let directory = bytes(file, base + offset, size)?;
    let (mut rest, mut entries) = (&directory[..], Vec::new());
    while !rest.is_empty() {
        let (header, behind) =
            rest.split_at_checked(46).filter(|(header, _)| header.starts_with(b"PK\x01\x02")).ok_or_else(is_broken)?;
        let [name, extra, comment] = [28, 30, 32].map(|at| number(header, at, 2) as usize);
        let text = behind.get(..name).ok_or_else(is_broken)?;
        entries.push(Entry {
            name: String::from_utf8_lossy(text).into_owned(),
            method: number(header, 10, 2),
            compressed_bytes: number(header, 20, 4),
            offset: base + number(header, 42, 4),
        });
        rest = behind.get(name + extra + comment..).ok_or_else(is_broken)?;
    }
    // Older tools count beyond what the field can have.
    if entries.len() as u64 & 0xffff != count {
        return Err(is_broken());
    }
    Ok(entries)
}

fn text(file: &File, entry: &Entry) -> io::Result<String> {
    let failed = |reason: &dyn Display| broken(&format!("{} in it: {reason}", entry.name));
    let header = bytes(file, entry.offset, 30).map_err(|error| failed(&error))?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(failed(&"it is broken"));
    }
    if entry.compressed_bytes > TEXT_BYTES_MAX {
        return Err(failed(&"it is too large"));
    }
    let begin = entry.offset + 30 + number(&header, 26, 2) + number(&header, 28, 2);
    let stored = bytes(file, begin, entry.compressed_bytes).map_err(|error| failed(&error))?;
    let contents = match entry.method {
        0 => stored,
        8 => {
            let mut contents = Vec::new();
            let inflated = DeflateDecoder::new(&stored[..]).take(TEXT_BYTES_MAX + 1).read_to_end(&mut contents);
            inflated.map_err(|error| failed(&error))?;
            contents
        }
        method => return Err(failed(&format_args!("it is compressed by method {method}, which is not read"))),
    };
    if contents.len() as u64 > TEXT_BYTES_MAX {
        return Err(failed(&"it is too large"));
    }
    Ok(String::from_utf8_lossy(&contents).into_owned())
}

fn bytes(file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// A little-endian number; 0 behind the end.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes.get(at..at + length).unwrap_or_default().iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
