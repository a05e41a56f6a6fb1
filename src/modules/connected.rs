//! The module `connected`, which the original had before `netstat`: published actions still name it.
//!
//! `{"<label>": ["address"]}`, as `connectedip` of [`super::netstat`], with results in its own shape:
//! `{"<label>": {"<address>": {"matchcount", "connections": [text]}}}`, without what was not found.

use super::form::{Flag, Form, Group, Shape};
use super::netstat::{self, Search, VALUES_MAX};
use super::{Context, Module, ModuleResult, Needs, ParameterError, fields, limits, notation};
use serde_json::{Map, Value, json};

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
        ModuleResult::of(parse(parameters), |searches| netstat::run_without_holders(searches, by_label, context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let mut lines = Vec::new();
        for (label, addresses) in result.elements.as_object().into_iter().flatten() {
            for (address, found) in addresses.as_object().into_iter().flatten() {
                let connections = found["connections"].as_array().into_iter().flatten().filter_map(Value::as_str);
                lines.extend(connections.map(|text| format!("{text} for connected {label}:'{address}'")));
            }
        }
        if result.elements.is_object() && !result.foundanything && result.statistics["partial"] != json!(true) {
            lines.push("did not find anything for connected".to_owned());
        }
        let ending = notation::ending(result, |statistics| {
            format!("{} items looked at", statistics["examined"].as_f64().unwrap_or(0.0))
        });
        lines.iter().map(|line| notation::printable(line)).chain(ending).collect()
    }
}

/// What is between a label and an address in the labels of searches; neither has one in it.
const BETWEEN: char = '\n';

/// Reads the addresses by label.
fn parse(parameters: &Value) -> Result<Vec<Search>, ParameterError> {
    let refuse = |reason: String| ParameterError::new("parameters", reason);
    let given = parameters.as_object().ok_or_else(|| refuse("is not an object of labels".to_owned()))?;
    if given.len() > limits::SEARCHES_MAX {
        return Err(refuse(format!("has more than {} labels", limits::SEARCHES_MAX)));
    }
    let mut searches = Vec::new();
    for (label, list) in given {
        let at = |place: &str, reason: String| {
            ParameterError::new(format!("parameters.{}{place}", label.escape_debug()), reason)
        };
        fields::check_label(label).map_err(|reason| at("", reason))?;
        let addresses: Vec<String> =
            serde_json::from_value(list.clone()).map_err(|_| at("", "is not an array of addresses".to_owned()))?;
        if searches.len() + addresses.len() > VALUES_MAX {
            return Err(at("", format!("more than {VALUES_MAX} addresses in one operation")));
        }
        for (index, address) in addresses.iter().enumerate() {
            let search = Search::connected(format!("{label}{BETWEEN}{address}"), address);
            searches.push(search.map_err(|reason| at(&format!("[{index}]"), reason))?);
        }
    }
    if searches.is_empty() {
        return Err(refuse("has no address to look for".to_owned()));
    }
    netstat::dedup(&mut searches);
    Ok(searches)
}

/// Connections by label and address, without what was not found.
fn by_label(lists: Map<String, Value>) -> Value {
    let connection = |element: &Value| {
        let text = |name: &str| element[name].as_str().unwrap_or("");
        let (local, remote) = (&element["localport"], &element["remoteport"]);
        let (protocol, state) = (text("protocol"), text("state"));
        format!("{protocol} {state} {} {local} {} {remote}", text("localaddr"), text("remoteaddr"))
    };
    let mut labels = json!({});
    for (label, list) in &lists {
        let connections: Vec<String> = list.as_array().into_iter().flatten().map(connection).collect();
        if let Some((label, address)) = label.split_once(BETWEEN).filter(|_| !connections.is_empty()) {
            labels[label][address] = json!({"matchcount": connections.len(), "connections": connections});
        }
    }
    labels
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
            (json!({}), "parameters: has no address to look for"),
            (json!({"a": ["::1", "x"]}), "parameters.a[1]: 'x' is not an address"),
            (json!({"a\n": ["::1"]}), "parameters.a\\n: a label is 1 to 64 characters"),
            (json!({"a": "::1"}), "parameters.a: is not an array"),
            (json!({"a": vec!["::1"; 4000], "b": vec!["::1"; 97]}), "parameters.b: more than 4096 addresses"),
            (
                (0..1001).map(|n| (n.to_string(), json!(["::1"]))).collect::<Map<_, _>>().into(),
                "parameters: has more than 1000 labels",
            ),
            (json!([]), "parameters: is not an object"),
        ] {
            let found = Connected.validate(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
    }

    #[test]
    fn connections_under_many_labels_fit_into_the_result() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _streams: Vec<_> = (0..20).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        let labels: Map<String, Value> = (0..100).map(|n| (format!("{n:03}"), json!(["127.0.0.1"]))).collect();
        let small = Context { result_bytes_max: 32 << 10, ..Context::by_hand() };
        let result = Connected.run(&labels.into(), small);
        assert!(result.success && result.foundanything, "{result:?}");
        assert!(!result.elements.as_object().unwrap().is_empty());
        assert_eq!(result.statistics["partial"], json!(true));
        assert!(result.errors.as_ref().unwrap()[0].ends_with("the result has no room for more"), "{:?}", result.errors);
        assert!(serde_json::to_string(&result).unwrap().len() <= 32 << 10);
    }

    #[test]
    fn a_machine_without_the_connections_has_a_line() {
        let result = Connected.run(&json!({"a": ["203.0.113.1"]}), Context::by_hand());
        assert_eq!((&result.elements, result.foundanything), (&json!({}), false), "{result:?}");
        let lines = Connected.print(&result);
        assert_eq!(lines[0], "did not find anything for connected");
        assert!(lines[1].starts_with("Statistics: ") && lines[1].contains(" items looked at, 0 matched"), "{lines:?}");
        let statistics = json!({"partial": true, "examined": 0});
        let lines = Connected.print(&ModuleResult { statistics, ..result });
        assert!(!lines[0].starts_with("did not"), "{lines:?}");
    }
}
