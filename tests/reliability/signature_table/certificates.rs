//! Certificates in every state that one can be in, what they sign, and an agent that judges it.

use crate::gnupg::{SIGNED_BY_TWO, signed_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mig::acl::Acl;
use mig::agent::{Refusal, Trust};
use mig::command::Command;
use mig::signature::Keyring;
use mig::time::Timestamp;
use openpgp::cert::prelude::*;
use openpgp::packet::key::{Key4, PrimaryRole, SecretParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::{NotationDataFlags, Subpacket, SubpacketTag, SubpacketValue};
use openpgp::packet::{Key, Signature, UserID};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::types::{KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Cert, Packet};
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// When the certificates were made, unless a row says otherwise.
pub const BORN: i64 = -700 * DAY;
/// When the signatures were made, unless a row says otherwise.
pub const SIGNED: i64 = -30 * MINUTE;

/// The time at which everything is judged: inside the window of the original's action.
pub fn now() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().unwrap()
}

/// So many seconds from [`now`] on.
pub fn at(seconds: i64) -> SystemTime {
    SystemTime::from(Timestamp::from_second(now().as_second() + seconds).unwrap())
}

pub fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY as u64)
}

pub fn signing() -> KeyFlags {
    KeyFlags::empty().set_signing()
}

/// The original's action, with these signatures instead of its own.
pub fn action_with(signatures: &[&str]) -> Value {
    let mut action: Value = serde_json::from_str(SIGNED_BY_TWO).unwrap();
    action["pgpsignatures"] = signatures.into();
    action
}

/// An investigator whose primary key may sign, with whatever else `more` adds.
pub fn person(name: &str, more: impl FnOnce(CertBuilder) -> CertBuilder) -> Cert {
    let builder = CertBuilder::new()
        .set_creation_time(at(BORN))
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .add_userid(format!("{name} <{name}@example.net>"));
    more(builder).generate().unwrap().0
}

/// An Ed25519 key with two signing subkeys and one for encryption.
pub fn alice() -> Cert {
    person("alice", |b| b.add_signing_subkey().add_signing_subkey().add_transport_encryption_subkey())
}

pub fn bob() -> Cert {
    person("bob", |b| b.set_cipher_suite(CipherSuite::RSA2k))
}

/// The secret half of the `index`-th key: 0 is the primary key.
pub fn signer(cert: &Cert, index: usize) -> openpgp::crypto::KeyPair {
    let key = cert.keys().nth(index).unwrap().key().clone();
    key.parts_into_secret().unwrap().into_keypair().unwrap()
}

/// A signature over `text` by the `index`-th key of `cert`, made as `how` says.
pub fn signature(
    cert: &Cert,
    index: usize,
    text: &str,
    how: impl FnOnce(SignatureBuilder) -> openpgp::Result<SignatureBuilder>,
) -> Signature {
    let builder = SignatureBuilder::new(SignatureType::Binary).set_signature_creation_time(at(SIGNED)).unwrap();
    how(builder).unwrap().sign_message(&mut signer(cert, index), text).unwrap()
}

/// Packets, stripped as they stand in an action, without a checksum.
pub fn strip(packets: &[Packet]) -> String {
    STANDARD.encode(packets.iter().flat_map(|packet| packet.to_vec().unwrap()).collect::<Vec<u8>>())
}

/// [`signature`] over the original's action, stripped.
pub fn sign_with(
    cert: &Cert,
    index: usize,
    how: impl FnOnce(SignatureBuilder) -> openpgp::Result<SignatureBuilder>,
) -> String {
    strip(&[signature(cert, index, &signed_text(&action_with(&[])), how).into()])
}

pub fn sign(cert: &Cert, index: usize) -> String {
    sign_with(cert, index, Ok)
}

pub fn sign_at(cert: &Cert, index: usize, seconds: i64) -> String {
    sign_with(cert, index, |b| b.set_signature_creation_time(at(seconds)))
}

/// `cert` with its primary key revoked at that time.
pub fn revoked(cert: &Cert, reason: ReasonForRevocation, seconds: i64) -> Cert {
    let revocation = CertRevocationBuilder::new().set_signature_creation_time(at(seconds)).unwrap();
    let revocation = revocation.set_reason_for_revocation(reason, b"").unwrap();
    let packet = revocation.build(&mut signer(cert, 0), cert, None).unwrap();
    cert.clone().insert_packets([packet]).unwrap().0
}

/// `cert` with its first subkey revoked yesterday.
pub fn subkey_revoked(cert: &Cert, reason: ReasonForRevocation) -> Cert {
    let subkey = cert.keys().subkeys().next().unwrap();
    let revocation = SubkeyRevocationBuilder::new().set_signature_creation_time(at(-DAY)).unwrap();
    let revocation = revocation.set_reason_for_revocation(reason, b"").unwrap();
    let packet = revocation.build(&mut signer(cert, 0), cert, subkey.key(), None).unwrap();
    cert.clone().insert_packets([packet]).unwrap().0
}

/// `cert`, which had run out, with an expiration that was moved into the future yesterday.
pub fn prolonged(cert: &Cert) -> Cert {
    let longer = |old: &Signature| {
        let builder = SignatureBuilder::from(old.clone()).set_signature_creation_time(at(-DAY)).unwrap();
        builder.set_key_validity_period(days(1000)).unwrap()
    };
    let (primary, user) = (cert.primary_key(), cert.userids().next().unwrap());
    let direct = longer(primary.self_signatures().next().unwrap());
    let direct = direct.sign_direct_key(&mut signer(cert, 0), primary.key()).unwrap();
    let binding = longer(user.self_signatures().next().unwrap());
    let binding = user.userid().bind(&mut signer(cert, 0), cert, binding).unwrap();
    cert.clone().insert_packets([direct, binding]).unwrap().0
}

