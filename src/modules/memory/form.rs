//! The options: `-name sshd -content 'BEGIN OPENSSH PRIVATE KEY'`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "memory",
    about: "looks for processes by name, libraries and what they have in memory",
    usage: "[filters] [options]",
    groups: &[
        Group {
            title: "Filters, at least one; !<regex> negates:",
            flags: &[
                Flag::texts("name", "<regex>", "names", "on the path of its program, or its name (at most 15 bytes)"),
                Flag::texts(
                    "lib",
                    "<regex>",
                    "libraries",
                    "on the path of a file that is mapped, other than its program",
                ),
                Flag::texts(
                    "content",
                    "<regex>",
                    "contents",
                    "on its memory, in UTF-8; ^ and $ are the ends of a stretch of memory,\n\
                     (?m)^ and (?m)$ those of a line",
                ),
                Flag::texts("bytes", "<hex>", "bytes", "on its memory: 6d6967 is mig"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("a process must pass all filters (default)"),
                Flag::matchany(),
                Flag::number("offset", "options.offset", "look at memory from this address only"),
                Flag::number("maxlength", "options.maxlength", "look at so many bytes of a process; 0: all (default)"),
                Flag::matchlimit("maximum number of processes reported; 0: 1000 (default)"),
                Flag::switch(
                    "logfailures",
                    "options.logfailures",
                    "name each part of memory that cannot be read, not only one of them",
                ),
            ],
        },
    ],
    details: "\
Processes are neither stopped nor attached to. Contents are not returned, only where they are. A match of
more than 64 KiB may be missed. Programs that hold the text of the search match too, such as the shell that
it was typed into; this module's own process and its agent are left out.

Examples:
  mig memory -name sshd -lib libkeyutils
  mig memory -content 'https?://evil\\.example'
  mig memory -name java -bytes cafebabe -maxlength 1000000000
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
