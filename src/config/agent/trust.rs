//! Whom an agent trusts, and as whom it is trusted: keys of investigators, access list, certificates. What is inside is checked
//! to its end when it is taken.

use super::inside;
use crate::acl::Acl;
use crate::config::broker::{self, TlsConfig};
use crate::config::{ConfigError, Ini, Material, Secret};
use crate::signature::Keyring;
use native_tls::{Certificate, Identity};
use openssl::pkey::PKey;
use openssl::x509::X509;

/// Takes text that is inside, once it is checked.
fn take_inside(
    ini: &mut Ini,
    (section, key): (&str, &str),
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Option<Material>, ConfigError> {
    let inside = |text: &str| Some(Material::Inside(Secret::new(text.to_owned())));
    ini.take(section, key, None, |text| check(text).map(|()| inside(text)))
}

fn take_file(ini: &mut Ini, section: &str, key: &str) -> Result<Option<Material>, ConfigError> {
    Ok(ini.path(section, key)?.map(Material::File))
}

pub(super) fn take_keyring(ini: &mut Ini) -> Result<Material, ConfigError> {
    let inside = take_inside(ini, inside::KEYS, |text| {
        let keyring = Keyring::parse(text.as_bytes()).map_err(|e| e.to_string())?;
        if keyring.had_secrets() {
            return Err("has a private key; only public keys belong here (gpg --armor --export)".into());
        }
        keyring.left_out().first().map_or(Ok(()), |left_out| Err(left_out.to_string()))
    })?;
    let file = take_file(ini, "agent", "keyring")?;
    inside.or(file).ok_or_else(|| ini.error(None, "agent", "keyring", "is missing"))
}

pub(super) fn take_acl(ini: &mut Ini, keyring: &Material) -> Result<Material, ConfigError> {
    let inside = take_inside(ini, inside::ACL, |text| {
        let acl = Acl::parse(text.as_bytes()).map_err(|e| e.to_string())?;
        if acl.is_empty() {
            return Err("is empty: every module would be denied".into());
        }
        let keyring = match keyring {
            Material::Inside(keys) => Keyring::parse(keys.expose().as_bytes()).ok(),
            Material::File(_) => None,
        };
        let signers = keyring.map(|keyring| keyring.signers(crate::time::now()));
        acl.check_satisfiable(signers.as_ref())
    })?;
    let file = take_file(ini, "agent", "acl")?;
    inside.or(file).ok_or_else(|| ini.error(None, "agent", "acl", "is missing"))
}

pub(super) fn take_tls(ini: &mut Ini) -> Result<TlsConfig, ConfigError> {
    let certificates = |text: &str| match Certificate::stack_from_pem(text.as_bytes()) {
        Ok(found) if found.is_empty() => Err("has no certificate in PEM".to_owned()),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("is not a certificate in PEM: {e}")),
    };
    let ca = take_inside(ini, inside::CA, certificates)?;
    let certificate = take_inside(ini, inside::CERTIFICATE, certificates)?;
    let key = take_inside(ini, inside::KEY, |key| match &certificate {
        Some(Material::Inside(certificate)) => {
            let pem = (certificate.expose().as_bytes(), key.as_bytes());
            Identity::from_pkcs8(pem.0, pem.1).map_err(|e| format!("is not a key in PKCS #8: {e}"))?;
            match is_key_of(pem.0, pem.1) {
                Ok(true) => Ok(()),
                Ok(false) => Err("is not the key of agentcert".to_owned()),
                Err(e) => Err(format!("cannot be compared with agentcert: {e}")),
            }
        }
        _ => Err("is there, but agentcert is missing".into()),
    })?;
    let tls = broker::take_tls(ini, "certs", ["ca", "cert", "key"])?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => {
            return Err(ini.error(None, "certs", "key", "is missing: there is an agentcert, but no agentkey"));
        }
        _ => tls.identity,
    };
    Ok(TlsConfig { ca: ca.or(tls.ca), identity })
}

/// Whether a key is that of a certificate, both in PEM.
fn is_key_of(certificate: &[u8], key: &[u8]) -> Result<bool, openssl::error::ErrorStack> {
    let (certificate, key) = (X509::from_pem(certificate)?, PKey::private_key_from_pem(key)?);
    Ok(certificate.public_key()?.public_eq(&key))
}
