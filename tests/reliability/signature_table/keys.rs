//! Which keys count: their algorithms, their uses, their lives.

use super::Expect::{Counts, Refused};
use super::Gpg::{Agrees, Laxer, NotAsked};
use super::certificates::*;
use super::{assert_all, row};
use crate::gnupg::{GnuPg, SIGNED_BY_TWO, signed_text};
use mig::action::Action;
use mig::investigator::Fingerprint;
use mig::signature::{Keyring, SignatureError, distinct};
use openpgp::Profile;
use openpgp::cert::CipherSuite;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use sequoia_openpgp as openpgp;
use std::time::Duration;

#[test]
fn keys_of_every_kind_count() {
    let (alice, bob) = (alice(), bob());
    let carol = person("carol", |b| b.set_cipher_suite(CipherSuite::RSA4k));
    let dora = person("dora", |b| b.set_profile(Profile::RFC9580).unwrap());
    let text = |b: SignatureBuilder| Ok(b.set_type(SignatureType::Text));
    let notation = |critical| {
        move |b: SignatureBuilder| b.set_notation("x@example.net", "y", NotationDataFlags::empty(), critical)
    };
    assert_all(
        "kinds of keys",
        &[
            row("Ed25519 primary key", &[&alice], &sign(&alice, 0), Counts("alice"), Agrees),
            row("Ed25519 subkey", &[&alice], &sign(&alice, 1), Counts("alice"), Agrees),
            row("second subkey", &[&alice], &sign(&alice, 2), Counts("alice"), Agrees),
            row("RSA-2048", &[&alice, &bob], &sign(&bob, 0), Counts("bob"), Agrees),
            row("RSA-4096", &[&carol], &sign(&carol, 0), Counts("carol"), Agrees),
            row("version 6", &[&dora], &sign(&dora, 0), Counts("dora"), NotAsked),
            row("text signature", &[&bob], &sign_with(&bob, 0, text), Counts("bob"), Agrees),
            row("notation", &[&alice], &sign_with(&alice, 0, notation(false)), Counts("alice"), Agrees),
            row("critical notation", &[&alice], &sign_with(&alice, 0, notation(true)), Refused("notation"), Agrees),
            row(
                "unknown subpacket",
                &[&alice],
                &sign_with(&alice, 0, |b| unknown_subpacket(b, false)),
                Counts("alice"),
                Agrees,
            ),
            row(
                "unknown critical subpacket",
                &[&alice],
                &sign_with(&alice, 0, |b| unknown_subpacket(b, true)),
                Refused("critical"),
                Agrees,
            ),
        ],
    );
}

