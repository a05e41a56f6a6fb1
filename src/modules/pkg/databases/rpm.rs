//! The databases of rpm: headers of packages, in a file of SQLite, of NDB (SUSE) or of Berkeley DB (until RHEL 8).
//!
//! They are read here rather than by `rpm -qa`: that would be a program of the machine in a module's process, with its libraries,
//! plugins, scripts and locks, for all of which the process would have to be opened; and the machine's own rpm is what an
//! intruder replaces. SQLite's library would be a megabyte in the agent, and either writes beside the database or ignores its
//! journal; that of Berkeley DB writes too. No lock is taken: that rpm holds one, and that a file changes while it is read, is said.

use super::header::Header;
use super::{Kind, Package, Sink, berkeley, is_there, ndb, open};
use crate::modules::files;
use crate::modules::sqlite::{Database, Order, Value};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Where it is; the second since Fedora 36 and on SUSE, the third in images of OSTree.
const PLACES: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];

/// Reads the headers of a file.
type Read = fn(&Path, &mut Headers) -> Result<(), String>;

/// The files of its formats.
const FORMATS: [(&str, Read); 3] = [
    ("rpmdb.sqlite", read_sqlite),
    ("Packages.db", |path, headers| read_unchanged(path, headers, ndb::read)),
    ("Packages", |path, headers| read_unchanged(path, headers, berkeley::read)),
];

/// Reads it; false if there is none.
pub(super) fn read(root: &Path, found: &mut dyn Sink) -> bool {
    let mut is_found = false;
    let mut seen = HashSet::new();
    // One may be a link to another.
    for place in PLACES.iter().map(|place| root.join(place)) {
        if !seen.insert(place.canonicalize().unwrap_or(place.clone())) {
            continue;
        }
        let files = FORMATS.map(|(name, read)| (place.join(name), read));
        let files: Vec<_> = files.into_iter().filter(|(path, _)| is_there(path)).collect();
        if !files.is_empty() {
            is_found = true;
            say_lock(&place.join(".rpm.lock"), found);
            read_files(&files, found);
        }
    }
    is_found
}

/// Says that rpm holds its lock: what it installs is in the database at the end of its change.
fn say_lock(path: &Path, found: &mut dyn Sink) {
    // One that cannot be asked says nothing; the database itself is still read.
    let holder = open(path).ok().and_then(|file| fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)).ok().flatten());
    if let Some(holder) = holder {
        let process = holder.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        found.unseen(format!(
            "process {process} holds {}: packages are being changed, and those of the change may be missing",
            path.display()
        ));
    }
}

/// Reads the files of a place. Of several, rpm uses that of the format it is configured for, whatever is newer; so it is not known
/// which is in use, and the packages of all are found, each with its file.
fn read_files(files: &[(PathBuf, Read)], found: &mut dyn Sink) {
    let is_in_doubt = files.len() > 1;
    if is_in_doubt {
        let paths: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        found.unseen(format!(
            "{} are all there: it is not known which of them rpm is configured for, and the packages of each are reported",
            paths.join(", ")
        ));
    }
    for file in files {
        read_file(file, is_in_doubt, found);
    }
}

/// Reads one file.
fn read_file((path, read): &(PathBuf, Read), is_in_doubt: bool, found: &mut dyn Sink) {
    let place = is_in_doubt.then_some(&**path);
    let mut headers = Headers { found, place, faults: 0, first_fault: String::new() };
    let ended = read(path, &mut headers);
    let Headers { faults, first_fault, .. } = headers;
    if faults > 0 {
        found.failed(path, &format_args!("{faults} of its entries could not be read; the first: {first_fault}"));
    }
    if let Err(reason) = ended {
        found.failed(path, &reason);
    }
}

fn read_sqlite(path: &Path, headers: &mut Headers) -> Result<(), String> {
    let mut database = Database::open(path)?;
    let ended = database.rows("Packages", ["blob"], Order::FirstToLast, &mut |[blob]| {
        match blob {
            Value::Blob(blob) => headers.add(blob),
            _ => headers.fault("a row has no header".into()),
        }
        !headers.is_over()
    });
    // A change may be why it could not be read.
    database.is_unchanged().and(ended)
}

/// Reads a file of a format without a log and a journal. That it was changed meanwhile may be why it could not be read.
fn read_unchanged(path: &Path, headers: &mut Headers, read: Read) -> Result<(), String> {
    let before = files::stamp(path);
    let ended = read(path, headers);
    if files::stamp(path) == before {
        ended
    } else {
        Err("it was changed while it was read; packages may be missing".into())
    }
}

/// Takes the headers of a file, and what could not be read in it.
pub(super) struct Headers<'s> {
    found: &'s mut dyn Sink,
    /// Where its packages are said to be.
    place: Option<&'s Path>,
    faults: u64,
    first_fault: String,
}

impl Headers<'_> {
    /// A header was read.
    pub(super) fn add(&mut self, blob: &[u8]) {
        match package(blob) {
            Some(package) => {
                let package = package.map(|package| match self.place {
                    Some(place) => package.at(place),
                    None => package,
                });
                package.into_iter().for_each(|package| self.found.package(package));
            }
            None => self.fault("the header of a package is broken".into()),
        }
    }

    /// A part could not be read; the others are.
    pub(super) fn fault(&mut self, reason: String) {
        self.faults += 1;
        if self.faults == 1 {
            self.first_fault = reason;
        }
    }

    /// Whether to end early.
    pub(super) fn is_over(&mut self) -> bool {
        self.found.is_over()
    }
}

/// The package of a header; some nothing for a key, which rpm keeps as a package.
fn package(blob: &[u8]) -> Option<Option<Package>> {
    /// Tags of a header, of rpm-tag(7).
    const NAME: u32 = 1000;
    const VERSION: u32 = 1001;
    const RELEASE: u32 = 1002;
    const EPOCH: u32 = 1003;
    const ARCH: u32 = 1022;
    const SOURCE: u32 = 1044;
    let header = Header::parse(blob)?;
    let (name, version, release) = (header.text(NAME)?, header.text(VERSION)?, header.text(RELEASE)?);
    if name == "gpg-pubkey" {
        return Some(None);
    }
    let epoch = header.number(EPOCH).map_or(String::new(), |epoch| format!("{epoch}:"));
    let source = header.text(SOURCE).unwrap_or_default();
    // NAME-VERSION-RELEASE.src.rpm
    let source = source.rsplitn(3, '-').nth(2).unwrap_or_default().to_owned();
    let arch = header.text(ARCH).unwrap_or_default();
    Some(Some(Package { arch, source, ..Package::new(Kind::Rpm, name, format!("{epoch}{version}-{release}")) }))
}
