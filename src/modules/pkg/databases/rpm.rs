//! The database of rpm: a table of package headers in a file of SQLite.
//!
//! It is read here rather than by `rpm -qa`: that would be a program of the machine in a module's process, with its libraries,
//! plugins, scripts and locks, for all of which the process would have to be opened; and the machine's own rpm is what an
//! intruder replaces. SQLite's library would be a megabyte in the agent, and either writes beside the database or ignores its
//! journal. Databases of the older formats (Berkeley DB until RHEL 8, NDB of SUSE) are named as not read.

use super::header::Header;
use super::{Kind, Package, Sink, is_there};
use crate::modules::sqlite::{Database, Order, Value};
use std::path::Path;

/// Where it is; the second since Fedora 36 and on SUSE.
const PLACES: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Files of the older formats.
const OLDER: [&str; 2] = ["Packages", "Packages.db"];

/// Reads it; false if there is none.
pub(super) fn read(root: &Path, found: &mut dyn Sink) -> bool {
    let mut is_found = false;
    let places = PLACES.map(|place| root.join(place));
    let [first, second] = &places;
    // The first is a link to the second where that is in use.
    let is_same = matches!((first.canonicalize(), second.canonicalize()), (Ok(one), Ok(two)) if one == two);
    for place in places.iter().skip(usize::from(is_same)) {
        let path = place.join("rpmdb.sqlite");
        if is_there(&path) {
            is_found = true;
            if let Err(reason) = read_database(&path, found) {
                found.failed(&path, &reason);
            }
            continue;
        }
        for older in OLDER.map(|name| place.join(name)).iter().filter(|older| is_there(older)) {
            is_found = true;
            found.failed(older, &"a database of rpm of an older format, which this agent does not read");
        }
    }
    is_found
}

fn read_database(path: &Path, found: &mut dyn Sink) -> Result<(), String> {
    let mut database = Database::open(path)?;
    let mut broken = 0_u64;
    database.rows("Packages", ["blob"], Order::FirstToLast, &mut |[blob]| {
        let package = if let Value::Blob(blob) = blob { package(blob) } else { None };
        match package {
            Some(package) => package.into_iter().for_each(|package| found.package(package)),
            None => broken += 1,
        }
        !found.is_over()
    })?;
    database.is_unchanged()?;
    if broken > 0 {
        return Err(format!("{broken} headers of packages are broken"));
    }
    Ok(())
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
