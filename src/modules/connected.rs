//! The module `connected`, which the original had before `netstat`: published actions still name it.
//!
//! `{"<label>": ["address"]}`, as `connectedip` of [`super::netstat`], with results in its own shape:
//! `{"<label>": {"<address>": {"matchcount", "connections": [text]}}}`, without what was not found.

use super::form::{Flag, Form, Group, Shape};
use super::netstat::{self, Netstat};
use super::{Context, Module, ModuleResult, Needs, ParameterError, fields, notation};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The module `connected`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connected;

const FORM: Form = Form {
    name: "connected",
    about: "looks for connections with addresses, as old actions of the original do; netstat has more",
    usage: "-ip <ip> [-ip <ip>]",
    groups: &[Group {
        title: "Filter:",
        flags: &[Flag::texts("ip", "<ip|cidr>", "ip", "the other end of a connection")],
    }],
    details: "\
The original looked into the machine's tracking of connections (conntrack), which also has those that
it forwards; this one looks at its sockets.

Example:
  mig netstat -ci 203.0.113.7
",
    shape: Shape::Fields,
    preset: &[],
};

impl Module for Connected {
    fn form(&self) -> &'static Form {
        &FORM
    }

    fn needs(&self) -> Needs {
        netstat::needs_without_holders()
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        let labels = match parse(parameters) {
            Ok(labels) => labels,
            Err(error) => return ModuleResult::failed(error.to_string()),
        };
        let progress = context.progress.map(|outer| {
            let labels = &labels;
            move |result: &ModuleResult| outer(&by_label(labels, result.clone()))
        });
        let progress = progress.as_ref().map(|progress| progress as &(dyn Fn(&ModuleResult) + Sync));
        by_label(&labels, netstat::run(&of_netstat(&labels), false, Context { progress, ..context }))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let mut lines = Vec::new();
        for (label, addresses) in result.elements.as_object().into_iter().flatten() {
            for (address, found) in addresses.as_object().into_iter().flatten() {
                let connections = found["connections"].as_array().into_iter().flatten().filter_map(Value::as_str);
                lines.extend(connections.map(|text| format!("{text} for connected {label}:'{address}'")));
            }
        }
        lines.extend(result.errors.iter().flatten().map(|error| format!("error: {error}")));
        lines.iter().map(|line| notation::printable(line)).collect()
    }
}

/// Reads the addresses by label. Netstat checks them.
fn parse(parameters: &Value) -> Result<BTreeMap<String, Vec<String>>, ParameterError> {
    let given =
        parameters.as_object().ok_or_else(|| ParameterError::new("parameters", "is not an object of labels"))?;
    let mut labels = BTreeMap::new();
    for (label, list) in given {
        let at = |place: &str, reason: String| {
            ParameterError::new(format!("parameters.{}{place}", label.escape_debug()), reason)
        };
        fields::check_label(label).map_err(|reason| at("", reason))?;
        let addresses: Vec<String> =
            serde_json::from_value(list.clone()).map_err(|_| at("", "is not an array of addresses".to_owned()))?;
        for (index, address) in addresses.iter().enumerate() {
            let checked = Netstat.validate(&json!({"connectedip": [address]}));
            checked.map_err(|error| at(&format!("[{index}]"), error.reason))?;
        }
        labels.insert(label.clone(), addresses);
    }
    Netstat.validate(&of_netstat(&labels)).map(|_| labels)
}

/// The parameters of netstat.
fn of_netstat(labels: &BTreeMap<String, Vec<String>>) -> Value {
    json!({"connectedip": labels.values().flatten().collect::<Vec<_>>()})
}

/// A result of netstat in the shape of this module.
fn by_label(labels: &BTreeMap<String, Vec<String>>, mut result: ModuleResult) -> ModuleResult {
    let found = result.elements["connectedip"].take();
    let connection = |element: &Value| {
        let text = |name: &str| element[name].as_str().unwrap_or("");
        let (local, remote) = (&element["localport"], &element["remoteport"]);
        let (protocol, state) = (text("protocol"), text("state"));
        format!("{protocol} {state} {} {local} {} {remote}", text("localaddr"), text("remoteaddr"))
    };
    let mut elements = Map::new();
    for (label, addresses) in labels {
        for address in addresses {
            let connections: Vec<String> = found[address].as_array().into_iter().flatten().map(connection).collect();
            if !connections.is_empty() {
                elements.entry(label).or_insert_with(|| json!({}))[address] =
                    json!({"matchcount": connections.len(), "connections": connections});
            }
        }
    }
    result.elements = Value::Object(elements);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_are_found_by_label() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let result = Connected.run(&json!({"C&C server": ["127.0.0.1", "203.0.113.1"], "b": []}), Context::by_hand());
        assert!(result.success && result.foundanything, "{result:?}");
        assert_eq!(result.errors, None, "it looks into no process");
        let found = &result.elements["C&C server"];
        let [local, remote] = [stream.local_addr(), stream.peer_addr()].map(|address| address.unwrap().port());
        let text = format!("tcp ESTABLISHED 127.0.0.1 {local} 127.0.0.1 {remote}");
        assert!(found["127.0.0.1"]["connections"].as_array().unwrap().contains(&json!(text)), "{found}");
        assert_eq!((found.get("203.0.113.1"), result.elements.get("b")), (None, None));
        let lines = Connected.print(&result);
        assert!(lines.contains(&format!("{text} for connected C&C server:'127.0.0.1'")), "{lines:?}");
        for (parameters, error) in [
            (json!({}), "parameters: has no filter"),
            (json!({"a": ["::1", "x"]}), "parameters.a[1]: 'x' is not an address"),
            (json!({"a\n": ["::1"]}), "parameters.a\\n: a label is 1 to 64 characters"),
            (json!({"a": "::1"}), "parameters.a: is not an array"),
            (json!({"a": vec!["::1"; 4097]}), "parameters.connectedip: has 4097 elements"),
            (json!([]), "parameters: is not an object"),
        ] {
            let found = Connected.validate(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }
}
