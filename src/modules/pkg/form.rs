//! The options: `-name '^openssl$' -version '<3.0.11-1'`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "pkg",
    about: "looks for installed packages by name and version",
    usage: "-name <regex> [options]",
    groups: &[
        Group {
            title: "What is looked for; !<regex> negates:",
            flags: &[
                Flag::texts(
                    "name",
                    "<regex>",
                    "pkgmatch.matches",
                    "on its name; of several, one is enough; . is every package",
                ),
                Flag::texts("source", "<regex>", "sources", "on the name of the source package that it was built of"),
                Flag::text(
                    "version",
                    "<conditions>",
                    "version",
                    "on its version: '<1.2.3-4' or '>=1.0, <1.2', compared as the\n\
                     tool that installs it does",
                ),
                Flag::text("vermatch", "<regex>", "vermatch", "on the text of its version"),
            ],
        },
        Group {
            title: "Where:",
            flags: &[
                Flag::texts(
                    "type",
                    "<type>",
                    "types",
                    "dpkg, rpm, apk, pacman: databases of the machine (default);\n\
                     python, npm, go, java: what is below -path",
                ),
                Flag::texts("path", "<directory>", "paths", "look below it for what Python, npm, Go and Java install"),
            ],
        },
    ],
    details: "\
What was compared is named when a version cannot be compared. A database that is broken or being changed,
and an archive that cannot be read, are named too: a package that was not found is then not known to be
missing. Archives inside of jars, wars and ears are looked into.

Examples:
  mig pkg -name '^openssl$' -version '<3.0.11-1~deb12u2'
  mig pkg -source '^glibc$'
  mig pkg -name 'log4j-core' -version '<2.17.1' -type java -path /opt -path /srv
",
    shape: Shape::Fields,
    preset: &[],
};
