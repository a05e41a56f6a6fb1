//! Whether gpg has a secret key to sign with, without a prompt: a missing one is reported before anything is asked for.

use super::SignatureError;
use super::sign::gpg;
use crate::investigator::Fingerprint;
use std::path::Path;

/// Checks that gpg, or a card that it knows, has a secret key with this id that may sign; returns the fingerprint of its
/// certificate.
pub fn gpg_signing_key(key_id: &str, home: Option<&Path>) -> Result<Fingerprint, SignatureError> {
    let arguments = ["--batch", "--quiet", "--with-colons", "--list-secret-keys", "--", key_id].map(str::to_owned);
    let listed = gpg(home, &arguments, "", &format!("look for the secret key '{key_id}' in gpg"))?;
    parse_listing(key_id, &String::from_utf8_lossy(&listed)).map_err(SignatureError::Keyring)
}

/// Reads what `gpg --with-colons --list-secret-keys` prints: fields are described in GnuPG's doc/DETAILS.
fn parse_listing(key_id: &str, listing: &str) -> Result<Fingerprint, String> {
    let mut fingerprints = Vec::new();
    // Certificates whose keys may sign, are valid, and are here.
    let (mut usable, mut offline, mut unusable) = (Vec::new(), false, false);
    let mut is_primary = false;
    for fields in listing.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
        match field(1) {
            "sec" | "ssb" => {
                is_primary = field(1) == "sec";
                if is_primary {
                    fingerprints.push(String::new());
                }
                if !field(12).contains('s') {
                    continue;
                }
                match (field(2), field(15)) {
                    ("r" | "e" | "i" | "d", _) => unusable = true,
                    (_, "#") => offline = true,
                    _ => usable.push(fingerprints.len()),
                }
            }
            "fpr" if is_primary => {
                if let Some(last) = fingerprints.last_mut() {
                    *last = field(10).to_owned();
                }
                is_primary = false;
            }
            _ => {}
        }
    }
    usable.dedup();
    match usable.as_slice() {
        [one] => Fingerprint::parse(&fingerprints[one - 1]),
        [] if offline => Err(format!(
            "the secret key '{key_id}' is not here, gpg has a placeholder for it: insert the card, or import a subkey for signing"
        )),
        [] if unusable => Err(format!("the key '{key_id}' is expired or revoked; extend or replace it")),
        [] => Err(format!("gpg has no secret key '{key_id}' that may sign; gpg --list-secret-keys lists those it has")),
        several => Err(format!("'{key_id}' names {} secret keys; name one by its fingerprint", several.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "72CF055B1F355A4EB05CF92A67B6EBC9A657BAE4";

    fn listing(primary: (&str, &str, &str), subkey: (&str, &str, &str)) -> Result<String, String> {
        let line = |kind, (validity, capabilities, token)| {
            format!("{kind}:{validity}:255:22:67B6EBC9A657BAE4:1:::u:::{capabilities}:::{token}:::23::0:\n")
        };
        let fingerprint = |hex: &str| format!("fpr:::::::::{hex}:\n");
        let text = line("sec", primary) + &fingerprint(FINGERPRINT) + &line("ssb", subkey) + &fingerprint("00");
        parse_listing("alice", &text).map(|found| found.to_string())
    }

    #[test]
    fn a_secret_key_that_may_sign_is_found_and_a_placeholder_is_not() {
        let found = Ok(FINGERPRINT.to_owned());
        assert_eq!(listing(("u", "scSC", "+"), ("u", "e", "+")), found);
        assert_eq!(listing(("u", "scSC", "#"), ("u", "s", "+")), found, "an offline primary with a subkey");
        assert_eq!(listing(("u", "cSC", "#"), ("u", "s", "D2760001240102010006012345670000")), found, "a card");
        for (primary, subkey, reason) in [
            (("u", "scSC", "#"), ("u", "e", "+"), "has a placeholder for it"),
            (("e", "sc", "+"), ("e", "e", "+"), "is expired or revoked"),
            (("u", "c", "+"), ("u", "e", "+"), "no secret key 'alice' that may sign"),
        ] {
            let error = listing(primary, subkey).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
