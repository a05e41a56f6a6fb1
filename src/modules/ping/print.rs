//! The lines for people, as the original prints them; between them, why a ping failed.

use crate::modules::ModuleResult;
use crate::modules::notation::{errors, printable};
use serde_json::Value;

/// Formats a result.
pub(super) fn lines(result: &ModuleResult) -> Vec<String> {
    let text = |name: &str| result.elements[name].as_str().unwrap_or("");
    let (protocol, host) = (text("protocol"), text("resolvedhost"));
    let mut lines = Vec::new();
    if result.elements.is_object() {
        lines.push(match result.foundanything {
            true => format!("{protocol} ping of {host} succeeded. Target is reachable."),
            false => format!("{protocol} ping of {host} failed. Target is no reachable."),
        });
    }
    let list = |name: &str| result.elements[name].as_array().map_or(&[][..], Vec::as_slice);
    for (index, latency) in list("latencies").iter().enumerate() {
        let number = index + 1;
        lines.push(match latency.as_f64().unwrap_or(0.0) {
            -1.0 => format!("ping #{number} failed, target was unreachable"),
            0.0 => format!("ping #{number} failed, reason unknown"),
            9_999_999.0 if protocol == "udp" => format!("ping #{number} may have succeeded (no udp response)"),
            9_999_999.0 => format!("ping #{number} failed, connection timed out"),
            latency => format!("ping #{number} succeeded in {latency:.0}ms"),
        });
    }
    lines.extend(list("failures").iter().filter_map(Value::as_str).map(str::to_owned));
    lines.extend(errors(result));
    lines.iter().map(|line| printable(line)).collect()
}
