//! Filters: the fields of a search that a file is compared with, and the comparisons that need no file contents.

use super::accounts::Account;
use super::hashes::Algorithm;
use crate::modules::comparisons::{Age, Size};

/// A list of filters of a search, by what it compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Regular expressions on the base name.
    Names,
    /// Comparisons with the size.
    Sizes,
    /// Regular expressions on the mode string.
    Modes,
    /// Comparisons with the age of the last change of the contents.
    Mtimes,
    /// Comparisons with the age of the last change of contents, mode, owner or names.
    Ctimes,
    /// Names or numbers of the owner.
    Owners,
    /// Names or numbers of the group.
    Groups,
    /// Comparisons with the age of the file.
    Birthtimes,
    /// Regular expressions on extended attributes.
    Xattrs,
    /// Regular expressions on capabilities.
    Capabilities,
    /// Regular expressions on where a link leads.
    Targets,
    /// Regular expressions on lines.
    Contents,
    /// Hash sums. `None`: a family of functions (`sha2`, `sha3`), selected by the length of the digest.
    Hash(Family, Option<Algorithm>),
}

/// A family of hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-2: SHA-256, SHA-384, SHA-512.
    Sha2,
    /// SHA-3, in four lengths.
    Sha3,
}

impl Family {
    fn members(self) -> &'static [Algorithm] {
        match self {
            Family::Md5 => &[Algorithm::Md5],
            Family::Sha1 => &[Algorithm::Sha1],
            Family::Sha2 => &[Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512],
            Family::Sha3 => &[Algorithm::Sha3_224, Algorithm::Sha3_256, Algorithm::Sha3_384, Algorithm::Sha3_512],
        }
    }
}

/// Every field: its name in JSON, and the word for one value on the command line and in print.
pub(super) const FIELDS: [(Field, &str, &str); 23] = [
    (Field::Names, "names", "name"),
    (Field::Sizes, "sizes", "size"),
    (Field::Modes, "modes", "mode"),
    (Field::Mtimes, "mtimes", "mtime"),
    (Field::Ctimes, "ctimes", "ctime"),
    (Field::Owners, "owners", "owner"),
    (Field::Groups, "groups", "group"),
    (Field::Birthtimes, "birthtimes", "birthtime"),
    (Field::Xattrs, "xattrs", "xattr"),
    (Field::Capabilities, "capabilities", "capability"),
    (Field::Targets, "targets", "target"),
    (Field::Contents, "contents", "content"),
    (Field::Hash(Family::Md5, Some(Algorithm::Md5)), "md5", "md5"),
    (Field::Hash(Family::Sha1, Some(Algorithm::Sha1)), "sha1", "sha1"),
    (Field::Hash(Family::Sha2, None), "sha2", "sha2"),
    (Field::Hash(Family::Sha2, Some(Algorithm::Sha256)), "sha256", "sha256"),
    (Field::Hash(Family::Sha2, Some(Algorithm::Sha384)), "sha384", "sha384"),
    (Field::Hash(Family::Sha2, Some(Algorithm::Sha512)), "sha512", "sha512"),
    (Field::Hash(Family::Sha3, None), "sha3", "sha3"),
    (Field::Hash(Family::Sha3, Some(Algorithm::Sha3_224)), "sha3_224", "sha3_224"),
    (Field::Hash(Family::Sha3, Some(Algorithm::Sha3_256)), "sha3_256", "sha3_256"),
    (Field::Hash(Family::Sha3, Some(Algorithm::Sha3_384)), "sha3_384", "sha3_384"),
    (Field::Hash(Family::Sha3, Some(Algorithm::Sha3_512)), "sha3_512", "sha3_512"),
];

impl Field {
    /// Whether its values are regular expressions.
    pub(super) fn is_of_patterns(self) -> bool {
        matches!(
            self,
            Field::Names | Field::Contents | Field::Modes | Field::Xattrs | Field::Capabilities | Field::Targets
        )
    }

    /// Whether a file has one value that is compared: several of a search are alternatives then.
    pub(super) fn has_alternatives(self) -> bool {
        matches!(self, Field::Owners | Field::Groups)
    }

    /// The field's name in JSON.
    pub(super) fn name(self) -> &'static str {
        FIELDS.iter().find(|(field, _, _)| *field == self).map_or("", |(_, name, _)| name)
    }

    /// Whether `word` of the option `mismatch` (a field name, singular or plural) means this field. The word of a
    /// family of hash functions means the fields of its members too.
    pub(super) fn is_named_by(self, word: &str) -> bool {
        let word = word.to_lowercase();
        FIELDS.iter().any(|(field, plural, singular)| {
            let covers = match (field, self) {
                (Field::Hash(family, None), Field::Hash(of, _)) => *family == of,
                _ => *field == self,
            };
            covers && (word == *plural || word == *singular)
        })
    }
}

/// One value of a field, parsed.
#[derive(Debug)]
pub(super) struct Check {
    /// The field it belongs to.
    pub(super) field: Field,
    /// The original text of the value.
    pub(super) value: String,
    /// The comparison.
    pub(super) test: Test,
    /// A file passes when the comparison fails: `!` in front of the value, or the option `mismatch`, but not both.
    pub(super) inverted: bool,
}

/// A comparison.
#[derive(Debug)]
pub(super) enum Test {
    /// The pattern of this number in [`super::patterns::Names`].
    Name(usize),
    /// The pattern of this number in [`super::content::Contents`].
    Content(usize),
    /// On the size.
    Size(Size),
    /// On the mode string.
    Mode(regex::Regex),
    /// On the age.
    Mtime(Age),
    /// On the age of the last change of any kind.
    Ctime(Age),
    /// On the owner.
    Owner(Account),
    /// On the group.
    Group(Account),
    /// On the age since the file was created.
    Birthtime(Age),
    /// On each `name=value` of an extended attribute.
    Xattr(regex::Regex),
    /// On the text of the capabilities.
    Capability(regex::Regex),
    /// On the text of a link.
    Target(regex::Regex),
    /// On a digest.
    Hash(Algorithm, Vec<u8>),
}

impl Test {
    /// Returns the hash function that the comparison needs.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Test::Hash(algorithm, _) => Some(*algorithm),
            _ => None,
        }
    }
}

/// Parses a digest for a hash field; the length selects the function of a family.
pub(super) fn parse_digest(family: Family, algorithm: Option<Algorithm>, text: &str) -> Result<Test, String> {
    let digest = crate::hex::decode(text).ok_or_else(|| format!("\"{text}\" is not hexadecimal"))?;
    let possible = family.members().iter().filter(|member| algorithm.is_none_or(|only| only == **member));
    match possible.clone().find(|member| member.digest_bytes() == digest.len()) {
        Some(found) => Ok(Test::Hash(*found, digest)),
        None => {
            let lengths: Vec<String> = possible.map(|member| (member.digest_bytes() * 2).to_string()).collect();
            Err(format!("{} hexadecimal digits, where {} are expected", text.len(), lengths.join(" or ")))
        }
    }
}
