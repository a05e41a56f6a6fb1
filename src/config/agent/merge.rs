//! A file's settings and those inside, as one.

use super::{INSIDE, PROXIES, inside};
use crate::config::{ConfigError, Ini};

/// Section and key of a setting.
type Place = (&'static str, &'static str);

const FSWATCH: Place = ("persistent", "fswatch");

/// What a file may not replace: the setting inside, the key of the file, and the name inside.
const FIXED: [(Place, Place); 4] =
    [(inside::KEYS, ("agent", "keyring")), (inside::ACL, ("agent", "acl")), (PROXIES, PROXIES), (FSWATCH, FSWATCH)];

/// A file's settings, then those inside, as far as the file says nothing.
pub(super) fn merge(inside: Option<&str>, file: Option<Ini>) -> Result<Ini, ConfigError> {
    let inside = inside.map(|text| inside::parse(text, INSIDE)).transpose()?;
    let (mut inside, file) = match (inside, file) {
        (Some(inside), Some(file)) => (inside, file),
        (Some(one), None) | (None, Some(one)) => return Ok(one),
        (None, None) => return Ok(Ini::empty(INSIDE)),
    };
    for ((section, key), (file_section, file_key)) in FIXED {
        if inside.has(section, key) && file.has(file_section, file_key) {
            let reason = "is inside this program, which no file replaces; remove the line";
            return Err(file.error_at(file_section, file_key, reason));
        }
    }
    let replaced = |keys: &[&str]| keys.iter().any(|key| file.has("certs", key));
    if replaced(&["ca"]) {
        inside.remove(inside::CA.0, inside::CA.1);
    }
    // They belong together.
    if replaced(&["cert", "key"]) {
        inside.remove(inside::CERTIFICATE.0, inside::CERTIFICATE.1);
        inside.remove(inside::KEY.0, inside::KEY.1);
    }
    let mut merged = file;
    merged.add_defaults(inside);
    Ok(merged)
}
