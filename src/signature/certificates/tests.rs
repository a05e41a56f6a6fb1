use super::*;
use crate::signature::{Keyring, generate_key};
use openpgp::cert::{CertBuilder, CertRevocationBuilder};
use openpgp::serialize::{Serialize, SerializeInto};
use openpgp::types::ReasonForRevocation;

fn person(name: &str) -> Cert {
    CertBuilder::new().add_userid(name).add_signing_subkey().generate().unwrap().0.strip_secret_key_material()
}

fn armored(cert: &Cert) -> Vec<u8> {
    cert.armored().to_vec().unwrap()
}

fn binary(cert: &Cert) -> Vec<u8> {
    cert.to_vec().unwrap()
}

/// The user ids of what counts, and what is left out.
fn names_and_left_out(parts: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let (mut names, mut left_out) = (Vec::new(), Vec::new());
    for certificate in read(&parts.concat()).unwrap() {
        match certificate {
            Ok(cert) => names.push(crate::investigator::name_of(&cert)),
            Err(one) => left_out.push(one.to_string()),
        }
    }
    (names, left_out)
}

#[test]
fn armored_and_binary_keys_count_in_any_mixture() {
    let (alice, bob) = (person("alice"), person("bob"));
    let (a, b) = (armored(&alice), armored(&bob));
    let (raw_a, raw_b) = (binary(&alice), binary(&bob));
    let text = "# Schlüssel der Prüfer\n".as_bytes();
    let mut both_in_one = openpgp::armor::Writer::new(Vec::new(), openpgp::armor::Kind::PublicKey).unwrap();
    for cert in [&alice, &bob] {
        cert.serialize(&mut both_in_one).unwrap();
    }
    let both_in_one = both_in_one.finalize().unwrap();
    for parts in [
        [&a, &b[..]].as_slice(),
        &[&a, &raw_b],
        &[&raw_a, &b],
        &[&raw_a, &raw_b],
        &[&raw_a, b"\n", &b],
        &[&a, b"\n\n", &raw_b, b"\r\n"],
        &[text, &a, text, &b, text],
        &[&both_in_one],
        &[String::from_utf8_lossy(&both_in_one).replace('\n', "\r\n").as_bytes()],
    ] {
        assert_eq!(names_and_left_out(parts), (vec!["alice".into(), "bob".into()], vec![]), "{parts:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_named_and_the_others_count() {
    let (alice, bob) = (person("alice"), person("bob"));
    let (a, b) = (armored(&alice), armored(&bob));
    let v3 = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQAKAwAAAAAAAAEAAQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let cut = &b[..b.len() - 300];
    let raw = binary(&bob);
    let cut_raw = &raw[..raw.len() - 10];
    let (_, secret) = generate_key("carol").unwrap();
    let carol = Cert::from_bytes(secret.as_bytes()).unwrap();
    let mut signer = carol.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = CertRevocationBuilder::new().set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"");
    let revocation: Packet = revocation.unwrap().build(&mut signer, &carol, None).unwrap().into();
    let revocation = revocation.to_vec().unwrap();
    let key = bob.fingerprint().to_hex();
    let cut_off = |place: usize| format!("certificate {place} of 'bob', key {key}: ends in the middle");
    for (parts, expected) in [
        ([v3, &a[..]].as_slice(), "certificate 1: ".to_owned()),
        (&[&a, v3], "certificate 2: ".into()),
        (&[&a, cut], cut_off(2)),
        (&[cut, &a], cut_off(1)),
        (&[cut_raw, &a], cut_off(1)),
        (&[&a, cut_raw], cut_off(2)),
        (&[&a, &revocation], "certificate 2: does not begin with a key".into()),
        (&[&a, b"\xe9t\xe9\n"], "certificate 2: ".into()),
        (&[&a, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n"], "certificate 2: its armor holds nothing".into()),
    ] {
        let (names, left_out) = names_and_left_out(parts);
        assert_eq!((names, left_out.len()), (vec!["alice".to_owned()], 1), "{left_out:?}");
        assert!(left_out[0].starts_with(&expected), "{left_out:?}: {expected}");
    }
    let only = Keyring::parse(v3).err().unwrap().to_string();
    assert!(only.starts_with("holds no certificate that can be used: certificate 1: "), "{only}");
}

#[test]
fn where_the_armor_is_cut_off_the_certificates_before_the_end_count() {
    let mut writer = openpgp::armor::Writer::new(Vec::new(), openpgp::armor::Kind::PublicKey).unwrap();
    for name in ["alice", "bob", "carol"] {
        person(name).serialize(&mut writer).unwrap();
    }
    let block = writer.finalize().unwrap();
    let (names, left_out) = names_and_left_out(&[&block[..block.len() - 200]]);
    assert_eq!(names, ["alice", "bob"]);
    assert!(left_out[0].starts_with("certificate 3 of 'carol'"), "{left_out:?}");
}

#[test]
fn what_people_take_for_exported_keys_is_named_as_what_it_is() {
    let keybox = b"\0\0\0\x20\x01\x01\0\x02KBXf\0\0\0\0\0\0\0\0\x67\x44\0\0\x67\x44\0\0\0\0\0\0";
    for (bytes, expected) in [
        (&keybox[..], "is a keybox, gpg's own database"),
        (b"\xff\xfe-\0-\0-\0", "is UTF-16 text"),
        (b"(21:protected-private-key(3:ecc", "is a private key of gpg's agent"),
        (b"Created: 20261122T080000\nKey: (private-key (ecc", "is a private key of gpg's agent"),
        (b"garbage\n", "holds no OpenPGP certificate"),
        (b"", "holds no OpenPGP certificate"),
    ] {
        let error = read(bytes).err().unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
}
