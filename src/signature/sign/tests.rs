use super::*;
use crate::signature::Keyring;
use crate::time;
use openpgp::crypto::KeyPair;

const TEXT: &str = "name=a;target=b;validfrom=1;expireafter=%!s(int64=2);operations=[];";

/// A certificate with a single RSA key, small for speed.
fn small_key() -> (Cert, KeyPair) {
    let (cert, _) = CertBuilder::new()
        .set_cipher_suite(CipherSuite::RSA2k)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .add_userid("small")
        .generate()
        .unwrap();
    let pair = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    (cert, pair)
}

/// Signs with different times until a signature is short, and returns that one.
fn short_one(pair: &mut KeyPair, modulus: usize) -> String {
    let second = std::time::Duration::from_secs(1);
    for number in 1.. {
        let time = SystemTime::now() - second * number;
        let builder = SignatureBuilder::new(SignatureType::Binary).set_signature_creation_time(time).unwrap();
        let signature = builder.sign_message(pair, TEXT).unwrap();
        if !is_full(&signature, |_| Ok(modulus)).unwrap() {
            return strip_armor(&armor(signature).unwrap()).unwrap();
        }
    }
    unreachable!("one in 256 is short")
}

#[test]
fn a_signature_that_is_shorter_than_the_modulus_is_made_again() {
    let (cert, mut pair) = small_key();
    let modulus = modulus_size_bytes(pair.public().mpis()).unwrap();
    assert_eq!(modulus, 256);
    let short = short_one(&mut pair, modulus);
    let key_file = cert.as_tsk().armored().to_vec().unwrap();
    let full = sign_with_key(TEXT, &key_file, time::now()).unwrap();
    let mut made = [&short, &short, &full].into_iter();
    let signed = until_full(|_| Ok(made.next().unwrap().clone()), |_| Ok(modulus)).unwrap();
    assert_eq!((&signed, made.next()), (&full, None));
    let mut attempts = 0;
    let always_short = |_| {
        attempts += 1;
        Ok(short.clone())
    };
    let error = until_full(always_short, |_| Ok(modulus)).unwrap_err().to_string();
    assert_eq!(error, "8 signatures in a row are shorter than the key's modulus");
    assert_eq!(attempts, limits::SIGNING_ATTEMPTS_MAX);
}

#[test]
fn no_signature_of_a_key_file_is_short() {
    let (cert, pair) = small_key();
    let modulus = modulus_size_bytes(pair.public().mpis()).unwrap();
    let key_file = cert.as_tsk().armored().to_vec().unwrap();
    let now = time::now();
    // Without retries two of 512 would be short.
    for number in 0..512 {
        let signature = parse_stripped(&sign_with_key(TEXT, &key_file, now).unwrap()).unwrap();
        assert!(is_full(&signature, |_| Ok(modulus)).unwrap(), "signature {number}");
        assert_eq!(signature.hash_algo(), HashAlgorithm::SHA256);
    }
}

#[test]
fn an_rsa_key_is_readable_by_the_originals_library() {
    let (public, secret) = generate_rsa_key("Old <old@example.net>").unwrap();
    let cert = Cert::from_bytes(public.as_bytes()).unwrap();
    assert_eq!(cert.primary_key().key().mpis().bits(), Some(RSA_BITS));
    let packets: Vec<Packet> = cert.clone().into_packets().collect();
    let [Packet::PublicKey(_), Packet::UserID(user), Packet::Signature(binding)] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(user.value(), b"Old <old@example.net>");
    assert_eq!((binding.hash_algo(), binding.version()), (HashAlgorithm::SHA256, 4));
    assert!(is_full(binding, |_| Ok(RSA_BITS / 8)).unwrap());
    let signed = sign_with_key(TEXT, secret.as_bytes(), time::now()).unwrap();
    let keyring = Keyring::parse(public.as_bytes()).unwrap();
    assert_eq!(keyring.verify(TEXT, &signed, time::now()).unwrap().name, "Old");
}

#[test]
fn a_key_file_that_does_not_count_is_refused_with_the_reason_of_the_verifiers() {
    let hour = std::time::Duration::from_secs(3600);
    let person = || CertBuilder::new().set_creation_time(SystemTime::now() - 2 * hour).add_userid("alice");
    let signing = || person().add_signing_subkey();
    let (expired, _) = signing().set_validity_period(hour).generate().unwrap();
    let (stolen, revocation) = signing().generate().unwrap();
    let (stolen, _) = stolen.insert_packets([Packet::from(revocation)]).unwrap();
    let (certifier, _) = person().generate().unwrap();
    for (cert, expected) in [
        (expired, "whose key does not count: it expired at "),
        (stolen, "the certificate is revoked; sign with another key"),
        (certifier, "the key is not for signing"),
    ] {
        let key_file = cert.as_tsk().armored().to_vec().unwrap();
        let error = sign_with_key(TEXT, &key_file, time::now()).unwrap_err().to_string();
        assert!(
            error.starts_with("agents and schedulers would refuse the signature, which was made by alice"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}
