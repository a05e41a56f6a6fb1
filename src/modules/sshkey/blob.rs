//! A public key as SSH sends it (RFC 4253, 6.6), and its fingerprints.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use md5::Md5;
use sha2::{Digest, Sha256};

/// How the names of certificates end.
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Algorithm {
    /// As SSH has it.
    pub(super) name: &'static str,
    /// As people and ssh-keygen have it, in lower case.
    pub(super) word: &'static str,
    /// The fields behind the name.
    fields: usize,
    /// Its size in bits.
    bits: Bits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    /// Always this.
    Always(u32),
    /// That of the number in this field.
    OfField(usize),
}

/// Those that OpenSSH has or had.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm { name: "ssh-rsa", word: "rsa", fields: 2, bits: Bits::OfField(1) },
    Algorithm { name: "ssh-dss", word: "dsa", fields: 4, bits: Bits::OfField(0) },
    Algorithm { name: "ecdsa-sha2-nistp256", word: "ecdsa", fields: 2, bits: Bits::Always(256) },
    Algorithm { name: "ecdsa-sha2-nistp384", word: "ecdsa", fields: 2, bits: Bits::Always(384) },
    Algorithm { name: "ecdsa-sha2-nistp521", word: "ecdsa", fields: 2, bits: Bits::Always(521) },
    Algorithm { name: "ssh-ed25519", word: "ed25519", fields: 1, bits: Bits::Always(256) },
    Algorithm { name: "sk-ecdsa-sha2-nistp256@openssh.com", word: "ecdsa-sk", fields: 3, bits: Bits::Always(256) },
    Algorithm { name: "sk-ssh-ed25519@openssh.com", word: "ed25519-sk", fields: 2, bits: Bits::Always(256) },
];

/// The words of all algorithms, each once.
pub(super) fn words() -> Vec<&'static str> {
    let mut words: Vec<&str> = ALGORITHMS.iter().map(|algorithm| algorithm.word).collect();
    words.dedup();
    words
}

/// The algorithm that SSH calls so, and whether it is a certificate of one.
fn by_name(name: &[u8]) -> Option<(Algorithm, bool)> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = name.strip_suffix(CERTIFICATE);
    let is_it = |algorithm: &&Algorithm| match plain {
        Some(plain) => algorithm.name.trim_end_matches("@openssh.com") == plain,
        None => algorithm.name == name,
    };
    Some((*ALGORITHMS.iter().find(is_it)?, plain.is_some()))
}

/// Whether a line of a public key may begin so.
pub(super) fn is_name(word: &str) -> bool {
    by_name(word.as_bytes()).is_some()
}

/// What is left to read of bytes in SSH's notation.
pub(super) struct Wire<'b>(pub(super) &'b [u8]);

impl<'b> Wire<'b> {
    /// So many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of four bytes.
    pub(super) fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Bytes behind their number.
    pub(super) fn string(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }
}

/// A public key, without what a certificate says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// What kind of key.
    pub(super) algorithm: Algorithm,
    /// It stands in a certificate.
    pub(super) is_certificate: bool,
    /// Its size.
    pub(super) bits: u32,
    plain: Vec<u8>,
}

impl PublicKey {
    /// Reads one that is written as `text` says: base64.
    pub(super) fn parse_text(text: &str) -> Option<PublicKey> {
        PublicKey::parse(&BASE64_STANDARD.decode(text).ok()?)
    }

    /// Reads one: none if it is not exactly one.
    pub(super) fn parse(blob: &[u8]) -> Option<PublicKey> {
        let mut wire = Wire(blob);
        let (algorithm, is_certificate) = by_name(wire.string()?)?;
        if is_certificate {
            let _nonce = wire.string()?;
        }
        let fields = (0..algorithm.fields).map(|_| wire.string()).collect::<Option<Vec<_>>>()?;
        if !is_certificate && !wire.0.is_empty() {
            return None;
        }
        PublicKey::of_fields(algorithm, is_certificate, &fields)
    }

    /// A key of the algorithm that SSH calls `name`, with these numbers, as they stand in a DER integer.
    pub(super) fn of_numbers(name: &str, fields: &[&[u8]]) -> Option<PublicKey> {
        PublicKey::of_fields(by_name(name.as_bytes())?.0, false, fields)
    }

    fn of_fields(algorithm: Algorithm, is_certificate: bool, fields: &[&[u8]]) -> Option<PublicKey> {
        let bits = match algorithm.bits {
            Bits::Always(bits) => bits,
            Bits::OfField(index) => bits_of(fields.get(index)?)?,
        };
        let mut plain = Vec::new();
        for field in [algorithm.name.as_bytes()].iter().chain(fields) {
            plain.extend(u32::try_from(field.len()).ok()?.to_be_bytes());
            plain.extend(*field);
        }
        Some(PublicKey { algorithm, is_certificate, bits, plain })
    }

    /// `SHA256:…`, as ssh-keygen(1) prints it.
    pub(super) fn sha256(&self) -> String {
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&self.plain)))
    }

    /// Pairs of digits, as ssh-keygen(1) prints them behind `MD5:`.
    pub(super) fn md5(&self) -> String {
        let pairs: Vec<String> = Md5::digest(&self.plain).iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(":")
    }

    /// `RSA`, `ED25519-CERT`: what ssh-keygen(1) prints in brackets.
    pub(super) fn kind(&self) -> String {
        let certificate = if self.is_certificate { "-CERT" } else { "" };
        format!("{}{certificate}", self.algorithm.word.to_uppercase())
    }
}

/// The bits of a positive number.
fn bits_of(number: &[u8]) -> Option<u32> {
    if number.first().is_none_or(|first| first & 0x80 != 0) {
        return None;
    }
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros)?;
    let bits = (number.len() - zeros) * 8 - first.leading_zeros() as usize;
    u32::try_from(bits).ok()
}
