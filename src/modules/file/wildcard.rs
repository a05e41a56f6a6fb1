//! Paths with wildcards: `*` and `?` stand for any characters of one name, `[a-c]` and `[!a-c]` for one character, and a name
//! that is `**` for any number of directories. A `*` also stands for a dot at the beginning, because what hides is looked for.
//! Nothing escapes: a `*` that is meant is `[*]`.

use super::limits;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path with wildcards, ready to be expanded.
#[derive(Debug)]
pub(super) struct Wildcard {
    /// The directory above the first wildcard.
    pub(super) parent: PathBuf,
    /// The names behind it.
    pub(super) parts: Vec<Part>,
    /// The whole.
    pub(super) path: PathBuf,
}

/// One name of a path.
#[derive(Debug)]
pub(super) enum Part {
    /// As it is.
    Literal(PathBuf),
    /// Every name that matches.
    Pattern(Regex),
    /// `**`.
    Directories,
}

/// Whether a path holds a wildcard.
pub(super) fn is_wild(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.iter().any(|byte| b"*?".contains(byte))
        || path.components().any(|name| has_class(name.as_os_str().as_bytes()))
}

fn has_class(name: &[u8]) -> bool {
    name.iter().position(|byte| *byte == b'[').is_some_and(|open| name[open..].contains(&b']'))
}

/// The directory above the first wildcard of a path.
pub(super) fn literal_parent(path: &Path) -> PathBuf {
    path.components().take_while(|name| !is_wild(Path::new(name))).collect()
}

impl Wildcard {
    /// Reads a path; `None` if it holds no wildcard.
    pub(super) fn parse(path: &Path) -> Result<Option<Self>, String> {
        if !is_wild(path) {
            return Ok(None);
        }
        if path.file_name().is_some_and(|name| name == "**") {
            return Err("a path that ends in ** is the directory above: a path is searched recursively".to_owned());
        }
        let parent = literal_parent(path);
        let part = |name: Component| match name.as_os_str().as_bytes() {
            b"**" => Ok(Part::Directories),
            _ if !is_wild(Path::new(&name)) => Ok(Part::Literal(PathBuf::from(name.as_os_str()))),
            bytes => compile(&format!("^{}$", of_name(bytes))).map(Part::Pattern),
        };
        let parts = path.components().skip(parent.components().count()).map(part).collect::<Result<_, _>>()?;
        Ok(Some(Wildcard { parent, parts, path: path.to_owned() }))
    }
}

/// Paths that are not walked.
#[derive(Debug, Default)]
pub(super) struct Exclude {
    paths: RegexSet,
    /// Directories in which everything is excluded.
    directories: RegexSet,
}

impl Exclude {
    /// Reads the paths; with wildcards if `wild`.
    pub(super) fn new(paths: &[PathBuf], wild: bool) -> Result<Self, String> {
        let patterns = paths.iter().map(|path| if wild { of_path(path) } else { literal(path) });
        let directories = paths.iter().filter(|_| wild).filter_map(|path| all_of(path)).map(of_path);
        Ok(Exclude { paths: set(patterns)?, directories: set(directories)? })
    }

    /// Whether nothing is excluded.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether this path is excluded.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.paths.is_match(path.as_os_str().as_bytes())
    }

    /// Whether all names in this directory are excluded.
    pub(super) fn holds_all_of(&self, directory: &Path) -> bool {
        self.directories.is_match(directory.as_os_str().as_bytes())
    }

    /// Whether this path, or a directory above it, is excluded.
    pub(super) fn swallows(&self, path: &Path) -> bool {
        !self.is_empty() && path.ancestors().any(|path| self.holds(path))
    }
}

fn set(patterns: impl Iterator<Item = String>) -> Result<RegexSet, String> {
    let mut builder = RegexSetBuilder::new(patterns);
    let set = builder.unicode(false).dot_matches_new_line(true).size_limit(limits::EXCLUDE_COMPILED_BYTES_MAX);
    set.build().map_err(|_| "the paths are too many or too long".to_owned())
}

/// The directory of which a path with wildcards is everything: `/a` of `/a/*`, `/a/**` and `/a/**/*`.
fn all_of(path: &Path) -> Option<&Path> {
    let is_last =
        |path: &Path, names: &[&str]| path.file_name().is_some_and(|last| names.iter().any(|name| last == *name));
    let mut directory = path.parent().filter(|_| is_last(path, &["*", "**"]))?;
    while is_last(directory, &["**"]) {
        directory = directory.parent()?;
    }
    Some(directory)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    let compiled = builder.unicode(false).dot_matches_new_line(true).size_limit(limits::WILDCARD_COMPILED_BYTES_MAX);
    compiled.build().map_err(|_| "the wildcards of the path are too long, or a range in [] is reversed".to_owned())
}

fn literal(path: &Path) -> String {
    format!("^{}$", escape(path.as_os_str().as_bytes()))
}

/// The expression for a whole path.
fn of_path(path: &Path) -> String {
    let mut pattern = String::from("^");
    let mut is_open = false;
    for name in path.components() {
        match name.as_os_str().as_bytes() {
            b"/" => pattern.push('/'),
            b"**" => {
                pattern.push_str(if is_open { "/(?:[^/]+/)*" } else { "(?:[^/]+/)*" });
                is_open = false;
            }
            bytes => {
                pattern.push_str(if is_open { "/" } else { "" });
                pattern.push_str(&of_name(bytes));
                is_open = true;
            }
        }
    }
    // What ends in `**` is everything below.
    if !is_open && pattern.ends_with(")*") {
        pattern.push_str("[^/]+");
    }
    pattern.push('$');
    pattern
}

/// The expression for one name.
fn of_name(name: &[u8]) -> String {
    let (mut pattern, mut rest) = (String::new(), name);
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'*' => pattern.push_str("[^/]*"),
            b'?' => pattern.push_str("[^/]"),
            // A `]` directly behind the `[` or the `!` is one of the characters.
            b'[' => {
                let inverted = matches!(rest.first(), Some(b'!' | b'^'));
                let inside = &rest[usize::from(inverted)..];
                let Some(end) = inside.iter().skip(1).position(|byte| *byte == b']') else {
                    pattern.push_str("\\[");
                    continue;
                };
                let (class, behind) = inside.split_at(end + 1);
                rest = &behind[1..];
                pattern.push_str(if inverted { "[^" } else { "[" });
                for (at, byte) in class.iter().enumerate() {
                    let is_range = *byte == b'-' && at > 0 && at + 1 < class.len();
                    pattern.push_str(&if is_range { "-".to_owned() } else { escape(&[*byte]) });
                }
                // No character of a path that separates names.
                pattern.push_str(if inverted { "/]" } else { "&&[^/]]" });
            }
            byte => pattern.push_str(&escape(&[*byte])),
        }
    }
    pattern
}

/// Every byte as `\xNN`: no character of a path means something else then.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}
