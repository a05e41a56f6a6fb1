//! The packages that are installed, from the databases of the tools that install them.

mod apk;
mod berkeley;
mod dpkg;
mod header;
mod ndb;
mod pacman;
mod rpm;

use super::versions::Scheme;
use crate::modules::files::{Links, read_open};
use rustix::fs::CWD;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of one text of a database: some ten times the largest that were seen.
const TEXT_BYTES_MAX: u64 = 128 << 20;

/// Who installs a package, or what has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) enum Kind {
    /// Debian's.
    Dpkg,
    /// Red Hat's, SUSE's.
    Rpm,
    /// Alpine's.
    Apk,
    /// Arch's.
    Pacman,
    /// The metadata that installers of Python packages leave.
    Python,
    /// `package.json`.
    Npm,
    /// What a program of Go was built of.
    Go,
    /// Jars.
    Java,
}

impl Kind {
    /// All, the databases of the machine first.
    pub(in crate::modules) const ALL: [Kind; 8] =
        [Kind::Dpkg, Kind::Rpm, Kind::Apk, Kind::Pacman, Kind::Python, Kind::Npm, Kind::Go, Kind::Java];

    /// As elements have it.
    pub(in crate::modules) fn name(self) -> &'static str {
        match self {
            Kind::Dpkg => "dpkg",
            Kind::Rpm => "rpm",
            Kind::Apk => "apk",
            Kind::Pacman => "pacman",
            Kind::Python => "python",
            Kind::Npm => "npm",
            Kind::Go => "go",
            Kind::Java => "java",
        }
    }

    /// How its versions are compared.
    pub(in crate::modules) fn scheme(self) -> Scheme {
        match self {
            Kind::Dpkg => Scheme::Dpkg,
            Kind::Rpm => Scheme::Rpm,
            Kind::Apk => Scheme::Apk,
            Kind::Pacman => Scheme::Pacman,
            Kind::Python => Scheme::Pep440,
            Kind::Npm | Kind::Go => Scheme::Semver,
            Kind::Java => Scheme::Maven,
        }
    }

    /// Whether it is looked for below paths, rather than in a database of the machine.
    pub(in crate::modules) fn is_below_paths(self) -> bool {
        matches!(self, Kind::Python | Kind::Npm | Kind::Go | Kind::Java)
    }
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::modules) struct Package {
    /// Its name.
    pub(in crate::modules) name: String,
    /// Its version, with the epoch.
    pub(in crate::modules) version: String,
    /// Whose it is.
    pub(in crate::modules) kind: Kind,
    /// Its architecture; empty if it has none.
    pub(in crate::modules) arch: String,
    /// What it was built of; empty if that is not known.
    pub(in crate::modules) source: String,
    /// The state of one that is there, but not as it should be; else empty.
    pub(in crate::modules) status: String,
    /// Where it was found, if not in a database.
    pub(in crate::modules) path: Option<PathBuf>,
}

impl Package {
    /// One with only a name and a version.
    pub(super) fn new(kind: Kind, name: impl Into<String>, version: impl Into<String>) -> Package {
        let (arch, source, status) = Default::default();
        Package { name: name.into(), version: version.into(), kind, arch, source, status, path: None }
    }

    /// One that was found in a file.
    pub(super) fn at(self, path: &Path) -> Package {
        Package { path: Some(path.to_owned()), ..self }
    }
}

/// Takes what is found, when it is found: nothing of it waits when the time is over.
pub(in crate::modules) trait Sink {
    /// A package was found.
    fn package(&mut self, package: Package);
    /// What could not be looked at, where, and why.
    fn unseen(&mut self, text: String);
    /// Whether to end early.
    fn is_over(&mut self) -> bool;

    /// Something could not be read.
    fn failed(&mut self, path: &Path, error: &dyn Display) {
        self.unseen(format!("read {}: {error}", path.display()));
    }
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(in crate::modules) struct Found {
    /// In the order of the databases.
    pub(in crate::modules) packages: Vec<Package>,
    /// What, where, and why.
    pub(in crate::modules) unseen: Vec<String>,
}

/// Keeps all that is found.
pub(in crate::modules) struct Gathered<F> {
    /// What that is.
    pub(in crate::modules) found: Found,
    /// Whether to end early.
    pub(in crate::modules) is_over: F,
}

impl<F: FnMut() -> bool> Sink for Gathered<F> {
    fn package(&mut self, package: Package) {
        self.found.packages.push(package);
    }

    fn unseen(&mut self, text: String) {
        self.found.unseen.push(text);
    }

    fn is_over(&mut self) -> bool {
        (self.is_over)()
    }
}

/// Reads the databases of these kinds on the machine whose root directory is `root`.
pub(in crate::modules) fn installed(root: &Path, kinds: &[Kind], found: &mut dyn Sink) {
    let mut databases = 0;
    for kind in kinds {
        let read = match kind {
            Kind::Dpkg => dpkg::read(root, found),
            Kind::Rpm => rpm::read(root, found),
            Kind::Apk => apk::read(root, found),
            Kind::Pacman => pacman::read(root, found),
            Kind::Python | Kind::Npm | Kind::Go | Kind::Java => continue,
        };
        databases += usize::from(read);
        if found.is_over() {
            return;
        }
    }
    let looked_for: Vec<&str> = kinds.iter().filter(|kind| !kind.is_below_paths()).map(|kind| kind.name()).collect();
    if databases == 0 && !looked_for.is_empty() {
        found.unseen(format!("no database of packages was found; looked for those of {}", looked_for.join(", ")));
    }
}

/// Whether something is there. What cannot be looked at is there: it is read, and fails with a reason.
fn is_there(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound))
}

/// Reads a text of at most `bytes_max`; what is no UTF-8 becomes U+FFFD.
pub(in crate::modules) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    text(&open(path)?, bytes_max)
}

/// Opens a regular file; a fifo would wait for its other end.
fn open(path: &Path) -> io::Result<File> {
    Ok(crate::modules::files::open(CWD, path, Links::Follow)?.0)
}

/// Reads an open file, as [`read_text`].
pub(super) fn text(file: &File, bytes_max: u64) -> io::Result<String> {
    let (bytes, is_whole) = read_open(file, bytes_max)?;
    if !is_whole {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests;
