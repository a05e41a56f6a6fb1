//! Private keys: of OpenSSH, in PEM (PKCS #1, SEC 1, PKCS #8), of PuTTY. Only what is public of them leaves this file.

use super::blob::{PublicKey, Wire};
use super::keys::{Key, Keys, Type};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How a file of PuTTY begins.
pub(super) const PUTTY: &str = "PuTTY-User-Key-File-";

/// Tags of DER (X.690).
const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const OBJECT: u8 = 6;
const SEQUENCE: u8 = 0x30;
const TAGGED_0: u8 = 0xa0;
const TAGGED_1: u8 = 0xa1;

/// Object identifiers: kinds of keys in PKCS #8, and curves.
const OF_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OF_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const CURVES: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "nistp256"),
    (&[0x2b, 0x81, 4, 0, 0x22], "nistp384"),
    (&[0x2b, 0x81, 4, 0, 0x23], "nistp521"),
];

/// What a private key shows of itself.
struct Shown {
    public: Option<PublicKey>,
    is_encrypted: bool,
    /// None: it is encrypted too, or behind what is not understood.
    comment: Option<String>,
}

impl Shown {
    /// A key in PEM, which has no comment.
    fn public(public: Option<PublicKey>) -> Option<Shown> {
        Some(Shown { public, is_encrypted: false, comment: Some(String::new()) })
    }

    /// The same, encrypted.
    const HIDDEN: Shown = Shown { public: None, is_encrypted: true, comment: Some(String::new()) };
}

/// Reads the private keys in a text.
pub(super) fn read(lines: &[&str], keys: &mut Keys) {
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        let begin = index;
        index += 1;
        let shown = if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            if !label.ends_with("PRIVATE KEY") {
                continue;
            }
            let end = format!("-----END {label}-----");
            // Without an end it is a text about keys, or was cut off: the next one begins somewhere behind it.
            let Some(length) = lines[index..].iter().position(|line| line.starts_with("-----")) else { continue };
            let body = &lines[index..index + length];
            if lines[index + length] != end {
                continue;
            }
            index += length + 1;
            match label {
                "OPENSSH PRIVATE KEY"
                | "RSA PRIVATE KEY"
                | "DSA PRIVATE KEY"
                | "EC PRIVATE KEY"
                | "PRIVATE KEY"
                | "ENCRYPTED PRIVATE KEY" => pem(label, body),
                // Of something else, such as PGP's.
                _ => continue,
            }
        } else if line.starts_with(PUTTY) {
            putty(&lines[index..])
        } else {
            continue;
        };
        match shown {
            Some(Shown { public, is_encrypted, comment }) => {
                keys.found.push(Key { is_encrypted, ..Key::new(Type::Private, begin + 1, public, comment.as_deref()) });
            }
            None => keys.not_understood.push(begin + 1),
        }
    }
}

/// Reads what stands between the lines of a PEM file.
fn pem(label: &str, body: &[&str]) -> Option<Shown> {
    let headers = body.iter().take_while(|line| line.contains(':')).count();
    if label == "ENCRYPTED PRIVATE KEY" || body[..headers].iter().any(|line| line.ends_with("ENCRYPTED")) {
        return Some(Shown::HIDDEN);
    }
    let bytes = BASE64_STANDARD.decode(body[headers..].concat()).ok()?;
    match label {
        "OPENSSH PRIVATE KEY" => openssh(&bytes),
        "RSA PRIVATE KEY" => Shown::public(Some(rsa(&bytes)?)),
        "DSA PRIVATE KEY" => Shown::public(Some(dsa(&bytes)?)),
        "EC PRIVATE KEY" => ec(&bytes, None),
        _ => pkcs8(&bytes),
    }
}

/// Reads the format of OpenSSH (its PROTOCOL.key): the public key is there even if the private one is encrypted, the comment is
/// not.
fn openssh(bytes: &[u8]) -> Option<Shown> {
    let mut wire = Wire(bytes.strip_prefix(b"openssh-key-v1\0")?);
    let cipher = wire.string()?;
    let (_derivation, _options) = (wire.string()?, wire.string()?);
    if wire.number()? != 1 {
        return None;
    }
    let public = PublicKey::parse(wire.string()?)?;
    let is_encrypted = cipher != b"none";
    let comment = if is_encrypted { None } else { wire.string().and_then(|secret| openssh_comment(secret, &public)) };
    let comment = comment.map(|comment| String::from_utf8_lossy(comment).into_owned());
    Some(Shown { public: Some(public), is_encrypted, comment })
}

