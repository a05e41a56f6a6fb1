//! Arch's database: a directory of each package, with a file `desc`.

use super::{Kind, Package, Sink, is_there, read_text};
use std::path::Path;

/// Bytes of one `desc`: it has no lists of files.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// Reads it; false if there is none.
pub(super) fn read(root: &Path, found: &mut dyn Sink) -> bool {
    let place = root.join("var/lib/pacman/local");
    if !is_there(&place) {
        return false;
    }
    let lock = root.join("var/lib/pacman/db.lck");
    if is_there(&lock) {
        found.unseen(format!("{} exists: packages are being changed, or a change was broken off", lock.display()));
    }
    let entries = match std::fs::read_dir(&place) {
        Ok(entries) => entries,
        Err(error) => {
            found.failed(&place, &error);
            return true;
        }
    };
    for entry in entries {
        if found.is_over() {
            break;
        }
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                found.failed(&place, &error);
                break;
            }
        };
        // The version of the database's format.
        if path.file_name().is_some_and(|name| name == "ALPM_DB_VERSION") {
            continue;
        }
        let path = path.join("desc");
        let text = match read_text(&path, DESCRIPTION_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                found.failed(&path, &error);
                continue;
            }
        };
        let field = |name: &str| text.lines().skip_while(|line| *line != name).nth(1).unwrap_or_default();
        let (name, version) = (field("%NAME%"), field("%VERSION%"));
        if name.is_empty() || version.is_empty() {
            found.failed(&path, &"it has no name or no version");
            continue;
        }
        let (arch, source) = (field("%ARCH%").to_owned(), field("%BASE%").to_owned());
        found.package(Package { arch, source, ..Package::new(Kind::Pacman, name, version) });
    }
    true
}
