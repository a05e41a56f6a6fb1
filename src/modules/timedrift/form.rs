//! The options: `-drift 5s`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "timedrift",
    about: "returns the time of a machine, and compares it with time servers",
    usage: "[-drift <duration>] [-server <host>]",
    groups: &[Group {
        title: "Options:",
        flags: &[
            Flag::text(
                "drift",
                "<duration>",
                "drift",
                "how far its clock may be off: 5s, 1m30s, 500ms; without it, no\nserver is asked",
            ),
            Flag::texts(
                "server",
                "<host>",
                "servers",
                "a time server, in place of those that the machine's configuration\n\
                 names: host, host:port or [address]:port",
            ),
        ],
    }],
    details: "\
Three servers are asked, if there are as many; more than half of them decide.

Examples:
  mig timedrift -drift 5s
  mig timedrift -drift 500ms -server ntp1.example.net -server ntp2.example.net -server ntp3.example.net
",
    shape: Shape::Fields,
    preset: &[],
};
