//! Whether a signature by a trusted certificate counts; if not, why, and what to do about it.

use super::{SignatureError, Signer, chain};
use crate::investigator::{Fingerprint, name_of};
use crate::time::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::packet::signature::subpacket::SubpacketValue;
use openpgp::packet::{Key, Signature, key};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::types::{HashAlgorithm, RevocationStatus, SignatureType};
use openpgp::{Cert, Error};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Maximum time by which a signature may be in the future, for clocks that are ahead.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Has gpg prolong the subkeys of a certificate.
const SUBKEYS: &str = " '*'";

/// A signature that names a key of a certificate, and when it is judged.
struct Claim<'a> {
    cert: &'a Cert,
    signature: &'a Signature,
    now: SystemTime,
    policy: StandardPolicy<'a>,
}

/// Verifies a signature that names a key of `cert`.
pub(super) fn verify_by(
    cert: &Cert,
    signature: &Signature,
    text: &str,
    now: Timestamp,
) -> Result<Signer, SignatureError> {
    let claim = Claim { cert, signature, now: now.into(), policy: StandardPolicy::new() };
    let key = claim.signing_key()?;
    claim.check_signature(&key, text)?;
    Ok(Signer { fingerprint: Fingerprint::from(cert), name: name_of(cert) })
}

/// Whether a certificate has a key whose signatures would count at a time.
pub(super) fn can_sign(cert: &Cert, at: Timestamp) -> bool {
    let policy = StandardPolicy::new();
    let Ok(valid) = cert.with_policy(&policy, SystemTime::from(at)) else { return false };
    let is_good = valid.alive().is_ok() && !matches!(valid.revocation_status(), RevocationStatus::Revoked(_));
    is_good && valid.keys().supported().alive().revoked(false).for_signing().next().is_some()
}

/// The text that a signature covers: of a text signature, with the line ends of gpg. Those are CRLF for any number of CR
/// before LF; other CR, and white space at the end of a line, are part of the text.
fn covered(text: &str, typ: SignatureType) -> Cow<'_, str> {
    if typ != SignatureType::Text {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    Cow::Owned(lines.join("\r\n"))
}

