//! The options: `-rules found.yar -files '-path /usr/bin -name .'`.

use super::rules::RULES_BYTES_MAX;
use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "yara",
    about: "scans files and the memory of processes with YARA rules",
    usage: "-rules <file> [-files <search>] [-process <regex>]",
    groups: &[
        Group {
            title: "Rules:",
            flags: &[Flag::file(
                "rules",
                RULES_BYTES_MAX as u64,
                "yara",
                "of YARA 4.5, in a file of this machine; its text goes into the action",
            )],
        },
        Group {
            title: "What is scanned, at least one:",
            flags: &[
                Flag::text(
                    "files",
                    "<search>",
                    "filesearch",
                    "the files that a command line of module file selects (mig file help)",
                ),
                Flag::texts(
                    "process",
                    "<regex>",
                    "processes",
                    "the memory of processes, by name or path of the program; -process . is all,\n\
                     !<regex>: does not match",
                ),
            ],
        },
    ],
    details: "\
Rules are compiled before they are signed; include is refused. They may import pe, elf, macho, dotnet,
dex, hash, math, time, string and console, and use the variables filename, filepath and extension.
Names, tags and meta of rules that match are returned, and where their strings were found, not the
contents.

Files with more than 256 MiB are not scanned, and the result says so. The agent's own processes, which
hold the rules, are not scanned.

Examples:
  mig yara -rules webshells.yar -files '-path /var/www -name \"\\.php$\"'
  mig yara -rules implants.yar -files '-path /usr/bin -path /usr/sbin -name .' -process .
",
    shape: Shape::Fields,
    preset: &[],
};
