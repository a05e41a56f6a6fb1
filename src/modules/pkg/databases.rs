//! The packages that are installed, from the databases of the tools that install them.

mod apk;
mod dpkg;
mod header;
mod pacman;
mod rpm;
mod sqlite;

use super::versions::Scheme;
use std::fs::File;
use std::io::{self, Read};
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
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(in crate::modules) struct Found {
    /// In the order of the databases.
    pub(in crate::modules) packages: Vec<Package>,
    /// What, where, and why.
    pub(in crate::modules) unseen: Vec<String>,
}

impl Found {
    /// Something could not be read.
    fn failed(&mut self, path: &Path, error: impl std::fmt::Display) {
        self.unseen.push(format!("read {}: {error}", path.display()));
    }
}

/// Reads the databases of these kinds on the machine whose root directory is `root`. Ends early when `is_over` says so.
pub(in crate::modules) fn installed(root: &Path, kinds: &[Kind], is_over: &mut dyn FnMut() -> bool) -> Found {
    let (mut found, mut databases) = (Found::default(), 0);
    for kind in kinds {
        let read = match kind {
            Kind::Dpkg => dpkg::read(root, &mut found),
            Kind::Rpm => rpm::read(root, &mut found, is_over),
            Kind::Apk => apk::read(root, &mut found),
            Kind::Pacman => pacman::read(root, &mut found, is_over),
            Kind::Python | Kind::Npm | Kind::Go | Kind::Java => continue,
        };
        databases += usize::from(read);
        if is_over() {
            return found;
        }
    }
    let looked_for: Vec<&str> = kinds.iter().filter(|kind| !kind.is_below_paths()).map(|kind| kind.name()).collect();
    if databases == 0 && !looked_for.is_empty() {
        found.unseen.push(format!("no database of packages was found; looked for those of {}", looked_for.join(", ")));
    }
    found
}

/// Whether something is there. What cannot be looked at is there: it is read, and fails with a reason.
fn is_there(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound))
}

/// Reads a text of at most `bytes_max`; what is no UTF-8 becomes U+FFFD.
pub(in crate::modules) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Opens a regular file; a fifo would wait for its other end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    crate::modules::file::open_regular(path)?.ok_or_else(|| io::Error::other("it is no regular file"))
}

#[cfg(test)]
mod tests;
