//! Creates signatures and keys.
//!
//! Agents of the original verify with Go's OpenPGP library of 2015. It supports RSA and SHA-256, and refuses an RSA
//! signature whose number is shorter than the key's modulus: OpenPGP writes numbers without leading zero bytes, so one
//! signature in 256 is. Signing is repeated until the length is right, with a key file as well as through gpg; likewise
//! the signature that binds a new key to its user id.
//!
//! What verifiers would refuse is not returned: each signature is verified first, as agents and schedulers do, with the
//! certificate of the key that made it. A gpg.conf can ask for signatures that no verifier accepts.

use super::stripped::{armor, parse_stripped, strip_armor};
use super::{Keyring, SignatureError, certificates, chain};
use crate::limits;
use crate::time::{self, Timestamp};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::crypto::{S2K, mpi};
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts, SecretKeyMaterial, SecretParts, UnspecifiedRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Signature, UserID};
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::types::{HashAlgorithm, KeyFlags, SignatureType};
use openpgp::{Cert, Packet};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Size of new RSA keys in bits. Go's library of 2015 verifies any size; 2048 bits have a strength of 112, which is
/// insufficient from 2031 on (NIST SP 800-57), and 3072 of 128.
const RSA_BITS: usize = 3072;

/// A notation without meaning that changes the signature; sequoia adds one to each signature.
const SALT: &str = "salt@notations.sequoia-pgp.org";

/// Signs `text` with the signing key in `key_file`, exported secret keys without passphrase.
pub fn sign_with_key(text: &str, key_file: &[u8], now: Timestamp) -> Result<String, SignatureError> {
    let error = |reason: String| SignatureError::Keyring(reason);
    let (cert, key) = find_key(key_file, now.into()).map_err(error)?;
    let modulus = modulus_size_bytes(key.mpis());
    let mut pair = key.into_keypair().map_err(|e| error(chain(&e)))?;
    let mut sign = || {
        let builder = SignatureBuilder::new(SignatureType::Binary);
        let mut builder = builder.set_signature_creation_time(SystemTime::from(now))?;
        if modulus.is_some() {
            builder = builder.set_hash_algo(HashAlgorithm::SHA256);
        }
        armor(builder.sign_message(&mut pair, text.as_bytes())?)
    };
    let sign = |_| strip_armor(&sign().map_err(|e| error(chain(&e)))?);
    let signed =
        until_full(sign, |_| modulus.ok_or_else(|| error("an RSA signature by a key that is not RSA".into())))?;
    check(cert, text, signed, now)
}

/// The certificate and the secret key to sign with.
fn find_key(key_file: &[u8], time: SystemTime) -> Result<(Cert, Key<SecretParts, UnspecifiedRole>), String> {
    let certificates = certificates::read(key_file).map_err(|e| format!("not an OpenPGP key: {e}"))?;
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    for certificate in certificates {
        let found = certificate.map_err(|left_out| format!("not an OpenPGP key: {left_out}"));
        match found.and_then(|cert| find_secret(&cert, time).map(|key| (cert, key))) {
            Ok(found) => usable.push(found),
            Err(reason) => unusable.push(reason),
        }
    }
    if usable.len() > 1 {
        let ids: Vec<String> = usable.iter().map(|(cert, _)| cert.keyid().to_hex()).collect();
        return Err(format!("holds secret keys of {}; export the one to sign with alone", ids.join(" and ")));
    }
    usable.pop().ok_or_else(|| unusable.join("; "))
}

