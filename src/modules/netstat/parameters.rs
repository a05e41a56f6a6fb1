//! From the JSON of an operation to what is looked for.

use super::facts::Fact;
use super::files::Table;
use crate::config::Network;
use crate::json::Fields;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::{ParameterError, fields};
use serde_json::Value;

/// Values of one parameter: a list of bad addresses has thousands.
pub(in crate::modules) const VALUES_MAX: usize = 4_096;
/// Bytes of one address or port.
const VALUE_BYTES_MAX: usize = 64;

/// What an operation looks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Each value of each parameter.
    pub(super) searches: Vec<Search>,
    /// In all network namespaces.
    pub(super) namespaces: bool,
    /// With the processes that hold sockets.
    pub(super) holders: bool,
}

/// One value of a parameter.
#[derive(Debug)]
pub(in crate::modules) struct Search {
    /// The parameter.
    pub(super) kind: Kind,
    /// Under which its elements are reported.
    pub(super) label: String,
    test: Test,
}

/// A parameter with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    LocalMac,
    LocalIp,
    NeighborMac,
    NeighborIp,
    ConnectedIp,
    ListeningPort,
}

#[derive(Debug)]
enum Test {
    Mac(Pattern),
    Address(Network),
    Port(u16),
}

impl Kind {
    /// All of them, in the order in which they are printed.
    pub(super) const ALL: [Kind; 6] =
        [Kind::LocalMac, Kind::NeighborMac, Kind::NeighborIp, Kind::LocalIp, Kind::ConnectedIp, Kind::ListeningPort];

    /// Its field.
    pub(super) fn field(self) -> &'static str {
        match self {
            Kind::LocalMac => "localmac",
            Kind::LocalIp => "localip",
            Kind::NeighborMac => "neighbormac",
            Kind::NeighborIp => "neighborip",
            Kind::ConnectedIp => "connectedip",
            Kind::ListeningPort => "listeningport",
        }
    }

    /// Where it is looked up.
    pub(super) fn table(self) -> Table {
        match self {
            Kind::LocalMac => Table::Interfaces,
            Kind::LocalIp => Table::Addresses,
            Kind::NeighborMac | Kind::NeighborIp => Table::Neighbours,
            Kind::ConnectedIp | Kind::ListeningPort => Table::Sockets,
        }
    }

    /// Whether its values are regular expressions.
    fn is_pattern(self) -> bool {
        matches!(self, Kind::LocalMac | Kind::NeighborMac)
    }

    fn test(self, value: &str) -> Result<Test, String> {
        match self {
            _ if self.is_pattern() => Pattern::parse_in_any_case(value).map(Test::Mac),
            _ if value.len() > VALUE_BYTES_MAX => Err(format!("is longer than {VALUE_BYTES_MAX} bytes")),
            Kind::ListeningPort => value
                .parse()
                .map(Test::Port)
                .map_err(|_| format!("'{}' is not a port from 0 to 65535", value.escape_debug())),
            _ => Network::parse(value).map(Test::Address).map_err(|_| {
                let value = value.escape_debug();
                format!("'{value}' is not an address such as 10.0.0.1, or a network such as 10.0.0.0/8")
            }),
        }
    }
}

impl Search {
    /// For connections with an address.
    pub(in crate::modules) fn connected(label: String, address: &str) -> Result<Search, String> {
        Ok(Search { kind: Kind::ConnectedIp, label, test: Kind::ConnectedIp.test(address)? })
    }

    /// Whether a fact is what it looks for.
    pub(super) fn is_met_by(&self, fact: &Fact) -> bool {
        match (self.kind, &self.test, fact) {
            (Kind::LocalMac, Test::Mac(pattern), Fact::Interface { mac, .. })
            | (Kind::NeighborMac, Test::Mac(pattern), Fact::Neighbour { mac: Some(mac), .. }) => {
                pattern.is_met_by(mac.as_bytes())
            }
            (Kind::LocalIp, Test::Address(network), Fact::Address(address))
            | (Kind::NeighborIp, Test::Address(network), Fact::Neighbour { address, .. }) => network.contains(*address),
            (Kind::ConnectedIp, Test::Address(network), Fact::Socket(socket)) => {
                socket.is_connected() && network.contains(socket.remote.ip())
            }
            (Kind::ListeningPort, Test::Port(port), Fact::Socket(socket)) => {
                socket.is_listening() && socket.local.port() == *port
            }
            _ => false,
        }
    }
}

