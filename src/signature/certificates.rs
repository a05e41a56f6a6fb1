//! Reads certificates from a file: exported keys, armored or binary, in any mixture, with comments between armored ones.
//!
//! No certificate is dropped silently: one that cannot be read is a [`LeftOut`], and those around it count. Where the armor
//! ends in the middle, the last certificate in it is left out: what is missing may be a revocation.

use super::chain;
use sequoia_openpgp as openpgp;

use openpgp::armor::{Reader, ReaderMode};
use openpgp::packet::Tag;
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::{Cert, Fingerprint, Packet};
use std::fmt;
use std::io::Read;

/// Characters of a left-out certificate's user id.
const USER_ID_CHARS_MAX: usize = 100;

/// A certificate that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place among the certificates of the file, from 1 on.
    pub position: usize,
    /// Its first user id, if that can be read.
    pub user_id: Option<String>,
    /// Its primary key, if that can be read.
    pub key: Option<Fingerprint>,
    /// Why it cannot be read.
    pub cause: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {}", self.position)?;
        if let Some(user_id) = &self.user_id {
            write!(f, " of '{user_id}'")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key {}", key.to_hex())?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// The certificates of a file, in order.
pub fn read(bytes: &[u8]) -> Result<Vec<Result<Cert, LeftOut>>, String> {
    if let Some(reason) = foreign_format(bytes) {
        return Err(reason.into());
    }
    let mut certificates = Vec::new();
    for part in parts(bytes) {
        let (packets, is_cut) = match part {
            Part::Packets(packets) => (packets.to_vec(), false),
            Part::Armored(block) => dearmor(block),
        };
        let mut slices = split(&packets);
        if let Some(last) = slices.last_mut() {
            last.is_cut |= is_cut;
        } else {
            slices.push(Slice { packets: &packets, is_cut });
        }
        for slice in slices {
            certificates.push(slice.parse(certificates.len() + 1));
        }
    }
    if certificates.is_empty() { Err("holds no OpenPGP certificate".into()) } else { Ok(certificates) }
}

/// What people take for a file of exported keys, and what to do about it.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(8..12) == Some(b"KBXf") {
        let text = "is a keybox, gpg's own database, and not a file of exported keys; write one with: \
            gpg --armor --export KEY > FILE";
        return Some(text);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Some("is UTF-16 text, as some shells write it; write it with: gpg --armor --output FILE --export KEY");
    }
    if find(bytes, b"private-key").is_some() && find(bytes, b"-----BEGIN").is_none() {
        return Some("is a private key of gpg's agent; name the key by its id, and gpg signs with it");
    }
    None
}

enum Part<'a> {
    /// From the line that begins an armor to the one that ends it, if there is one.
    Armored(&'a [u8]),
    Packets(&'a [u8]),
}

/// Splits a file into armored blocks and the packets between them.
fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
    const BEGIN: &[u8] = b"-----BEGIN PGP";
    const END: &[u8] = b"-----END PGP";
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(begin) = find(rest, BEGIN) {
        parts.extend(packets_in(&rest[..begin]));
        let next = find(&rest[begin + BEGIN.len()..], BEGIN).map_or(rest.len(), |at| begin + BEGIN.len() + at);
        let end = find(&rest[begin..next], END).map_or(next, |at| {
            let end = begin + at + END.len();
            find(&rest[end..next], b"\n").map_or(next, |newline| end + newline)
        });
        parts.push(Part::Armored(&rest[begin..end]));
        rest = &rest[end..];
    }
    parts.extend(packets_in(rest));
    parts
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The packets beside armored blocks. Text is a comment; packets are never text: their first byte is above 127, and no
/// character of UTF-8 begins in the way they do.
fn packets_in(gap: &[u8]) -> Option<Part<'_>> {
    let first = gap.iter().position(|byte| byte & 0x80 != 0)?;
    std::str::from_utf8(gap).is_err().then(|| Part::Packets(&gap[first..]))
}

