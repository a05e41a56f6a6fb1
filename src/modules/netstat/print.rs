//! The lines for people, as the original prints them; behind them the processes.

use super::parameters::Kind;
use crate::modules::ModuleResult;
use crate::modules::notation::{errors, printable};
use serde_json::Value;

/// Formats a result.
pub(super) fn lines(result: &ModuleResult) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        // The original writes it so.
        let name = if kind == Kind::NeighborIp { "neighborIP" } else { kind.field() };
        for (value, elements) in result.elements[kind.field()].as_object().into_iter().flatten() {
            let elements = elements.as_array().map_or(&[][..], Vec::as_slice);
            let line = |element| {
                let (what, more) = (what(kind, element), more(element));
                format!("found {what} for netstat {name}:'{value}'{more}")
            };
            lines.extend(elements.iter().map(line));
            if elements.is_empty() {
                lines.push(format!("did not find anything for netstat {name}:'{value}'"));
            }
        }
    }
    lines.extend(errors(result));
    if result.statistics.is_object() {
        let number = |name: &str| result.statistics[name].as_f64().unwrap_or(0.0);
        let time = result.statistics["exectime"].as_str().unwrap_or("0s");
        let (hits, examined) = (number("totalhits"), number("examined"));
        lines.push(format!("Statistics: total hits {hits} examined {examined} items exectime {time}"));
    }
    lines.iter().map(|line| printable(line)).collect()
}

fn what(kind: Kind, element: &Value) -> String {
    let text = |name: &str| element[name].as_str().unwrap_or("");
    let port = |name: &str| element[name].as_f64().unwrap_or(0.0);
    match kind {
        Kind::LocalMac => format!("local mac {}", text("localmacaddr")),
        Kind::NeighborMac => format!("neighbor mac {} {}", text("remotemacaddr"), text("remoteaddr")),
        Kind::NeighborIp => format!("neighbor IP {} {}", text("remoteaddr"), text("remotemacaddr")),
        Kind::LocalIp => format!("local ip {}", text("localaddr")),
        Kind::ConnectedIp => format!(
            "connected tuple {}:{} with local tuple {}:{}",
            text("remoteaddr"),
            port("remoteport"),
            text("localaddr"),
            port("localport")
        ),
        Kind::ListeningPort => format!("listening port {}", port("localport")),
    }
}

/// What an element has that not every one has.
fn more(element: &Value) -> String {
    let mut more = String::new();
    if let Some(namespace) = element["namespace"].as_str().filter(|name| *name != "default") {
        more.push_str(&format!(" namespace:[{namespace}]"));
    }
    for process in element["processes"].as_array().into_iter().flatten() {
        let text = |name: &str| process[name].as_str().unwrap_or("");
        more.push_str(&format!(" process:[{} {} {}]", process["pid"], text("name"), text("exe")));
    }
    more
}