impl Wanted {
    /// Whether processes are looked into: for those that hold sockets, and for their namespaces.
    pub(super) fn looks_into_processes(&self) -> bool {
        self.namespaces || (self.holders && self.searches.iter().any(|search| search.kind.table() == Table::Sockets))
    }
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Wanted, ParameterError> {
    let text = parameters.to_string();
    let fields = Fields::at("parameters", &text)?;
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.field()).chain(["namespaces"]).collect();
    fields::only(&fields, &known)?;
    let mut searches: Vec<Search> = Vec::new();
    let mut patterns = Patterns::default();
    for kind in Kind::ALL {
        let field = kind.field();
        let values = fields.strings(field, VALUES_MAX)?;
        if kind.is_pattern() {
            patterns.count(&fields, field, values.len())?;
        }
        for (index, value) in values.iter().enumerate() {
            let test = kind.test(value).map_err(|reason| fields.error(&format!("{field}[{index}]"), reason))?;
            searches.push(Search { kind, label: format!("{field} {value}"), test });
        }
    }
    dedup(&mut searches);
    if searches.is_empty() {
        return Err(ParameterError::new("parameters", format!("has no filter; one of {}", known[..6].join(", "))));
    }
    Ok(Wanted { searches, namespaces: fields.boolean("namespaces")?, holders: true })
}

/// Sorts searches by label, each once: published lists have values twice.
pub(in crate::modules) fn dedup(searches: &mut Vec<Search>) {
    searches.sort_by(|a, b| a.label.cmp(&b.label));
    searches.dedup_by(|a, b| a.label == b.label);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_checked_and_errors_name_the_field() {
        let wanted =
            parse(&json!({"connectedip": ["10.0.0.0/8", "::1", "10.0.0.0/8"], "listeningport": ["22"]})).unwrap();
        assert_eq!(
            wanted.searches.iter().map(|search| search.label.as_str()).collect::<Vec<_>>(),
            ["connectedip 10.0.0.0/8", "connectedip ::1", "listeningport 22"],
            "what is there twice counts once"
        );
        assert!(!wanted.namespaces && wanted.looks_into_processes());
        assert!(!parse(&json!({"localmac": ["."], "neighborip": ["::/0"]})).unwrap().looks_into_processes());
        for (parameters, error) in [
            (json!({}), "parameters: has no filter; one of localmac, "),
            (json!({"namespaces": true}), "parameters: has no filter"),
            (json!({"conectedip": ["::1"]}), "parameters.conectedip: unknown key; did you mean \"connectedip\"?"),
            (json!({"connectedip": "::1"}), "parameters.connectedip: is not an array"),
            (json!({"localip": ["::1", "10.0.0.0/33"]}), "parameters.localip[1]: '10.0.0.0/33' is not an address"),
            (json!({"localip": ["localhost"]}), "parameters.localip[0]: 'localhost' is not an address"),
            (json!({"neighborip": ["x".repeat(65)]}), "parameters.neighborip[0]: is longer than 64 bytes"),
            (json!({"listeningport": ["65536"]}), "parameters.listeningport[0]: '65536' is not a port"),
            (json!({"listeningport": [22]}), "parameters.listeningport[0]: is not a string"),
            (json!({"localmac": ["("]}), "parameters.localmac[0]: bad regular expression"),
            (json!({"localmac": vec!["."; 501]}), "parameters.localmac: more than 500 regular expressions"),
            (json!({"localip": vec!["::1"; 4097]}), "parameters.localip: has 4097 elements"),
            (json!({"localip": ["::1"], "namespaces": "yes"}), "parameters.namespaces: is not true or false"),
        ] {
            let found = parse(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }
}