/// `cert` with a signing subkey that was made yesterday.
pub fn with_new_subkey(cert: &Cert) -> Cert {
    let builder = KeyBuilder::new(signing()).set_creation_time(at(-DAY));
    let policy = StandardPolicy::at(at(-DAY));
    let builder = builder.subkey(cert.with_policy(&policy, at(-DAY)).unwrap()).unwrap();
    builder.set_signature_creation_time(at(-DAY)).unwrap().attach_cert().unwrap()
}

/// `cert` with a subkey that never agreed to belong to it: no embedded signature of its own.
pub fn with_unwilling_subkey(cert: &Cert) -> Cert {
    let mut key: Key<SecretParts, SubordinateRole> = Key4::generate_ed25519().unwrap().into();
    key.set_creation_time(at(BORN)).unwrap();
    let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_signature_creation_time(at(BORN))
        .and_then(|b| b.set_key_flags(signing()))
        .unwrap();
    let binding = key.bind(&mut signer(cert, 0), cert, binding).unwrap();
    cert.clone().insert_packets([Packet::from(key), binding.into()]).unwrap().0
}

/// `cert` with a key of another, which it says is a subkey for encryption: that needs nobody's consent.
pub fn claiming(cert: &Cert, other: &Cert, index: usize) -> Cert {
    let key = other.keys().nth(index).unwrap().key().clone().role_into_subordinate().parts_into_public();
    let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_signature_creation_time(at(BORN))
        .and_then(|b| b.set_key_flags(KeyFlags::empty().set_storage_encryption()))
        .unwrap();
    let binding = key.bind(&mut signer(cert, 0), cert, binding).unwrap();
    cert.clone().insert_packets([Packet::from(key), binding.into()]).unwrap().0
}

/// An RSA key that is too short to be trusted.
pub fn short_rsa(name: &str) -> Cert {
    bound(name, Key4::generate_rsa(1024).unwrap().into(), Ok)
}

/// A key whose user id is bound to it with a notation that verifiers must know.
pub fn with_critical_notation(name: &str) -> Cert {
    let notation = |b: SignatureBuilder| b.set_notation("x@example.net", "y", NotationDataFlags::empty(), true);
    bound(name, Key4::generate_ed25519().unwrap().into(), notation)
}

/// A single key for everything, whose user id is bound to it as `how` says.
fn bound(
    name: &str,
    mut key: Key<SecretParts, PrimaryRole>,
    how: impl FnOnce(SignatureBuilder) -> openpgp::Result<SignatureBuilder>,
) -> Cert {
    key.set_creation_time(at(BORN)).unwrap();
    let cert = Cert::try_from(vec![Packet::from(key)]).unwrap();
    let user = UserID::from(name);
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_signature_creation_time(at(BORN))
        .and_then(|b| b.set_key_flags(KeyFlags::empty().set_certification().set_signing()))
        .and_then(how)
        .unwrap();
    let binding = user.bind(&mut signer(&cert, 0), &cert, binding).unwrap();
    cert.insert_packets([Packet::from(user), binding.into()]).unwrap().0
}

/// A subpacket that no standard knows.
pub fn unknown_subpacket(builder: SignatureBuilder, critical: bool) -> openpgp::Result<SignatureBuilder> {
    let value = SubpacketValue::Unknown { tag: SubpacketTag::Private(101), body: vec![1] };
    builder.modify_hashed_area(|mut area| {
        area.add(Subpacket::new(value, critical)?)?;
        Ok(area)
    })
}

pub fn armored(cert: &Cert) -> String {
    String::from_utf8(cert.armored().to_vec().unwrap()).unwrap()
}

pub fn keyring(certs: &[&Cert]) -> Keyring {
    let text: String = certs.iter().map(|cert| armored(cert)).collect();
    Keyring::parse(text.as_bytes()).unwrap()
}

/// A list of one permission. Who is listed with which weight is given by fingerprint, as the administrator typed it.
pub fn permission(module: &str, minimum: u64, listed: &[(String, u64)]) -> Value {
    let investigators = listed.iter().enumerate().map(|(index, (fingerprint, weight))| {
        (format!("investigator {index}"), json!({"fingerprint": fingerprint, "weight": weight}))
    });
    json!({module: {"minimumweight": minimum, "investigators": Value::Object(investigators.collect())}})
}

pub fn acl(permissions: &[Value]) -> Acl {
    Acl::parse(Value::from(permissions).to_string().as_bytes()).unwrap()
}

/// The original's command, with this action in it.
pub fn command(action: &Value) -> Command {
    let message = include_str!("../../samples/amqp.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|message| message["key"] == "mig.agt.linux.vm.dn1lbhvz2lfk");
    let mut command: Value = serde_json::from_str(message.unwrap()["body"].as_str().unwrap()).unwrap();
    command["action"] = action.clone();
    command["action"]["id"] = 7.into();
    Command::parse(command.to_string().as_bytes()).unwrap()
}

/// What an agent that obeys `certs`, each alone, says of `action`.
pub fn judged_by_all(certs: &[&Cert], action: &Value) -> Result<(), Refusal> {
    judged_at(now(), certs, action)
}

/// The same, when its clock shows `time`.
pub fn judged_at(time: Timestamp, certs: &[&Cert], action: &Value) -> Result<(), Refusal> {
    let mut listed: Vec<(String, u64)> = certs.iter().map(|cert| (cert.fingerprint().to_hex(), 1)).collect();
    listed.dedup();
    let trust = Trust { keyring: &keyring(certs), acl: &acl(&[permission("default", 1, &listed)]) };
    trust.judge(&command(action), time)
}
