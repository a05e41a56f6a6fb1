//! From the JSON of an operation to what is compared.

use super::servers::Server;
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::fields::only;
use crate::time::parse_duration;
use serde_json::Value;
use std::time::Duration;

/// Servers that are given.
const SERVERS_MAX: usize = 16;
/// Bytes of a duration.
const DRIFT_BYTES_MAX: usize = 64;

/// What an operation asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// How far the clock may be off; none asks no server.
    pub(super) drift: Option<Duration>,
    /// In place of the machine's own; none if it is empty.
    pub(super) servers: Vec<Server>,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Wanted, ParameterError> {
    let text = parameters.to_string();
    let fields = Fields::at("parameters", &text)?;
    only(&fields, &["drift", "servers"])?;
    let drift = fields.text("drift", DRIFT_BYTES_MAX)?;
    let drift = match drift.as_str() {
        "" => None,
        text => Some(parse_duration(text).map_err(|reason| fields.error("drift", reason))?),
    };
    let server = |(index, text): (usize, String)| {
        Server::parse(&text).ok_or_else(|| {
            let reason = format!("'{}' is not host, host:port or [address]:port", text.escape_debug());
            fields.error(&format!("servers[{index}]"), reason).into()
        })
    };
    let servers: Result<Vec<Server>, ParameterError> =
        fields.strings("servers", SERVERS_MAX)?.into_iter().enumerate().map(server).collect();
    let servers = servers?;
    if drift.is_none() && !servers.is_empty() {
        return Err(fields.error("drift", "is missing: without it, no server is asked").into());
    }
    Ok(Wanted { drift, servers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_those_of_the_original_and_errors_name_the_field() {
        assert_eq!(parse(&json!({})).unwrap().drift, None);
        assert_eq!(parse(&json!({"drift": ""})).unwrap().drift, None);
        let wanted = parse(&json!({"drift": "1m30s", "servers": ["a.example", "[::1]:124"]})).unwrap();
        assert_eq!((wanted.drift, wanted.servers.len()), (Some(Duration::from_secs(90)), 2));
        for (parameters, error) in [
            (json!({"drift": "5 parsecs"}), "parameters.drift: "),
            (json!({"drift": 5}), "parameters.drift: "),
            (json!({"drift": "-5s"}), "parameters.drift: "),
            (json!({"drift": "5s", "servers": ["a b"]}), "parameters.servers[0]: 'a b' is not host"),
            (json!({"drift": "5s", "servers": vec!["a"; 17]}), "parameters.servers: has 17 elements"),
            (json!({"servers": ["a"]}), "parameters.drift: is missing"),
            (json!({"drifts": "5s"}), "parameters.drifts: unknown key; did you mean \"drift\"?"),
        ] {
            let found = parse(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }
}