/// The first key of a certificate that may sign and whose secret is here: an exported one may be a placeholder. If none may
/// sign, one that could: the check of its signature says why it does not count.
fn find_secret(cert: &Cert, time: SystemTime) -> Result<Key<SecretParts, UnspecifiedRole>, String> {
    let policy = StandardPolicy::new();
    let is_open = |key: &Key<PublicParts, UnspecifiedRole>| {
        matches!(key.optional_secret(), Some(SecretKeyMaterial::Unencrypted(_)))
    };
    let valid = cert.with_policy(&policy, time).ok();
    let valid = valid.iter().flat_map(|valid| valid.keys().supported().alive().revoked(false).for_signing());
    let valid: Vec<_> = valid.map(|key| key.key().clone()).collect();
    let hidden = valid.iter().filter_map(|key| match key.optional_secret() {
        Some(SecretKeyMaterial::Encrypted(secret)) => Some(matches!(secret.s2k(), S2K::Private { .. })),
        _ => None,
    });
    let hidden: Vec<bool> = hidden.collect();
    let mut others = cert.keys().map(|key| key.key()).filter(|key| key.pk_algo().for_signing());
    let found = match valid.iter().find(|key| is_open(key)) {
        None if hidden.is_empty() => others.find(|key| is_open(key)),
        found => found,
    };
    let id = cert.keyid().to_hex();
    match found {
        Some(key) => key.clone().parts_into_secret().map_err(|e| chain(&e)),
        None if hidden.contains(&false) => {
            Err(format!("the secret key is protected by a passphrase; import it into gpg, and name it by its id {id}"))
        }
        None if hidden.contains(&true) => Err(format!(
            "the secret key is not in the file, which has a placeholder for it: it is offline, or on a smartcard; export it from \
            where it is, with a subkey for signing, or name it by its id {id}, and gpg signs with the card"
        )),
        None => Err("holds no secret key that may sign now: only public keys".into()),
    }
}

/// Returns the signature if agents and schedulers that have the certificate accept it.
fn check(cert: Cert, text: &str, signed: String, now: Timestamp) -> Result<String, SignatureError> {
    let mut keyring = Keyring::default();
    keyring.add(cert);
    match keyring.verify(text, &signed, now) {
        Ok(_) => Ok(signed),
        Err(error) => {
            Err(SignatureError::Keyring(format!("agents and schedulers would refuse the signature, which {error}")))
        }
    }
}

/// Signs `text` through `gpg`, which uses its agent or a smartcard, and may prompt for a passphrase.
pub fn sign_with_gpg(text: &str, key_id: &str, home: Option<&Path>) -> Result<String, SignatureError> {
    // Not a text signature, whatever gpg.conf says: gpg makes none of a text with a long line.
    let options = ["--armor", "--no-textmode", "--digest-algo", "SHA256", "--local-user", key_id, "--output", "-"];
    let sign = |attempt| {
        let mut arguments: Vec<String> = options.map(str::to_owned).into();
        if attempt > 0 {
            // Within the same second gpg would create the same signature.
            arguments.extend(["--sig-notation".into(), format!("{SALT}={attempt}")]);
        }
        arguments.push("--detach-sign".into());
        let armored = gpg(home, &arguments, text, &format!("gpg --detach-sign with key '{key_id}'"))?;
        strip_armor(&String::from_utf8_lossy(&armored)).map_err(|error| {
            SignatureError::Keyring(format!(
                "gpg's signature {error}; look for local-user and similar options in gpg.conf"
            ))
        })
    };
    let signed = until_full(sign, |signature| {
        let cert = certificate_in_gpg(signature, home)?;
        let issuers = signature.get_issuers();
        let key = cert.keys().find(|key| issuers.iter().any(|issuer| key.key().key_handle().aliases(issuer)));
        let unknown = || SignatureError::Keyring("gpg exports a certificate without the key that signed".into());
        key.and_then(|key| modulus_size_bytes(key.key().mpis())).ok_or_else(unknown)
    })?;
    check(certificate_in_gpg(&parse_stripped(&signed)?, home)?, text, signed, time::now())
}

/// Runs gpg with this home and input; returns its output.
pub(super) fn gpg(
    home: Option<&Path>,
    arguments: &[String],
    input: &str,
    what: &str,
) -> Result<Vec<u8>, SignatureError> {
    let failed = |reason: String| SignatureError::Keyring(format!("{what}: {reason}"));
    let mut gpg = Command::new("gpg");
    if let Some(home) = home {
        gpg.arg("--homedir").arg(home);
    }
    // The agent's pinentry asks on the terminal that this names; with a pipe as its input gpg does not find it.
    if std::env::var_os("GPG_TTY").is_none()
        && std::io::stdin().is_terminal()
        && let Ok(terminal) = std::fs::read_link("/proc/self/fd/0")
    {
        gpg.env("GPG_TTY", terminal);
    }
    gpg.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = gpg.spawn().map_err(|e| failed(e.to_string()))?;
    // If gpg ends early, its exit status says more than the broken pipe.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    written.map_err(|e| failed(e.to_string()))?;
    Ok(output.stdout)
}

