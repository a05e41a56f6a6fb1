//! The options. Those of the original that are also options of `mig` (`-p`, `-c`, `-t`) have longer names.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "ping",
    about: "tries to reach a machine from others",
    usage: "-d <ip|name> [-protocol tcp|udp -dp <port>] [options]",
    groups: &[
        Group {
            title: "Where:",
            flags: &[
                Flag::text("d", "<ip|name>", "destination", "the machine; of a name, its first address"),
                Flag::text("protocol", "<word>", "protocol", "icmp (default), tcp or udp"),
                Flag::number("dp", "destinationport", "the port, of tcp and udp"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::number("count", "count", "how often (default 3)"),
                Flag::number("timeout", "timeout", "seconds until one has failed (default 5)"),
            ],
        },
    ],
    details: "\
With tcp, a connection is made and closed. With udp, a packet is sent: no answer may mean that it was
received, as most services do not answer what they do not understand.

Examples:
  mig ping -d www.example.net
  mig ping -d 2001:db8::1 -protocol tcp -dp 443 -count 1
",
    shape: Shape::Fields,
    preset: &[],
};
