//! Actions whose signatures do not count. Those that count are in signature_table; here are the reasons that the dropper reads.

use super::bench::Outcome::Accepted;
use super::bench::{Bench, Outcome, Row, refused, text};
use mig::action::Action;
use mig::signature::strip_armor;
use openpgp::cert::{Cert, CertBuilder, CertRevocationBuilder};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::{Serialize, SerializeInto};
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Packet, armor};
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);

fn signed_text(action: &Value) -> String {
    Action::parse_draft(action.to_string().as_bytes()).unwrap().signed_text()
}

/// Signs a text with a certificate's primary key, as told.
fn sign(cert: &Cert, text: &str, how: impl FnOnce(SignatureBuilder) -> openpgp::Result<SignatureBuilder>) -> String {
    let mut pair = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let signature = how(SignatureBuilder::new(SignatureType::Binary)).unwrap().sign_message(&mut pair, text).unwrap();
    let mut writer = armor::Writer::new(Vec::new(), armor::Kind::Signature).unwrap();
    Packet::from(signature).serialize(&mut writer).unwrap();
    strip_armor(&String::from_utf8(writer.finalize().unwrap()).unwrap()).unwrap()
}

/// A certificate whose primary key may sign, made two days ago.
fn person(name: &str, how: impl FnOnce(CertBuilder<'_>) -> CertBuilder<'_>) -> Cert {
    let builder = CertBuilder::new()
        .set_creation_time(SystemTime::now() - 48 * HOUR)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .add_userid(name);
    how(builder).generate().unwrap().0
}

fn revoked(cert: &Cert) -> Cert {
    let mut pair = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = CertRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .and_then(|builder| builder.build(&mut pair, cert, None))
        .unwrap();
    cert.clone().insert_packets([revocation]).unwrap().0
}

/// The reason of a key in the keyring that does not count.
fn key_reason(cert: &Cert, name: &str, why: &str) -> Outcome {
    let who = format!("{name} ({})", cert.fingerprint().to_hex());
    refused(format!("pgpsignatures[0] was made by {who}, whose key does not count: {why}"))
}

/// The reason of a signature in a good key's name.
fn bad_reason(index: usize, cert: &Cert, name: &str, why: &str) -> Outcome {
    let who = format!("{name} ({})", cert.fingerprint().to_hex());
    refused(format!("pgpsignatures[{index}] claims to be by {who} and does not verify: {why}"))
}

/// Actions that carry what is no signature, or too many.
fn malformed(bench: &Bench) -> Vec<Row> {
    let row = |what: &str, signatures: Value, reason: &str| {
        let mut action = bench.signed();
        action["pgpsignatures"] = signatures;
        text(what, action.to_string(), refused(reason))
    };
    const UNSIGNED: &str =
        "field 'pgpsignatures': is missing: the action is not signed; sign it with mig-action-generator";
    let good = bench.signed()["pgpsignatures"][0].clone();
    let cut = &good.as_str().unwrap()[..64];
    vec![
        row("signatures are missing", Value::Null, UNSIGNED),
        row("no signatures", json!([]), UNSIGNED),
        row("signatures are a string", good.clone(), "field 'pgpsignatures': is not an array"),
        row("a signature is a number", json!([good, 7]), "field 'pgpsignatures[1]': is not a string"),
        row("a signature is empty", json!([""]), "field 'pgpsignatures[0]': has 0 bytes, expected 1 to 16384"),
        row(
            "a signature is too long",
            json!(["A".repeat(16385)]),
            "field 'pgpsignatures[0]': has 16385 bytes, expected 1 to 16384",
        ),
        row("33 signatures", vec![good.clone(); 33].into(), "field 'pgpsignatures': has 33 elements, the limit is 32"),
        row(
            "a thousand signatures",
            vec![Value::from("x"); 1000].into(),
            "field 'pgpsignatures': has 1000 elements, the limit is 32",
        ),
        row(
            "no base64",
            json!(["hello world"]),
            "pgpsignatures[0] is malformed: it is not base64; sign the action again",
        ),
        row("cut", json!([cut]), "pgpsignatures[0] is malformed: it is truncated; sign the action again"),
        row("only a checksum", json!(["=AAAA"]), "pgpsignatures[0] is malformed: it is empty; sign the action again"),
        row(
            "the good one and half of it",
            json!([good, cut]),
            "pgpsignatures[1] is malformed: it is truncated; sign the action again",
        ),
    ]
}

const ALTERED: &str = "it covers another text: the action was changed after it was signed, or the program that signed it \
    wrote another one; sign the action again";
const SHA1: &str = "its digest SHA1 is too weak; sign the action again, with SHA-256 or better";

/// Actions that were signed, by somebody or for something else.
fn not_counting(bench: &Bench) -> Vec<Row> {
    let (alice, stranger) = (person("alice", |b| b), person("stranger", |b| b));
    let expired = person("expired", |b| b.set_validity_period(HOUR));
    let stolen = person("stolen", |b| b);
    let certifier = person("certifier", |b| b.set_primary_key_flags(KeyFlags::empty().set_certification()));
    // One hour after it was made; OpenPGP counts whole seconds.
    let end = mig::time::Timestamp::try_from(expired.primary_key().key().creation_time() + HOUR).unwrap();
    let owner = expired.fingerprint().to_hex();
    let ran_out = format!(
        "it expired at {end}; its owner prolongs it (gpg --quick-set-expire {owner} 1y) and exports it again for the keyring \
        (gpg --armor --export {owner})"
    );
    let mut keyring = std::fs::read_to_string(bench.sandbox.path("key.pub")).unwrap();
    for cert in [&alice, &expired, &revoked(&stolen), &certifier] {
        keyring += &String::from_utf8(cert.armored().to_vec().unwrap()).unwrap();
    }
    std::fs::write(bench.sandbox.path("key.pub"), keyring).unwrap();
    let row = |what: &str, cert: &Cert, how: fn(SignatureBuilder) -> openpgp::Result<SignatureBuilder>, outcome| {
        let mut action = bench.signed();
        action["pgpsignatures"] = json!([sign(cert, &signed_text(&action), how)]);
        text(what, action.to_string(), outcome)
    };
    let changed = |what: &str, at: &str, to: Value| {
        let mut action = bench.signed();
        action["pgpsignatures"] = json!([sign(&alice, &signed_text(&action), Ok)]);
        *action.pointer_mut(at).unwrap() = to;
        text(what, action.to_string(), bad_reason(0, &alice, "alice", ALTERED))
    };
    let both = |what: &str, second: &str, outcome| {
        let mut action = bench.signed();
        let first = action["pgpsignatures"][0].clone();
        let second = if second.is_empty() { first.as_str().unwrap() } else { second };
        action["pgpsignatures"] = json!([first, second]);
        text(what, action.to_string(), outcome)
    };
    let unknown = stranger.fingerprint().to_hex();
    let unfit = format!("the key is not for signing ({}); sign with one that is", certifier.keyid().to_hex());
    let of_another_text = sign(&alice, "name=something else", Ok);
    vec![
        row("good, by somebody else in the keyring", &alice, Ok, Accepted),
        both("the same signature twice", "", Accepted),
        both("one good, one of another text", &of_another_text, bad_reason(1, &alice, "alice", ALTERED)),
        row(
            "unknown key",
            &stranger,
            Ok,
            refused(format!(
                "pgpsignatures[0] was made by key {unknown}, which is not in the keyring; \
                add its certificate there, or if the key is new in it, replace it (gpg --armor --export {unknown})"
            )),
        ),
        row("expired key", &expired, Ok, key_reason(&expired, "expired", &ran_out)),
        row(
            "stolen key",
            &stolen,
            Ok,
            key_reason(&stolen, "stolen", "the certificate is revoked; sign with another key"),
        ),
        row("key that may not sign", &certifier, Ok, key_reason(&certifier, "certifier", &unfit)),
        row("SHA-1", &alice, |b| Ok(b.set_hash_algo(HashAlgorithm::SHA1)), bad_reason(0, &alice, "alice", SHA1)),
        row(
            "signature of the future",
            &alice,
            |b| b.set_signature_creation_time(mig::time::Timestamp::constant(4_070_908_800, 0)),
            refused(format!(
                "pgpsignatures[0] was made by alice ({}) and is not valid before 2098-12-31T23:55:00Z: the signature is from \
                the future; set the clock that is wrong, here or where it was made",
                alice.fingerprint().to_hex()
            )),
        ),
        changed("name was changed", "/name", "another".into()),
        changed("target was changed", "/target", "all".into()),
        changed("window was changed", "/expireafter", "2099-01-01T00:00:00Z".into()),
        changed("module was changed", "/operations/0/module", "agentdestroy".into()),
        changed("parameter was changed", "/operations/0/parameters/searches/s1/paths/0", "/".into()),
    ]
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    [malformed(bench), not_counting(bench)].into_iter().flatten().collect()
}
