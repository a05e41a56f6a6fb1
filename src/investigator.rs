//! An investigator: a name and an OpenPGP certificate.

use sequoia_openpgp::Cert;
use sequoia_openpgp::serialize::SerializeInto;
use serde::Serialize;
use std::fmt;

/// Fingerprint of a certificate's primary key, in upper-case hex. Subkeys of one certificate share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Parses hex digits in any case, with or without spaces: 40 digits (version 4) or 64 (version 6).
    pub fn parse(text: &str) -> Result<Self, String> {
        let hex: String = text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_uppercase();
        if ![40, 64].contains(&hex.len()) || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "'{}' is not a fingerprint of 40 or 64 hex digits",
                text.escape_default().take(80).collect::<String>()
            ));
        }
        Ok(Fingerprint(hex))
    }

    /// Returns the hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Cert> for Fingerprint {
    fn from(cert: &Cert) -> Self {
        Fingerprint(cert.fingerprint().to_hex())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An investigator as stored in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Investigator {
    /// The name in the first user id.
    pub name: String,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// The certificate, armored.
    pub public_key: String,
}

impl From<&Cert> for Investigator {
    fn from(cert: &Cert) -> Self {
        let armored = cert.armored().to_vec().or_else(|_| without_unwritable(cert)?.armored().to_vec());
        Investigator {
            name: name_of(cert),
            fingerprint: cert.into(),
            public_key: String::from_utf8_lossy(&armored.unwrap_or_default()).into_owned(),
        }
    }
}

/// Returns the certificate without the signatures that cannot be serialized: sequoia parses those whose issuer key has
/// an unknown version, such as LibrePGP's 5, and refuses to write them. None of them is valid.
fn without_unwritable(cert: &Cert) -> sequoia_openpgp::Result<Cert> {
    Cert::from_packets(cert.clone().into_packets().filter(|packet| packet.to_vec().is_ok()))
}

/// Returns the name in a certificate's first user id; its fingerprint if it has none.
pub fn name_of(cert: &Cert) -> String {
    let user_id = cert.userids().next().map(|user| String::from_utf8_lossy(user.userid().value()).into_owned());
    let name = user_id.as_deref().map(|id| id.split(" <").next().unwrap_or(id).trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| cert.fingerprint().to_hex())
}
