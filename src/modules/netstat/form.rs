//! The options: `-ci 10.0.0.0/8 -lp 443`, named as in the original.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "netstat",
    about: "looks for sockets, addresses and neighbours of a machine",
    usage: "[filters] [-namespaces]",
    groups: &[
        Group {
            title: "Filters, at least one; each may be there more than once:",
            flags: &[
                Flag::texts(
                    "ci",
                    "<ip|cidr>",
                    "connectedip",
                    "on the other end of a connection, TCP and UDP, in any state;\n\
                     0.0.0.0/0 and ::/0 are all of them",
                ),
                Flag::texts("lp", "<port>", "listeningport", "on the port of a listening socket, TCP and UDP"),
                Flag::texts("li", "<ip|cidr>", "localip", "on an address of the machine"),
                Flag::texts("lm", "<regex>", "localmac", "on the MAC of an interface, in any case"),
                Flag::texts("ni", "<ip|cidr>", "neighborip", "on the address of a machine on the same network"),
                Flag::texts("nm", "<regex>", "neighbormac", "on the MAC of a machine on the same network, in any case"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[Flag::switch(
                "namespaces",
                "namespaces",
                "look into all network namespaces that a process is in, such as those\n\
                 of containers; there, MACs of interfaces and neighbours of IPv6 are\n\
                 not seen",
            )],
        },
    ],
    details: "\
Sockets are reported with the processes that hold them, where the agent may look into those.

Examples:
  mig netstat -ci 203.0.113.0/24 -ci 2001:db8::/32 -namespaces
  mig netstat -lp 4444
  mig netstat -nm '^8c:70:'
",
    shape: Shape::Fields,
    preset: &[],
};
