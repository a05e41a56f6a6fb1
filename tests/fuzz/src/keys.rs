//! Keyrings and signatures: whatever the bytes are, nobody signed what nobody signed.

use mig::action::Action;
use mig::investigator::Fingerprint;
use mig::signature::{Keyring, Signer, restore_armor, strip_armor};
use mig::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// An action that both test investigators signed, and one of them alone.
const SIGNED: [&str; 2] =
    [include_str!("../../samples/action-signed-by-one.json"), include_str!("../../samples/action-signed-by-two.json")];
/// The public keys of both.
pub const KEYS: &str = concat!(
    include_str!("../../samples/keys/test-investigator.asc"),
    include_str!("../../samples/keys/second-investigator.asc")
);

/// What the two test investigators ever signed.
pub struct Known {
    /// Their keys.
    pub keyring: Keyring,
    /// Their fingerprints.
    pub fingerprints: BTreeSet<Fingerprint>,
    /// The only text that they signed.
    pub text: String,
    /// Their signatures over it.
    pub signatures: Vec<String>,
}

/// See [`Known`].
pub static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let keyring = Keyring::parse(KEYS.as_bytes()).expect("the sample keys are good");
    let actions = SIGNED.map(|sample| Action::parse(sample.as_bytes()).expect("the samples are good"));
    assert_eq!(actions[0].signed_text(), actions[1].signed_text());
    Known {
        fingerprints: keyring.investigators().map(|known| known.fingerprint.clone()).collect(),
        keyring,
        text: actions[0].signed_text(),
        signatures: actions.into_iter().flat_map(|action| action.signatures).collect(),
    }
});

/// A time at which the sample actions are valid.
pub fn now() -> Timestamp {
    "2026-11-22T09:00:00Z".parse().expect("a time")
}

/// Whoever signed this text is one of those who signed the one text there is.
pub fn assert_no_forgery(text: &str, signature: &str) -> Option<Signer> {
    let signer = KNOWN.keyring.verify(text, signature, now()).ok()?;
    assert_eq!(text, KNOWN.text, "{signer:?} never signed this");
    assert!(KNOWN.fingerprints.contains(&signer.fingerprint), "nobody is {signer:?}");
    Some(signer)
}

/// A keyring: what is read can be written and read again, holds no secret, and makes nobody else a signer.
pub fn keyring(data: &[u8]) {
    let Ok(keyring) = Keyring::parse(data) else { return };
    for investigator in keyring.investigators() {
        assert_eq!(Fingerprint::parse(investigator.fingerprint.as_str()).as_ref(), Ok(&investigator.fingerprint));
        assert!(!investigator.name.is_empty());
        assert!(!investigator.public_key.contains("PRIVATE KEY"), "a secret in {}", investigator.public_key);
        let again = Keyring::parse(investigator.public_key.as_bytes()).expect("what was read is read again");
        let fingerprints: Vec<_> = again.investigators().map(|one| one.fingerprint.clone()).collect();
        assert_eq!(fingerprints, std::slice::from_ref(&investigator.fingerprint));
    }
    for signature in &KNOWN.signatures {
        if let Ok(signer) = keyring.verify(&KNOWN.text, signature, now()) {
            assert!(KNOWN.fingerprints.contains(&signer.fingerprint), "nobody is {signer:?}");
        }
    }
}

/// A stripped signature, or an armored one: one that counts is a known investigator's, and covers no other text.
pub fn signature(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(stripped) = strip_armor(text) {
        stripped_signature(&stripped);
    }
    stripped_signature(text);
}

fn stripped_signature(stripped: &str) {
    let signer = assert_no_forgery(&KNOWN.text, stripped);
    if signer.is_some() {
        assert_no_forgery(&format!("{} ", KNOWN.text), stripped);
    }
    if let Ok(armored) = restore_armor(stripped) {
        let again = strip_armor(&armored).expect("what was armored is stripped again");
        assert_eq!(KNOWN.keyring.verify(&KNOWN.text, &again, now()).ok(), signer, "{stripped}");
    }
}
