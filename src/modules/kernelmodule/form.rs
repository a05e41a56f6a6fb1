//! The options: `-name '^nf_' -taint O`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "kernelmodule",
    about: "looks for modules of the kernel by name, taint and file",
    usage: "[filters] [options]",
    groups: &[
        Group {
            title: "Filters, at least one (-name . is every module); !<regex> negates:",
            flags: &[
                Flag::texts(
                    "name",
                    "<regex>",
                    "names",
                    "on its name; - and _ are the same to the kernel, which writes _",
                ),
                Flag::texts(
                    "taint",
                    "<regex>",
                    "taints",
                    "on its taints: P proprietary, O out of the kernel's tree, E unsigned,\n\
                     F loaded by force, C staging; ^$ is none",
                ),
                Flag::texts("file", "<regex>", "files", "on its file below /lib/modules; ^$ is none"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("a module must pass all filters (default)"),
                Flag::matchany(),
                Flag::matchlimit("maximum number of modules reported; 0: 1000 (default)"),
            ],
        },
    ],
    details: "\
A module that is in one of /proc/modules and /sys/module and not in the other is reported as hidden. Parts that are
built into the kernel are no modules.

Examples:
  mig kernelmodule -taint '[OEF]'
  mig kernelmodule -name . -file '^$'
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
