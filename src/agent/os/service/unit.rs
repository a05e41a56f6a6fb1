//! The unit: `systemd/mig-agent.service`, which is part of this program, for a machine that has nothing else of MIG.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a unit begins that this program wrote.
pub(super) const MARK: &str = "# Written by mig-agent --install";

const SHIPPED: &str = include_str!("../../../../systemd/mig-agent.service");
/// The group that the shipped unit has, for a relay directory on this machine.
const GROUP: &str = "mig";
/// The slice that it is in, in a path.
const SLICE: &str = "/mig.slice/";

/// The text of the unit: `program` with the configuration in `file`, which may write to `directories`. The error is a path
/// that no unit can name.
pub(super) fn text(
    program: &Path,
    file: Option<&Path>,
    directories: &[PathBuf],
    has_group: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let mut command = vec![word(program)?.replace('$', "$$")];
    if let Some(file) = file {
        command.extend(["-c".to_owned(), word(file)?.replace('$', "$$")]);
    }
    command.push("-f".to_owned());
    let mut lines = vec![
        format!("{MARK}: it is written again by the next one, and removed by --uninstall."),
        "# Changes belong into a drop-in: systemctl edit mig-agent".to_owned(),
    ];
    for line in SHIPPED.lines() {
        match line.split_once('=') {
            // They are not on this machine, perhaps.
            Some(("PartOf" | "Slice", _)) => {}
            // Its control group, which is in the slice of all services then.
            Some(("ReadWritePaths", path)) if path.contains(SLICE) => {
                lines.push(line.replace(SLICE, "/system.slice/"));
            }
            Some(("SupplementaryGroups", _)) if !has_group(GROUP) => {}
            Some(("ExecStart", _)) => lines.push(format!("ExecStart={}", command.join(" "))),
            Some(("WantedBy", _)) => lines.push("WantedBy=multi-user.target".to_owned()),
            Some(("ProtectSystem", _)) => {
                for directory in directories {
                    // One that is missing is no error: the agent says what it misses.
                    let mut optional = OsString::from("-");
                    optional.push(directory);
                    lines.push(format!("ReadWritePaths={}", word(Path::new(&optional))?));
                }
                lines.push(line.to_owned());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// A path as a word of a unit: quoted, without specifiers.
fn word(path: &Path) -> Result<String, String> {
    let refused = || format!("{} cannot be named in a unit of systemd; choose another path", path.display());
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(refused)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+@:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(file: Option<&str>, directory: &str, has_group: bool) -> String {
        let directories = [PathBuf::from(directory)];
        text(Path::new("/usr/local/sbin/mig-agent"), file.map(Path::new), &directories, |_| has_group).unwrap()
    }

    fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn it_is_the_shipped_unit_without_what_a_single_machine_lacks() {
        let unit = make(None, "/var/lib/mig-agent", false);
        assert!(unit.starts_with(MARK));
        assert_eq!(values(&unit, "ExecStart"), ["/usr/local/sbin/mig-agent -f"]);
        assert_eq!(values(&unit, "WantedBy"), ["multi-user.target"]);
        for key in ["PartOf", "Slice", "SupplementaryGroups"] {
            assert_eq!(values(&unit, key), Vec::<&str>::new(), "{key}");
            assert_eq!(values(SHIPPED, key).len(), 1, "{key} is in the shipped one");
        }
        assert_eq!(values(&make(None, "/x", true), "SupplementaryGroups"), ["mig"]);
        let own_group = "-/sys/fs/cgroup/system.slice/mig-agent.service";
        assert!(values(&unit, "ReadWritePaths").contains(&own_group) && !unit.contains("mig.slice/"), "{unit}");
        let others = |text: &str| -> Vec<String> {
            let changed = ["ExecStart", "WantedBy", "PartOf", "Slice", "SupplementaryGroups", "ReadWritePaths"];
            let is_same = |line: &&str| !changed.iter().any(|key| line.starts_with(key)) && !line.starts_with("# ");
            text.lines().filter(is_same).map(str::to_owned).collect()
        };
        assert_eq!(others(&unit), others(SHIPPED), "the rest is as shipped");
    }

    #[test]
    fn paths_are_quoted() {
        let unit = make(Some("/etc/my agent/50%$HOME.cfg"), "/srv/a \"b\" %h", false);
        let command = r#"/usr/local/sbin/mig-agent -c "/etc/my agent/50%%$$HOME.cfg" -f"#;
        assert_eq!(values(&unit, "ExecStart"), [command]);
        assert!(values(&unit, "ReadWritePaths").contains(&r#""-/srv/a \"b\" %%h""#), "{unit}");
        assert!(text(Path::new("/a\nExecStart=/bin/sh"), None, &[], |_| true).is_err());
    }
}