/// The comment behind the parts of a private key that is not encrypted. Behind a certificate there are other parts.
fn openssh_comment<'b>(secret: &'b [u8], public: &PublicKey) -> Option<&'b [u8]> {
    if public.is_certificate {
        return None;
    }
    let mut wire = Wire(secret);
    let (_check, _again, _name) = (wire.number()?, wire.number()?, wire.string()?);
    let (parts_before, flags, parts_behind) = match public.algorithm.word {
        "rsa" => (6, 0, 0),
        "dsa" => (5, 0, 0),
        "ecdsa" => (3, 0, 0),
        "ed25519" => (2, 0, 0),
        "ecdsa-sk" => (3, 1, 2),
        "ed25519-sk" => (2, 1, 2),
        _ => return None,
    };
    for _ in 0..parts_before {
        wire.string()?;
    }
    wire.take(flags)?;
    for _ in 0..parts_behind {
        wire.string()?;
    }
    wire.string()
}

/// Splits the value with this tag from the bytes behind it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// So many integers that follow each other.
fn integers<const COUNT: usize>(mut bytes: &[u8]) -> Option<[&[u8]; COUNT]> {
    let mut found = [&[][..]; COUNT];
    for place in &mut found {
        (*place, bytes) = der(bytes, INTEGER)?;
    }
    Some(found)
}

/// PKCS #1: version, n, e, and what is private.
fn rsa(bytes: &[u8]) -> Option<PublicKey> {
    let [_version, n, e] = integers(der(bytes, SEQUENCE)?.0)?;
    PublicKey::of_numbers("ssh-rsa", &[e, n])
}

/// The format of OpenSSL: version, p, q, g, y, and what is private.
fn dsa(bytes: &[u8]) -> Option<PublicKey> {
    let [_version, p, q, g, y] = integers(der(bytes, SEQUENCE)?.0)?;
    PublicKey::of_numbers("ssh-dss", &[p, q, g, y])
}

/// SEC 1: version, the private key, the curve unless it is known, and perhaps the public key.
fn ec(bytes: &[u8], curve: Option<&[u8]>) -> Option<Shown> {
    let (_, rest) = der(der(bytes, SEQUENCE)?.0, INTEGER)?;
    let (_, rest) = der(rest, OCTET_STRING)?;
    let (own, rest) = match der(rest, TAGGED_0) {
        Some((curve, rest)) => (Some(der(curve, OBJECT)?.0), rest),
        None => (None, rest),
    };
    let curve = own.or(curve)?;
    // Of another curve, or without its public key: a private key all the same.
    let name = CURVES.iter().find(|(object, _)| *object == curve).map(|(_, name)| *name);
    let point = der(rest, TAGGED_1).and_then(|(tagged, _)| der(tagged, BIT_STRING)).map(|(bits, _)| bits);
    let public = name.zip(point).and_then(|(name, point)| {
        let point = point.strip_prefix(&[0])?;
        PublicKey::of_numbers(&format!("ecdsa-sha2-{name}"), &[name.as_bytes(), point])
    });
    Shown::public(public)
}

/// PKCS #8: version, the kind and its parameters, and a private key as its own format has it.
fn pkcs8(bytes: &[u8]) -> Option<Shown> {
    let (_, rest) = der(der(bytes, SEQUENCE)?.0, INTEGER)?;
    let (kind, rest) = der(rest, SEQUENCE)?;
    let (object, parameters) = der(kind, OBJECT)?;
    let (inner, _) = der(rest, OCTET_STRING)?;
    match object {
        OF_RSA => Shown::public(Some(rsa(inner)?)),
        OF_EC => ec(inner, der(parameters, OBJECT).map(|(curve, _)| curve)),
        // That of DSA and of Ed25519 has no public key: it would have to be computed.
        _ => Shown::public(None),
    }
}

/// The file of PuTTY behind its first line: headers and the public key.
fn putty(lines: &[&str]) -> Option<Shown> {
    /// Lines of one file that are looked at: a key of 16384 bits has some 50.
    const LINES_MAX: usize = 200;
    let header = |name: &str| lines.iter().take(LINES_MAX).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let count: usize = header("Public-Lines")?.parse().ok()?;
    let begin = lines.iter().take(LINES_MAX).position(|line| line.starts_with("Public-Lines: "))? + 1;
    let text = lines.get(begin..begin.checked_add(count.min(LINES_MAX))?)?.concat();
    Some(Shown {
        public: Some(PublicKey::parse_text(&text)?),
        is_encrypted: header("Encryption")? != "none",
        comment: Some(header("Comment").unwrap_or_default().to_owned()),
    })
}
