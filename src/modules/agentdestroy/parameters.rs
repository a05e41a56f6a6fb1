//! From the JSON of an operation, or a command line, to the process that is meant.

use crate::json::Fields;
use crate::limits;
use crate::modules::ParameterError;
use crate::modules::fields::unknown_names;
use crate::modules::form::{Flag, Form, Group, Shape};
use serde_json::Value;

/// Its options.
pub(super) const FORM: Form = Form {
    name: "agentdestroy",
    about: "ends a process of an agent, and removes its program",
    usage: "-pid <n> -version <v>",
    groups: &[Group {
        title: "Both:",
        flags: &[
            Flag::number("pid", "pid", "the process"),
            Flag::text("version", "<v>", "version", "the version of its program, as its heartbeats say it"),
        ],
    }],
    details: "\
Nothing is done unless that process runs an agent of this kind and of exactly this version. The agent
that receives it refuses itself. The program's file is removed, unless the agent that receives it or
the machine's service uses the same one.

The scheduler signs such actions for agents that were upgraded, and with killdupagents for those that
run more than once.
",
    shape: Shape::Fields,
    preset: &[],
};

/// What an operation asks for.
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "clients only check parameters"))]
#[derive(Debug)]
pub(super) struct Target {
    /// The process.
    pub(super) pid: i32,
    /// The version that it runs.
    pub(super) version: String,
    /// Why it may not be run.
    pub(super) doubts: Vec<ParameterError>,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Target, ParameterError> {
    let text = parameters.to_string();
    let fields = Fields::at("parameters", &text)?;
    let pid: i64 = fields.integer("pid")?.ok_or_else(|| fields.missing("pid"))?;
    let in_range = i32::try_from(pid).ok().filter(|pid| (2..=limits::PID_MAX).contains(pid));
    let pid = in_range
        .ok_or_else(|| fields.error("pid", format!("is {pid}; the process of an agent is 2 to {}", limits::PID_MAX)))?;
    let version = fields.text_required("version", limits::AGENT_VERSION_BYTES_MAX)?;
    Ok(Target { pid, version, doubts: unknown_names(&fields, &["pid", "version"]) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Module;
    use crate::modules::agentdestroy::AgentDestroy;
    use serde_json::json;

    #[test]
    fn only_a_process_that_an_agent_can_be_is_taken() {
        let target = parse(&json!({"pid": 77.0, "version": "1"})).unwrap();
        assert_eq!((target.pid, target.version.as_str(), target.doubts.len()), (77, "1", 0));
        for (pid, error) in [
            (json!(0), "parameters.pid: is 0; the process of an agent is 2 to"),
            (json!(1), "parameters.pid: is 1;"),
            (json!(-77), "parameters.pid: is -77;"),
            (json!(4_194_305), "parameters.pid: is 4194305;"),
            (json!(4_294_967_373u64), "parameters.pid: is 4294967373;"),
            (json!(u64::MAX), "parameters.pid: is 18446744073709551615, which is out of range"),
            (json!(77.5), "parameters.pid: is not a whole number"),
            (json!("77"), "parameters.pid: is not a number"),
            (json!(null), "parameters.pid: is missing"),
            (json!([77]), "parameters.pid: is not a number"),
        ] {
            let found = parse(&json!({"pid": pid, "version": "1"})).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        for (version, error) in [
            (json!(null), "parameters.version: is missing"),
            (json!(""), "parameters.version: is empty"),
            (json!(1), "parameters.version: is not a string"),
            (json!("x".repeat(129)), "parameters.version: has 129 bytes"),
        ] {
            let found = parse(&json!({"pid": 77, "version": version})).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        let doubts = parse(&json!({"pid": 77, "version": "1", "versoin": "2"})).unwrap().doubts;
        assert_eq!(doubts[0].to_string(), "parameters.versoin: unknown key; did you mean \"version\"?");
    }

    #[test]
    fn a_command_line_becomes_parameters() {
        let parse_line = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            AgentDestroy.parse_arguments(&words).map_err(|error| error.to_string())
        };
        assert_eq!(parse_line("-pid 77 --version=1.2"), Ok(json!({"pid": 77, "version": "1.2"})));
        for (line, error) in [
            ("-pid x -version 1", "-pid: must be a whole number"),
            ("-pid 77 -pid 78", "-pid: is there twice"),
            ("-pid 77", "-version: is missing"),
            ("-pid 77 -version", "-version: needs a value"),
            ("-signal 9", "-signal: is not an option"),
        ] {
            assert!(parse_line(line).unwrap_err().starts_with(error), "{line}");
        }
    }
}