/// Returns the certificate of the key that made a signature, from gpg's public keys.
fn certificate_in_gpg(signature: &Signature, home: Option<&Path>) -> Result<Cert, SignatureError> {
    let names: Vec<String> = signature.get_issuers().iter().map(|issuer| format!("0x{}", issuer.to_hex())).collect();
    let what = format!("gpg --export of the key {}", names.join(" or "));
    let arguments = [["--export".to_owned()].as_slice(), &names].concat();
    let exported = gpg(home, &arguments, "", &what)?;
    Cert::from_bytes(&exported).map_err(|e| SignatureError::Keyring(format!("{what}: {}", chain(&e))))
}

fn modulus_size_bytes(key: &mpi::PublicKey) -> Option<usize> {
    match key {
        mpi::PublicKey::RSA { n, .. } => Some(n.value().len()),
        _ => None,
    }
}

/// Whether a signature is not RSA, or its number is as long as the modulus.
fn is_full(
    signature: &Signature,
    modulus: impl Fn(&Signature) -> Result<usize, SignatureError>,
) -> Result<bool, SignatureError> {
    match signature.mpis() {
        mpi::Signature::RSA { s } => Ok(s.value().len() == modulus(signature)?),
        _ => Ok(true),
    }
}

/// Signs until agents of the original accept the signature.
fn until_full(
    mut sign: impl FnMut(usize) -> Result<String, SignatureError>,
    modulus: impl Fn(&Signature) -> Result<usize, SignatureError>,
) -> Result<String, SignatureError> {
    for attempt in 0..limits::SIGNING_ATTEMPTS_MAX {
        let stripped = sign(attempt)?;
        if is_full(&parse_stripped(&stripped)?, &modulus)? {
            return Ok(stripped);
        }
    }
    Err(too_short())
}

fn too_short() -> SignatureError {
    let attempts = limits::SIGNING_ATTEMPTS_MAX;
    SignatureError::Keyring(format!("{attempts} signatures in a row are shorter than the key's modulus"))
}

/// Creates a signing key without passphrase. Returns the armored certificate and the armored secret key.
pub fn generate_key(user_id: &str) -> Result<(String, String), SignatureError> {
    let made = CertBuilder::new().add_userid(user_id).add_signing_subkey().generate();
    made.and_then(|(cert, _revocation)| armored(&cert)).map_err(|e| not_made(user_id, &e))
}

/// Creates a signing key that agents of the original support: one RSA key that signs and certifies, and one user id,
/// bound with SHA-256.
pub fn generate_rsa_key(user_id: &str) -> Result<(String, String), SignatureError> {
    let failed = |e: anyhow::Error| not_made(user_id, &e);
    let key: Key<SecretParts, PrimaryRole> = Key4::generate_rsa(RSA_BITS).map_err(failed)?.into();
    let modulus = modulus_size_bytes(key.mpis()).ok_or_else(too_short)?;
    let cert = Cert::try_from(Packet::from(key.clone())).map_err(failed)?;
    let mut pair = key.into_keypair().map_err(failed)?;
    let user = UserID::from(user_id);
    for _ in 0..limits::SIGNING_ATTEMPTS_MAX {
        let builder = SignatureBuilder::new(SignatureType::PositiveCertification).set_hash_algo(HashAlgorithm::SHA256);
        let flags = KeyFlags::empty().set_certification().set_signing();
        let bound = builder.set_key_flags(flags).and_then(|builder| user.bind(&mut pair, &cert, builder));
        let bound = bound.map_err(failed)?;
        if is_full(&bound, |_| Ok(modulus))? {
            let whole = cert.insert_packets([Packet::from(user), bound.into()]);
            return whole.and_then(|(cert, _changed)| armored(&cert)).map_err(failed);
        }
    }
    Err(too_short())
}

fn not_made(user_id: &str, error: &anyhow::Error) -> SignatureError {
    SignatureError::Keyring(format!("make a key for '{user_id}': {}", chain(error)))
}

/// Returns the armored certificate and the armored secret key.
fn armored(cert: &Cert) -> anyhow::Result<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(cert.armored().to_vec()?), text(cert.as_tsk().armored().to_vec()?)))
}

#[cfg(test)]
mod tests;
