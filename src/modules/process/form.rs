//! The options: `-name '^sshd$' -executable deleted`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "process",
    about: "looks for processes by name, program, command line, user, parent, open files and age",
    usage: "[filters] [options]",
    groups: &[
        Group {
            title: "Filters, at least one (-name . is every process); !<regex> negates:",
            flags: &[
                Flag::texts(
                    "name",
                    "<regex>",
                    "names",
                    "on its name (at most 15 bytes), or the file name of its program",
                ),
                Flag::texts(
                    "path",
                    "<regex>",
                    "paths",
                    "on the path of its program; ^$ is none: threads of the kernel",
                ),
                Flag::texts("sha256", "<hex>", "sha256", "the hash of its program, also of one that was deleted"),
                Flag::texts("cmdline", "<regex>", "cmdlines", "on its command line, with a space between arguments"),
                Flag::texts(
                    "env",
                    "<regex>",
                    "environment",
                    "on the NAME of a variable of its environment, as it was started",
                ),
                Flag::texts("user", "<regex>", "users", "on the name or the number of its user, real or effective"),
                Flag::texts("parent", "<regex>", "parents", "on the name or the id of its parent"),
                Flag::texts(
                    "openfile",
                    "<regex>",
                    "openfiles",
                    "on the path of a file that it has open; sockets are socket:[7]",
                ),
                Flag::texts("age", "<age>", "ages", "started less (<5m) or more (>90d) than this ago; d, h, m"),
                Flag::texts(
                    "executable",
                    "<word>",
                    "executables",
                    "deleted: its program has no name any more, as it was removed or\n\
                     replaced; memfd: it never had one; !<word> negates",
                ),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("a process must pass all filters (default)"),
                Flag::matchany(),
                Flag::matchlimit("maximum number of processes reported; 0: 1000 (default)"),
            ],
        },
    ],
    details: "\
The command lines of what is found are returned, and may have secrets in them. Values of environment
variables are neither compared nor returned.

Examples:
  mig process -executable memfd
  mig process -user '^www-data$' -name '^(sh|bash|dash|perl|python3?)$' -age '<1h'
  mig process -openfile '^/var/spool/secret'
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
