//! What the compiler was told of this agent: its version, and whose stamps it takes. The program says so in its file, where
//! another agent finds it without starting it.

use crate::investigator::Fingerprint;
use std::sync::OnceLock;

/// What is in front of the version in the program's file, and what is behind it.
const MARK: &[u8] = b"\x01mig-agent version\x01";
const END: u8 = 1;

/// Longest version that is built.
const VERSION_BYTES_MAX: usize = 64;

/// See the module docs. Made by [`Build::new`] of the program itself, so that the library need not be compiled again for a
/// new version.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    mark: [u8; MARK.len() + VERSION_BYTES_MAX + 1],
    version_bytes: usize,
    stamp_key: Option<&'static str>,
}

impl Build {
    /// Of a version, and the fingerprint of the key that signs stamps, if only those count.
    pub const fn new(version: &str, stamp_key: Option<&'static str>) -> Build {
        let mut mark = [END; MARK.len() + VERSION_BYTES_MAX + 1];
        let (mut at, version) = (0, version.as_bytes());
        assert!(version.len() <= VERSION_BYTES_MAX, "the version is too long");
        while at < MARK.len() {
            mark[at] = MARK[at];
            at += 1;
        }
        at = 0;
        while at < version.len() {
            mark[MARK.len() + at] = version[at];
            at += 1;
        }
        if let Some(key) = stamp_key {
            let (mut at, key) = (0, key.as_bytes());
            assert!(key.len() == 40 || key.len() == 64, "MIG_STAMP_KEY has neither 40 nor 64 hex digits");
            while at < key.len() {
                assert!(key[at].is_ascii_hexdigit(), "MIG_STAMP_KEY is not a fingerprint in hex digits");
                at += 1;
            }
        }
        Build { mark, version_bytes: version.len(), stamp_key }
    }
}

static BUILD: OnceLock<&'static Build> = OnceLock::new();

/// Says what this program is.
pub fn set(build: &'static Build) {
    let _ = BUILD.set(build);
}

/// The version that was compiled, without the environment of a stamp.
pub fn version() -> &'static str {
    let version = BUILD.get().map(|build| &build.mark[MARK.len()..MARK.len() + build.version_bytes]);
    version.and_then(|version| std::str::from_utf8(version).ok()).unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// Whose stamps count; None if it does not matter.
pub fn stamp_key() -> Option<Fingerprint> {
    // The compiler has checked it.
    Fingerprint::parse(BUILD.get()?.stamp_key?).ok()
}

/// `20261125+abc1234.prod`
pub fn full_version(version: &str, environment: Option<&str>) -> String {
    environment.map_or_else(|| version.to_owned(), |environment| format!("{version}.{environment}"))
}

/// Whether a text can be `BUILDENV`.
pub fn is_environment(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    (1..=32).contains(&text.len()) && text.bytes().all(is_part)
}

/// The version in the bytes of a program.
pub fn find_version(program: &[u8]) -> Option<&str> {
    // The mark itself is also in the program, as what is looked for.
    memchr::memmem::find_iter(program, MARK).find_map(|at| {
        let rest = program.get(at + MARK.len()..)?;
        let rest = rest.get(..=VERSION_BYTES_MAX).unwrap_or(rest);
        let version = &rest[..rest.iter().position(|byte| *byte == END)?];
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || b".+_-".contains(b);
        let is_version = !version.is_empty() && version.iter().all(is_part);
        std::str::from_utf8(version).ok().filter(|_| is_version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_behind_its_mark_only() {
        let build = Build::new("20261125+abc1234", None);
        let program = [b"\x7fELF", MARK, b"\0\0nothing\x01", &build.mark, b"rest"].concat();
        assert_eq!(find_version(&program), Some("20261125+abc1234"));
        for other in [&b""[..], b"mig-agent version 1", MARK, &[MARK, b"\x01"].concat(), &[MARK, b"a b\x01"].concat()] {
            assert_eq!(find_version(other), None);
        }
        assert_eq!(full_version("1", Some("prod")), "1.prod");
        assert!(is_environment("prod-2") && !is_environment("") && !is_environment("a.b") && !is_environment("a\n"));
    }
}
