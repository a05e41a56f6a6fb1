//! Verifies the signatures of actions.
//!
//! A signature is a detached OpenPGP signature over [`crate::action::Action::signed_text`], armored and then stripped
//! to one line. It counts if it verifies, its key may sign and is neither expired nor revoked **now**, and sequoia's
//! `StandardPolicy` accepts it (no SHA-1, MD5, unknown critical subpackets). The key must be valid now, not only at the
//! time that the signature claims: a thief of an old key can backdate signatures.
//!
//! Several signatures by one certificate, even by different subkeys, are one signer.
//!
//! Signatures and keys are created in `signature/sign.rs`.

mod sign;

pub use sign::{generate_key, generate_rsa_key, sign_with_gpg, sign_with_key};

use crate::investigator::{Fingerprint, Investigator, name_of};
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::crypto::mpi::MPI;
use openpgp::packet::{Signature, Tag};
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::serialize::Serialize;
use openpgp::types::SignatureType;
use openpgp::{Cert, KeyHandle, Packet};
use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Maximum time by which a signature may be in the future, for clocks that are ahead.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Why a signature does not count, or a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not base64, or not one OpenPGP signature.
    #[error("is malformed: {0}")]
    Malformed(String),
    /// The key is in no certificate of the keyring.
    #[error("was made by key {0}, which is not in the keyring")]
    UnknownKey(String),
    /// The key is in the keyring, but is not valid.
    #[error("was made by {name} ({fingerprint}), whose key does not count: {reason}")]
    Key {
        /// The name in the certificate.
        name: String,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Expired, revoked, not yet valid, not for signing.
        reason: String,
    },
    /// The key is valid, the signature is not: other text, bad algorithm, from the future.
    #[error("claims to be by {name} ({fingerprint}) and does not verify: {reason}")]
    Bad {
        /// The name in the certificate.
        name: String,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Why it does not verify.
        reason: String,
    },
    /// A keyring or key file that cannot be used.
    #[error("{0}")]
    Keyring(String),
}

/// The signer of a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The certificate.
    pub fingerprint: Fingerprint,
    /// The name in it.
    pub name: String,
}

struct Known {
    cert: Cert,
    /// Created on first use: armoring takes as long as a signature.
    investigator: OnceLock<Investigator>,
}

impl Known {
    fn investigator(&self) -> &Investigator {
        self.investigator.get_or_init(|| Investigator::from(&self.cert))
    }
}

/// Trusted certificates, indexed by their keys.
#[derive(Default)]
pub struct Keyring {
    certs: Vec<Known>,
    by_key: HashMap<String, BTreeSet<usize>>,
}

impl Keyring {
    /// Parses any number of concatenated certificates, armored or not.
    pub fn parse(bytes: &[u8]) -> Result<Keyring, SignatureError> {
        let mut keyring = Keyring::default();
        let mut found = 0;
        for block in armor_blocks(bytes) {
            let parser =
                CertParser::from_bytes(block).map_err(|e| SignatureError::Keyring(format!("not a keyring: {e}")))?;
            for cert in parser {
                let cert = cert.map_err(|e| SignatureError::Keyring(format!("certificate {}: {e}", found + 1)))?;
                keyring.add(cert);
                found += 1;
            }
        }
        if found == 0 {
            return Err(SignatureError::Keyring("holds no OpenPGP certificate".into()));
        }
        Ok(keyring)
    }

    /// Adds a certificate, without its secret keys. Copies of one certificate are merged: a revocation in any of them
    /// applies, in any order.
    pub fn add(&mut self, cert: Cert) {
        let cert = cert.strip_secret_key_material();
        let known = self.certs.iter().position(|known| known.cert.fingerprint() == cert.fingerprint());
        let index = known.unwrap_or(self.certs.len());
        let cert = match known {
            Some(index) => self.certs.remove(index).cert.merge_public(cert).expect("the fingerprints are the same"),
            None => cert,
        };
        for key in cert.keys() {
            for handle in [key.key().fingerprint().to_hex(), key.key().keyid().to_hex()] {
                self.by_key.entry(handle).or_default().insert(index);
            }
        }
        self.certs.insert(index, Known { cert, investigator: OnceLock::new() });
    }