/// Decodes a block. Returns the packets up to the first error, and whether some are missing.
fn dearmor(block: &[u8]) -> (Vec<u8>, bool) {
    let mut packets = Vec::new();
    let read = Reader::from_bytes(block, ReaderMode::Tolerant(None)).read_to_end(&mut packets);
    (packets, read.is_err() || find(block, b"-----END PGP").is_none())
}

/// The packets of one certificate, or what stands in its place.
struct Slice<'a> {
    packets: &'a [u8],
    /// It ends in the middle.
    is_cut: bool,
}

/// Splits packets into certificates: each begins with a primary key.
fn split(packets: &[u8]) -> Vec<Slice<'_>> {
    let (mut slices, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(header) = Header::parse(&packets[at..]) {
        if header.is_primary_key() && at > start {
            slices.push(Slice { packets: &packets[start..at], is_cut: false });
            start = at;
        }
        match at.checked_add(header.size_bytes).filter(|end| *end <= packets.len()) {
            Some(end) => at = end,
            None => {
                slices.push(Slice { packets: &packets[start..], is_cut: true });
                return slices;
            }
        }
    }
    // What follows the last packet: the newline that a shell put there, or no packets.
    let is_blank = packets[at..].iter().all(u8::is_ascii_whitespace);
    let end = if is_blank { at } else { packets.len() };
    if end > start {
        slices.push(Slice { packets: &packets[start..end], is_cut: !is_blank });
    }
    slices
}

/// The header of a packet.
struct Header {
    tag: u8,
    /// Of the whole packet.
    size_bytes: usize,
}

impl Header {
    /// None if there is none, or the packet has no definite length, as no packet of a certificate.
    fn parse(bytes: &[u8]) -> Option<Header> {
        let number = |at: usize, count: usize| -> Option<usize> {
            let digits = bytes.get(at..at + count)?;
            Some(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
        };
        let first = *bytes.first().filter(|first| **first & 0x80 != 0)?;
        let (tag, header, body) = if first & 0x40 != 0 {
            let (header, body) = match number(1, 1)? {
                length @ ..192 => (2, length),
                length @ 192..224 => (3, ((length - 192) << 8) + number(2, 1)? + 192),
                255 => (6, number(2, 4)?),
                _ => return None,
            };
            (first & 0x3f, header, body)
        } else {
            let length_size = [1, 2, 4].get(usize::from(first & 3)).copied()?;
            (first >> 2 & 0xf, 1 + length_size, number(1, length_size)?)
        };
        Some(Header { tag, size_bytes: header + body })
    }

    fn is_primary_key(&self) -> bool {
        [Tag::PublicKey, Tag::SecretKey].contains(&Tag::from(self.tag))
    }
}

impl Slice<'_> {
    fn parse(&self, position: usize) -> Result<Cert, LeftOut> {
        let cause = match Header::parse(self.packets).is_some_and(|header| header.is_primary_key()) {
            false if self.packets.is_empty() => "its armor holds nothing that can be read".into(),
            false => "does not begin with a key; only exported keys count: gpg --armor --export KEY".into(),
            true if self.is_cut => "ends in the middle; export it again".into(),
            true => match Cert::from_bytes(self.packets) {
                Ok(cert) => return Ok(cert),
                Err(error) => format!("{}; its owner needs a new key, or exports it again", chain(&error)),
            },
        };
        let (mut user_id, mut key) = (None, None);
        let mut parser = PacketParser::from_bytes(self.packets);
        while let Ok(PacketParserResult::Some(packet)) = parser {
            match &packet.packet {
                Packet::PublicKey(public) => key = key.or(Some(public.fingerprint())),
                Packet::SecretKey(secret) => key = key.or(Some(secret.fingerprint())),
                Packet::UserID(id) if user_id.is_none() => {
                    let text = String::from_utf8_lossy(id.value()).escape_debug().take(USER_ID_CHARS_MAX).collect();
                    user_id = Some(text);
                }
                _ => {}
            }
            parser = packet.next().map(|(_, next)| next);
        }
        Err(LeftOut { position, user_id, key, cause })
    }
}

#[cfg(test)]
mod tests;
