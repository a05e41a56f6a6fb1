//! What every TLS connection requires of the server: TLS 1.2 or newer, and a certificate of a trusted authority for the
//! host's name. Callers add their own settings.

use crate::config::Material;
use crate::limits;
use native_tls::{Certificate, Protocol, TlsConnector, TlsConnectorBuilder};

/// Returns a connector that trusts only these authorities (PEM), or the system's if there are none. Errors begin with
/// the file.
pub fn trusting(ca: Option<&Material>) -> Result<TlsConnectorBuilder, String> {
    let mut builder = trusting_also(ca)?;
    builder.disable_built_in_roots(ca.is_some());
    Ok(builder)
}

/// The same; trusts the system's authorities as well. The system's are looked for at run time, in the places that the
/// distributions use, also by a program with an OpenSSL of its own.
pub fn trusting_also(ca: Option<&Material>) -> Result<TlsConnectorBuilder, String> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Some(ca) = ca {
        let explain = |reason: String| format!("{ca}: {reason}");
        let bytes = ca.read(limits::CONFIGURATION_SIZE_BYTES_MAX).map_err(|e| explain(e.reason))?;
        let authorities = Certificate::stack_from_pem(&bytes).map_err(|e| explain(e.to_string()))?;
        if authorities.is_empty() {
            return Err(explain("has no certificate".into()));
        }
        for authority in authorities {
            builder.add_root_certificate(authority);
        }
    }
    Ok(builder)
}
