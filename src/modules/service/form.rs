//! The options: `-kind cron -command curl`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "service",
    about: "looks for what a machine runs by itself: units of systemd, scripts of init, cron, at",
    usage: "[filters] [options]",
    groups: &[
        Group {
            title: "Filters, at least one (-name . is everything); !<regex> negates:",
            flags: &[
                Flag::texts("name", "<regex>", "names", "on its name: ssh.service, or the file of a table of cron"),
                Flag::texts("command", "<regex>", "commands", "on one of its commands; negated: on none"),
                Flag::texts("user", "<regex>", "users", "on whom it runs as; ^$ for units that do not say so"),
                Flag::texts(
                    "schedule",
                    "<regex>",
                    "schedules",
                    "on when: '^@reboot', '^\\* \\*', 'OnCalendar=daily', 'ListenStream=22'",
                ),
                Flag::texts("file", "<regex>", "files", "on the path of its file; ^$ is none"),
                Flag::texts(
                    "kind",
                    "<word>",
                    "kinds",
                    "service, timer, socket, path, mount, automount, swap (units of systemd), sysv,\n\
                     cron, anacron or at; several: one of them",
                ),
                Flag::texts(
                    "state",
                    "<word>",
                    "states",
                    "enabled, disabled, static, masked, alias, generated, transient, linked,\n\
                     ignored (not used by cron or init as it is), nofile; several: one of them",
                ),
                Flag::switch("running", "running", "units with processes"),
                Flag::switch("missing", "missing", "units with programs that are not there"),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("all filters must be passed (default)"),
                Flag::matchany(),
                Flag::matchlimit("maximum number of entries reported; 0: 1000 (default)"),
            ],
        },
    ],
    details: "\
In commands values of variables are replaced by …, before they are compared; what runs to make a value is
compared, not returned. Commands are compared whole, and returned up to 1000 characters. Targets, slices and scopes of
systemd are not reported, nor units of users.

Examples:
  mig service -kind cron -kind timer -name .
  mig service -command '/tmp/|curl|base64'
  mig service -running -state nofile -state transient
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
