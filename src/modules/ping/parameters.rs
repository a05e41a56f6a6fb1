//! From the JSON of an operation to what is pinged.

use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::fields::only;
use crate::names::{NAME_BYTES_MAX, is_name};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// Pings of one operation: with the pauses between them they take 100 seconds.
const COUNT_MAX: usize = 1_000;
const COUNT_DEFAULT: usize = 3;
/// Seconds until one ping has failed.
const TIMEOUT_SECONDS_MAX: f64 = 300.0;
const TIMEOUT_SECONDS_MIN: f64 = 0.001;
const TIMEOUT_SECONDS_DEFAULT: f64 = 5.0;
/// Bytes of a protocol's word.
const WORD_BYTES_MAX: usize = 64;

/// How it is pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Icmp,
    Tcp,
    Udp,
}

/// What an operation asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// An address or a name.
    pub(super) destination: String,
    /// How.
    pub(super) protocol: Protocol,
    /// 0 for ICMP.
    pub(super) port: u16,
    /// How often.
    pub(super) count: usize,
    /// Of one ping.
    pub(super) timeout: Duration,
}

impl Protocol {
    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Icmp => "icmp",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Wanted, ParameterError> {
    let text = parameters.to_string();
    let fields = Fields::at("parameters", &text)?;
    only(&fields, &["destination", "destinationport", "protocol", "count", "timeout"])?;
    let destination = fields.text_required("destination", NAME_BYTES_MAX)?;
    if destination.parse::<IpAddr>().is_err() && !is_name(&destination) {
        return Err(fields.error("destination", "is no address and no name of a machine").into());
    }
    let word = fields.text("protocol", WORD_BYTES_MAX)?;
    let protocol = match word.as_str() {
        "" | "icmp" => Protocol::Icmp,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => {
            return Err(fields
                .error("protocol", format!("'{}' is none of icmp, tcp and udp", word.escape_debug()))
                .into());
        }
    };
    // The original's clients write -1 where there is none.
    let port: i64 = fields.integer("destinationport")?.unwrap_or(-1);
    let port = match (protocol, port) {
        (Protocol::Icmp, -1 | 0) => 0,
        (Protocol::Icmp, _) => {
            let reason = "is for the protocols tcp and udp, of which none is named; icmp has no ports";
            return Err(fields.error("destinationport", reason).into());
        }
        (_, 1..=65535) => u16::try_from(port).unwrap_or_default(),
        (protocol, _) => {
            let reason = format!("a port from 1 to 65535 is needed for {}", protocol.name());
            return Err(fields.error("destinationport", reason).into());
        }
    };
    let count = match fields.integer("count")?.unwrap_or(0) {
        0 => COUNT_DEFAULT,
        count @ 1..=COUNT_MAX => count,
        count => return Err(fields.error("count", format!("is {count}, the limit is {COUNT_MAX}")).into()),
    };
    let timeout = match fields.value("timeout", 1)? {
        None => TIMEOUT_SECONDS_DEFAULT,
        Some(value) => value.as_f64().ok_or_else(|| fields.error("timeout", "is not a number of seconds"))?,
    };
    let timeout = if timeout == 0.0 { TIMEOUT_SECONDS_DEFAULT } else { timeout };
    if !(TIMEOUT_SECONDS_MIN..=TIMEOUT_SECONDS_MAX).contains(&timeout) {
        let reason = format!("is {timeout}, outside of {TIMEOUT_SECONDS_MIN} to {TIMEOUT_SECONDS_MAX} seconds");
        return Err(fields.error("timeout", reason).into());
    }
    Ok(Wanted { destination, protocol, port, count, timeout: Duration::from_secs_f64(timeout) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_those_of_the_original_and_errors_name_the_field() {
        // As its client writes them.
        let icmp = parse(
            &json!({"destination": "::1", "destinationport": -1.0, "protocol": "icmp", "count": 3, "timeout": 5}),
        );
        let Wanted { protocol, port, count, timeout, .. } = icmp.unwrap();
        assert_eq!((protocol, port, count, timeout.as_secs()), (Protocol::Icmp, 0, 3, 5));
        assert_eq!(parse(&json!({"destination": "x", "destinationport": 0})).unwrap().protocol, Protocol::Icmp);
        let short =
            parse(&json!({"destination": "a-b.example", "protocol": "udp", "destinationport": 53, "timeout": 0.5}));
        let Wanted { protocol, port, count, timeout, .. } = short.unwrap();
        assert_eq!((protocol, port, count, timeout.as_millis()), (Protocol::Udp, 53, 3, 500));
        for (parameters, error) in [
            (json!({}), "parameters.destination: "),
            (json!({"destination": "a b"}), "parameters.destination: is no address"),
            (json!({"destination": "http://x"}), "parameters.destination: is no address"),
            (json!({"destination": "-x"}), "parameters.destination: is no address"),
            (json!({"destination": "x", "protocol": "sctp"}), "parameters.protocol: 'sctp' is none of"),
            (
                json!({"destination": "x", "protocol": "tcp"}),
                "parameters.destinationport: a port from 1 to 65535 is needed",
            ),
            (
                json!({"destination": "x", "protocol": "tcp", "destinationport": 65536}),
                "parameters.destinationport: a port",
            ),
            (
                json!({"destination": "x", "destinationport": 443}),
                "parameters.destinationport: is for the protocols tcp",
            ),
            (
                json!({"destination": "x", "destinationport": 443, "protocol": "icmp"}),
                "parameters.destinationport: is for the protocols tcp",
            ),
            (json!({"destination": "x", "count": 1001}), "parameters.count: is 1001"),
            (json!({"destination": "x", "count": -1}), "parameters.count: is -1, which is out of range"),
            (json!({"destination": "x", "timeout": 301}), "parameters.timeout: is 301, outside of"),
            (json!({"destination": "x", "timeout": "5s"}), "parameters.timeout: is not a number of seconds"),
            (json!({"destination": "x", "port": 1}), "parameters.port: unknown key"),
        ] {
            let found = parse(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }
}
