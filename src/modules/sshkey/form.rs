//! The options: `-homes -bits '<2048'`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "sshkey",
    about: "looks for SSH keys, private, public and authorized, by fingerprint, kind and size",
    usage: "[places] [filters]",
    groups: &[
        Group {
            title: "Places; none of them is -path /root -path /home:",
            flags: &[
                Flag::texts("path", "<path>", "paths", "a file, or a directory and what is below"),
                Flag::number(
                    "maxdepth",
                    "maxdepth",
                    "levels below a path; 0: 8 (default), and more is named as not seen",
                ),
                Flag::switch("homes", "homes", ".ssh in the home directories of all accounts in /etc/passwd"),
            ],
        },
        Group {
            title: "Filters, all of which a key must pass; !<regex> negates:",
            flags: &[
                Flag::texts("type", "<word>", "types", "private, public or authorizedkeys; several: one of them"),
                Flag::texts(
                    "algorithm",
                    "<word>",
                    "algorithms",
                    "rsa, dsa, ecdsa, ed25519, ecdsa-sk, ed25519-sk, or one of these and -cert;\n\
                     several: one of them",
                ),
                Flag::texts(
                    "fingerprint",
                    "<text>",
                    "fingerprints",
                    "SHA256:… or MD5:…, as ssh-keygen -lf prints it; several: one of them",
                ),
                Flag::texts("bits", "<number>", "bits", "on its size: '<2048', '>3072', '4096'"),
                Flag::texts("comment", "<regex>", "comments", "on its comment"),
                Flag::texts("file", "<regex>", "files", "on the path of its file"),
                Flag::switch("unencrypted", "unencrypted", "only private keys without a passphrase"),
            ],
        },
    ],
    details: "\
Contents of keys are never returned. Of options in authorized_keys the names are, with the values of from,
expiry-time, principals and tunnel. An encrypted key in PEM does not show its fingerprint and its size, one
of OpenSSH not its comment: a search by these names it as not seen.

Examples:
  mig sshkey -homes -type private -unencrypted
  mig sshkey -path /etc/ssh -path /root -bits '<3072' -algorithm rsa
  mig sshkey -homes -fingerprint SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8
",
    shape: Shape::Fields,
    preset: &[],
};
