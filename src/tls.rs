//! What every TLS connection requires of the server: TLS 1.2 or newer, and a certificate of a trusted authority for the
//! host's name. Callers add their own settings.

use crate::config::read_bounded;
use crate::limits;
use native_tls::{Certificate, Protocol, TlsConnector, TlsConnectorBuilder};
use std::path::Path;

/// Returns a connector that trusts only the authorities in this PEM file, or the system's if there is none. Errors
/// begin with the file.
pub fn trusting(ca: Option<&Path>) -> Result<TlsConnectorBuilder, String> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Some(path) = ca {
        let explain = |reason: String| format!("{}: {reason}", path.display());
        let bytes = read_bounded(path, limits::CONFIGURATION_SIZE_BYTES_MAX).map_err(|e| explain(e.reason))?;
        let authorities = Certificate::stack_from_pem(&bytes).map_err(|e| explain(e.to_string()))?;
        if authorities.is_empty() {
            return Err(explain("has no certificate".into()));
        }
        builder.disable_built_in_roots(true);
        for authority in authorities {
            builder.add_root_certificate(authority);
        }
    }
    Ok(builder)
}
