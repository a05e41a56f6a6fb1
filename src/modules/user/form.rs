//! The options: `-sudo -shell bash -lastlogin '>90d'`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "user",
    about: "looks for accounts by name, group, shell, password, rights and logins",
    usage: "[filters] [options]",
    groups: &[
        Group {
            title: "Filters, at least one (-name . is every account); !<regex> negates:",
            flags: &[
                Flag::texts("name", "<regex>", "names", "on its name"),
                Flag::texts("uid", "<number>", "uids", "on its id: '0', '<1000', '>999'"),
                Flag::texts("group", "<regex>", "groups", "on the name of one of its groups; negated: of none"),
                Flag::texts("home", "<regex>", "homes", "on its home directory"),
                Flag::texts("shell", "<regex>", "shells", "on its shell; ^$ is none, which is /bin/sh"),
                Flag::texts(
                    "password",
                    "<word>",
                    "passwords",
                    "set, locked, empty (none is asked for) or unknown; several: one of them",
                ),
                Flag::texts(
                    "lastlogin",
                    "<age>",
                    "lastlogins",
                    "'<7d': logged in within 7 days; '>90d': not for 90 days, or never;\nunits d, h, m",
                ),
                Flag::switch("loggedin", "loggedin", "who is logged in"),
                Flag::switch("sudo", "sudo", "who may run something by sudo"),
                Flag::switch("doas", "doas", "who may run something by doas"),
                Flag::switch("root", "root", "who is root (id 0), or may run something as root by sudo or doas"),
                Flag::switch("nopasswd", "nopasswd", "who may run something by sudo or doas without a password"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("an account must pass all filters (default)"),
                Flag::matchany(),
                Flag::matchlimit("maximum number of accounts reported; 0: 1000 (default)"),
            ],
        },
    ],
    details: "\
Accounts are those in /etc/passwd: what LDAP and the like add is not seen. Hashes of passwords are never
returned, nor arguments of commands in rules of sudo and doas. Where records of logins do not reach back as far
as -lastlogin asks, an account of which they do not have one does not match, and an error says so.

Examples:
  mig user -uid 0 -name '!^root$'
  mig user -root -uid '>0'
  mig user -nopasswd
  mig user -password set -lastlogin '>180d' -shell 'sh$'
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
