//! The options: `-rules found.yar -files '-path /usr/bin -name .'`.

use super::compiled;
use super::rules::RULES_BYTES_MAX;
use crate::modules::form::{self, Flag, Form, Group, Shape};
use std::fs::File;
use std::io::Read;

/// The text of rules.
fn text_of(mut file: File) -> Result<String, String> {
    let mut head = Vec::new();
    file.by_ref().take(compiled::OF_YARAC.len() as u64).read_to_end(&mut head).map_err(|error| error.to_string())?;
    if head == compiled::OF_YARAC {
        return Err(compiled::IS_OF_YARAC.into());
    }
    form::text_of(head.as_slice().chain(file), RULES_BYTES_MAX)
}

/// Compiled rules of a text.
fn compiled_of(file: File) -> Result<String, String> {
    compiled::of_text(&text_of(file)?).map_err(|error| error.reason)
}

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "yara",
    about: "scans files and the memory of processes with YARA rules",
    usage: "-rules <file> | -compile <file> [-files <search>] [-process <regex>]",
    groups: &[
        Group {
            title: "Rules:",
            flags: &[
                Flag::file(
                    "rules",
                    text_of,
                    "yara",
                    "of YARA 4.5, in a file of this machine; its text goes into the action",
                ),
                Flag::file(
                    "compile",
                    compiled_of,
                    "compiled",
                    "the same, and what goes into the action is compiled: smaller if they are\n\
                     many, not readable at a glance, but not secret: literals are in it as they are",
                ),
            ],
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
Compiled rules are run by agents whose engine has the version of this program's; others return an error
that names both. -compile takes at most 1,024 rules. What yarac of YARA makes cannot be read.
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
