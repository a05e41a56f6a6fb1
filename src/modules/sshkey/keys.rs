//! The keys in the text of a file, of whatever kind it is.

use super::blob::PublicKey;
use super::{private, public};

/// What a key is to a file. The words are those of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Who has it can log in.
    Private,
    /// A public key by itself.
    Public,
    /// A public key that may log in.
    AuthorizedKeys,
}

impl Type {
    /// All of them.
    pub(super) const ALL: [Type; 3] = [Type::Private, Type::Public, Type::AuthorizedKeys];

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Type::Private => "private",
            Type::Public => "public",
            Type::AuthorizedKeys => "authorizedkeys",
        }
    }
}

/// A key that stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// What it is there.
    pub(super) kind: Type,
    /// The line at which it begins.
    pub(super) line: usize,
    /// None: an encrypted private key in a format that does not show its public key.
    pub(super) public: Option<PublicKey>,
    /// It takes a passphrase.
    pub(super) is_encrypted: bool,
    /// What the file says beside the key, whole. None: it does not show it.
    pub(super) comment: Option<String>,
    /// What its line in `authorized_keys` permits and forbids.
    pub(super) options: Vec<String>,
}

impl Key {
    /// A key without options.
    pub(super) fn new(kind: Type, line: usize, public: Option<PublicKey>, comment: Option<&str>) -> Key {
        let comment = comment.map(|comment| comment.trim().to_owned());
        Key { kind, line, public, is_encrypted: false, comment, options: Vec::new() }
    }
}

/// The keys in a text, and the numbers of lines that should be keys and are not understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// In the order of the file.
    pub(super) found: Vec<Key>,
    /// Numbers of lines.
    pub(super) not_understood: Vec<usize>,
}

/// Whether a text that begins so can have keys. Cheap: most files have none.
pub(super) fn may_have_keys(beginning: &[u8]) -> bool {
    const MARKS: [&[u8]; 5] =
        [b"PRIVATE KEY-----", private::PUTTY.as_bytes(), public::RFC4716_BEGIN.as_bytes(), b"ssh-", b"ecdsa-sha2-"];
    MARKS.iter().any(|mark| memchr::memmem::find(beginning, mark).is_some())
}

/// Reads a text. In `authorized_keys` every line is a key.
pub(super) fn read(bytes: &[u8], is_authorized_keys: bool) -> Keys {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').map(str::trim).collect();
    let mut keys = Keys::default();
    if is_authorized_keys {
        public::read_lines(&lines, true, &mut keys);
        return keys;
    }
    private::read(&lines, &mut keys);
    public::read_lines(&lines, false, &mut keys);
    public::read_rfc4716(&lines, &mut keys);
    keys
}
