//! Jars: `META-INF/maven/**/pom.properties` of each artifact in it, else the manifest. Jars inside of a jar are named as not
//! looked into.

use super::broken;
use crate::modules::pkg::databases::{Kind, Package, open};
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the list of what is in a jar: some 500,000 files.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one text of metadata.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the end of a zip archive without, and with the longest comment.
const END_BYTES: usize = 22;
const END_BYTES_MAX: u64 = 22 + 0xffff;

/// A file in an archive.
struct Entry {
    name: String,
    is_deflated: bool,
    compressed_bytes: u64,
    offset: u64,
}

/// Reads the packages of a jar, and says what in it is not looked into.
pub(super) fn read(path: &Path) -> io::Result<(Vec<Package>, Option<String>)> {
    let file = open(path)?;
    let entries = entries(&file)?;
    let mut packages = Vec::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.name.starts_with("META-INF/maven/") && entry.name.ends_with("/pom.properties"))
    {
        let text = text(&file, entry)?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        let (Some(group), Some(artifact), Some(version)) = (field("groupId"), field("artifactId"), field("version"))
        else {
            return Err(broken(&format!("{} has no groupId, artifactId or version", entry.name)));
        };
        packages.push(Package::new(Kind::Java, format!("{}:{}", group.trim(), artifact.trim()), version.trim()));
    }
    if packages.is_empty() {
        packages.extend(of_manifest(&file, &entries, path)?);
    }
    let is_jar = |entry: &&Entry| entry.name.ends_with(".jar");
    let inner = entries.iter().filter(is_jar).count();
    Ok((packages, (inner > 0).then(|| format!("{inner} jars inside of it are not looked into"))))
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

/// The central directory of a zip archive.
fn entries(file: &File) -> io::Result<Vec<Entry>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(END_BYTES_MAX);
    let end = bytes(file, from, length - from)?;
    let at = memchr::memmem::rfind(&end, b"PK\x05\x06").filter(|at| end.len() - at >= END_BYTES);
    let end = &end[at.ok_or_else(|| broken("it is no zip archive"))?..];
    let (size, offset) = (number(end, 12, 4), number(end, 16, 4));
    if offset == 0xffff_ffff {
        return Err(broken("it is a zip archive of the large kind, which is not read"));
    }
    if size > DIRECTORY_BYTES_MAX {
        return Err(broken(&format!("its directory has {size} bytes")));
    }
    let directory = bytes(file, offset, size)?;
    let (mut rest, mut entries) = (&directory[..], Vec::new());
    while let Some((header, behind)) = rest.split_at_checked(46).filter(|(header, _)| header.starts_with(b"PK\x01\x02"))
    {
        let [name, extra, comment] = [28, 30, 32].map(|at| number(header, at, 2) as usize);
        let text = behind.get(..name).ok_or_else(|| broken("its directory is broken"))?;
        entries.push(Entry {
            name: String::from_utf8_lossy(text).into_owned(),
            is_deflated: number(header, 10, 2) == 8,
            compressed_bytes: number(header, 20, 4),
            offset: number(header, 42, 4),
        });
        rest = behind.get(name + extra + comment..).ok_or_else(|| broken("its directory is broken"))?;
    }
    Ok(entries)
}

fn text(file: &File, entry: &Entry) -> io::Result<String> {
    let header = bytes(file, entry.offset, 30)?;
    if entry.compressed_bytes > TEXT_BYTES_MAX || !header.starts_with(b"PK\x03\x04") {
        return Err(broken(&format!("{} in it is too large or broken", entry.name)));
    }
    let begin = entry.offset + 30 + number(&header, 26, 2) + number(&header, 28, 2);
    let stored = bytes(file, begin, entry.compressed_bytes)?;
    let mut contents = Vec::new();
    if entry.is_deflated {
        DeflateDecoder::new(&stored[..]).take(TEXT_BYTES_MAX).read_to_end(&mut contents)?;
    } else {
        contents = stored;
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
