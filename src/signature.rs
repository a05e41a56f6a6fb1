//! Verifies the signatures of actions.
//!
//! A signature is a detached OpenPGP signature over [`crate::action::Action::signed_text`], armored and then stripped
//! to one line. It counts if it verifies, its key may sign and is neither expired nor revoked **now**, and sequoia's
//! `StandardPolicy` accepts it (no SHA-1, MD5, unknown critical subpackets). The key must be valid now, not only at the
//! time that the signature claims: a thief of an old key can backdate signatures.
//!
//! Several signatures by one certificate, even by different subkeys, are one signer.
//!
//! | file | what |
//! |---|---|
//! | `signature/certificates.rs` | files of exported keys |
//! | `signature/gpg_keys.rs` | whether gpg has a secret key to sign with |
//! | `signature/keyring.rs` | trusted certificates |
//! | `signature/verify.rs` | whether a signature counts; why not, and what to do about it |
//! | `signature/sign.rs` | creates signatures and keys |
//! | `signature/stripped.rs` | armor and its one-line form |

mod certificates;
mod gpg_keys;
mod keyring;
mod sign;
mod stripped;
mod verify;

pub use certificates::LeftOut;
pub use gpg_keys::gpg_signing_key;
pub use keyring::Keyring;
pub use sign::{generate_key, generate_rsa_key, sign_with_gpg, sign_with_key};
pub use stripped::{are_by_one_key, restore_armor, strip_armor};

use crate::investigator::Fingerprint;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Why a signature does not count, or a key cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not base64, or not one OpenPGP signature.
    #[error("is malformed: {0}; sign the action again")]
    Malformed(String),
    /// The key is in no certificate of the keyring.
    #[error(
        "was made by key {0}, which is not in the keyring; add its certificate there, or if the key is new in it, replace it \
        (gpg --armor --export {0})"
    )]
    UnknownKey(String),
    /// The key is in a certificate of the keyring that cannot be read.
    #[error("was made by a key whose certificate in the keyring cannot be read: {0}")]
    LeftOut(LeftOut),
    /// The key is in the keyring, but is not valid.
    #[error("was made by {name} ({fingerprint}), whose key does not count: {reason}")]
    Key {
        /// The name in the certificate.
        name: String,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Expired, revoked, too weak, not for signing; and the cure.
        reason: String,
    },
    /// The key is valid, the signature is not.
    #[error("claims to be by {name} ({fingerprint}) and does not verify: {reason}")]
    Bad {
        /// The name in the certificate.
        name: String,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Of another text, too weak, expired; and the cure.
        reason: String,
    },
    /// The key or the signature is not valid yet.
    #[error(
        "was made by {name} ({fingerprint}) and is not valid before {from}: {what} is from the future; set the clock that is \
        wrong, here or where it was made"
    )]
    Early {
        /// The name in the certificate.
        name: String,
        /// The certificate.
        fingerprint: Fingerprint,
        /// The signature, or its key.
        what: &'static str,
        /// When it may be valid.
        from: Timestamp,
    },
    /// A keyring or key file that cannot be used.
    #[error("{0}")]
    Keyring(String),
}

/// The signer of a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The certificate.
    pub fingerprint: Fingerprint,
    /// The name in it.
    pub name: String,
}

/// Returns the distinct signers of valid signatures, whose weights are added up.
pub fn distinct(verified: &[Result<Signer, SignatureError>]) -> BTreeSet<Fingerprint> {
    verified.iter().flatten().map(|signer| signer.fingerprint.clone()).collect()
}

/// Formats an error and its causes as one line.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ").replace('\n', " ")
}