impl Claim<'_> {
    /// The key that the signature names, if it may sign now.
    fn signing_key(&self) -> Result<Key<key::PublicParts, key::UnspecifiedRole>, SignatureError> {
        let owner = self.cert.fingerprint().to_hex();
        let prolong = |what: &str, until: &SystemTime, keys: &str| {
            let until = time(*until);
            self.key_error(format!(
                "{what} expired at {until}; its owner prolongs it (gpg --quick-set-expire {owner} 1y{keys}) and exports it again \
                for the keyring (gpg --armor --export {owner})"
            ))
        };
        let primary = self.cert.primary_key();
        let made = primary.key().creation_time();
        let bound = self.cert.userids().flat_map(|user| user.self_signatures()).chain(primary.self_signatures());
        self.check_born("its key", made, bound)?;
        let valid = self.cert.with_policy(&self.policy, self.now).map_err(|e| self.unusable("the key", "", &e))?;
        valid.alive().map_err(|e| match cause(&e) {
            Some(Error::Expired(until)) => prolong("it", until, ""),
            _ => self.unusable("the key", "", &e),
        })?;
        if let RevocationStatus::Revoked(_) = valid.revocation_status() {
            return Err(self.key_error("the certificate is revoked; sign with another key".into()));
        }
        let issuers = self.signature.get_issuers();
        let names = |key: &ErasedKeyAmalgamation<key::PublicParts>| {
            issuers.iter().any(|issuer| key.key().key_handle().aliases(issuer))
        };
        let found = self.cert.keys().find(names).ok_or_else(|| self.key_error("it has no such key".into()))?;
        let id = found.key().keyid().to_hex();
        self.check_born("its key", found.key().creation_time(), found.self_signatures())?;
        let subkey = format!("its key {id}");
        let key = found.with_policy(&self.policy, self.now).map_err(|e| self.unusable(&subkey, SUBKEYS, &e))?;
        key.alive().map_err(|e| match cause(&e) {
            Some(Error::Expired(until)) => prolong(&subkey, until, SUBKEYS),
            _ => self.unusable(&subkey, SUBKEYS, &e),
        })?;
        if let RevocationStatus::Revoked(_) = key.revocation_status() {
            return Err(self.key_error(format!("the key is revoked ({id}); sign with another key")));
        }
        if !key.for_signing() {
            return Err(self.key_error(format!("the key is not for signing ({id}); sign with one that is")));
        }
        Ok(key.key().clone())
    }

    fn check_signature(
        &self,
        key: &Key<key::PublicParts, key::UnspecifiedRole>,
        text: &str,
    ) -> Result<(), SignatureError> {
        let signature = self.signature;
        let accepted = self.policy.signature(signature, HashAlgoSecurity::CollisionResistance);
        accepted.map_err(|e| self.bad(self.refused_by_policy(&e)))?;
        let covered = covered(text, signature.typ());
        signature.verify_message(key, covered.as_bytes()).map_err(|e| {
            self.bad(match cause(&e) {
                Some(Error::ManipulatedMessage) => {
                    "it covers another text: the action was changed after it was signed, \
                    or the program that signed it wrote another one; sign the action again"
                        .into()
                }
                _ => format!("{}; sign the action again", chain(&e)),
            })
        })?;
        // Last: who wrote a time into a signature is known only now.
        signature.signature_alive(self.now, CLOCK_SKEW).map_err(|e| match cause(&e) {
            Some(Error::NotYetLive(from)) => self.early("the signature", *from),
            Some(Error::Expired(until)) => self.bad(format!(
                "it expired at {}; sign the action again, without default-sig-expire in gpg.conf",
                time(*until)
            )),
            _ => self.bad(chain(&e)),
        })
    }

    /// Fails if the key was made, and all of its binding signatures were, in the future.
    fn check_born<'s>(
        &self,
        what: &'static str,
        made: SystemTime,
        bound: impl Iterator<Item = &'s Signature>,
    ) -> Result<(), SignatureError> {
        let first = bound.filter_map(|bound| bound.signature_creation_time()).min();
        let from = first.map_or(made, |first| first.max(made));
        if from > self.now { Err(self.early(what, from)) } else { Ok(()) }
    }

    /// Not valid before `from`, nor before the signature may be valid.
    fn early(&self, what: &'static str, from: SystemTime) -> SignatureError {
        let signed = self.signature.signature_creation_time().and_then(|signed| signed.checked_sub(CLOCK_SKEW));
        let from = time(signed.map_or(from, |signed| signed.max(from)));
        let (name, fingerprint) = self.who();
        SignatureError::Early { name, fingerprint, what, from }
    }

    /// Why a key of the certificate cannot be used; `keys` are gpg's words for what its owner renews.
    fn unusable(&self, what: &str, keys: &str, error: &anyhow::Error) -> SignatureError {
        let owner = self.cert.fingerprint().to_hex();
        let export = format!("exports it again for the keyring (gpg --armor --export {owner})");
        self.key_error(match cause(error) {
            Some(Error::PolicyViolation(weak, _)) if is_digest(weak) => format!(
                "{what} relies on {weak}, which is too weak; its owner renews it with a current gpg (gpg --quick-set-expire \
                {owner} 1y{keys}) and {export}"
            ),
            Some(Error::PolicyViolation(..)) if chain(error).contains("critical") => format!(
                "{what} is bound to its certificate by a signature that verifiers must refuse ({}); its owner renews it without \
                that (gpg --quick-set-expire {owner} 1y{keys}) and {export}",
                chain(error)
            ),
            Some(Error::PolicyViolation(weak, _)) => {
                format!("{what} is too weak ({weak}); its owner needs a new one (mig-action-generator --make-key)")
            }
            Some(Error::NotYetLive(from)) => return self.early("its key", *from),
            _ => format!("{what} is not validly bound to its certificate ({}); its owner {export}", chain(error)),
        })
    }

    /// Why the policy refuses the signature.
    fn refused_by_policy(&self, error: &anyhow::Error) -> String {
        let mut critical = self.signature.hashed_area().iter().filter(|subpacket| subpacket.critical());
        let notation = critical.find_map(|subpacket| match subpacket.value() {
            SubpacketValue::NotationData(notation) => Some(notation.name().escape_debug().to_string()),
            _ => None,
        });
        match (cause(error), notation) {
            (Some(Error::PolicyViolation(weak, _)), _) if is_digest(weak) => {
                format!("its digest {weak} is too weak; sign the action again, with SHA-256 or better")
            }
            (_, Some(notation)) => format!(
                "it has the critical notation '{notation}', which verifiers must refuse because they do not know it; sign the \
                action again, without the sig-notation with ! in gpg.conf"
            ),
            _ => format!("{}; sign the action again, without that", chain(error)),
        }
    }

    fn who(&self) -> (String, Fingerprint) {
        (name_of(self.cert), Fingerprint::from(self.cert))
    }

    fn key_error(&self, reason: String) -> SignatureError {
        let (name, fingerprint) = self.who();
        SignatureError::Key { name, fingerprint, reason }
    }

    fn bad(&self, reason: String) -> SignatureError {
        let (name, fingerprint) = self.who();
        SignatureError::Bad { name, fingerprint, reason }
    }
}

/// sequoia's error within an error.
fn cause(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether a policy names a digest as what it refuses, and not the algorithm of a key.
fn is_digest(refused: &str) -> bool {
    [HashAlgorithm::MD5, HashAlgorithm::SHA1, HashAlgorithm::RipeMD].iter().any(|digest| digest.to_string() == refused)
}

fn time(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
