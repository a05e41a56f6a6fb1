//! Trusted certificates.

use super::certificates::{self, LeftOut};
use super::stripped::parse_stripped;
use super::verify::can_sign;
use super::{SignatureError, Signer, verify};
use crate::investigator::{Fingerprint, Investigator};
use crate::time::Timestamp;
use sequoia_openpgp::{Cert, KeyHandle};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::OnceLock;

#[derive(Clone)]
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
#[derive(Clone, Default)]
pub struct Keyring {
    certs: Vec<Known>,
    by_key: HashMap<String, BTreeSet<usize>>,
    left_out: Vec<LeftOut>,
    /// Whether a file had secret keys, which are not kept.
    had_secrets: bool,
}

impl Keyring {
    /// Parses any number of exported certificates, armored or not. Those that cannot be read are left out; it is an error
    /// if there is no other.
    pub fn parse(bytes: &[u8]) -> Result<Keyring, SignatureError> {
        let mut keyring = Keyring::default();
        for certificate in certificates::read(bytes).map_err(SignatureError::Keyring)? {
            match certificate {
                Ok(cert) => keyring.add(cert),
                Err(left_out) => keyring.left_out.push(left_out),
            }
        }
        match keyring.left_out.first().filter(|_| keyring.certs.is_empty()) {
            Some(first) => Err(SignatureError::Keyring(format!("holds no certificate that can be used: {first}"))),
            None => Ok(keyring),
        }
    }

    /// Parses the keyring in the file `path`; logs what is left out.
    pub fn parse_file(bytes: &[u8], path: &Path) -> Result<Keyring, String> {
        let keyring = Keyring::parse(bytes).map_err(|error| error.to_string())?;
        for left_out in &keyring.left_out {
            log::error!("{}: {left_out}; it does not count, the others do", path.display());
        }
        Ok(keyring)
    }

    /// The certificates that could not be read.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Adds a certificate, without its secret keys. Copies of one certificate are merged: a revocation in any of them
    /// applies, in any order.
    pub fn add(&mut self, cert: Cert) {
        self.had_secrets |= cert.is_tsk();
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

    /// Adds all certificates of another keyring.
    pub fn merge(&mut self, other: Keyring) {
        other.certs.into_iter().for_each(|known| self.add(known.cert));
    }

    /// Returns every certificate as an investigator.
    pub fn investigators(&self) -> impl Iterator<Item = &Investigator> + '_ {
        self.certs.iter().map(Known::investigator)
    }

    /// Whether secret keys were among what was read.
    pub fn had_secrets(&self) -> bool {
        self.had_secrets
    }

    /// Those who can sign at a time: neither expired nor revoked, with a key for it.
    pub fn signers(&self, at: Timestamp) -> BTreeSet<Fingerprint> {
        let signers = self.certs.iter().filter(|known| can_sign(&known.cert, at));
        signers.map(|known| Fingerprint::from(&known.cert)).collect()
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
            match verify::verify_by(&self.certs[index].cert, &signature, text, now) {
                Ok(signer) => return Ok(signer),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| self.unknown(&issuers)))
    }

    fn unknown(&self, issuers: &[KeyHandle]) -> SignatureError {
        let is_issuer = |left_out: &&LeftOut| {
            let key = left_out.key.clone().map(KeyHandle::from);
            key.is_some_and(|key| issuers.iter().any(|issuer| key.aliases(issuer)))
        };
        match self.left_out.iter().find(is_issuer) {
            Some(left_out) => SignatureError::LeftOut(left_out.clone()),
            None => SignatureError::UnknownKey(issuers.first().map_or("(no issuer)".into(), KeyHandle::to_hex)),
        }
    }
}
