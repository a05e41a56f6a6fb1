//! Signatures as actions hold them: stripped of their armor to one line.

use super::{SignatureError, chain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::crypto::mpi::MPI;
use openpgp::packet::{Signature, Tag};
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::serialize::Serialize;
use openpgp::types::SignatureType;

/// Decodes a stripped signature: base64, with or without a suffix of `=` and four characters of checksum.
pub(super) fn parse_stripped(stripped: &str) -> Result<Signature, SignatureError> {
    let malformed = |reason: &str| SignatureError::Malformed(reason.into());
    let data = match stripped.rsplit_once('=') {
        Some((data, checksum)) if checksum.len() == 4 => data,
        _ => stripped,
    };
    let bytes = STANDARD.decode(data).map_err(|_| malformed("it is not base64"))?;
    let mut signature = None;
    let mut parser = PacketParser::from_bytes(&bytes).map_err(|_| malformed("it is not an OpenPGP packet"))?;
    while let PacketParserResult::Some(mut packet) = parser {
        if let Packet::Unknown(_) = packet.packet {
            packet.buffer_unread_content().map_err(|_| malformed("it is truncated"))?;
        }
        let (packet, next) = packet.next().map_err(|_| malformed("it is truncated"))?;
        let found = match packet {
            Packet::Signature(found) => found,
            Packet::Unknown(unknown) if unknown.tag() == Tag::Signature => {
                with_shortest_numbers(unknown.body()).ok_or_else(|| malformed("it is not an OpenPGP signature"))?
            }
            _ => return Err(malformed("it contains a packet that is not a signature")),
        };
        if signature.replace(found).is_some() {
            return Err(malformed("it contains more than one signature"));
        }
        parser = next;
    }
    let signature = signature.ok_or_else(|| malformed("it is empty"))?;
    match signature.typ() {
        SignatureType::Binary | SignatureType::Text => Ok(signature),
        other => Err(SignatureError::Malformed(format!("it is a {other}, not a signature over a document"))),
    }
}

/// Parses the body of a version 4 signature whose numbers have leading zero bits. OpenPGP forbids that and sequoia
/// refuses it; the original's library writes every second RSA signature in this way
/// (`tests/samples/action-signed-by-one.json`).
fn with_shortest_numbers(body: &[u8]) -> Option<Signature> {
    let length_at = |at: usize| Some(usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])));
    let after_area = |at: usize| Some(at + 2 + length_at(at)?);
    if body.first() != Some(&4) {
        return None;
    }
    // Version, type and two algorithms; the hashed and the unhashed area; two bytes of the digest; then the numbers.
    let mut at = after_area(after_area(4)?)? + 2;
    let mut shortened = body.get(..at)?.to_vec();
    while at < body.len() {
        let number = body.get(at + 2..at + 2 + length_at(at)?.div_ceil(8))?;
        shortened.extend(openpgp::serialize::MarshalInto::to_vec(&MPI::new(number)).ok()?);
        at += 2 + number.len();
    }
    Signature::from_bytes(&shortened).ok()
}

pub(super) fn armor(signature: Signature) -> anyhow::Result<String> {
    let mut writer = openpgp::armor::Writer::new(Vec::new(), openpgp::armor::Kind::Signature)?;
    Packet::from(signature).serialize(&mut writer)?;
    Ok(String::from_utf8(writer.finalize()?)?)
}

/// Strips an armored signature to one line: header, footer and newlines removed, the checksum kept at the end.
pub fn strip_armor(armored: &str) -> Result<String, SignatureError> {
    let lines = armored.lines().map(str::trim);
    let body = lines.skip_while(|line| !line.starts_with("-----BEGIN PGP SIGNATURE")).skip(1);
    let body = body.skip_while(|line| !line.is_empty()).take_while(|line| !line.starts_with("-----END"));
    let stripped: String = body.collect();
    parse_stripped(&stripped).map(|_| stripped)
}

/// Whether two stripped signatures say that one key made them.
pub fn are_by_one_key(one: &str, other: &str) -> bool {
    let issuers = |stripped| parse_stripped(stripped).map(|one| one.get_issuers()).unwrap_or_default();
    let others = issuers(other);
    issuers(one).iter().any(|issuer| others.iter().any(|other| other.aliases(issuer)))
}

/// Restores the armor, as `gpg --verify` requires it.
pub fn restore_armor(stripped: &str) -> Result<String, SignatureError> {
    let signature = parse_stripped(stripped)?;
    armor(signature).map_err(|e| SignatureError::Malformed(chain(&e)))
}
