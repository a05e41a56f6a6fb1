//! The command-line form: `-platform linux/amd64 -to_version … -location … -checksum …`.

use super::parameters;
use crate::modules::ParameterError;
use crate::modules::form::{Flag, Form, Group, Shape, refuse, split};
use serde_json::{Map, Value};

/// Its options.
pub(super) const FORM: Form = Form {
    name: super::NAME,
    about: "installs another version of the agent, which takes over",
    usage: "-platform <os/arch> -to_version <v> -location <url> -checksum <sha256>",
    groups: &[Group {
        title: "For each platform:",
        flags: &[
            Flag::text(
                "platform",
                "<os/arch>",
                "platform",
                "linux/amd64, linux/arm64, linux/386; the others follow it",
            ),
            Flag::text("to_version", "<v>", "to_version", "the version that the new program says (mig-agent -V)"),
            Flag::text("location", "<url>", "location", "where it is; https only"),
            Flag::text("checksum", "<sha256>", "checksum", "of its file, in hexadecimal"),
        ],
    }],
    details: "\
Each agent downloads the release of its platform and installs it beside its own program, if its
checksum and its version are those. It then starts the new program, which takes over its run
directory and answers from then on. If the new one does not work, the old one goes on. The old
process is destroyed by an action of the scheduler's own, which the agents' access list must permit
(module agentdestroy, investigator 'MIG Scheduler').

An agent that runs this version already fails, and does nothing.

Example:
  mig upgrade -platform linux/amd64 -to_version 20261125+abc1234.prod \\
      -location https://example.net/mig-agent -checksum \"$(sha256sum mig-agent | cut -d ' ' -f 1)\"
",
    shape: Shape::Fields,
    preset: &[],
};

/// Converts arguments into parameters and checks them.
pub(super) fn parse(arguments: &[String]) -> Result<Value, ParameterError> {
    let mut releases: Map<String, Value> = Map::new();
    let mut platform = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, inline) = split(argument)?;
        let value = inline.or_else(|| rest.next().map(String::as_str)).ok_or_else(|| refuse(flag, "needs a value"))?;
        match (flag, &platform) {
            ("platform", _) => {
                if releases.insert(value.to_owned(), Value::Object(Map::new())).is_some() {
                    return Err(refuse(flag, "names a platform twice"));
                }
                platform = Some(value.to_owned());
            }
            ("to_version" | "location" | "checksum", None) => return Err(refuse(flag, "must follow a -platform")),
            ("to_version" | "location" | "checksum", Some(platform)) => {
                releases[platform][flag] = value.into();
            }
            _ => return Err(refuse(flag, "is not an option of the module upgrade")),
        }
    }
    let parameters = Value::Object(releases);
    match parameters::parse(&parameters)?.doubts.into_iter().next() {
        Some(doubt) => Err(doubt),
        None => Ok(parameters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse_line(line: &str) -> Result<Value, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_becomes_releases() {
        let (location, checksum) = ("https://example.net/a", "ab".repeat(32));
        let one = format!("-to_version 2 --location={location} -checksum {checksum}");
        let release = json!({"to_version": "2", "location": location, "checksum": checksum});
        let found = parse_line(&format!("-platform linux/amd64 {one} -platform linux/arm64 {one}")).unwrap();
        assert_eq!(found, json!({"linux/amd64": release, "linux/arm64": release}));
        for (line, error) in [
            (one.clone(), "-to_version: must follow a -platform"),
            (format!("-platform linux/amd64 {one} -platform linux/amd64"), "-platform: names a platform twice"),
            ("-platform linux/amd64 -to_version".into(), "-to_version: needs a value"),
            ("-platform linux/amd64 -to_version 2".into(), "linux/amd64.location: is missing"),
            (format!("-platform linux {one}"), "parameters: hold no release"),
            ("-force x".into(), "-force: is not an option of the module upgrade"),
        ] {
            let found = parse_line(&line).unwrap_err();
            assert!(found.starts_with(error), "{line}: {found}");
        }
    }
}
