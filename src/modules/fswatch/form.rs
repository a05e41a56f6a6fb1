//! The options: `-path /etc -exclude /etc/mtab`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "fswatch",
    about: "notices what changes below paths, for as long as the agent runs",
    usage: "-path <path> [options]",
    groups: &[
        Group {
            title: "Where, at least one:",
            flags: &[Flag::texts("path", "<path>", "paths", "a directory, with everything below it, or a file")],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::texts("exclude", "<path>", "exclude", "not this, nor anything below it"),
                Flag::texts(
                    "name",
                    "<regex>",
                    "names",
                    "only files whose name matches one of these, and each path itself; !<regex>: does not match",
                ),
            ],
        },
    ],
    details: "\
It is no module of actions: the agent's configuration names it, in [persistent]:

  fswatch = \"-path /etc -path /usr/sbin -exclude /etc/mtab\"

mig-agent -P fswatch -path /etc      shows what it would notice, until it is interrupted
",
    shape: Shape::Fields,
    preset: &[],
};
