//! The unit: `systemd/mig-agent.service`, which is part of this program, for a machine that has nothing else of MIG.

use crate::agent::installed;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a unit begins that this program wrote.
pub(super) const MARK: &str = "# Written by mig-agent --install";

const SHIPPED: &str = include_str!("../../../../systemd/mig-agent.service");
/// The group that the shipped unit has, for a relay directory on this machine.
const GROUP: &str = "mig";
/// The slice that it is in, in a path.
const SLICE: &str = "/mig.slice/";

/// What was installed, in comments of the unit: for `--uninstall`, and for the next `--install`, which may be of another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The program, as seen in the image.
    pub program: PathBuf,
    /// Whether it is a copy that `--install` made, and not one that was there.
    pub is_copied: bool,
    /// The run directory, which stays.
    pub run_directory: PathBuf,
}

const COPIED: &str = "# Copied program: ";
const FOUND: &str = "# Program that was there: ";
const RUN_DIRECTORY: &str = "# Run directory: ";

impl Record {
    fn lines(&self) -> [String; 2] {
        let kind = if self.is_copied { COPIED } else { FOUND };
        [format!("{kind}{}", self.program.display()), format!("{RUN_DIRECTORY}{}", self.run_directory.display())]
    }

    /// That of a unit; None if it has none.
    pub(super) fn parse(unit: &str) -> Option<Record> {
        let path = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).map(PathBuf::from);
        let copied = path(COPIED);
        let (is_copied, run_directory) = (copied.is_some(), path(RUN_DIRECTORY)?);
        Some(Record { program: copied.or_else(|| path(FOUND))?, is_copied, run_directory })
    }
}

/// The text of the unit: the recorded program with the configuration in `file`, which may write to `directories`. The error is
/// a path that no unit can name.
pub(super) fn text(
    record: &Record,
    file: Option<&Path>,
    directories: &[PathBuf],
    has_group: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let program = &record.program;
    let mut command = vec![executable(program)?];
    if let Some(file) = file {
        command.extend(["-c".to_owned(), word(file)?.replace('$', "$$")]);
    }
    command.push("-f".to_owned());
    let mut lines = vec![
        format!("{MARK}: it is written again by the next one, and removed by --uninstall."),
        "# Changes belong into a drop-in: systemctl edit mig-agent".to_owned(),
    ];
    // They are words of the unit too, so they are one line each.
    lines.extend(record.lines());
    for line in SHIPPED.lines() {
        match line.split_once('=') {
            // They are not on this machine, perhaps.
            Some(("PartOf" | "Slice", _)) => {}
            // Its control group, which is in the slice of all services then.
            Some(("ReadWritePaths", path)) if path.contains(SLICE) => {
                lines.push(line.replace(SLICE, "/system.slice/"));
            }
            Some(("SupplementaryGroups", _)) if !has_group(GROUP) => {}
            Some(("ExecStartPre", _)) => {
                // It is missing at other times.
                let mut optional = OsString::from("-");
                optional.push(installed::previous(program));
                lines.push(format!("ExecStartPre={} --undo-upgrade", executable(Path::new(&optional))?));
            }
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

/// The path of a program, in which systemd expands no variable, and takes no quote.
fn executable(path: &Path) -> Result<String, String> {
    match path.to_string_lossy().contains(['"', '\'', '\\']) {
        true => {
            Err(format!("{}: systemd starts no program with a quote or \\ in its path; choose another", path.display()))
        }
        false => word(path),
    }
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
        text(&record("/usr/local/sbin/mig-agent"), file.map(Path::new), &directories, |_| has_group).unwrap()
    }

    fn record(program: &str) -> Record {
        Record { program: program.into(), is_copied: true, run_directory: "/var/lib/mig agent".into() }
    }

    #[test]
    fn the_unit_says_what_was_installed() {
        for is_copied in [true, false] {
            let record = Record { is_copied, ..record("/opt/my agents/50% $x/mig-agent") };
            let unit = text(&record, None, &[], |_| true).unwrap();
            assert_eq!(Record::parse(&unit), Some(record));
            assert_eq!(values(&unit, "ExecStart"), ["\"/opt/my agents/50%% $x/mig-agent\" -f"]);
        }
        assert_eq!(Record::parse(SHIPPED), None);
    }

    fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn it_is_the_shipped_unit_without_what_a_single_machine_lacks() {
        let unit = make(None, "/var/lib/mig-agent", false);
        assert!(unit.starts_with(MARK));
        assert_eq!(values(&unit, "ExecStart"), ["/usr/local/sbin/mig-agent -f"]);
        assert_eq!(values(&unit, "ExecStartPre"), ["-/usr/local/sbin/.mig-agent.previous --undo-upgrade"]);
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
        for program in ["/a\nExecStart=/bin/sh", "/it's/mig-agent", "/a\"b/mig-agent", "/a\\b/mig-agent"] {
            assert!(text(&record(program), None, &[], |_| true).is_err(), "{program:?}");
        }
        let forged = Record { run_directory: "/a\nExecStart=/bin/sh".into(), ..record("/p") };
        assert!(text(&forged, None, std::slice::from_ref(&forged.run_directory), |_| true).is_err());
    }
}