#[test]
fn weak_and_misused_keys_do_not_count() {
    let (alice, bob) = (alice(), bob());
    let hash = |algorithm| move |b: SignatureBuilder| Ok(b.set_hash_algo(algorithm));
    let short = short_rsa("short");
    let noted = with_critical_notation("noted");
    let certifier = person("certifier", |b| b.set_primary_key_flags(KeyFlags::empty().set_certification()));
    let uses = person("uses", |b| {
        b.add_subkey(KeyFlags::empty().set_transport_encryption(), None, CipherSuite::RSA2k).add_authentication_subkey()
    });
    let unwilling = with_unwilling_subkey(&bob);
    let [claims_primary, claims_subkey] = [0, 1].map(|index| claiming(&bob, &alice, index));
    let ancient = person("ancient", |b| b.set_creation_time(at(-16 * 365 * DAY)));
    let ancient_sha1 = sign_with(&ancient, 0, |b| {
        b.set_hash_algo(HashAlgorithm::SHA1).set_signature_creation_time(at(-15 * 365 * DAY))
    });
    let nobodys = {
        let mut signature = signature(&alice, 0, "", Ok);
        signature.hashed_area_mut().clear();
        signature.unhashed_area_mut().clear();
        strip(&[signature.into()])
    };
    let impostor = sign_with(&bob, 0, |b| b.set_issuer_fingerprint(alice.fingerprint()));
    assert_all(
        "weak and misused keys",
        &[
            row(
                "SHA-1",
                &[&alice],
                &sign_with(&alice, 0, hash(HashAlgorithm::SHA1)),
                Refused("SHA1"),
                Laxer("GOODSIG"),
            ),
            row("MD5", &[&bob], &sign_with(&bob, 0, hash(HashAlgorithm::MD5)), Refused("MD5"), Agrees),
            row("RSA-1024", &[&short], &sign(&short, 0), Refused("RSA1024"), Laxer("GOODSIG")),
            row(
                "bound with a critical notation",
                &[&noted],
                &sign(&noted, 0),
                Refused("bound to its certificate by a signature that verifiers must refuse"),
                NotAsked,
            ),
            row("certification-only key", &[&certifier], &sign(&certifier, 0), Refused("not for signing"), Agrees),
            row("encryption-only subkey", &[&uses], &sign(&uses, 1), Refused("not for signing"), Agrees),
            row("authentication-only subkey", &[&uses], &sign(&uses, 2), Refused("not for signing"), Agrees),
            row("subkey that did not agree", &[&unwilling], &sign(&unwilling, 1), Refused("not validly bound"), Agrees),
            // Its date is from a time when SHA-1 was good enough; anybody can write that date today.
            row("SHA-1, of 2011", &[&ancient], &ancient_sha1, Refused("SHA1"), Laxer("GOODSIG")),
            row(
                "bob claims alice's primary key",
                &[&alice, &claims_primary],
                &sign(&alice, 0),
                Counts("alice"),
                NotAsked,
            ),
            row("the same, bob first", &[&claims_primary, &alice], &sign(&alice, 0), Counts("alice"), NotAsked),
            row("bob claims alice's subkey", &[&alice, &claims_subkey], &sign(&alice, 1), Counts("alice"), NotAsked),
            row("the same, bob before alice", &[&claims_subkey, &alice], &sign(&alice, 1), Counts("alice"), NotAsked),
            row("only bob, who claims it", &[&claims_subkey], &sign(&alice, 1), Refused("not for signing"), NotAsked),
            row("no key named", &[&alice], &nobodys, Refused("made by key (no issuer)"), Agrees),
            row("unknown key", &[&alice], &sign(&bob, 0), Refused("which is not in the keyring"), Agrees),
            row("another's key under alice's name", &[&alice, &bob], &impostor, Refused("alice"), Agrees),
        ],
    );
}

