//! From the JSON of an operation to releases by platform.

use crate::json::Fields;
use crate::limits;
use crate::modules::ParameterError;
use crate::modules::fields::unknown_names;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is installed on one platform.
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "clients only check parameters"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// The version that it says.
    pub(super) to_version: String,
    /// Its URL.
    pub(super) location: String,
    /// Its SHA-256, in lower case.
    pub(super) checksum: String,
}

/// All releases of an operation.
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "clients only check parameters"))]
#[derive(Debug)]
pub(super) struct Plan {
    /// By platform: `linux/amd64`.
    pub(super) releases: BTreeMap<String, Release>,
    /// Why it may not be run: valid input that cannot mean what was intended.
    pub(super) doubts: Vec<ParameterError>,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Plan, ParameterError> {
    let text = parameters.to_string();
    let top = Fields::at("parameters", &text)?;
    let (mut releases, mut doubts) = (BTreeMap::new(), Vec::new());
    let platforms: Vec<&str> = top.names().collect();
    for platform in platforms {
        if !is_platform(platform) {
            doubts.push(ParameterError::new(
                platform.escape_debug().to_string(),
                "is not a platform such as linux/amd64",
            ));
            continue;
        }
        let fields = Fields::at(platform, top.raw(platform).map_or("null", |raw| raw.get()))?;
        doubts.extend(unknown_names(&fields, &["to_version", "location", "checksum"]));
        let release = release(&fields)?;
        // Agents of the original take others.
        let host = release.location.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        if host.is_none_or(str::is_empty) {
            let reason = "is not a URL that begins with https:// and a host";
            doubts.push(ParameterError::new(fields.path("location"), reason));
        }
        releases.insert(platform.to_owned(), release);
        if releases.len() > limits::UPGRADE_PLATFORMS_MAX {
            let reason = format!("hold more than {} platforms", limits::UPGRADE_PLATFORMS_MAX);
            return Err(ParameterError::new("parameters", reason));
        }
    }
    if releases.is_empty() {
        return Err(ParameterError::new("parameters", "hold no release by platform, such as linux/amd64"));
    }
    Ok(Plan { releases, doubts })
}

fn release(fields: &Fields) -> Result<Release, ParameterError> {
    let graphic = |name: &str, bytes_max| {
        let text = fields.text_required(name, bytes_max)?;
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
        if is_plain {
            Ok(text)
        } else {
            Err(fields.error(name, "holds a space, a control character, or none of ASCII"))
        }
    };
    let to_version = graphic("to_version", limits::AGENT_VERSION_BYTES_MAX)?;
    let location = graphic("location", limits::UPGRADE_LOCATION_BYTES_MAX)?;
    let checksum = graphic("checksum", 64)?.to_lowercase();
    if checksum.len() != 64 || !checksum.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(fields.error("checksum", "is not a SHA-256 in 64 hexadecimal digits").into());
    }
    Ok(Release { to_version, location, checksum })
}

fn is_platform(name: &str) -> bool {
    let is_word = |word: &str| {
        (1..=16).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.split_once('/').is_some_and(|(os, arch)| is_word(os) && is_word(arch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({"to_version": "2", "location": "https://example.net/agent", "checksum": "AB".repeat(32)})
    }

    #[test]
    fn releases_are_read_by_platform() {
        let plan = parse(&json!({"linux/amd64": good(), "Windows/386": good()})).unwrap();
        assert!(plan.doubts.is_empty());
        assert_eq!(plan.releases.keys().collect::<Vec<_>>(), ["linux/amd64", "windows/386"]);
        assert_eq!(plan.releases["linux/amd64"].checksum, "ab".repeat(32));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_names_the_field() {
        for (field, value, error) in [
            ("to_version", json!(null), "linux/amd64.to_version: is missing"),
            ("to_version", json!("2 3"), "linux/amd64.to_version: holds a space"),
            ("to_version", json!("x".repeat(129)), "linux/amd64.to_version: has 129 bytes"),
            ("to_version", json!(2), "linux/amd64.to_version: is not a string"),
            ("location", json!("https://example.net/\n"), "linux/amd64.location: holds a space, a control"),
            ("checksum", json!("ab"), "linux/amd64.checksum: is not a SHA-256"),
            ("checksum", json!("g".repeat(64)), "linux/amd64.checksum: is not a SHA-256"),
        ] {
            let mut release = good();
            release[field] = value;
            let found = parse(&json!({"linux/amd64": release})).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        for parameters in [json!({}), json!([]), json!({"linux": good()}), json!({"linux/amd64": []})] {
            assert!(parse(&parameters).is_err(), "{parameters}");
        }
    }

    #[test]
    fn a_location_without_https_is_a_doubt() {
        for location in
            ["http://example.net/agent", "https:///agent", "https://", "file:///agent", "HTTPS://example.net/a"]
        {
            let mut release = good();
            release["location"] = location.into();
            let doubts = parse(&json!({"linux/amd64": release})).unwrap().doubts;
            assert_eq!(
                doubts[0].to_string(),
                "linux/amd64.location: is not a URL that begins with https:// and a host"
            );
        }
    }

    #[test]
    fn unknown_keys_are_doubts() {
        let mut release = good();
        release["check_sum"] = json!("");
        let plan = parse(&json!({"linux/amd64": release, "checksum": "x"})).unwrap();
        let doubts: Vec<String> = plan.doubts.iter().map(ToString::to_string).collect();
        assert_eq!(
            doubts,
            [
                "checksum: is not a platform such as linux/amd64",
                "linux/amd64.check_sum: unknown key; did you mean \"checksum\"?"
            ]
        );
    }
}