    /// Returns every certificate as an investigator.
    pub fn investigators(&self) -> impl Iterator<Item = &Investigator> + '_ {
        self.certs.iter().map(Known::investigator)
    }

    /// Returns the certificate with this fingerprint, as an investigator.
    pub fn investigator(&self, fingerprint: &Fingerprint) -> Option<&Investigator> {
        self.certs.iter().find(|known| Fingerprint::from(&known.cert) == *fingerprint).map(Known::investigator)
    }

    /// Verifies one stripped signature over `text`.
    pub fn verify(&self, text: &str, stripped: &str, now: Timestamp) -> Result<Signer, SignatureError> {
        let signature = parse_stripped(stripped)?;
        let issuers = signature.get_issuers();
        // A certificate can claim a key of another one. The signer is the one for which the signature is valid.
        let claimants: BTreeSet<usize> =
            issuers.iter().filter_map(|issuer| self.by_key.get(&issuer.to_hex())).flatten().copied().collect();
        let mut refused = None;
        for index in claimants {
            match verify_by(&self.certs[index].cert, &signature, text, now) {
                Ok(signer) => return Ok(signer),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let unknown = || SignatureError::UnknownKey(issuers.first().map_or("(no issuer)".into(), KeyHandle::to_hex));
        Err(refused.unwrap_or_else(unknown))
    }
}

/// Verifies a signature that names a key of `cert`.
fn verify_by(cert: &Cert, signature: &Signature, text: &str, now: Timestamp) -> Result<Signer, SignatureError> {
    let (fingerprint, name) = (Fingerprint::from(cert), name_of(cert));
    let key_error =
        |reason: String| SignatureError::Key { name: name.clone(), fingerprint: fingerprint.clone(), reason };
    let bad = |reason: String| SignatureError::Bad { name: name.clone(), fingerprint: fingerprint.clone(), reason };
    let now: SystemTime = now.into();
    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, now).map_err(|e| key_error(chain(&e)))?;
    valid.alive().map_err(|e| key_error(chain(&e)))?;
    if let openpgp::types::RevocationStatus::Revoked(_) = valid.revocation_status() {
        return Err(key_error("the certificate is revoked".into()));
    }
    let key = signing_key(&valid, &signature.get_issuers()).map_err(key_error)?;
    policy.signature(signature, HashAlgoSecurity::CollisionResistance).map_err(|e| bad(chain(&e)))?;
    signature.signature_alive(now, CLOCK_SKEW).map_err(|e| bad(chain(&e)))?;
    signature.verify_message(&key, text.as_bytes()).map_err(|e| bad(chain(&e)))?;
    Ok(Signer { fingerprint, name })
}

/// Formats an error and its causes as one line.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ").replace('\n', " ")
}

/// Returns the key of `cert` that one of `issuers` names, if it may sign now.
fn signing_key(
    cert: &ValidCert,
    issuers: &[KeyHandle],
) -> Result<openpgp::packet::Key<openpgp::packet::key::PublicParts, openpgp::packet::key::UnspecifiedRole>, String> {
    let named = |key: &ValidErasedKeyAmalgamation<openpgp::packet::key::PublicParts>| {
        issuers.iter().any(|issuer| key.key().key_handle().aliases(issuer))
    };
    let key = cert.keys().find(named).ok_or("the key is not validly bound to its certificate")?;
    key.alive().map_err(|e| chain(&e))?;
    if let openpgp::types::RevocationStatus::Revoked(_) = key.revocation_status() {
        return Err("the key is revoked".into());
    }
    if !key.for_signing() {
        return Err("the key is not for signing".into());
    }
    Ok(key.key().clone())
}

/// Returns the distinct signers of valid signatures, whose weights are added up.
pub fn distinct(verified: &[Result<Signer, SignatureError>]) -> BTreeSet<Fingerprint> {
    verified.iter().flatten().map(|signer| signer.fingerprint.clone()).collect()
}

/// Splits text into its armored blocks, so that all exported keys of a file are read. Binary data is one block.
fn armor_blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP";
    let mut starts: Vec<usize> =
        bytes.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN).map(|(at, _)| at).collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    starts.push(bytes.len());
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Decodes a stripped signature: base64, with or without a suffix of `=` and four characters of checksum.
fn parse_stripped(stripped: &str) -> Result<Signature, SignatureError> {
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

fn armor(signature: Signature) -> anyhow::Result<String> {
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

/// Restores the armor, as `gpg --verify` requires it.
pub fn restore_armor(stripped: &str) -> Result<String, SignatureError> {
    let signature = parse_stripped(stripped)?;
    armor(signature).map_err(|e| SignatureError::Malformed(chain(&e)))
}
