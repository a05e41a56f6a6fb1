//! Alpine's database: a line of each field, an empty line behind each package.

use super::{Kind, Package, Sink, TEXT_BYTES_MAX, is_there, read_text};
use std::path::Path;

/// Where it is; the second since apk-tools 3.
const PLACES: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// Reads it; false if there is none.
pub(super) fn read(root: &Path, found: &mut dyn Sink) -> bool {
    // One may be a link to the other: /lib to /usr/lib.
    let Some(path) = PLACES.iter().map(|place| root.join(place)).find(|path| is_there(path)) else {
        return false;
    };
    let text = match read_text(&path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => {
            found.failed(&path, &error);
            return true;
        }
    };
    if text.is_empty() || !text.ends_with('\n') {
        found.failed(&path, &"it ends in the middle of a line; packages may be missing");
    }
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let (name, version) = (field("P:"), field("V:"));
        if name.is_empty() || version.is_empty() {
            found.failed(&path, &format_args!("a package {name:?} has no name or no version"));
            continue;
        }
        let (arch, source) = (field("A:").to_owned(), field("o:").to_owned());
        found.package(Package { arch, source, ..Package::new(Kind::Apk, name, version) });
    }
    true
}