#[test]
fn the_key_must_be_good_now_and_when_it_signed() {
    let alice = alice();
    let old = person("old", |b| b.set_validity_period(days(670)).add_signing_subkey());
    let rent = person("rent", |b| b.add_subkey(signing(), days(670), None));
    let prolonged = prolonged(&old);
    let young = with_new_subkey(&alice);
    let newest = young.keys().position(|key| key.key().creation_time() == at(-DAY)).unwrap();
    let unborn = person("unborn", |b| b.set_creation_time(at(HOUR)));
    use ReasonForRevocation::{KeyCompromised, KeyRetired, KeySuperseded};
    let [stolen, retired, soon] = [(KeyCompromised, -DAY), (KeyRetired, -DAY), (KeySuperseded, DAY)]
        .map(|(why, when)| revoked(&alice, why, when));
    let [subkey_stolen, subkey_retired] = [KeyCompromised, KeyRetired].map(|why| subkey_revoked(&alice, why));
    let before = sign_at(&alice, 0, -60 * DAY);
    let subkey_before = sign_at(&alice, 1, -60 * DAY);
    assert_all(
        "lives of keys",
        &[
            row("expired since", &[&old], &sign_at(&old, 0, -60 * DAY), Refused("xpired"), Laxer("EXPKEYSIG")),
            row("expired before", &[&old], &sign(&old, 0), Refused("xpired"), Laxer("EXPKEYSIG")),
            row("subkey expired since", &[&rent], &sign_at(&rent, 1, -60 * DAY), Refused("xpired"), Laxer("EXPKEYSIG")),
            row("subkey expired before", &[&rent], &sign(&rent, 1), Refused("xpired"), Laxer("EXPKEYSIG")),
            row("primary alive, subkey expired", &[&rent], &sign(&rent, 0), Counts("rent"), Agrees),
            row("expired, then prolonged", &[&prolonged], &sign(&prolonged, 0), Counts("old"), Agrees),
            row("stolen, signed before", &[&stolen], &before, Refused("is revoked"), Laxer("REVKEYSIG")),
            row("stolen, signed after", &[&stolen], &sign(&alice, 0), Refused("is revoked"), Laxer("REVKEYSIG")),
            row("retired, signed before", &[&retired], &before, Refused("is revoked"), Laxer("REVKEYSIG")),
            row(
                "retired, subkey signed before",
                &[&retired],
                &subkey_before,
                Refused("is revoked"),
                Laxer("REVKEYSIG"),
            ),
            row("superseded from tomorrow on", &[&soon], &before, Counts("alice"), Agrees),
            row("subkey stolen", &[&subkey_stolen], &subkey_before, Refused("key is revoked"), Laxer("REVKEYSIG")),
            row("subkey retired", &[&subkey_retired], &subkey_before, Refused("key is revoked"), Laxer("REVKEYSIG")),
            row("other subkey stolen", &[&subkey_stolen], &sign(&alice, 2), Counts("alice"), Agrees),
            row(
                "stolen, and an older copy behind it",
                &[&stolen, &alice],
                &before,
                Refused("is revoked"),
                Laxer("REVKEYSIG"),
            ),
            row(
                "stolen, and an older copy before it",
                &[&alice, &stolen],
                &before,
                Refused("is revoked"),
                Laxer("REVKEYSIG"),
            ),
            row(
                "key from the future",
                &[&unborn],
                &sign_at(&unborn, 0, HOUR),
                Refused("is not valid before 2026-11-22T10:00:00Z: its key"),
                Agrees,
            ),
            row(
                "signature from the future",
                &[&alice],
                &sign_at(&alice, 0, HOUR),
                Refused("is not valid before 2026-11-22T09:55:00Z: the signature"),
                Laxer("GOODSIG"),
            ),
            row("clock four minutes ahead", &[&alice], &sign_at(&alice, 0, 4 * MINUTE), Counts("alice"), Agrees),
            row("dated before its key", &[&alice], &sign_at(&alice, 0, BORN - DAY), Refused("predates"), Agrees),
            row("dated before its subkey", &[&young], &sign_at(&young, newest, -2 * DAY), Refused("predates"), Agrees),
            row("by a subkey of yesterday", &[&young], &sign(&young, newest), Counts("alice"), Agrees),
            row(
                "signature expired",
                &[&alice],
                &sign_with(&alice, 0, |b| b.set_signature_validity_period(Duration::from_secs(60))),
                Refused("xpired"),
                Agrees,
            ),
        ],
    );
}

#[test]
fn distinct_signers_are_certificates() {
    let (alice, bob) = (alice(), bob());
    let text = signed_text(&action_with(&[]));
    let ring = keyring(&[&alice, &bob]);
    let made = [sign(&alice, 0), sign(&alice, 0), sign(&alice, 1), sign(&alice, 2), sign(&bob, 0), "!".into()];
    let verified: Vec<_> = made.iter().map(|stripped| ring.verify(&text, stripped, now())).collect();
    assert_eq!(distinct(&verified), [&alice, &bob].map(Fingerprint::from).into());
    assert_eq!(verified[5], Err(SignatureError::Malformed("it is not base64".into())));
}

#[test]
fn the_originals_signatures_count() {
    const KEYS: &str = concat!(
        include_str!("../../samples/keys/test-investigator.asc"),
        include_str!("../../samples/keys/second-investigator.asc")
    );
    let ring = Keyring::parse(KEYS.as_bytes()).unwrap();
    let gpg = GnuPg::new();
    gpg.iter().for_each(|gpg| gpg.import(KEYS));
    for (sample, names) in [
        (include_str!("../../samples/action-signed-by-one.json"), vec!["Test Investigator"]),
        (SIGNED_BY_TWO, vec!["Test Investigator", "Second Investigator"]),
    ] {
        let action = Action::parse(sample.as_bytes()).unwrap();
        let text = action.signed_text();
        let found = action.signatures.iter().map(|signature| ring.verify(&text, signature, now()).unwrap().name);
        assert_eq!(found.collect::<Vec<_>>(), names);
        for (signature, gpg) in action.signatures.iter().zip(gpg.iter().cycle()) {
            let answer = gpg.verify(&text, signature, now());
            assert!(answer.accepted, "{answer:?}");
        }
    }
}
