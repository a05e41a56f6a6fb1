//! The lines for people, as the original prints them.

use crate::modules::ModuleResult;
use crate::modules::notation::{errors, printable};
use serde_json::{Value, json};

/// Formats a result.
pub(super) fn lines(result: &ModuleResult) -> Vec<String> {
    let mut lines = Vec::new();
    let elements = &result.elements;
    if let Some(time) = elements["localtime"].as_str() {
        lines.push(format!("local time is {time}"));
    }
    if elements["hascheckeddrift"] == json!(true) {
        if elements["iswithindrift"] == json!(true) {
            lines.push("local time is within acceptable drift from NTP servers".to_owned());
        } else {
            lines.push("local time is out of sync from NTP servers".to_owned());
        }
        lines.extend(elements["drifts"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    lines.extend(errors(result));
    if result.statistics.is_object() {
        lines.push(format!("stat: execution time was {}", result.statistics["exectime"].as_str().unwrap_or("0s")));
        lines.extend(result.statistics["ntpstats"].as_array().into_iter().flatten().map(server));
        let word = if result.success { "succeeded" } else { "failed" };
        lines.push(format!("timedrift module has {word}"));
    }
    lines.iter().map(|line| printable(line)).collect()
}

fn server(server: &Value) -> String {
    let text = |name: &str| server[name].as_str().unwrap_or("");
    let (host, latency, time, drift) = (text("host"), text("latency"), text("time"), text("drift"));
    if server["reachable"] == json!(true) {
        format!("stat: {host} responded in {latency} with time {time}. local time drifts by {drift}")
    } else {
        format!("stat: {host} was unreachable")
    }
}
